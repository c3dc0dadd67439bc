//! The scheduler's part of a binding's status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::conditions::{SCHEDULED, SCHEDULED_MESSAGE, SUCCESS, TRUE};
use pando_api::work::{ResourceBinding, ResourceBindingStatus};

use crate::conditions::{self, Verdict};
use crate::detect::Scheduling;

/// Puts the outcome of scheduling into the status: condition, observed generation, time.
///
/// `outcome` is `None` when this process has not had to schedule the binding: its status then remembers, and only the
/// observed generation moves on. The time of scheduling moves when there is something new to have been scheduled, never
/// because it was looked at again.
pub fn scheduled(
    status: &mut ResourceBindingStatus,
    binding: &ResourceBinding,
    outcome: Option<&Scheduling>,
    now: &Time,
) {
    let generation = binding.metadata.generation.unwrap_or_default();
    let was = conditions::find(&status.conditions, SCHEDULED).map(|condition| condition.status == TRUE);
    let placed = match outcome {
        Some(Scheduling::Placed { affinity }) => {
            status.scheduler_observed_affinity_name = affinity.clone().unwrap_or_default();
            true
        }
        Some(Scheduling::Failed { reason, message }) => {
            conditions::set(&mut status.conditions, Verdict::fails(SCHEDULED, reason, message.clone()), now);
            false
        }
        None => was.unwrap_or(!binding.spec.clusters.is_empty()),
    };
    if placed {
        let is_news = outcome.is_some() && (was != Some(true) || status.scheduler_observed_generation != generation);
        conditions::set(&mut status.conditions, Verdict::holds(SCHEDULED, SUCCESS, SCHEDULED_MESSAGE), now);
        if is_news || status.last_scheduled_time.is_none() {
            status.last_scheduled_time = Some(now.clone());
        }
    }
    status.scheduler_observed_generation = generation;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use pando_api::work::{ResourceBinding, ResourceBindingSpec, ResourceBindingStatus, TargetCluster};

    use super::scheduled;
    use crate::detect::Scheduling;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn binding(generation: i64) -> ResourceBinding {
        let target = TargetCluster { name: "bj".to_owned(), replicas: 1, ..TargetCluster::default() };
        let spec = ResourceBindingSpec { clusters: vec![target], ..ResourceBindingSpec::default() };
        let mut binding = ResourceBinding::new("web-deployment", spec);
        binding.metadata.generation = Some(generation);
        binding
    }

    #[test]
    fn a_new_placement_has_a_time_and_a_condition() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&Scheduling::Placed { affinity: None }), &at(7));
        assert_eq!(status.last_scheduled_time, Some(at(7)));
        assert_eq!(status.scheduler_observed_generation, 1);
        assert_eq!(status.conditions[0].status, "True");
    }

    #[test]
    fn looking_again_changes_nothing() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&Scheduling::Placed { affinity: None }), &at(7));
        let before = status.clone();
        scheduled(&mut status, &binding(1), Some(&Scheduling::Placed { affinity: None }), &at(8));
        scheduled(&mut status, &binding(1), None, &at(9));
        assert_eq!(status, before);
    }

    #[test]
    fn a_failure_says_why_and_keeps_the_time_of_the_last_success() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&Scheduling::Placed { affinity: None }), &at(7));
        let failed = Scheduling::Failed { reason: "NoClusterFit", message: "0/3 clusters are available".to_owned() };
        scheduled(&mut status, &binding(2), Some(&failed), &at(8));
        assert_eq!(status.conditions[0].reason, "NoClusterFit");
        assert_eq!(status.last_scheduled_time, Some(at(7)));
        scheduled(&mut status, &binding(2), None, &at(9));
        assert_eq!(status.conditions[0].status, "False");
    }
}
