//! Members get what the override policies make of a template, and only those that they name.

use std::time::Duration;

use anyhow::{Context as _, Result};
use pando_e2e::eventually;
use serde_json::{Value, json};

use crate::objects;
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);
const EVERYWHERE: [&str; 3] = ["bj-prod", "sh-prod", "sz-prod"];

pub(crate) async fn overriders_change_the_members_that_they_name(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    objects::namespace(hub, "overriding").await?;
    let template = objects::deployment("overriding", "app", 1);
    objects::create(
        hub,
        &json!({
            "apiVersion": "policy.karmada.io/v1alpha1",
            "kind": "OverridePolicy",
            "metadata": { "namespace": "overriding", "name": "app" },
            "spec": {
                "resourceSelectors": [{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "app" }],
                "overrideRules": [{
                    "targetCluster": { "clusterNames": ["sh-prod"] },
                    "overriders": {
                        "imageOverrider": [{ "component": "Registry", "operator": "add", "value": "mirror.example" }],
                        "plaintext": [{
                            "path": "/spec/template/spec/containers/0/env/0/value",
                            "operator": "replace", "value": "ni hao",
                        }],
                        "labelsOverrider": [{ "operator": "add", "value": { "city": "shanghai" } }],
                        "annotationsOverrider": [{ "operator": "add", "value": { "example.io/note": "by policy" } }],
                    },
                }],
            },
        }),
    )
    .await?;
    objects::create(hub, &template).await?;
    objects::create(hub, &objects::duplicated("overriding", "apps/v1", "Deployment", "app", &EVERYWHERE)).await?;
    let plain = ("nginx:1.29", "hello", Value::Null, Value::Null);
    let changed = ("mirror.example/nginx:1.29", "ni hao", json!("shanghai"), json!("by policy"));
    for (member, (image, greeting, label, annotation)) in EVERYWHERE.into_iter().zip([plain.clone(), changed, plain]) {
        let client = &federation.member(member)?.client;
        let wanted = vec![json!(image), json!(greeting), label, annotation];
        eventually::equal(SOON, &format!("the app in {member}"), &wanted, || async {
            let seen = objects::get(client, &template).await?.context("not there yet")?;
            let container = seen.data["spec"]["template"]["spec"]["containers"][0].clone();
            let labels = json!(seen.metadata.labels);
            let annotations = json!(seen.metadata.annotations);
            Ok(vec![
                container["image"].clone(),
                container["env"][0]["value"].clone(),
                labels["city"].clone(),
                annotations["example.io/note"].clone(),
            ])
        })
        .await?;
    }
    Ok(())
}
