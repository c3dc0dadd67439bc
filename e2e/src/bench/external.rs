//! A rig for somebody else's controller: bare hub and members, kubeconfigs of an identity that is not the load's.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::load;
use super::objects::Kind;
use super::report::say;
use crate::federation::HUB;
use crate::install;
use crate::kubeconfig::{self, Credential};
use crate::progress::Progress;
use crate::provider::processes::Processes;
use crate::provider::{Cluster, ClusterProvider as _, ClusterSpec, Role};

/// How long a person has for installing and joining.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How often the hub is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Name of the identity.
const ACCOUNT: &str = "bench-contender";
/// How long its tokens are valid.
const TOKEN_SECONDS: i64 = 24 * 3600;
/// How many clusters start at once.
const AT_ONCE: usize = 4;

/// Starts a hub without any definitions, and the members.
///
/// # Errors
/// When one does not start.
pub(super) async fn start(provider: &Processes, names: &[String], role: Role) -> Result<(Cluster, Vec<Cluster>)> {
    let spec = |name: &str, role: Role| ClusterSpec { name: name.to_owned(), role, definitions: vec![], relay: false };
    let hub = provider.create(spec(HUB, Role::Hub)).await?;
    let members: Vec<_> = names.iter().map(|name| provider.create(spec(name, role))).collect();
    let members = stream::iter(members).buffered(AT_ONCE).try_collect().await?;
    Ok((hub, members))
}

/// Says how to reach the clusters, and waits until the hub calls every member ready.
///
/// # Errors
/// When nobody has joined them in an hour.
pub(super) async fn wait(home: &Path, hub: &Cluster, members: &[Cluster], progress: &Progress) -> Result<()> {
    say("# Install your controller on the hub and join every member under its name, with these kubeconfigs:");
    for cluster in [hub].into_iter().chain(members) {
        let path = kubeconfig(home, cluster).await?;
        say(&format!("{}\t{}\t{}", cluster.name, cluster.server, path.display()));
    }
    let client = load::client(hub).await?;
    let start = Instant::now();
    let mut said = String::new();
    loop {
        // Until its kinds are served, there is nothing but an error or a 404.
        let list = load::read(&client, "/apis/cluster.karmada.io/v1alpha1/clusters").await.ok().flatten();
        let list = list.unwrap_or(json!({}));
        let waiting: Vec<&str> =
            members.iter().map(|member| member.name.as_str()).filter(|name| !is_ready(&list, name)).collect();
        let served = load::read(&client, &Kind::Policy.collection(None)).await.is_ok_and(|list| list.is_some());
        if waiting.is_empty() && served {
            return Ok(());
        }
        let now = format!("waiting until the hub calls these clusters ready: {}", waiting.join(", "));
        if now != said {
            progress.say(&now);
            said = now;
        }
        anyhow::ensure!(start.elapsed() < PATIENCE, "{said}: not within {PATIENCE:?}");
        tokio::time::sleep(EVERY).await;
    }
}

fn is_ready(clusters: &Value, name: &str) -> bool {
    let mut all = clusters["items"].as_array().into_iter().flatten();
    let cluster = all.find(|cluster| cluster["metadata"]["name"] == name);
    let conditions = cluster.and_then(|cluster| cluster["status"]["conditions"].as_array());
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// An administrator who is not the load, so that audit logs tell them apart.
async fn kubeconfig(home: &Path, cluster: &Cluster) -> Result<PathBuf> {
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "namespace": "default", "name": ACCOUNT },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": ACCOUNT },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": "default", "name": ACCOUNT }],
        }),
    ];
    for object in &objects {
        install::apply(&cluster.client, object).await?;
    }
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), "default");
    let request = json!({ "metadata": {}, "spec": { "audiences": [], "expirationSeconds": TOKEN_SECONDS } });
    let answer =
        accounts.create_token_request(ACCOUNT, &PostParams::default(), &serde_json::from_value(request)?).await?;
    let token = answer.status.context("a token answer without token")?.token;
    let path = home.join("external").join(format!("{}.kubeconfig", cluster.name));
    kubeconfig::write(&path, &cluster.name, &cluster.server, &cluster.authority, &Credential::Token(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_ready_when_its_condition_says_so() {
        let cluster = |name: &str, ready: &str| {
            json!({
                "metadata": { "name": name },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            })
        };
        let list = json!({ "items": [cluster("a", "True"), cluster("b", "False")] });
        assert!(is_ready(&list, "a") && !is_ready(&list, "b") && !is_ready(&list, "c"));
        assert!(!is_ready(&json!({}), "a"));
    }
}
