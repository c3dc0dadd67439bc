//! What policies promise beside the split: suspension, what stays, every kind that is propagated.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pando_e2e::eventually;
use serde_json::{Value, json};

use crate::budget::quiet;
use crate::objects;
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);
const EVERYWHERE: [&str; 3] = ["bj-prod", "sh-prod", "sz-prod"];

pub(crate) async fn suspended_dispatching_writes_nothing_until_it_is_resumed(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    objects::namespace(hub, "suspended").await?;
    let object = objects::config_map("suspended", "later");
    let mut policy = objects::duplicated("suspended", "v1", "ConfigMap", "later", &EVERYWHERE);
    policy["spec"]["suspension"] = json!({ "dispatching": true });
    objects::create(hub, &policy).await?;
    objects::create(hub, &object).await?;
    let binding = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": "suspended", "name": "later-configmap" },
    });
    eventually::some(SOON, "the binding to be scheduled", || async {
        let seen = objects::get(hub, &binding).await?.context("no binding")?;
        Ok(seen.data["spec"]["clusters"].as_array().filter(|all| all.len() == 3).map(drop))
    })
    .await?;
    quiet(federation).await?;
    for member in &federation.members {
        ensure!(objects::get(&member.client, &object).await?.is_none(), "dispatched to {}", member.name);
    }
    objects::merge(hub, &policy, &json!({ "spec": { "suspension": { "dispatching": false } } })).await?;
    for member in &federation.members {
        eventually::some(SOON, "the ConfigMap after all", || objects::get(&member.client, &object)).await?;
    }
    Ok(())
}

pub(crate) async fn preserved_objects_stay_when_their_template_goes(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    objects::namespace(hub, "preserved").await?;
    let object = objects::config_map("preserved", "kept");
    let mut policy = objects::duplicated("preserved", "v1", "ConfigMap", "kept", &EVERYWHERE);
    policy["spec"]["preserveResourcesOnDeletion"] = json!(true);
    objects::create(hub, &policy).await?;
    objects::create(hub, &object).await?;
    for member in &federation.members {
        eventually::some(SOON, "the ConfigMap", || objects::get(&member.client, &object)).await?;
    }
    objects::delete(hub, &object).await?;
    let binding = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": { "namespace": "preserved", "name": "kept-configmap" },
    });
    eventually::some(SOON, "the binding to be gone", || async {
        Ok(objects::get(hub, &binding).await?.is_none().then_some(()))
    })
    .await?;
    quiet(federation).await?;
    for member in &federation.members {
        let kept = objects::get(&member.client, &object).await?.context("not preserved")?;
        let managed = kept.metadata.labels.unwrap_or_default().contains_key("karmada.io/managed");
        ensure!(!managed, "{} still calls it managed", member.name);
    }
    Ok(())
}

pub(crate) async fn services_secrets_and_config_maps_arrive_as_they_are(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    objects::namespace(hub, "carried").await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "namespace": "carried", "name": "canary" },
        "stringData": { "password": CANARY },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": "carried", "name": "front" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    let config_map = objects::config_map("carried", "settings");
    for object in [&secret, &service, &config_map] {
        objects::create(hub, object).await?;
    }
    objects::create(
        hub,
        &json!({
            "apiVersion": "policy.karmada.io/v1alpha1",
            "kind": "PropagationPolicy",
            "metadata": { "namespace": "carried", "name": "all" },
            "spec": {
                "resourceSelectors": [
                    { "apiVersion": "v1", "kind": "Secret", "name": "canary" },
                    { "apiVersion": "v1", "kind": "Service", "name": "front" },
                    { "apiVersion": "v1", "kind": "ConfigMap", "name": "settings" },
                ],
                "placement": { "clusterAffinity": { "clusterNames": EVERYWHERE } },
            },
        }),
    )
    .await?;
    for member in &federation.members {
        let read = |object: &Value| {
            let object = object.clone();
            async move { eventually::some(SOON, "it in the member", || objects::get(&member.client, &object)).await }
        };
        ensure!(read(&secret).await?.data["data"]["password"] == "YWRtaXQtb25lLWNhbmFyeQ==");
        ensure!(read(&config_map).await?.data["data"]["key"] == "value");
        let seen = read(&service).await?;
        ensure!(seen.data["spec"]["ports"][0]["targetPort"] == 8080);
        // The member gives the address; the hub's must not travel.
        let hub_address = objects::get(hub, &service).await?.context("gone")?.data["spec"]["clusterIP"].clone();
        ensure!(seen.data["spec"]["clusterIP"] != json!(null), "no address");
        println!("service address: hub {hub_address}, {} {}", member.name, seen.data["spec"]["clusterIP"]);
    }
    Ok(())
}

/// A secret value that must not show up anywhere but in the Secret.
const CANARY: &str = "admit-one-canary";

pub(crate) async fn no_secret_is_logged_or_measured(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let controller = federation.controller();
    let log = std::fs::read_to_string(&controller.process().record.log)?;
    let metrics = controller.metrics().await?.body;
    for (place, text) in [("log", &log), ("metrics", &metrics)] {
        for value in [CANARY, "YWRtaXQtb25lLWNhbmFyeQ"] {
            ensure!(!text.contains(value), "the {place} holds a secret's value");
        }
    }
    Ok(())
}

pub(crate) async fn the_controller_shows_its_health_and_metrics(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let controller = federation.controller();
    for path in ["/healthz", "/livez", "/readyz?verbose"] {
        let page = controller.health(path).await?;
        ensure!(page.status == 200, "{path}: {} {}", page.status, page.body);
    }
    let metrics = controller.metrics().await?;
    ensure!(metrics.status == 200 && metrics.body.contains("# TYPE"), "{}", metrics.body);
    Ok(())
}

pub(crate) async fn the_command_line_shows_clusters_and_bindings(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    crate::split::founded(federation, "shown").await?;
    let hub = federation.hub.admin_kubeconfig.display().to_string();
    let clusters = federation.product.run(&["get", "clusters", "--kubeconfig", &hub]).await?;
    for name in EVERYWHERE {
        ensure!(clusters.lines().any(|line| line.starts_with(name)), "{clusters}");
    }
    let bindings = federation.product.run(&["get", "bindings", "-n", "shown", "--kubeconfig", &hub]).await?;
    ensure!(bindings.contains("bj-prod:5,sh-prod:3,sz-prod:2"), "{bindings}");
    Ok(())
}
