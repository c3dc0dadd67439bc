//! Carrying out decided steps on Works. Shared by the two arrows that render Works: bindings and namespaces.

use std::collections::BTreeMap;

use futures::future::join_all;
use pando_api::names::ClusterName;
use pando_context::Ctx;
use pando_core::merge_patch;
use pando_core::render::{Action, WorkStep};
use pando_runtime::controller::{Class, ReconcileError as _};
use pando_runtime::store::Key;
use serde_json::{Value, json};

use crate::env::Env;
use crate::hub::Error;

/// What became of the steps: what was written, and every failure by its cluster.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many Works were written or released.
    pub written: usize,
    /// The failures. The other steps were carried out all the same.
    pub failed: BTreeMap<ClusterName, Error>,
}

impl Applied {
    /// The failure that wants to be retried first, when there is one: what is invalid in one cluster must not keep the
    /// others waiting.
    ///
    /// # Errors
    /// The failure itself.
    pub fn into_result(self) -> Result<(), Error> {
        let urgency = |error: &Error| match error.class() {
            Class::Stopped | Class::Transient | Class::Unavailable | Class::Later(_) => 0,
            Class::Superseded => 1,
            Class::NotOurs => 2,
            Class::Invalid => 3,
        };
        self.failed.into_values().min_by_key(urgency).map_or(Ok(()), Err)
    }
}

/// Carries out the steps: first everything that makes or changes a Work, at once, for the clusters have nothing to do with
/// each other; then the releases, at once. A failure ends its own step, and nothing is released after a Work could not be
/// written: a move makes before it breaks.
pub async fn apply(ctx: &Ctx, env: &Env, steps: &[WorkStep]) -> Applied {
    let (releases, makes): (Vec<_>, Vec<_>) =
        steps.iter().partition(|step| matches!(step.action, Action::Release { .. }));
    let mut applied = Applied::default();
    together(ctx, env, &makes, &mut applied).await;
    if applied.failed.is_empty() {
        together(ctx, env, &releases, &mut applied).await;
    }
    applied
}

/// The hub's budget says how many of them are really under way.
async fn together(ctx: &Ctx, env: &Env, steps: &[&WorkStep], applied: &mut Applied) {
    let outcomes = join_all(steps.iter().map(|step| one(ctx, env, step))).await;
    for (step, outcome) in steps.iter().zip(outcomes) {
        match outcome {
            Ok(written) => applied.written += usize::from(written),
            Err(error) => drop(applied.failed.insert(step.cluster.clone(), error)),
        }
    }
}

async fn one(ctx: &Ctx, env: &Env, step: &WorkStep) -> Result<bool, Error> {
    let works = &env.stores.works;
    match &step.action {
        Action::Keep(_) | Action::Hold => Ok(false),
        Action::Create(work) => {
            env.hub.create(ctx, works, &Key::of(&work.metadata), work.as_ref()).await.map(|()| true)
        }
        Action::Replace { from, to } => match replacement(from.as_ref(), to.as_ref()) {
            Some(patch) => env.hub.patch(ctx, works, &Key::of(&from.metadata), &patch).await.map(|()| true),
            None => Ok(false),
        },
        Action::Release { namespace, name, uid, resource_version } => {
            let key = Key::namespaced(namespace, name);
            env.hub.delete(ctx, works, &key, uid, resource_version).await.map(|()| true)
        }
    }
}

/// The merge patch from one Work to the other, bound to the version that it was computed from.
fn replacement(from: &pando_api::work::Work, to: &pando_api::work::Work) -> Option<Value> {
    let (from_json, to_json) = (serde_json::to_value(from).ok()?, serde_json::to_value(to).ok()?);
    let mut patch = merge_patch::between(&from_json, &to_json)?;
    patch["metadata"]["resourceVersion"] = json!(from.metadata.resource_version);
    Some(patch)
}
