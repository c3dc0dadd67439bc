//! Statuses that are numbers of pods: Deployment, ReplicaSet, StatefulSet, DaemonSet.

use pando_api::annotations;
use serde_json::{Map, Value};

use crate::{
    interpreter::{StatusItem, integer, present_status, set_counter},
    manifest::text,
};

/// Karmada's additions to a reflected status, with which the hub tells an old report from a new one.
const GENERATION: &str = "generation";
const TEMPLATE_GENERATION: &str = "resourceTemplateGeneration";
const OBSERVED_GENERATION: &str = "observedGeneration";

/// The counters and the three generations; `None` while there is no status.
pub(super) fn reflect(live: &Value, counters: &[&str]) -> Option<Value> {
    let status = live.get("status").filter(|status| status.is_object())?;
    let mut reflected = Map::new();
    set_counter(&mut reflected, GENERATION, generation(live));
    set_counter(&mut reflected, TEMPLATE_GENERATION, template_generation(live));
    set_counter(&mut reflected, OBSERVED_GENERATION, integer(status, OBSERVED_GENERATION));
    for counter in counters {
        set_counter(&mut reflected, counter, integer(status, counter));
    }
    Some(Value::Object(reflected))
}

/// The counters summed. The template's generation counts as observed only when every member has this generation of the
/// template and its controller has seen it. (Karmada 1.19 compares StatefulSets with the member's generation instead,
/// which is a slip: a member may be many generations ahead of the hub.)
pub(super) fn aggregate(template: &Value, items: &[StatusItem<'_>], counters: &[&str]) -> Value {
    let mut status = present_status(template);
    sum(&mut status, items, counters);
    let current = generation(template);
    let observed = items.iter().filter_map(|item| item.status.as_ref()).filter(|member| {
        integer(member, OBSERVED_GENERATION) >= integer(member, GENERATION)
            && integer(member, TEMPLATE_GENERATION) >= current
    });
    // Nobody has observed what runs nowhere.
    if !items.is_empty() && observed.count() == items.len() {
        set_counter(&mut status, OBSERVED_GENERATION, current);
    }
    Value::Object(status)
}

/// Sets each counter to the sum of what the members report.
pub(super) fn sum(status: &mut Map<String, Value>, items: &[StatusItem<'_>], counters: &[&str]) {
    for counter in counters {
        set_counter(status, counter, total(items, counter));
    }
}

/// The sum of one counter over what the members report, within what the API can hold: more than 32 bits are refused.
pub(super) fn total(items: &[StatusItem<'_>], counter: &str) -> i64 {
    let counts = items.iter().filter_map(|item| item.status.as_ref()).map(|member| integer(member, counter));
    counts.fold(0, i64::saturating_add).clamp(0, i32::MAX.into())
}

/// Copies counters of a live status, for a report without generations; `None` while there is no status.
pub(super) fn reflect_plainly(live: &Value, counters: &[&str]) -> Option<Map<String, Value>> {
    let status = live.get("status").filter(|status| status.is_object())?;
    let mut reflected = Map::new();
    for counter in counters {
        set_counter(&mut reflected, counter, integer(status, counter));
    }
    Some(reflected)
}

/// Whether the member's controller has seen the present spec.
pub(super) fn is_observed(live: &Value) -> bool {
    live.get("status").map_or(0, |status| integer(status, OBSERVED_GENERATION)) == generation(live)
}

fn generation(object: &Value) -> i64 {
    object.get("metadata").map_or(0, |metadata| integer(metadata, GENERATION))
}

fn template_generation(live: &Value) -> i64 {
    text(live, &["metadata", "annotations", annotations::TEMPLATE_GENERATION])
        .and_then(|generation| generation.parse().ok())
        .unwrap_or_default()
}
