//! `--force`: lets go of a member that cannot be cleaned, and says what stays behind in it.
//!
//! Karmada 1.19's order: finalizers of the Works, then of the execution namespace, then of the Cluster.
//! Each change is bound to the version that was read, so that nothing is overwritten unseen.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use pando_api::annotations;
use pando_api::cluster::Cluster;
use pando_api::names::ClusterName;
use pando_api::work::Work;
use pando_context::Ctx;
use serde_json::json;

use super::super::connection::{Hub, Object, RequestError};
use super::super::terminal;
use super::Error;

/// How often a change is tried again when the controller changed the object in between.
const TRIES: usize = 5;

/// How long the hub may take to forget a Cluster that nothing holds any more.
const FORGET: Duration = Duration::from_secs(5);

/// Removes what holds the Cluster, without the member's consent.
pub(super) async fn run(ctx: &Ctx, hub: &Hub, name: &ClusterName, cluster: &Cluster) -> Result<(), Error> {
    announce(hub, cluster).await?;
    let execution = name.execution_namespace().to_string();
    let works: Vec<Work> = hub.list(&hub.within(&execution)).await?;
    for work in &works {
        release(hub, &hub.within::<Work>(&execution), work).await?;
        terminal::progress(format_args!("hub: let go of work {}; its objects may stay in the member", work.name_any()));
    }
    let namespaces = hub.all::<Namespace>();
    if let Some(namespace) = hub.find(&namespaces, &execution).await? {
        hub.delete(&namespaces, &namespace).await?;
        release(hub, &namespaces, &namespace).await?;
        terminal::progress(format_args!("hub: let go of namespace {execution}"));
    }
    release(hub, &hub.all::<Cluster>(), cluster).await?;
    terminal::progress(format_args!(
        "hub: let go of cluster {name}; what {} work(s) propagated may stay in the member, labelled {}=true",
        works.len(),
        pando_api::labels::MANAGED,
    ));
    gone(ctx, hub, cluster).await
}

/// Tells the controller, in the words of the detach contract, so that it does not hold on to what is let go here.
async fn announce(hub: &Hub, cluster: &Cluster) -> Result<(), RequestError> {
    let mut any_version = cluster.clone();
    any_version.metadata.resource_version = None;
    let patch = json!({"metadata": {"annotations": {annotations::DETACH_FORCE: "true"}}});
    match hub.change(&hub.all::<Cluster>(), &any_version, patch).await {
        Err(RequestError::Refused { code: 404 | 409, .. }) => Ok(()),
        announced => announced.map(drop),
    }
}

/// Takes all finalizers off an object, if it still exists.
async fn release<K: Object>(hub: &Hub, api: &Api<K>, object: &K) -> Result<(), RequestError> {
    let name = object.name_any();
    for _ in 0..TRIES {
        let Some(now) = hub.find(api, &name).await?.filter(|now| now.uid() == object.uid()) else {
            return Ok(());
        };
        if now.finalizers().is_empty() {
            return Ok(());
        }
        match hub.change(api, &now, json!({"metadata": {"finalizers": null}})).await {
            Err(RequestError::Refused { code: 404 | 409, .. }) => {}
            changed => return changed.map(drop),
        }
    }
    // Someone puts it back each time: the next look at the Cluster says what is left.
    Ok(())
}

async fn gone(ctx: &Ctx, hub: &Hub, cluster: &Cluster) -> Result<(), Error> {
    let name = cluster.name_any();
    let started = tokio::time::Instant::now();
    loop {
        let now: Option<Cluster> = hub.find(&hub.all(), &name).await?;
        let Some(now) = now.filter(|now| now.uid() == cluster.uid()) else {
            return Ok(());
        };
        if started.elapsed() >= FORGET {
            return Err(Error::StillThere {
                left: super::Left { works: 0, namespace: String::new(), finalizers: now.finalizers().to_vec() },
                name,
                waited: started.elapsed(),
            });
        }
        ctx.sleep(super::POLL).await?;
    }
}
