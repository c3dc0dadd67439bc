//! Works → binding status → template status: what the members report, folded back. The only writer of both.
//!
//! ```text
//! observe   binding, its Works, their clusters, the template, the scheduling outcome      reads only (stores)
//! plan      both statuses; only what changed is looked at again                           pure, in core::aggregate
//! apply     each status that differs, in one go                                           writes only
//! ```
//!
//! Few writes: a change is reported 20 ms later with what came along, and while changes keep coming never more often than
//! `core::aggregate::pacing` says. A new object waits a moment for the first answer of every member.

mod reports;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::conditions::FULLY_APPLIED;
use pando_api::names::EXECUTION_NAMESPACE_PREFIX;
use pando_api::work::Binding;
use pando_context::Ctx;
use pando_core::aggregate::{self, Folded, Memory, Reading, Sources};
use pando_core::next::Next;
use pando_core::{conditions, render, scheduler};
use pando_runtime::store::{Key, Read};
use serde_json::{Value, json};

use crate::env::{Env, WORKS_BY_BINDING};
use crate::error::Error;
use crate::template::{Followed, Template, TemplateKey};

pub use reports::Reports;

/// How long to wait after the status of a Work of this binding, or of its template, changed.
#[must_use]
pub fn delay(env: &Env, binding: &Key) -> Duration {
    env.reports.wait(binding, env.stores.bindings.get(binding).is_some_and(|binding| is_complete(env, &binding)))
}

/// Whether nobody's first answer is outstanding. What was reported before is not held back for a member that is new.
fn is_complete(env: &Env, binding: &Binding) -> bool {
    let status = binding.status.as_ref();
    if status.is_some_and(|status| conditions::find(&status.conditions, FULLY_APPLIED).is_some()) {
        return true;
    }
    let works = binding.permanent_id().map(|id| env.stores.works.by_index(WORKS_BY_BINDING, id)).unwrap_or_default();
    works.iter().filter(|work| aggregate::is_answered(work)).count() >= binding.spec.clusters.len()
}

/// Whether a member, by name, is read at present.
fn reading(env: &Env, cluster: &str) -> Reading {
    match env.stores.clusters.read(&Key::cluster(cluster)) {
        Read::Found(cluster) => Reading::of(Some(&cluster)),
        Read::Absent => Reading::of(None),
        Read::Unreadable(_) => Reading::Lost { since: None },
    }
}

/// Brings the status of the binding `key` and of its template up to date.
///
/// # Errors
/// A write failed.
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &Key) -> Result<Next, Error> {
    let Some(binding) = env.stores.bindings.get(key) else {
        env.reports.forget(key);
        return Ok(Next::forget());
    };
    if binding.metadata.deletion_timestamp.is_some() {
        return Ok(Next::await_change());
    }
    if let Some(hold) = env.reports.hold(key) {
        return Ok(Next::after(hold));
    }
    let mut memory = env.reports.memory(key);
    let Some(plan) = plan(env, key, &binding, &mut memory)? else {
        env.reports.keep(key, memory);
        return Ok(Next::await_change());
    };
    let report = env.reports.begin(key, memory);
    write(ctx, env, key, &plan).await?;
    report.written();
    Ok(Next::await_change())
}

/// What is to be written so that both statuses are as they shall be.
struct Plan {
    binding: Option<Value>,
    template: Option<TemplatePlan>,
}

/// The write that puts a template's status right.
struct TemplatePlan {
    followed: Followed,
    key: Key,
    patch: Value,
}

/// `None` when both statuses are as they shall be.
fn plan(env: &Env, key: &Key, binding: &Arc<Binding>, memory: &mut Memory) -> Result<Option<Plan>, Error> {
    let works = env.stores.works.by_index(WORKS_BY_BINDING, render::Binding::of(binding)?.permanent_id);
    let now = Time(env.clock.now());
    let sources = Sources {
        binding,
        works: &works,
        reading: &|cluster| reading(env, cluster),
        in_doubt: &|cluster| !env.stores.works.is_complete(Some(&format!("{EXECUTION_NAMESPACE_PREFIX}{cluster}"))),
    };
    let mut folded = aggregate::fold(memory, &sources, &now);
    let outcome = env.outcomes.get(key);
    let is_ours = scheduler::may_schedule(&binding.spec, &binding.metadata.labels.clone().unwrap_or_default()).is_ok();
    if is_ours || outcome.is_some() {
        let (scheduling, at) = outcome.map(|outcome| (outcome.scheduling, outcome.at)).unzip();
        aggregate::scheduled(&mut folded.head, binding, scheduling.as_ref(), at.flatten(), &now);
    }
    let template = template(env, binding, memory, &folded)?;
    let patch = folded.patch(binding);
    Ok((patch.is_some() || template.is_some()).then_some(Plan { binding: patch, template }))
}

/// The template's status; templates never run on the hub, so nobody else writes it.
fn template(env: &Env, binding: &Binding, memory: &mut Memory, folded: &Folded) -> Result<Option<TemplatePlan>, Error> {
    let TemplateKey { api_version, kind, key } = TemplateKey::of(&binding.spec.resource);
    // A template that cannot be read now is told when its kind is followed again.
    let Some(followed) = env.stores.templates.kind(&api_version, &kind) else { return Ok(None) };
    let Some(template) = followed.store.get(&key).filter(|_| followed.kind.has_status) else { return Ok(None) };
    let Template { meta, content, content_hash, status, .. } = template.as_ref();
    let uid = meta.uid.as_deref().unwrap_or_default();
    if uid != binding.spec.resource.uid {
        return Ok(None);
    }
    let targets = aggregate::targets(&binding.spec);
    let seen = aggregate::Template {
        api_version: &api_version,
        kind: &kind,
        uid,
        generation: meta.generation.unwrap_or_default(),
        content,
        content_hash,
        status: status.as_ref(),
    };
    let Some(change) = aggregate::template_status(memory, &seen, folded.items(binding), &targets)? else {
        return Ok(None);
    };
    let patch = json!({"metadata": {"resourceVersion": meta.resource_version}, "status": change});
    Ok(Some(TemplatePlan { followed, key, patch }))
}

async fn write(ctx: &Ctx, env: &Env, key: &Key, plan: &Plan) -> Result<(), Error> {
    // The template's status is worth as much when the binding's is refused, for its size or for a newer version.
    let binding = match &plan.binding {
        Some(patch) => env.hub.patch_status(ctx, env.stores.bindings.of(key), key, patch).await,
        None => Ok(()),
    };
    if let Some(TemplatePlan { followed, key, patch }) = &plan.template {
        env.hub.patch_status(ctx, &followed.store, key, patch).await?;
    }
    Ok(binding?)
}
