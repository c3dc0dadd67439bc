//! An outage of a member is said, and takes nothing away.

use pando_api::cluster::Cluster;

use super::*;

fn lost(second: i64) -> Reading {
    Reading::Lost { since: Some(at(second)) }
}

fn message(status: &ResourceBindingStatus) -> &str {
    &crate::conditions::find(&status.conditions, "StatusFresh").unwrap().message
}

#[test]
fn a_member_that_is_not_read_keeps_its_last_status_with_unknown_health() {
    let mut binding = bound(&["bj", "sh"]);
    let works = [working("bj", 5), working("sh", 4)];
    let mut memory = Memory::default();
    binding.status = Some(folded(&mut memory, &binding, &works, &|_| Reading::Current, 9));

    let reading = |cluster: &str| if cluster == "sh" { lost(60) } else { Reading::Current };
    let status = folded(&mut memory, &binding, &works, &reading, 70);
    insta::assert_snapshot!(summary(&status), @r"
    bj applied=true Healthy
    sh applied=true Unknown
    FullyApplied=True FullyAppliedSuccess
    StatusFresh=False ClusterNotRead
    ");
    insta::assert_snapshot!(message(&status), @"the last known status is shown of members that are not read: sh since 1970-01-01T00:01:00Z");
    let known = binding.status.as_ref().unwrap();
    assert_eq!(status.aggregated_status[1].status, known.aggregated_status[1].status);
}

#[test]
fn an_outage_costs_one_write_each_way_and_leaves_no_trace() {
    let mut binding = bound(&["bj"]);
    let works = [working("bj", 5)];
    let healthy = folded(&mut Memory::default(), &binding, &works, &|_| Reading::Current, 9);
    binding.status = Some(healthy.clone());

    let away = folded(&mut Memory::default(), &binding, &works, &|_| lost(60), 70);
    assert_ne!(away, healthy);
    binding.status = Some(away.clone());
    for memory in [&mut Memory::default(), &mut Memory::default()] {
        let sources = Sources { binding: &binding, works: &works, reading: &|_| lost(60), in_doubt: &|_| false };
        let again = fold(memory, &sources, &at(99));
        assert!(again.patch(&binding).is_none(), "after a restart nothing is written again");
    }
    assert_eq!(folded(&mut Memory::default(), &binding, &works, &|_| Reading::Current, 99), healthy);
}

#[test]
fn an_edit_during_an_outage_shows_the_old_numbers_and_observes_nothing() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "prod", "generation": 4},
        "spec": {"replicas": 10}, "status": {"observedGeneration": 3, "replicas": 10, "readyReplicas": 10},
    });
    let binding = bound(&["bj", "sh"]);
    // The member that is read has seen generation 4 of the template, the other one 3.
    let mut newer = live(5);
    newer["metadata"]["annotations"]["resourcetemplate.karmada.io/generation"] = json!("4");
    let newer = work_status(None, &applied(), Some(&[LiveManifest::of(0, identity(), &newer)]), &at(7));
    let works = [work("bj", Some(newer)), working("sh", 5)];
    let reading = |cluster: &str| if cluster == "sh" { lost(60) } else { Reading::Current };
    let status = folded(&mut Memory::default(), &binding, &works, &reading, 70);
    let next = template_of(&object, &status.aggregated_status).unwrap();
    assert_eq!((&next["observedGeneration"], &next["readyReplicas"]), (&json!(3), &json!(10)));
}

#[test]
fn members_are_named_in_order_and_many_are_counted() {
    let names: Vec<String> = (10..22).map(|number| format!("m{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let works: Vec<_> = names.iter().rev().map(|name| working(name, 5)).collect();
    let status = folded(&mut Memory::default(), &bound(&names), &works, &|_| Reading::Lost { since: None }, 70);
    insta::assert_snapshot!(message(&status), @"the last known status is shown of members that are not read: m10, m11, m12, m13, m14, m15, m16, m17 and 4 more");
}

#[test]
fn a_work_that_was_never_answered_shows_nothing_that_could_be_old() {
    let works = [working("bj", 5), work("sh", None)];
    let status = status_of(&["bj", "sh"], &works, None, 9);
    insta::assert_snapshot!(summary(&status), @r"
    bj applied=true Healthy
    sh applied=false Unknown
    FullyApplied=False FullyAppliedFailed
    ");
    let reading = |cluster: &str| if cluster == "sh" { lost(60) } else { Reading::Current };
    let status = folded(&mut Memory::default(), &bound(&["bj", "sh"]), &works, &reading, 70);
    assert!(message(&status).ends_with("not read: sh since 1970-01-01T00:01:00Z"), "its member is not read");
}

fn blind() -> Sight {
    Sight::Blind {
        since: at(50),
        why: "objects of kind Deployment cannot be followed in cluster sh: forbidden".to_owned(),
    }
}

#[test]
fn a_kind_that_cannot_be_followed_makes_its_works_old_and_heals() {
    let mut binding = bound(&["bj", "sh"]);
    let well = working("sh", 4);
    let mut seen = well.status.clone().unwrap();
    blind().show(&mut seen);
    assert_eq!(seen.manifest_statuses[0].health, Some(ResourceHealth::Unknown));
    let said = seen.clone();
    let other = Sight::Blind { since: at(90), why: "in other words".to_owned() };
    for sight in [other, Sight::Unsure] {
        sight.show(&mut seen);
        assert_eq!(seen, said, "said once");
    }

    let status = folded(
        &mut Memory::default(),
        &binding,
        &[working("bj", 5), work("sh", Some(said.clone()))],
        &|_| Reading::Current,
        70,
    );
    insta::assert_snapshot!(summary(&status), @r"
    bj applied=true Healthy
    sh applied=true Unknown
    FullyApplied=True FullyAppliedSuccess
    StatusFresh=False ClusterNotRead
    ");
    assert!(message(&status).ends_with("not read: sh since 1970-01-01T00:00:50Z"));
    assert!(status.aggregated_status[1].status.is_some(), "what was known stays");

    binding.status = Some(status);
    let mut healed = work_status(Some(&said), &Dispatch::Unchanged, Some(&looked_at(4)), &at(80));
    Sight::Clear.show(&mut healed);
    assert_eq!(Some(&healed), well.status.as_ref());
    let status = folded(
        &mut Memory::default(),
        &binding,
        &[working("bj", 5), work("sh", Some(healed))],
        &|_| Reading::Current,
        90,
    );
    assert!(crate::conditions::find(&status.conditions, "StatusFresh").is_none());
}

#[test]
fn a_kind_that_was_never_seen_has_nothing_old_to_show() {
    let mut status = WorkStatus::default();
    blind().show(&mut status);
    assert_eq!(status, WorkStatus::default());
    Sight::Unsure.show(&mut status);
    assert_eq!(status, WorkStatus::default());
}

#[test]
fn since_when_stays_for_as_long_as_the_outage_lasts() {
    let mut binding = bound(&["bj", "bj-2"]);
    let works = [working("bj", 5), working("bj-2", 5)];
    let reading = |moments: [Option<i64>; 2]| {
        move |cluster: &str| moments[usize::from(cluster == "bj-2")].map_or(Reading::Current, lost)
    };
    let mut say = |moments, now| {
        let status = folded(&mut Memory::default(), &binding, &works, &reading(moments), now);
        let said = message(&status).rsplit_once(": ").map(|(_, said)| said.to_owned()).unwrap();
        binding.status = Some(status);
        said.replace("1970-01-01T00:0", "")
    };
    assert_eq!(say([None, Some(60)], 90), "bj-2 since 1:00Z");
    assert_eq!(say([None, Some(95)], 95), "bj-2 since 1:00Z", "Ready went from False to Unknown");
    assert_eq!(say([Some(120), Some(95)], 150), "bj since 2:00Z, bj-2 since 1:00Z", "each its own");
}

#[test]
fn a_work_that_cannot_be_read_takes_nothing_away() {
    let mut binding = bound(&["bj", "sh"]);
    let works = [working("bj", 5), working("sh", 4)];
    binding.status = Some(folded(&mut Memory::default(), &binding, &works, &|_| Reading::Current, 9));
    let known = binding.status.clone().unwrap().aggregated_status;
    let mut memory = Memory::default();
    for _ in 0..2 {
        let sources = Sources {
            binding: &binding,
            works: &works[..1],
            reading: &|_| Reading::Current,
            in_doubt: &|cluster| cluster == "sh",
        };
        let next = fold(&mut memory, &sources, &at(70));
        let items = next.items(&binding).to_vec();
        let status = ResourceBindingStatus { aggregated_status: items, ..next.head };
        let lines = "bj applied=true Healthy\nsh applied=true Unknown\nFullyApplied=True FullyAppliedSuccess\nStatusFresh=False ClusterNotRead";
        assert_eq!(summary(&status), lines);
        assert_eq!(status.aggregated_status[1].status, known[1].status);
        binding.status = Some(status);
    }
    assert_eq!(memory.tally().built, 2, "each once");
}

#[test]
fn nobody_waits_for_an_answer_while_dispatching_is_suspended() {
    let mut suspended = (*work("bj", None)).clone();
    suspended.spec.suspend_dispatching = Some(true);
    let status = status_of(&["bj"], &[Arc::new(suspended)], None, 9);
    assert!(crate::conditions::find(&status.conditions, "StatusFresh").is_none());
}

#[test]
fn a_member_is_read_while_its_cluster_is_ready() {
    let cluster = |status: Value| -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "spec": {"syncMode": "Push"},
            "metadata": {"name": "bj", "creationTimestamp": "1970-01-01T00:00:05Z"}, "status": status,
        }))
        .unwrap()
    };
    let ready = |status: &str| {
        cluster(json!({"conditions": [{
            "type": "Ready", "status": status, "reason": "X", "message": "", "lastTransitionTime": "1970-01-01T00:01:00Z",
        }]}))
    };
    assert_eq!(Reading::of(Some(&ready("True"))), Reading::Current);
    assert_eq!(Reading::of(Some(&ready("False"))), lost(60));
    assert_eq!(Reading::of(Some(&ready("Unknown"))), lost(60));
    assert_eq!(Reading::of(Some(&cluster(json!({})))), lost(5));

    let cut = |ready_is: &str, connected: &str| {
        let mut cut = serde_json::to_value(ready(ready_is)).unwrap();
        cut["status"]["conditions"].as_array_mut().unwrap().push(json!({
            "type": "Connected", "status": connected, "reason": "X", "message": "", "lastTransitionTime": "1970-01-01T00:00:32Z",
        }));
        serde_json::from_value::<Cluster>(cut).unwrap()
    };
    assert_eq!(Reading::of(Some(&cut("True", "False"))), Reading::Current, "a short outage costs nothing");
    assert_eq!(Reading::of(Some(&cut("False", "False"))), lost(32));
    assert_eq!(Reading::of(Some(&cut("Unknown", "False"))), lost(32));
    assert_eq!(Reading::of(Some(&cut("False", "True"))), lost(60));
    assert_eq!(Reading::of(None), Reading::Lost { since: None });
}
