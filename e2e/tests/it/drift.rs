//! What somebody changes in a member by hand is put right; what the member may decide is kept.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::DynamicObject;
use pando_e2e::eventually;
use serde_json::{Value, json};

use crate::objects;
use crate::split::founded;
use crate::world::World;

const SOON: Duration = Duration::from_secs(30);

fn container(deployment: &DynamicObject) -> &Value {
    &deployment.data["spec"]["template"]["spec"]["containers"][0]
}

pub(crate) async fn a_deleted_deployment_is_back_within_two_seconds(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "recreate").await?;
    let member = federation.member("sh-prod")?;
    let before = objects::get(&member.client, &template).await?.context("propagated")?;
    let start = Instant::now();
    objects::delete(&member.client, &template).await?;
    let after = eventually::some(SOON, "another Deployment", || async {
        let seen = objects::get(&member.client, &template).await?;
        Ok(seen.filter(|seen| seen.metadata.uid != before.metadata.uid))
    })
    .await?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(2), "it took {took:?}");
    ensure!(after.data["spec"]["replicas"] == 3, "{}", after.data["spec"]);
    Ok(())
}

pub(crate) async fn an_image_edited_by_hand_is_reverted(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "image").await?;
    let member = federation.member("bj-prod")?;
    let edit = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil:latest" },
    ]);
    let edited = objects::json_patch(&member.client, &template, edit).await?;
    ensure!(container(&edited)["image"] == "evil:latest");
    eventually::equal(SOON, "the image", &json!("nginx:1.29"), || async {
        let seen = objects::get(&member.client, &template).await?.context("gone")?;
        Ok(container(&seen)["image"].clone())
    })
    .await
}

pub(crate) async fn replicas_under_the_retain_label_are_kept(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "retain").await?;
    let label = json!({ "metadata": { "labels": { "resourcetemplate.karmada.io/retain-replicas": "true" } } });
    objects::merge(&federation.hub.client, &template, &label).await?;
    let member = federation.member("bj-prod")?;
    eventually::some(SOON, "the label in the member", || async {
        let seen = objects::get(&member.client, &template).await?.context("gone")?;
        let labels = seen.metadata.labels.unwrap_or_default();
        Ok(labels.contains_key("resourcetemplate.karmada.io/retain-replicas").then_some(()))
    })
    .await?;
    objects::merge(&member.client, &template, &json!({ "spec": { "replicas": 7 } })).await?;
    // A change of something else shows that Pando has looked at the object since.
    let edit = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.30" },
    ]);
    objects::json_patch(&federation.hub.client, &template, edit).await?;
    eventually::equal(SOON, "image and replicas", &(json!("nginx:1.30"), json!(7)), || async {
        let seen = objects::get(&member.client, &template).await?.context("gone")?;
        Ok((container(&seen)["image"].clone(), seen.data["spec"]["replicas"].clone()))
    })
    .await
}

pub(crate) async fn an_environment_variable_removed_from_the_template_disappears(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (template, _) = founded(federation, "environment").await?;
    let members = &federation.members;
    for member in members {
        let seen = objects::get(&member.client, &template).await?.context("propagated")?;
        ensure!(container(&seen)["env"][0]["name"] == "GREETING", "{}", container(&seen));
    }
    let edit = json!([{ "op": "remove", "path": "/spec/template/spec/containers/0/env" }]);
    objects::json_patch(&federation.hub.client, &template, edit).await?;
    eventually::equal(SOON, "env in the members", &vec![Value::Null; members.len()], || async {
        let mut seen = Vec::new();
        for member in members {
            let object = objects::get(&member.client, &template).await?.context("gone")?;
            seen.push(container(&object)["env"].clone());
        }
        Ok(seen)
    })
    .await
}
