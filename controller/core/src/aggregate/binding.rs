//! Status of a binding and of its template, from the Works (Karmada 1.19, `AggregateResourceBindingWorkStatus`).

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::{
    conditions::{
        APPLIED, FALSE, FULLY_APPLIED, FULLY_APPLIED_FAILED, FULLY_APPLIED_FAILED_MESSAGE, FULLY_APPLIED_SUCCESS,
        FULLY_APPLIED_SUCCESS_MESSAGE, TRUE, UNKNOWN,
    },
    names::ExecutionNamespace,
    work::{AggregatedStatusItem, ManifestStatus, ObjectReference, ResourceBindingStatus, ResourceHealth, Work},
};
use serde_json::Value;

use super::{parsed, same_raw};
use crate::{
    conditions::{self, Verdict},
    interpreter::{self, StatusItem},
    render::Binding,
};

/// The binding's next status: one item for each target cluster whose Work is there, sorted by cluster, and the
/// FullyApplied condition. Everything else (the scheduler's part) is passed through.
///
/// Works that are being deleted or belong to no target are left out. A Work that execution has not answered for counts
/// as not applied.
pub fn binding_status(
    binding: &Binding<'_>,
    works: &[Arc<Work>],
    previous: Option<&ResourceBindingStatus>,
    now: &Time,
) -> ResourceBindingStatus {
    let targets = targets(binding);
    let mut status = previous.cloned().unwrap_or_default();
    let known = std::mem::take(&mut status.aggregated_status);
    let mut items: Vec<_> = works
        .iter()
        .filter(|work| work.metadata.deletion_timestamp.is_none())
        .filter_map(|work| {
            let cluster = ExecutionNamespace::parse(work.metadata.namespace.as_deref()?)?.cluster();
            targets.contains(cluster.as_str()).then(|| item(cluster.as_str(), work, &binding.spec.resource))
        })
        .map(|item| unchanged(&known, &item).unwrap_or(item))
        .collect();
    items.sort_by(|a, b| a.cluster_name.cmp(&b.cluster_name));
    items.dedup_by(|a, b| a.cluster_name == b.cluster_name);
    let fully = !targets.is_empty() && items.len() == targets.len() && items.iter().all(|item| item.applied);
    let verdict = if fully {
        Verdict::holds(FULLY_APPLIED, FULLY_APPLIED_SUCCESS, FULLY_APPLIED_SUCCESS_MESSAGE)
    } else {
        Verdict::fails(FULLY_APPLIED, FULLY_APPLIED_FAILED, FULLY_APPLIED_FAILED_MESSAGE)
    };
    conditions::set(&mut status.conditions, verdict, now);
    status.aggregated_status = items;
    status
}

fn targets<'b>(binding: &Binding<'b>) -> BTreeSet<&'b str> {
    let required = binding.spec.required_by.iter().flat_map(|snapshot| &snapshot.clusters);
    binding.spec.clusters.iter().chain(required).map(|target| target.name.as_str()).collect()
}

fn item(cluster: &str, work: &Work, resource: &ObjectReference) -> AggregatedStatusItem {
    let status = work.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut item = AggregatedStatusItem {
        cluster_name: cluster.to_owned(),
        health: Some(ResourceHealth::Unknown),
        ..AggregatedStatusItem::default()
    };
    match conditions::find(conditions, APPLIED) {
        Some(condition) if condition.status == TRUE => {
            item.applied = true;
            let reported = status.iter().flat_map(|status| &status.manifest_statuses);
            if let Some(manifest) = reported.into_iter().find(|manifest| is_of(manifest, resource)) {
                item.status.clone_from(&manifest.status);
                item.health = manifest.health.or(item.health);
            }
        }
        Some(condition) if condition.status == FALSE || condition.status == UNKNOWN => {
            item.applied_message.clone_from(&condition.message);
        }
        _ => {}
    }
    item
}

fn is_of(manifest: &ManifestStatus, resource: &ObjectReference) -> bool {
    let (group, version) = resource.api_version.split_once('/').unwrap_or(("", &resource.api_version));
    let identifier = &manifest.identifier;
    identifier.group == group
        && identifier.version == version
        && identifier.kind == resource.kind
        && identifier.namespace == resource.namespace
        && identifier.name == resource.name
}

/// The item as it is known, when it means the same.
fn unchanged(known: &[AggregatedStatusItem], item: &AggregatedStatusItem) -> Option<AggregatedStatusItem> {
    let same = |known: &&AggregatedStatusItem| {
        let AggregatedStatusItem { cluster_name, status, applied, applied_message, health } = item;
        known.cluster_name == *cluster_name
            && known.applied == *applied
            && known.applied_message == *applied_message
            && known.health == *health
            && same_raw(known.status.as_ref(), status.as_ref())
    };
    known.iter().find(same).cloned()
}

/// The template's next `.status`; `None` when its kind has no aggregated status or the status is right already.
/// `template` is the hub object as read, with metadata.generation and status.
pub fn template_status(template: &Value, items: &[AggregatedStatusItem]) -> Option<Value> {
    let items: Vec<_> = items
        .iter()
        .map(|item| StatusItem { cluster: &item.cluster_name, status: parsed(item.status.as_ref()) })
        .collect();
    let next = interpreter::aggregate_status(template, &items)?;
    let said = |status: &Value| {
        let fields = status.as_object().into_iter().flatten().filter(|(_, value)| !is_nothing(value));
        fields.map(|(field, value)| (field.clone(), value.clone())).collect::<serde_json::Map<_, _>>()
    };
    (said(&next) != said(template.get("status").unwrap_or(&Value::Null))).then_some(next)
}

/// What a server may write out or leave out without meaning anything by it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::String(_) => false,
    }
}
