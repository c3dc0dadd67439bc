//! `v1` Pod: one that is propagated as it is.

use serde_json::{Map, Value, json};

use super::phases;
use crate::{
    interpreter::{
        Dependency, Kind, Replicas, StatusItem, dependencies, integer, keep_spec_field, list, requirements, set_counter,
    },
    manifest::text,
};

/// What goes wrong comes first; a phase that Kubernetes does not set any more (`Unknown`) is not reported.
const PHASES: [&str; 4] = ["Failed", "Pending", "Running", "Succeeded"];

pub(super) const KIND: Kind = Kind {
    replicas: Some(replicas),
    retain: Some(retain),
    aggregate_status: Some(aggregate_status),
    dependencies: Some(needs),
    is_healthy: Some(is_healthy),
    ..Kind::of("v1", "Pod")
};

fn replicas(object: &Value) -> Replicas {
    Replicas { count: 1, requirements: object.get("spec").and_then(requirements::requirements) }
}

/// Where the member put the pod and what its admission added: almost nothing of a pod can be changed later.
///
/// Beyond Karmada: the old name of the account, and tolerations. Those can only be added, and each member adds its own.
fn retain(desired: &mut Value, live: &Value) {
    for field in ["nodeName", "serviceAccountName", "serviceAccount", "volumes"] {
        keep_spec_field(desired, live, field);
    }
    let (Some(spec), Some(there)) = (desired.get_mut("spec"), live.get("spec")) else { return };
    for containers in ["containers", "initContainers"] {
        for container in spec.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            let same = |other: &&Value| text(other, &["name"]) == text(container, &["name"]);
            let mounts = list(there, containers).find(same).and_then(|other| other.get("volumeMounts")).cloned();
            if let (Some(container), Some(mounts)) = (container.as_object_mut(), mounts) {
                container.insert("volumeMounts".to_owned(), mounts);
            }
        }
    }
    let mut tolerations: Vec<_> = list(there, "tolerations").cloned().collect();
    let new: Vec<_> = list(spec, "tolerations").filter(|wanted| !tolerations.contains(wanted)).cloned().collect();
    tolerations.extend(new);
    if let (Some(spec), false) = (spec.as_object_mut(), tolerations.is_empty()) {
        spec.insert("tolerations".to_owned(), Value::Array(tolerations));
    }
}

/// The phase that asks most for attention, and the containers of all members.
///
/// The containers are named `<cluster>/<container>`: Karmada leaves the name out, and cannot tell those of two members
/// apart.
fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    let mut status = phases::aggregate(template, items, &PHASES)?;
    let containers = items.iter().flat_map(|item| {
        let containers = item.status.iter().flat_map(|status| list(status, "containerStatuses"));
        containers.map(|container| container_status(item.cluster, container))
    });
    status["containerStatuses"] = containers.collect();
    Some(status)
}

/// One container of one member.
///
/// How it ended goes into `lastState`, and its reason is what it waits with: an API server lets only a container of
/// `spec.containers` whose policy says so leave the state `terminated`, and none has the name that it has here. So a
/// container that crashes once could never be shown running again (`ValidateContainerStateTransition`, Kubernetes 1.36).
fn container_status(cluster: &str, container: &Value) -> Value {
    let name = text(container, &["name"]).unwrap_or_default();
    let ready = container.get("ready").and_then(Value::as_bool).unwrap_or_default();
    let state = |field: &str| container.get(field).filter(|state| state.is_object()).cloned();
    let (now, last) = match container.pointer("/state/terminated") {
        Some(end) => {
            let reason = text(end, &["reason"]).unwrap_or("Terminated");
            (json!({"waiting": {"reason": reason}}), Some(json!({"terminated": end})))
        }
        None => (state("state").unwrap_or_else(|| json!({})), state("lastState")),
    };
    let mut shown = Map::new();
    shown.insert("name".to_owned(), Value::from(format!("{cluster}/{name}")));
    shown.insert("ready".to_owned(), Value::from(ready));
    shown.insert("state".to_owned(), now);
    if let Some(last) = last.filter(|last| *last != json!({})) {
        shown.insert("lastState".to_owned(), last);
    }
    set_counter(&mut shown, "restartCount", integer(container, "restartCount"));
    Value::Object(shown)
}

fn is_healthy(live: &Value) -> bool {
    let status = live.get("status").unwrap_or(&Value::Null);
    let is_ready = || {
        list(status, "conditions").any(|condition| {
            text(condition, &["type"]) == Some("Ready") && text(condition, &["status"]) == Some("True")
        })
    };
    match text(status, &["phase"]) {
        Some("Succeeded") => true,
        Some("Running") => is_ready(),
        _ => false,
    }
}

fn needs(template: &Value) -> Vec<Dependency> {
    dependencies::of_pod(template, "/spec")
}
