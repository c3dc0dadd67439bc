//! What holds for every kind.

use proptest::prelude::*;

use super::*;
use crate::interpreter::real::names;

#[test]
fn revising_to_the_replicas_that_are_there_changes_nothing() {
    for name in names() {
        let before = manifest(pair(&name).0);
        let mut after = before.clone();
        if let Some(replicas) = replicas(&before) {
            revise_replicas(&mut after, replicas.count);
        }
        assert_eq!(before, after, "{name}");
    }
}

#[test]
fn what_an_api_server_returned_needs_no_retaining() {
    for name in names() {
        let (_, live) = pair(&name);
        let mut desired = live.clone();
        retain(&mut desired, &live);
        assert_eq!(desired, live, "{name}");
    }
}

#[test]
fn retaining_again_changes_nothing() {
    for name in names() {
        let (template, live) = pair(&name);
        let mut once = manifest(template).into_value();
        retain(&mut once, &live);
        let mut twice = once.clone();
        retain(&mut twice, &live);
        assert_eq!(once, twice, "{name}");
    }
}

fn statuses(name: &str) -> Vec<Option<Value>> {
    let (template, live) = pair(name);
    let mut statuses = vec![None, reflect_status(&live), reflect_status(&template)];
    if let Some(mut other) = reflect_status(&live) {
        for field in ["replicas", "active", "failed", "numberReady", "currentHealthy", "currentReplicas"] {
            other[field] = json!(7);
        }
        other["phase"] = json!("Failed");
        other["startTime"] = json!("2026-11-22T00:00:00Z");
        other["lastScheduleTime"] = json!("2026-12-01T00:00:00Z");
        statuses.push(Some(other));
    }
    statuses
}

proptest! {
    #[test]
    fn the_order_of_the_members_does_not_matter_and_aggregating_again_changes_nothing(
        name in prop::sample::select(names()),
        picks in prop::collection::vec(0..4_usize, 0..6),
        shuffled in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let (template, _) = pair(&name);
        let statuses = statuses(&name);
        let clusters = ["bj", "gz", "sh", "sz", "tj", "xm"];
        let items: Vec<_> = clusters.into_iter().zip(&picks)
            .map(|(cluster, pick)| StatusItem { cluster, status: statuses.get(*pick).cloned().flatten() })
            .collect();
        let reordered: Vec<_> = shuffled.iter().filter_map(|position| items.get(*position).cloned()).collect();
        let once = aggregate_status(&template, &items);
        prop_assert_eq!(&once, &aggregate_status(&template, &reordered), "{}", name);
        if let Some(status) = once {
            let mut written = template;
            written["status"] = status.clone();
            let again = aggregate_status(&written, &items);
            prop_assert!(again.is_none() || again == Some(status), "{}", name);
        }
    }
}
