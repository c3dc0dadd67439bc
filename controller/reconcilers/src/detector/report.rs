//! What the detector tells: the scheduling outcome to arrow 6, events to people.

use pando_core::detect::Plan;

use super::observe::Observed;
use crate::env::Env;
use crate::events;

/// Hands the outcome over and tells people, once the writes are through.
pub(super) fn template(env: &Env, observed: &Observed, plan: &Plan, written: bool) {
    if !written {
        return;
    }
    if let Some(scheduling) = &plan.scheduling {
        env.scheduled(&observed.binding_key, scheduling);
    }
    let template = events::of_template(&observed.template);
    for notice in &plan.notices {
        events::tell(env, &template, notice);
    }
}
