//! The scheduler's part of a binding's status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::conditions::{SCHEDULED, SCHEDULED_MESSAGE, SUCCESS, TRUE};
use pando_api::work::{Binding, ResourceBindingStatus};

use crate::conditions::{self, Verdict};
use crate::detect::Scheduling;

/// Puts the outcome of scheduling into the status: condition, observed generation, time.
///
/// `outcome` is `None` when this process has not had to schedule the binding: its status then remembers, and only the
/// observed generation moves on. `at` is when clusters were chosen that were not chosen before; looking at them again
/// has no time.
pub fn scheduled(
    status: &mut ResourceBindingStatus,
    binding: &Binding,
    outcome: Option<&Scheduling>,
    at: Option<Time>,
    now: &Time,
) {
    let was = conditions::find(&status.conditions, SCHEDULED).map(|condition| condition.status == TRUE);
    // An empty list that no scheduler decided on (somebody emptied it by hand) is nothing to confirm.
    let decided_none = matches!(outcome, Some(Scheduling::Placed { targets: 0, .. }));
    if binding.spec.clusters.is_empty() && !decided_none && !matches!(outcome, Some(Scheduling::Failed { .. })) {
        return;
    }
    let placed = match outcome {
        Some(Scheduling::Placed { affinity, .. }) => {
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
        conditions::set(&mut status.conditions, Verdict::holds(SCHEDULED, SUCCESS, SCHEDULED_MESSAGE), now);
        let known = status.last_scheduled_time.take();
        status.last_scheduled_time = known.max(at).or_else(|| Some(now.clone()));
    }
    status.scheduler_observed_generation = binding.metadata.generation.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use pando_api::work::{Binding, ResourceBindingSpec, ResourceBindingStatus, TargetCluster};

    use super::scheduled;
    use crate::detect::Scheduling;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn placed(changed: bool) -> Scheduling {
        Scheduling::Placed { changed, targets: 1, affinity: None }
    }

    fn binding(generation: i64) -> Binding {
        let target = TargetCluster { name: "bj".to_owned(), replicas: 1, ..TargetCluster::default() };
        let spec = ResourceBindingSpec { clusters: vec![target], ..ResourceBindingSpec::default() };
        let mut binding = Binding::new("web-deployment", spec);
        binding.metadata.generation = Some(generation);
        binding
    }

    #[test]
    fn a_new_placement_has_a_time_and_a_condition() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&placed(true)), Some(at(7)), &at(7));
        assert_eq!(status.last_scheduled_time, Some(at(7)));
        assert_eq!(status.scheduler_observed_generation, 1);
        assert_eq!(status.conditions[0].status, "True");
    }

    #[test]
    fn looking_again_changes_nothing() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&placed(true)), Some(at(7)), &at(7));
        let before = status.clone();
        scheduled(&mut status, &binding(1), Some(&placed(false)), Some(at(7)), &at(8));
        scheduled(&mut status, &binding(1), None, None, &at(9));
        assert_eq!(status, before);
    }

    #[test]
    fn another_generation_with_the_same_clusters_is_not_scheduled_anew() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&placed(true)), Some(at(7)), &at(7));
        scheduled(&mut status, &binding(2), Some(&placed(false)), Some(at(7)), &at(8));
        assert_eq!((status.last_scheduled_time, status.scheduler_observed_generation), (Some(at(7)), 2));
    }

    #[test]
    fn a_list_emptied_by_hand_is_not_confirmed() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&placed(true)), Some(at(7)), &at(7));
        let mut emptied = binding(2);
        emptied.spec.clusters.clear();
        scheduled(&mut status, &emptied, Some(&placed(true)), Some(at(7)), &at(8));
        scheduled(&mut status, &emptied, None, None, &at(8));
        assert_eq!(status.scheduler_observed_generation, 1);
        let none = Scheduling::Placed { changed: true, targets: 0, affinity: None };
        scheduled(&mut status, &emptied, Some(&none), Some(at(9)), &at(9));
        assert_eq!(status.scheduler_observed_generation, 2);
    }

    #[test]
    fn a_failure_says_why_and_keeps_the_time_of_the_last_success() {
        let mut status = ResourceBindingStatus::default();
        scheduled(&mut status, &binding(1), Some(&placed(true)), Some(at(7)), &at(7));
        let failed = Scheduling::Failed { reason: "NoClusterFit", message: "0/3 clusters are available".to_owned() };
        scheduled(&mut status, &binding(2), Some(&failed), None, &at(8));
        assert_eq!(status.conditions[0].reason, "NoClusterFit");
        assert_eq!(status.last_scheduled_time, Some(at(7)));
        scheduled(&mut status, &binding(2), None, None, &at(9));
        assert_eq!(status.conditions[0].status, "False");
    }
}
