//! Kinds that are known without configuration, one file each. Which kind has which operation (Karmada 1.19; the table is
//! held by a test):
//!
//! ```text
//!                                                       replicas revise retain aggregate depend status health
//! apps/v1 DaemonSet                                                            x         x      x      x
//! apps/v1 Deployment                                    x        x      x      x         x      x      x
//! apps/v1 ReplicaSet                                    x        x             x         x      x      x
//! apps/v1 StatefulSet                                   x        x             x         x      x      x
//! autoscaling/v2 HorizontalPodAutoscaler                                       x                x
//! batch/v1 CronJob                                                             x         x
//! batch/v1 Job                                          x        x      x      x         x      x
//! multicluster.x-k8s.io/v1alpha1 ServiceImport                                           x
//! networking.k8s.io/v1 Ingress                                          x      x         x             x
//! policy/v1 PodDisruptionBudget                                                x                x      x
//! v1 PersistentVolume                                                   x      x
//! v1 PersistentVolumeClaim                                              x      x                       x
//! v1 Pod                                                x               x      x         x             x
//! v1 Secret                                                             x
//! v1 Service                                                            x      x                x      x
//! v1 ServiceAccount                                                     x
//! ```
//!
//! What several kinds share: `counters` (statuses of numbers), `scaled` (`spec.replicas`), `phases`, `addresses`.

mod addresses;
mod counters;
mod cron_job;
mod daemon_set;
mod deployment;
mod horizontal_pod_autoscaler;
mod ingress;
mod job;
mod persistent_volume;
mod persistent_volume_claim;
mod phases;
mod pod;
mod pod_disruption_budget;
mod replica_set;
mod scaled;
mod secret;
mod service;
mod service_account;
mod service_import;
mod stateful_set;

pub(super) use job::{completions, revise_completions};

use super::Kind;

/// Every known kind.
pub(super) const KINDS: [Kind; 16] = [
    daemon_set::KIND,
    deployment::KIND,
    replica_set::KIND,
    stateful_set::KIND,
    horizontal_pod_autoscaler::KIND,
    cron_job::KIND,
    job::KIND,
    service_import::KIND,
    ingress::KIND,
    pod_disruption_budget::KIND,
    persistent_volume::KIND,
    persistent_volume_claim::KIND,
    pod::KIND,
    secret::KIND,
    service::KIND,
    service_account::KIND,
];
