//! The credential secrets of a member on the hub.
//!
//! Whoever may write Clusters chooses the endpoint that a secret's content is sent to. So only secrets that are credentials
//! of this very cluster are read: those in `karmada-cluster` that bear its name or belong to it. Everything else would let
//! the author of a Cluster send any secret of the hub to a server of theirs.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use pando_api::annotations;
use pando_api::cluster::{Cluster, LocalSecretReference};
use pando_api::names::KARMADA_CLUSTER;
use pando_context::Ctx;

use super::memory::Lifetime;
use super::namespace::call;
use super::{Env, Error};

/// What a reference to a secret led to.
pub(super) enum Credentials {
    /// The secret.
    Found(Box<Secret>),
    /// It is not there, or not this cluster's. What to do about it, in one line.
    Refused(String),
}

/// Reads a secret that a Cluster names.
pub(super) async fn read(
    ctx: &Ctx,
    env: &Env,
    cluster: &Cluster,
    place: &LocalSecretReference,
) -> Result<Credentials, Error> {
    let LocalSecretReference { namespace, name } = place;
    if namespace != KARMADA_CLUSTER {
        return Ok(Credentials::Refused(format!(
            "secret {namespace}/{name} is not read: credentials of clusters live in namespace {KARMADA_CLUSTER}; put it there and correct the reference in the spec"
        )));
    }
    let api = Api::<Secret>::namespaced(env.client.clone(), namespace);
    let found = call(ctx, format!("read secret {namespace}/{name}"), api.get_opt(name)).await?;
    let Some(secret) = found else {
        return Ok(Credentials::Refused(format!(
            "secret {namespace}/{name} does not exist: create it with token and caBundle"
        )));
    };
    if !belongs(&secret, cluster) {
        let cluster = cluster.metadata.name.as_deref().unwrap_or_default();
        return Ok(Credentials::Refused(format!(
            "secret {namespace}/{name} is not this cluster's: name it {cluster:?}, or make Cluster {cluster:?} its owner (metadata.ownerReferences)"
        )));
    }
    Ok(Credentials::Found(Box::new(secret)))
}

/// Is the secret a credential of this cluster? Who owns it says so; without an owner its name does: the cluster's, or
/// Karmada 1.19's for the impersonator.
fn belongs(secret: &Secret, cluster: &Cluster) -> bool {
    let mut owners = secret
        .metadata
        .owner_references
        .iter()
        .flatten()
        .filter(|owner| owner.kind == "Cluster" && owner.api_version.starts_with("cluster.karmada.io/"))
        .peekable();
    if owners.peek().is_some() {
        return owners.any(|owner| cluster.metadata.uid.as_ref() == Some(&owner.uid));
    }
    let own = cluster.metadata.name.as_deref().unwrap_or_default();
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    !own.is_empty() && name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest == "-impersonator")
}

/// The life of the token in the secret, as its annotations say. `None` for tokens without an end, or of which nothing is
/// said: they are not renewed.
pub(super) fn lifetime(secret: &Secret) -> Option<Lifetime> {
    let annotation = |key| secret.metadata.annotations.as_ref()?.get(key)?.parse().ok();
    Some(Lifetime { from: annotation(ISSUED), until: annotation(annotations::TOKEN_EXPIRES)? })
}

/// On a credential secret: when its token was issued, RFC 3339. Ours, written at each renewal.
pub(super) const ISSUED: &str = annotations::TOKEN_ISSUED;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use serde_json::{Value, json};

    use super::*;

    fn is_of(cluster: &str, secret: &str, owner: Option<&str>) -> bool {
        let owners: Vec<Value> = owner
            .map(|uid| json!({"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "name": "x", "uid": uid}))
            .into_iter()
            .collect();
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": secret, "ownerReferences": owners}})).unwrap();
        let cluster: Cluster =
            serde_json::from_value(json!({"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster",
                "metadata": {"name": cluster, "uid": format!("uid-of-{cluster}")}, "spec": {"syncMode": "Push"}}))
            .unwrap();
        belongs(&secret, &cluster)
    }

    #[test]
    fn a_cluster_reaches_its_own_secrets_only() {
        assert!(is_of("bj", "bj", None));
        assert!(is_of("bj", "bj-impersonator", None));
        assert!(is_of("bj", "any-name", Some("uid-of-bj")));
        assert!(!is_of("bj", "sz", None));
        assert!(!is_of("bj", "bj-2", None));
        assert!(!is_of("bj-impersonator", "bj-impersonator", Some("uid-of-bj")), "the name alone would do here");
    }
}
