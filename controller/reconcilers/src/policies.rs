//! Permanent ids of policies: a random id that templates and bindings carry as the mark of their claim.
//!
//! Karmada's mutating webhook gives the id on creation. Until Pando serves webhooks its controller does, and a policy
//! without one claims nothing yet.

use pando_api::labels;
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

async fn identify<T: Record>(
    ctx: &Ctx,
    env: &Env,
    store: &Store<T>,
    label: &str,
    key: &Key,
) -> Result<Next, Error> {
    let Some(policy) = store.get(key) else { return Ok(Next::forget()) };
    let meta = policy.meta();
    let identified = meta.labels.as_ref().is_some_and(|labels| labels.get(label).is_some_and(|id| !id.is_empty()));
    if identified || meta.deletion_timestamp.is_some() {
        return Ok(Next::await_change());
    }
    let patch = json!({"metadata": {
        "resourceVersion": meta.resource_version,
        "labels": {label: Uuid::new_v4().to_string()},
    }});
    env.hub.patch(ctx, store, key, &patch).await?;
    Ok(Next::await_change())
}
