//! What rendering tells people.

use pando_api::events as reasons;
use pando_core::render::WorksPlan;

use super::observe::Observed;
use crate::env::Env;
use crate::events::{self, Level};
use crate::work_steps::Applied;

/// One event per changed decision: each fault, each failed write, and the success of a change.
pub(super) fn binding(env: &Env, observed: &Observed, plan: &WorksPlan, applied: &Applied) {
    let about = events::of_binding(&observed.binding);
    for (cluster, fault) in &plan.faults {
        env.events.record(&about, Level::Warning, fault.reason(), &format!("{cluster}: {fault}"));
    }
    for (cluster, error) in applied.failed.iter().filter(|(_, error)| !error.is_conflict()) {
        env.events.record(&about, Level::Warning, reasons::SYNC_WORK_FAILED, &format!("{cluster}: {error}"));
    }
    if applied.written > 0 && applied.failed.is_empty() && plan.faults.is_empty() {
        let message = "Sync work of the binding successful.";
        env.events.record(&about, Level::Normal, reasons::SYNC_WORK_SUCCEED, message);
    }
}
