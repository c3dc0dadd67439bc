//! What the hub gives up goes away in the members, and nothing else does.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pando_e2e::eventually;
use serde_json::json;

use crate::objects::{self, spread};
use crate::split::founded;
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);

pub(crate) async fn a_deleted_template_is_removed_everywhere(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "removal").await?;
    objects::delete(&federation.hub.client, &template).await?;
    eventually::equal(SOON, "Deployments in the members", &vec![None; 3], || {
        spread(federation, "removal", "web-service")
    })
    .await?;
    for (kind, version) in [("ResourceBinding", "work.karmada.io/v1alpha2")] {
        let probe = json!({
            "apiVersion": version, "kind": kind,
            "metadata": { "namespace": "removal", "name": "web-service-deployment" },
        });
        eventually::some(SOON, "the binding to be gone", || async {
            Ok(objects::get(&federation.hub.client, &probe).await?.is_none().then_some(()))
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn a_foreign_object_of_the_same_name_is_left_alone(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let member = federation.member("sz-prod")?;
    // The namespace comes with the first template; the foreign object is there before the second.
    objects::namespace(hub, "foreign").await?;
    let first = objects::config_map("foreign", "first");
    objects::create(hub, &first).await?;
    let everywhere = ["bj-prod", "sh-prod", "sz-prod"];
    objects::create(hub, &objects::duplicated("foreign", "v1", "ConfigMap", "first", &everywhere)).await?;
    eventually::some(SOON, "the first ConfigMap", || objects::get(&member.client, &first)).await?;

    let mut theirs = objects::config_map("foreign", "taken");
    theirs["data"]["key"] = json!("theirs");
    let theirs_before = objects::create(&member.client, &theirs).await?;
    let ours = objects::config_map("foreign", "taken");
    objects::create(hub, &ours).await?;
    objects::create(hub, &objects::duplicated("foreign", "v1", "ConfigMap", "taken", &everywhere)).await?;
    for name in ["bj-prod", "sh-prod"] {
        let other = federation.member(name)?;
        eventually::some(SOON, "our ConfigMap elsewhere", || objects::get(&other.client, &ours)).await?;
    }
    let binding = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": "foreign", "name": "taken-configmap" },
    });
    eventually::some(SOON, "the refusal in the binding's status", || async {
        let seen = objects::get(hub, &binding).await?.context("no binding")?;
        let items = seen.data["status"]["aggregatedStatus"].as_array().cloned().unwrap_or_default();
        let refused = items.iter().any(|item| item["clusterName"] == "sz-prod" && item["applied"] != json!(true));
        ensure!(refused, "{items:?}");
        Ok(Some(()))
    })
    .await?;

    objects::delete(hub, &ours).await?;
    for name in ["bj-prod", "sh-prod"] {
        let other = federation.member(name)?;
        eventually::some(SOON, "our ConfigMap to be gone", || async {
            Ok(objects::get(&other.client, &ours).await?.is_none().then_some(()))
        })
        .await?;
    }
    let theirs_after = objects::get(&member.client, &theirs).await?.context("the foreign object is gone")?;
    ensure!(theirs_after.metadata.uid == theirs_before.metadata.uid);
    ensure!(
        theirs_after.metadata.resource_version == theirs_before.metadata.resource_version,
        "somebody wrote it: {theirs_after:?}"
    );
    Ok(())
}
