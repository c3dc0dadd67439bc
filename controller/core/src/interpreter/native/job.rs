//! `batch/v1` Job: runs in several members as one.

use serde_json::{Map, Value, json};

use super::{counters, scaled};
use crate::{
    interpreter::{Dependency, Kind, Replicas, StatusItem, dependencies, integer, list, present_status, set_counter},
    manifest::{JOB_LABELS, text},
};

const COUNTERS: [&str; 3] = ["active", "succeeded", "failed"];
/// The API server's default when `spec.parallelism` is absent.
const DEFAULT_PARALLELISM: i64 = 1;

/// So many clusters are named in the failure's message, which cannot be changed later; of the others only their number.
const NAMED: usize = 8;

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";

pub(super) const KIND: Kind = Kind {
    replicas: Some(replicas),
    revise_replicas: Some(revise_replicas),
    retain: Some(retain),
    aggregate_status: Some(aggregate_status),
    dependencies: Some(needs),
    reflect_status: Some(reflect_status),
    ..Kind::of("batch/v1", "Job")
};

/// Pods at a time: the parallelism, but never more than there is to complete.
fn replicas(object: &Value) -> Replicas {
    let number = |field: &str| object.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_i64);
    let parallelism = number("parallelism").unwrap_or(DEFAULT_PARALLELISM);
    let count = number("completions").map_or(parallelism, |completions| parallelism.min(completions));
    Replicas { count: scaled::bounded(count), requirements: scaled::of_template(object) }
}

fn revise_replicas(object: &mut Value, count: i32) -> bool {
    scaled::set(object, "parallelism", count)
}

/// `spec.completions` of a Job.
pub(in crate::interpreter) fn completions(object: &Value) -> Option<u32> {
    let is_job = text(object, &["kind"]) == Some(KIND.kind) && text(object, &["apiVersion"]) == Some(KIND.api_version);
    let completions = object.pointer("/spec/completions").filter(|_| is_job)?.as_i64()?;
    u32::try_from(completions).ok()
}

/// Sets `spec.completions`.
pub(in crate::interpreter) fn revise_completions(object: &mut Value, count: u32) {
    scaled::set(object, "completions", scaled::bounded(count.into()));
}

/// The generated selector and labels; a Job with `manualSelector` says its own. Karmada keeps all labels of the pods as
/// the member has them, so an edit of them in the template is lost without a word; here the member refuses it, and the
/// refusal is reported.
fn retain(desired: &mut Value, live: &Value) {
    if desired.pointer("/spec/manualSelector").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let Some(spec) = desired.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(selector) = live.pointer("/spec/selector").filter(|selector| selector.is_object()) {
        spec.insert("selector".to_owned(), selector.clone());
    }
    let labels = live.pointer("/spec/template/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let generated: Vec<_> = labels.filter(|(label, _)| JOB_LABELS.contains(&label.as_str())).collect();
    if generated.is_empty() {
        return;
    }
    let empty = || Value::Object(Map::new());
    let mut at = spec.get_mut("template");
    for field in ["metadata", "labels"] {
        at = at.and_then(Value::as_object_mut).map(|object| object.entry(field).or_insert_with(empty));
    }
    let Some(labels) = at.and_then(Value::as_object_mut) else { return };
    labels.extend(generated.into_iter().map(|(label, value)| (label.clone(), value.clone())));
}

fn reflect_status(live: &Value) -> Option<Value> {
    let mut reflected = counters::reflect_plainly(live, &COUNTERS)?;
    for field in ["conditions", "startTime", "completionTime"] {
        if let Some(value) = live.get("status").and_then(|status| status.get(field)).filter(|value| !value.is_null()) {
            reflected.insert(field.to_owned(), value.clone());
        }
    }
    Some(Value::Object(reflected))
}

/// One Job out of those in the members: complete when all are, failed when one is.
///
/// It follows what API servers since Kubernetes 1.31 accept, where Karmada 1.19 writes what they refuse, again and again:
///
/// * succeeded and failed never decrease, also when a member leaves; the start is written once;
/// * `SuccessCriteriaMet` comes with `Complete`, and `FailureTarget` before `Failed`, whether or not a member has them;
/// * while pods of other members still run, a failure shows as `FailureTarget`; `Failed` follows when none does.
///
/// A finished Job is not changed any more. Times are those of the members.
fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    let mut status = present_status(template);
    let before = Value::Object(status.clone());
    if condition(&before, COMPLETE).is_some() || condition(&before, FAILED).is_some() {
        return None;
    }
    set_counter(&mut status, "active", counters::total(items, "active"));
    for counter in ["succeeded", "failed"] {
        set_counter(&mut status, counter, counters::total(items, counter).max(integer(&before, counter)));
    }
    let verdict = Verdict::of(&before, items);
    if let Some(start) = started(&before, items, verdict.is_some()) {
        status.insert("startTime".to_owned(), Value::from(start));
    }
    let may_finish = status.contains_key("startTime");
    match verdict {
        Some(Verdict::Complete { at: Some(at) }) if may_finish => {
            let met =
                entry(SUCCESS_CRITERIA_MET, "CompletionsReached", "all members have met their success criteria", &at);
            let complete = entry(COMPLETE, "Completed", "the Job is complete in all members", &at);
            status.insert("completionTime".to_owned(), Value::from(at));
            status.insert("conditions".to_owned(), json!([met, complete]));
        }
        Some(Verdict::Failed { target }) => {
            let mut conditions = vec![target];
            if may_finish && integer(&Value::Object(status.clone()), "active") == 0 {
                conditions.extend(conditions.first().cloned().map(|mut failed| {
                    failed["type"] = Value::from(FAILED);
                    failed
                }));
            }
            status.insert("conditions".to_owned(), Value::Array(conditions));
        }
        Some(Verdict::Complete { .. }) | None => {}
    }
    Some(Value::Object(status))
}

/// How the Jobs of the members came out, when that is certain.
enum Verdict {
    Complete {
        /// The last completion.
        at: Option<String>,
    },
    Failed {
        /// The `FailureTarget` condition. Once written it cannot be taken back, so it stays when the member leaves.
        target: Value,
    },
}

impl Verdict {
    fn of(before: &Value, items: &[StatusItem<'_>]) -> Option<Self> {
        if let Some(target) = condition(before, FAILURE_TARGET) {
            return Some(Self::Failed { target: target.clone() });
        }
        let with = |kind: &'static str| {
            items.iter().filter_map(move |item| Some((item.cluster, condition(item.status.as_ref()?, kind)?)))
        };
        let failed: Vec<_> = with(FAILED).map(|(cluster, _)| cluster).collect();
        if !failed.is_empty() {
            let message = format!("the Job failed in member clusters {}", named(&failed));
            let at = with(FAILED).filter_map(|(_, failed)| text(failed, &["lastTransitionTime"])).max();
            let target = entry(FAILURE_TARGET, "JobFailed", &message, at.unwrap_or_default());
            return Some(Self::Failed { target });
        }
        (!items.is_empty() && with(COMPLETE).count() == items.len()).then(|| {
            let times = items.iter().filter_map(|item| text(item.status.as_ref()?, &["completionTime"]));
            Self::Complete { at: times.max().map(str::to_owned) }
        })
    }
}

/// The first few names, and how many more there are.
fn named(clusters: &[&str]) -> String {
    let (first, more) = clusters.split_at(clusters.len().min(NAMED));
    let first = first.join(", ");
    if more.is_empty() { first } else { format!("{first} and {} more", more.len()) }
}

/// The earliest start, once it cannot become earlier any more: then it may not change.
fn started(before: &Value, items: &[StatusItem<'_>], finishes: bool) -> Option<String> {
    if let Some(start) = text(before, &["startTime"]) {
        return Some(start.to_owned());
    }
    // Times of the API are in UTC and of one length: they order as text.
    let starts: Vec<_> = items.iter().filter_map(|item| text(item.status.as_ref()?, &["startTime"])).collect();
    if starts.len() < items.len() && !finishes {
        return None;
    }
    starts.into_iter().min().map(str::to_owned)
}

/// A condition that is true.
fn condition<'v>(status: &'v Value, kind: &str) -> Option<&'v Value> {
    list(status, "conditions")
        .find(|condition| text(condition, &["type"]) == Some(kind) && text(condition, &["status"]) == Some("True"))
}

fn entry(kind: &str, reason: &str, message: &str, at: &str) -> Value {
    let mut entry = json!({"type": kind, "status": "True", "reason": reason, "message": message});
    if !at.is_empty() {
        entry["lastProbeTime"] = Value::from(at);
        entry["lastTransitionTime"] = Value::from(at);
    }
    entry
}

fn needs(template: &Value) -> Vec<Dependency> {
    dependencies::of_pod(template, "/spec/template/spec")
}
