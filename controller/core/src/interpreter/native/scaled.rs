//! What Deployment, StatefulSet and ReplicaSet have in common: `spec.replicas`, and a status of counters.

use pando_api::{annotations, labels};
use serde_json::{Map, Value};

use crate::{
    interpreter::{Replicas, StatusItem, integer, keep_spec_field, pod, set_counter},
    manifest::text,
};

/// The API server's default when `spec.replicas` is absent.
const DEFAULT_REPLICAS: i64 = 1;

/// Karmada's additions to a reflected status, with which the hub tells an old report from a new one.
const GENERATION: &str = "generation";
const TEMPLATE_GENERATION: &str = "resourceTemplateGeneration";
const OBSERVED_GENERATION: &str = "observedGeneration";

pub(super) fn replicas(object: &Value) -> Option<Replicas> {
    let spec = object.get("spec")?;
    let count = spec.get("replicas").and_then(Value::as_i64).unwrap_or(DEFAULT_REPLICAS);
    let requirements = spec.pointer("/template/spec").and_then(pod::requirements);
    Some(Replicas { count: i32::try_from(count.max(0)).unwrap_or(i32::MAX), requirements })
}

pub(super) fn revise_replicas(object: &mut Value, count: i32) -> bool {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return false };
    spec.insert("replicas".to_owned(), Value::from(count));
    true
}

/// The counters and the three generations; `None` while there is no status.
pub(super) fn reflect_status(live: &Value, counters: &[&str]) -> Option<Value> {
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
pub(super) fn aggregate_status(template: &Value, items: &[StatusItem<'_>], counters: &[&str]) -> Value {
    let mut status = template.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
    let collected = || items.iter().filter_map(|item| item.status.as_ref());
    for counter in counters {
        set_counter(&mut status, counter, collected().map(|member| integer(member, counter)).sum());
    }
    let current = generation(template);
    let observed = collected().filter(|member| {
        integer(member, OBSERVED_GENERATION) >= integer(member, GENERATION)
            && integer(member, TEMPLATE_GENERATION) >= current
    });
    if observed.count() == items.len() {
        set_counter(&mut status, OBSERVED_GENERATION, current);
    }
    Value::Object(status)
}

/// Karmada's rule: the label on the *template* hands the replicas over to the member (an autoscaler there).
pub(super) fn retain(desired: &mut Value, live: &Value) {
    if text(desired, &["metadata", "labels", labels::RETAIN_REPLICAS]) == Some(labels::RETAIN_REPLICAS_VALUE) {
        keep_spec_field(desired, live, "replicas");
    }
}

pub(super) fn is_observed(live: &Value) -> bool {
    live.get("status").map_or(0, |status| integer(status, OBSERVED_GENERATION)) == generation(live)
}

/// `spec.replicas` of a live object; a server has filled in the default.
pub(super) fn wanted(live: &Value) -> Option<i64> {
    live.pointer("/spec/replicas").and_then(Value::as_i64)
}

fn generation(object: &Value) -> i64 {
    object.get("metadata").map_or(0, |metadata| integer(metadata, GENERATION))
}

fn template_generation(live: &Value) -> i64 {
    text(live, &["metadata", "annotations", annotations::TEMPLATE_GENERATION])
        .and_then(|generation| generation.parse().ok())
        .unwrap_or_default()
}
