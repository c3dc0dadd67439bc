//! The table of `pando get bindings`: where each template went, and whether it got there.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use pando_api::conditions::{FULLY_APPLIED, STATUS_FRESH, TRUE, UNKNOWN};
use pando_api::work::{
    ClusterResourceBinding, ResourceBinding, ResourceBindingSpec, ResourceBindingStatus, TargetCluster,
};

use super::super::table::{Table, age};
use super::{complaint, condition, created};

const COLUMNS: [&str; 6] = ["NAMESPACE", "NAME", "SCHEDULED", "FULLYAPPLIED", "CLUSTERS", "AGE"];
const WIDE: [&str; 4] = ["TEMPLATE", "REPLICAS", "FRESH", "MESSAGE"];

/// A binding of either scope; both share spec and status.
pub(super) struct Row<'a> {
    meta: &'a ObjectMeta,
    spec: &'a ResourceBindingSpec,
    status: Option<&'a ResourceBindingStatus>,
}

impl<'a> Row<'a> {
    /// A binding of a template with a namespace.
    pub(super) fn namespaced(binding: &'a ResourceBinding) -> Self {
        Self { meta: &binding.metadata, spec: &binding.spec, status: binding.status.as_ref() }
    }

    /// A binding of a template without one.
    pub(super) fn cluster_scoped(binding: &'a ClusterResourceBinding) -> Self {
        Self { meta: &binding.metadata, spec: &binding.spec, status: binding.status.as_ref() }
    }
}

/// One row for each binding.
pub(super) fn table(rows: Vec<Row<'_>>, wide: bool, now: Timestamp) -> String {
    let header: Vec<&str> = match wide {
        true => COLUMNS.iter().chain(&WIDE).copied().collect(),
        false => COLUMNS.to_vec(),
    };
    let mut table = Table::new(&header);
    for row in rows {
        table.row(cells(&row, wide, now));
    }
    table.render()
}

fn cells(row: &Row<'_>, wide: bool, now: Timestamp) -> Vec<String> {
    let conditions = row.status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut cells = vec![
        row.meta.namespace.clone().unwrap_or_default(),
        row.meta.name.clone().unwrap_or_default(),
        condition(conditions, "Scheduled").to_owned(),
        condition(conditions, "FullyApplied").to_owned(),
        placed(&row.spec.clusters),
        age(created(row.meta), now),
    ];
    if wide {
        let resource = &row.spec.resource;
        cells.extend([
            format!("{}/{} {}", resource.api_version, resource.kind, resource.name),
            row.spec.replicas.to_string(),
            fresh(conditions, now),
            complaint(conditions),
        ]);
    }
    cells
}

/// Whether the status is what every member says now: `True`, or for how long it is not. Only its absence has a condition;
/// `Unknown` while nothing has been reported.
fn fresh(conditions: &[Condition], now: Timestamp) -> String {
    let of = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind);
    match (of(STATUS_FRESH), of(FULLY_APPLIED)) {
        (Some(stale), _) => format!("{} {}", stale.status, age(Some(stale.last_transition_time.0), now)),
        (None, Some(_)) => TRUE.to_owned(),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// `bj-prod:5,sh-prod:3,sz-prod:2`; without the numbers for what has no replicas.
fn placed(clusters: &[TargetCluster]) -> String {
    let each = clusters.iter().map(|target| match target.replicas {
        0 => target.name.clone(),
        replicas => format!("{}:{replicas}", target.name),
    });
    each.collect::<Vec<_>>().join(",")
}
