//! What the detector tells: the scheduling outcome to arrow 6, events to people.

use pando_core::detect::{Plan, Scheduling};
use pando_runtime::store::Key;

use super::observe::Observed;
use crate::binding_status::SETTLE;
use crate::env::Env;
use crate::events;

/// Hands the outcome over and tells people, once the writes are through.
pub(super) fn template(env: &Env, observed: &Observed, plan: &Plan, written: bool) {
    if !written {
        return;
    }
    if let Some(scheduling) = &plan.scheduling {
        scheduled(env, &observed.binding_key, scheduling);
    }
    let template = events::of_template(&observed.template);
    for notice in &plan.notices {
        events::tell(env, &template, notice);
    }
}

/// Hands a scheduling outcome to arrow 6.
pub(crate) fn scheduled(env: &Env, binding: &Key, outcome: &Scheduling) {
    if env.outcomes.set(binding, outcome.clone()) {
        env.queues.status.add_after(binding.clone(), SETTLE);
    }
}
