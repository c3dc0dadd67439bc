//! What the detector tells: the scheduling outcome to arrow 6, the template to arrow 3, events to people.

use pando_core::detect::{self, BindingStep, Plan};

use super::observe::Observed;
use crate::env::Env;
use crate::events;

/// Hands the outcome to arrow 6, before anything is written.
pub(super) fn outcome(env: &Env, observed: &Observed, plan: &Plan) {
    if let Some(scheduling) = &plan.scheduling {
        env.scheduled(&observed.binding_key, scheduling);
    }
}

/// The writes are through: arrow 3 may render the template, unless it is held, and people are told.
pub(super) fn carried_out(env: &Env, observed: &Observed, plan: &Plan) {
    let is_held = plan.scheduling.as_ref().is_some_and(detect::is_hold);
    let has_binding = observed.binding.is_some() || !matches!(plan.binding, BindingStep::Keep);
    if has_binding && !is_held {
        env.queues.works.add(observed.binding_key.clone());
    }
    let template = &observed.template;
    env.stores.templates.contents().carried_out(&template.key(), &template.authored_hash);
    let about = events::of_template(template);
    for notice in &plan.notices {
        events::tell(env, &about, notice);
    }
}
