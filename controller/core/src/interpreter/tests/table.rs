//! Which kind has which operation.

use super::*;

type Column = (&'static str, fn(&Kind) -> bool);

const COLUMNS: [Column; 7] = [
    ("replicas", |kind| kind.replicas.is_some()),
    ("revise", |kind| kind.revise_replicas.is_some()),
    ("retain", |kind| kind.retain.is_some()),
    ("aggregate", |kind| kind.aggregate_status.is_some()),
    ("depend", |kind| kind.dependencies.is_some()),
    ("status", |kind| kind.reflect_status.is_some()),
    ("health", |kind| kind.is_healthy.is_some()),
];

fn kinds_with(column: &str) -> Vec<&'static str> {
    let (_, has) = COLUMNS.iter().find(|(name, _)| *name == column).unwrap();
    let mut kinds: Vec<_> = native::KINDS.iter().filter(|kind| has(kind)).map(|kind| kind.kind).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn the_table_in_the_code_is_the_table_of_the_code() {
    const KIND_WIDTH: usize = 54;
    let mut table = format!("//! {:KIND_WIDTH$}", "");
    table += &COLUMNS.map(|(name, _)| name).join(" ");
    table += "\n";
    for kind in &native::KINDS {
        let mut line = format!("//! {:KIND_WIDTH$}", format!("{} {}", kind.api_version, kind.kind));
        for (name, has) in COLUMNS {
            line += &format!("{:width$} ", if has(kind) { "x" } else { "" }, width = name.len());
        }
        table += line.trim_end();
        table += "\n";
    }
    assert!(include_str!("../native.rs").contains(&table), "native.rs should have this table:\n{table}");
}

/// The list of Karmada 1.19. Ours beyond it: the default class of an Ingress is retained. Ingress and Pod report their whole
/// status there as well as here, by a hook there.
#[test]
fn every_operation_of_karmada_is_there_for_every_kind() {
    assert_eq!(kinds_with("replicas"), ["Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet"]);
    assert_eq!(kinds_with("revise"), ["Deployment", "Job", "ReplicaSet", "StatefulSet"]);
    assert_eq!(
        kinds_with("retain"),
        [
            "Deployment",
            "Ingress",
            "Job",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "Secret",
            "Service",
            "ServiceAccount"
        ]
    );
    assert_eq!(
        kinds_with("aggregate"),
        [
            "CronJob",
            "DaemonSet",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Ingress",
            "Job",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodDisruptionBudget",
            "ReplicaSet",
            "Service",
            "StatefulSet"
        ]
    );
    assert_eq!(
        kinds_with("depend"),
        ["CronJob", "DaemonSet", "Deployment", "Ingress", "Job", "Pod", "ReplicaSet", "ServiceImport", "StatefulSet"]
    );
    assert_eq!(
        kinds_with("status"),
        [
            "DaemonSet",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Job",
            "PodDisruptionBudget",
            "ReplicaSet",
            "Service",
            "StatefulSet"
        ]
    );
    assert_eq!(
        kinds_with("health"),
        [
            "DaemonSet",
            "Deployment",
            "Ingress",
            "PersistentVolumeClaim",
            "Pod",
            "PodDisruptionBudget",
            "ReplicaSet",
            "Service",
            "StatefulSet"
        ]
    );
}

#[test]
fn a_kind_is_known_in_one_version() {
    for kind in &native::KINDS {
        let object = |version: &str| json!({"apiVersion": version, "kind": kind.kind});
        assert!(of(&object(kind.api_version)).is_some_and(|found| found.kind == kind.kind), "{}", kind.kind);
        for other in ["v2beta9", "example.com/v1", ""] {
            assert!(of(&object(other)).is_none(), "{other} {}", kind.kind);
        }
    }
}
