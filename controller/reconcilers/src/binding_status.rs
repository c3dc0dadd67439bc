//! Works → binding status → template status: what the members report, folded back. The only writer of both.
//!
//! ```text
//! observe   binding, its Works, the template, the scheduling outcome      reads only (stores)
//! plan      both statuses                                                 pure, in core::aggregate
//! apply     each status that differs, once                                writes only
//! ```
//!
//! Few writes: the first answer of every member is awaited for up to [`SETTLE`], so that a new object is usually
//! reported once for all of them; afterwards changes are folded over [`LEADING_EDGE`].

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::conditions::APPLIED;
use pando_api::labels;
use pando_api::work::{ResourceBinding, Work};
use pando_context::Ctx;
use pando_core::next::Next;
use pando_core::render::Binding;
use pando_core::{aggregate, conditions, merge_patch, scheduler};
use pando_runtime::store::Key;
use serde_json::{Value, json};

use crate::env::{Env, LEADING_EDGE, SETTLE, Stores, WORKS_BY_BINDING};
use crate::error::Error;
use crate::template::TemplateKey;

/// How long to wait after the status of a Work of this binding changed: not long when every target has answered.
#[must_use]
pub fn delay(stores: &Stores, binding: &Key) -> Duration {
    let Some(binding) = stores.bindings.get(binding) else { return SETTLE };
    let id = binding.metadata.labels.as_ref().and_then(|labels| labels.get(labels::BINDING_PERMANENT_ID));
    let works = id.map(|id| stores.works.by_index(WORKS_BY_BINDING, id)).unwrap_or_default();
    let answered = works.iter().filter(|work| is_answered(work)).count();
    if answered >= binding.spec.clusters.len() { LEADING_EDGE } else { SETTLE }
}

fn is_answered(work: &Work) -> bool {
    work.status.as_ref().is_some_and(|status| conditions::find(&status.conditions, APPLIED).is_some())
}

/// Brings the status of the binding `key` and of its template up to date.
///
/// # Errors
/// A write failed.
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &Key) -> Result<Next, Error> {
    let Some(binding) = env.stores.bindings.get(key) else { return Ok(Next::forget()) };
    if binding.metadata.deletion_timestamp.is_some() {
        return Ok(Next::await_change());
    }
    let view = Binding::namespaced(&binding)?;
    let works = env.stores.works.by_index(WORKS_BY_BINDING, view.permanent_id);
    let now = Time(env.clock.now());
    let mut status = aggregate::binding_status(&view, &works, binding.status.as_ref(), &now);
    let outcome = env.outcomes.get(key);
    let is_ours = scheduler::may_schedule(&binding.spec, &binding.metadata.labels.clone().unwrap_or_default()).is_ok();
    if is_ours || outcome.is_some() {
        let (scheduling, at) = outcome.map(|outcome| (outcome.scheduling, outcome.at)).unzip();
        aggregate::scheduled(&mut status, &binding, scheduling.as_ref(), at.flatten(), &now);
    }
    if let Some(patch) = status_patch(&binding, &status) {
        env.hub.patch_status(ctx, &env.stores.bindings, key, &patch).await?;
    }
    template(ctx, env, &binding, &status.aggregated_status).await?;
    Ok(Next::await_change())
}

fn status_patch(binding: &ResourceBinding, status: &pando_api::work::ResourceBindingStatus) -> Option<Value> {
    let (from, to) = (serde_json::to_value(&binding.status).ok()?, serde_json::to_value(status).ok()?);
    let change = merge_patch::between(&from, &to)?;
    Some(json!({"metadata": {"resourceVersion": binding.metadata.resource_version}, "status": change}))
}

/// The template's status; templates never run on the hub, so nobody else writes it.
async fn template(
    ctx: &Ctx,
    env: &Env,
    binding: &Arc<ResourceBinding>,
    items: &[pando_api::work::AggregatedStatusItem],
) -> Result<(), Error> {
    let key = TemplateKey::of(&binding.spec.resource);
    let Some((_, store)) = env.stores.templates.kind(&key.api_version, &key.kind) else { return Ok(()) };
    let Some(template) = store.get(&key.key) else { return Ok(()) };
    if template.meta.uid.as_deref() != Some(binding.spec.resource.uid.as_str()) {
        return Ok(());
    }
    let mut object = template.manifest()?.into_value();
    let present = template.status.as_ref().and_then(|status| status.parse::<Value>().ok()).unwrap_or(Value::Null);
    object["metadata"]["generation"] = json!(template.meta.generation);
    object["status"] = present.clone();
    let Some(wanted) = aggregate::template_status(&object, items) else { return Ok(()) };
    let Some(change) = merge_patch::between(&present, &wanted) else { return Ok(()) };
    let patch = json!({"metadata": {"resourceVersion": template.meta.resource_version}, "status": change});
    env.hub.patch_status(ctx, store, &key.key, &patch).await?;
    Ok(())
}
