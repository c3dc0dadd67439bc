//! Permanent ids of policies: a random id that templates and bindings carry as the mark of their claim.
//!
//! Karmada's mutating webhook gives the id on creation. Until Pando serves webhooks its controller does, and a policy
//! without one claims nothing yet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pando_api::{finalizers, labels};
use pando_context::Ctx;
use pando_core::next::Next;
use pando_runtime::store::{Key, Record, Store};
use serde_json::json;
use uuid::Uuid;

use crate::env::Env;
use crate::hub::Error;

/// Gives the policy of `key` its permanent id when it has none.
///
/// # Errors
/// The write failed.
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &Key) -> Result<Next, Error> {
    if key.namespace.is_some() {
        identify(ctx, env, &env.stores.policies, labels::PROPAGATION_POLICY_PERMANENT_ID, key).await
    } else {
        identify(ctx, env, &env.stores.cluster_policies, labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID, key).await
    }
}

async fn identify<T: Record>(ctx: &Ctx, env: &Env, store: &Store<T>, label: &str, key: &Key) -> Result<Next, Error> {
    let Some(policy) = store.get(key) else { return Ok(Next::forget()) };
    let meta = policy.meta();
    if meta.deletion_timestamp.is_some() {
        return release(ctx, env, store, key, meta).await;
    }
    let identified = meta.labels.as_ref().is_some_and(|labels| labels.get(label).is_some_and(|id| !id.is_empty()));
    if identified {
        return Ok(Next::await_change());
    }
    let patch = json!({"metadata": {
        "resourceVersion": meta.resource_version,
        "labels": {label: Uuid::new_v4().to_string()},
    }});
    env.hub.patch(ctx, store, key, &patch).await?;
    Ok(Next::await_change())
}

/// Takes off the finalizer that Karmada's webhook put on a policy which is being deleted. Its marks go because a policy
/// that is being deleted claims nothing: no finalizer of ours is needed for that.
async fn release<T: Record>(
    ctx: &Ctx,
    env: &Env,
    store: &Store<T>,
    key: &Key,
    meta: &ObjectMeta,
) -> Result<Next, Error> {
    let karmadas = [finalizers::PROPAGATION_POLICY, finalizers::CLUSTER_PROPAGATION_POLICY];
    let present = meta.finalizers.as_deref().unwrap_or_default();
    let rest: Vec<_> = present.iter().filter(|finalizer| !karmadas.contains(&finalizer.as_str())).collect();
    if rest.len() < present.len() {
        let patch = json!({"metadata": {"resourceVersion": meta.resource_version, "finalizers": rest}});
        env.hub.patch(ctx, store, key, &patch).await?;
    }
    Ok(Next::await_change())
}
