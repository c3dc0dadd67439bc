//! When a cluster can be used. `/readyz` alone comes seconds too early for a member: pods need
//! a node and a default ServiceAccount.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::net::TcpStream;

use super::all_alive;
use crate::eventually;
use crate::process::Running;

const NODE: &str = "node-1";
const CANARY: &str = "pando-canary";

/// Waits for somebody to listen on a port; ends early when a process ends.
pub(super) async fn listening(port: u16, processes: &[Running], within: Duration) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while_alive(processes, within, &format!("a listener on {address}"), || async move {
        TcpStream::connect(address).await?;
        Ok(Some(()))
    })
    .await
}

/// Waits for `/readyz` of the API server.
pub(super) async fn api(client: &Client, processes: &[Running], within: Duration) -> Result<()> {
    while_alive(processes, within, "/readyz of the API server", || async move {
        let request = http_get("/readyz")?;
        let answer = client.request_text(request).await?;
        Ok((answer == "ok").then_some(()))
    })
    .await
}

/// Creates the one node, with room for a thousand pods of any size.
pub(super) async fn create_node(client: &Client) -> Result<()> {
    let room = json!({ "cpu": "256", "memory": "1Ti", "pods": "1000", "ephemeral-storage": "1Ti" });
    let node: Node = serde_json::from_value(json!({
        "metadata": {
            "name": NODE,
            "labels": { "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "type": "kwok" },
        },
        "status": { "capacity": room, "allocatable": room },
    }))?;
    let nodes = Api::<Node>::all(client.clone());
    nodes.create(&PostParams::default(), &node).await.context("cannot create the node")?;
    Ok(())
}

/// Waits until a pod runs: node ready, default ServiceAccount there, canary pod Ready and gone again.
pub(super) async fn member(client: &Client, processes: &[Running], within: Duration) -> Result<()> {
    let nodes = Api::<Node>::all(client.clone());
    let accounts = Api::<ServiceAccount>::default_namespaced(client.clone());
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let (nodes, accounts, pods) = (&nodes, &accounts, &pods);
    while_alive(processes, within, "the node to be ready", || async move {
        let node = nodes.get(NODE).await?;
        let tainted = node.spec.and_then(|spec| spec.taints).is_some_and(|taints| !taints.is_empty());
        let ready = node
            .status
            .and_then(|status| status.conditions)
            .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        Ok((ready && !tainted).then_some(()))
    })
    .await?;
    while_alive(processes, within, "the default ServiceAccount", || async move {
        Ok(accounts.get_opt("default").await?.map(drop))
    })
    .await?;
    let canary: Pod = serde_json::from_value(json!({
        "metadata": { "name": CANARY },
        "spec": { "containers": [{ "name": "canary", "image": "canary" }] },
    }))?;
    pods.create(&PostParams::default(), &canary).await.context("cannot create the canary pod")?;
    while_alive(processes, within, "the canary pod to be ready", || async move {
        let ready = pods
            .get(CANARY)
            .await?
            .status
            .and_then(|status| status.conditions)
            .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        Ok(ready.then_some(()))
    })
    .await?;
    pods.delete(CANARY, &DeleteParams::default().grace_period(0)).await?;
    while_alive(processes, within, "the canary pod to be gone", || async move {
        Ok(pods.get_opt(CANARY).await?.is_none().then_some(()))
    })
    .await
}

/// A request for [`Client::request_text`].
fn http_get(path: &str) -> Result<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

/// Waits for a condition, but not longer than the processes live that must bring it about.
async fn while_alive<F>(processes: &[Running], within: Duration, what: &str, probe: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<Option<()>>>,
{
    let dead = eventually::some(within * 2, "a process to end", || async { Ok(all_alive(processes).err()) });
    tokio::select! {
        awaited = eventually::some(within, what, probe) => awaited,
        ended = dead => Err(ended.unwrap_or_else(|_| anyhow!("{what}: no process ended"))),
    }
}
