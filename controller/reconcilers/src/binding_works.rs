//! Binding → Works: exactly one Work for each target cluster, none elsewhere.
//!
//! ```text
//! observe   binding, template, matching overrides, existing Works     reads only (stores)
//! plan      which Works to create, replace, release, and why          pure, in core::render
//! apply     the steps in order, each with its own deadline            writes only
//! report    events from what was applied; the status is arrow 6       no writes of its own
//! ```

mod observe;
mod report;

use pando_api::work::Binding;
use pando_context::Ctx;
use pando_core::next::Next;
use pando_core::render;
use pando_runtime::store::Key;
use serde_json::json;

use crate::env::Env;
use crate::error::Error;
use crate::work_steps;
use observe::Observed;

/// Brings the Works of the binding `key` to what its placement, template and overrides say.
///
/// # Errors
/// See [`Error`]. What succeeded stays, and planning again continues from there.
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &Key) -> Result<Next, Error> {
    let Some(observed) = observe::binding(env, key)? else {
        return Ok(Next::forget()); // gone; or its template is, or cannot be read now: what runs stays
    };
    if env.is_held(&observed.binding) && observed.binding.metadata.deletion_timestamp.is_none() {
        return Ok(Next::await_change()); // what runs stays; the detector hands over when the hold ends
    }
    let overrides = observed.overrides();
    let input = observed.input(&env.federation, &overrides)?;
    let plan = render::plan(&input);
    let applied = work_steps::apply(ctx, env, &plan.steps).await;
    report::binding(env, &observed, &plan, &applied);
    applied.into_result()?;
    if input.binding.deleting && input.works_complete && plan.steps.is_empty() {
        return finish(ctx, env, key, &observed).await;
    }
    Ok(plan.next)
}

/// The binding is being deleted and no Work is left: its finalizer goes.
async fn finish(ctx: &Ctx, env: &Env, key: &Key, observed: &Observed) -> Result<Next, Error> {
    let meta = &observed.binding.metadata;
    let present = meta.finalizers.as_deref().unwrap_or_default();
    let ours = Binding::finalizer(key.namespace.is_some());
    let rest: Vec<_> = present.iter().filter(|name| *name != ours).collect();
    if rest.len() < present.len() {
        let patch = json!({"metadata": {"resourceVersion": meta.resource_version, "finalizers": rest}});
        match env.hub.patch(ctx, env.stores.bindings.of(key), key, &patch).await {
            Err(error) if error.is_not_found() => {}
            outcome => outcome?,
        }
    }
    Ok(Next::forget())
}
