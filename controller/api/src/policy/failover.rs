//! What happens to workloads whose cluster, or who themselves, fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::words::words;

/// When and how workloads move away from a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailoverBehavior {
    /// What to do when the workload is unhealthy in a cluster; without it nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<ApplicationFailoverBehavior>,
    /// What to do when a taint evicts the workload from a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterFailoverBehavior>,
}

/// How an unhealthy workload moves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.gracePeriodSeconds) || !has(self.purgeMode) || self.purgeMode == 'Gracefully' || self.purgeMode == 'Graciously'",
    "message": "gracePeriodSeconds is only for purgeMode Gracefully",
}]))]
pub struct ApplicationFailoverBehavior {
    /// What must hold before the workload moves.
    pub decision_conditions: DecisionConditions,
    /// When the copy in the old cluster is removed.
    #[serde(default)]
    pub purge_mode: PurgeMode,
    /// Longest wait in seconds for the new copy to become healthy before the old one is removed all
    /// the same; only with Gracefully, where it defaults to 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub grace_period_seconds: Option<i32>,
    /// What of the old copy's status is handed to the new copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_preservation: Option<StatePreservation>,
}

/// How a workload moves away from a failed cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFailoverBehavior {
    /// When the copy in the old cluster is removed.
    #[serde(default)]
    pub purge_mode: PurgeMode,
    /// What of the old copy's status is handed to the new copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_preservation: Option<StatePreservation>,
}

/// What must hold before an unhealthy workload moves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionConditions {
    /// Seconds the workload must have been unhealthy; 0 moves it at once.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 0))]
    pub toleration_seconds: i32,
}

fn five_minutes() -> i32 {
    300
}

impl Default for DecisionConditions {
    fn default() -> Self {
        Self { toleration_seconds: five_minutes() }
    }
}

/// Which parts of a status survive a move.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatePreservation {
    /// The parts, each with the label that carries it.
    pub rules: Vec<StatePreservationRule>,
}

/// One part of a status and the label that carries it to the new cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatePreservationRule {
    /// Key of the label that the new copy gets.
    pub alias_label_name: String,
    /// Where the value is, a JSONPath that starts at the status, such as {.availableReplicas}.
    pub json_path: String,
}

words! {
    /// When the copy that a workload leaves behind is removed.
    #[derive(Default)]
    pub enum PurgeMode {
        /// At once, before the new copy starts (Karmada before 1.15 said Immediately).
        Directly = "Directly" | "Immediately",
        /// When the new copy is healthy, or after the grace period (before: Graciously).
        #[default]
        Gracefully = "Gracefully" | "Graciously",
        /// Never; a person does it.
        Never = "Never",
    }
}
