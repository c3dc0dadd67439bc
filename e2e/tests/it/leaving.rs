//! A member that leaves is cleaned, the others take over, and who is not concerned is not touched.

use std::time::Duration;

use anyhow::{Result, ensure};
use pando_e2e::audit;
use pando_e2e::eventually;

use crate::budget::{log, marks, pando, quiet_but_for_events};
use crate::objects::{self, spread};
use crate::split::founded;
use crate::world::World;

const SOON: Duration = Duration::from_secs(90);

pub(crate) async fn an_unjoined_member_keeps_only_namespaces_and_others_take_over(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub;
    let (_, _) = founded(federation, "leaving").await?;
    objects::namespace(&hub.client, "elsewhere").await?;
    let elsewhere = ["bj-prod", "sh-prod"];
    let copied = objects::deployment("elsewhere", "copied", 2);
    objects::create(&hub.client, &copied).await?;
    objects::create(&hub.client, &objects::duplicated("elsewhere", "apps/v1", "Deployment", "copied", &elsewhere))
        .await?;
    eventually::equal(SOON, "the copied app", &vec![Some(2), Some(2), None], || {
        spread(federation, "elsewhere", "copied")
    })
    .await?;
    quiet_but_for_events(federation).await?;

    let before = marks(federation)?;
    let leaving = federation.member("sz-prod")?;
    federation.product.unjoin("sz-prod", &hub.admin_kubeconfig, &leaving.admin_kubeconfig).await?;
    eventually::equal(SOON, "web-service", &vec![Some(6), Some(4), None], || {
        spread(federation, "leaving", "web-service")
    })
    .await?;
    for (version, kind) in [("apps/v1", "Deployment"), ("v1", "ConfigMap"), ("v1", "Service"), ("v1", "Secret")] {
        eventually::equal(SOON, &format!("{kind}s of ours in sz-prod"), &Vec::<String>::new(), || {
            objects::managed(leaving, version, kind)
        })
        .await?;
    }
    let kept = objects::get(
        &leaving.client,
        &serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "leaving" },
        }),
    )
    .await?;
    ensure!(kept.is_some(), "the namespace is gone with whatever the member's people put there");
    for (cluster, mark) in before {
        let user = pando(cluster, federation);
        let mut writes = log(cluster)?.writes_since(mark, |by| by == user)?;
        writes.retain(|entry| {
            entry.namespace == "elsewhere" && entry.name.contains("copied") && entry.resource != "events"
        });
        ensure!(writes.is_empty(), "the app elsewhere was written in {}:\n{}", cluster.name, audit::print(&writes));
    }
    Ok(())
}

pub(crate) async fn a_member_that_left_joins_again(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let member = federation.member("sz-prod")?;
    let hub = &federation.hub.admin_kubeconfig;
    // Without effect when the test before has done it; that order is not a promise.
    federation.product.unjoin("sz-prod", hub, &member.admin_kubeconfig).await.ok();
    eventually::some(SOON, "the member to join again", || async { federation.join(member).await.map(Some) }).await?;
    founded(federation, "rejoined").await?;
    Ok(())
}
