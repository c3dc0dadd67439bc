//! Binding → clusters, when the clusters change under a binding. (A new or edited template is scheduled by the detector,
//! in the same write; this arrow only hears of clusters that come, go or change.)
//!
//! ```text
//! observe   binding, clusters                  reads only (stores)
//! plan      the clusters, if they change       pure, in core::detect::place
//! report    the outcome to arrow 6, events     no writes of its own
//! apply     one patch of the binding           writes only
//! ```

use pando_context::Ctx;
use pando_core::detect;
use pando_core::next::Next;
use pando_core::scheduler::Snapshot;
use pando_runtime::store::Key;

use crate::env::Env;
use crate::error::Error;
use crate::events;

/// Schedules the binding `key` again if its clusters no longer stand.
///
/// # Errors
/// The clusters cannot be read, or the write failed.
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &Key) -> Result<Next, Error> {
    let Some(binding) = env.stores.bindings.get(key) else { return Ok(Next::forget()) };
    if binding.metadata.deletion_timestamp.is_some() || env.is_held(&binding) {
        return Ok(Next::await_change());
    }
    let clusters = Snapshot::of_clusters(env.stores.clusters.complete(None)?);
    let mut desired = binding.as_ref().clone();
    let placed = detect::place(&mut desired, &clusters);
    if let Some(scheduling) = &placed.scheduling {
        env.scheduled(key, scheduling);
    }
    if let Some(patch) = detect::change(&binding, desired) {
        env.hub.patch(ctx, env.stores.bindings.of(key), key, &patch).await?;
    }
    for notice in &placed.notices {
        events::tell(env, &events::of_binding(&binding), notice);
    }
    Ok(Next::await_change())
}
