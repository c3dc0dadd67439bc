#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use pando_api::{annotations, raw::EmbeddedObject};
use serde_json::{Value, json};

use super::*;
use crate::seen::{ReadFailure, Seen};

const FEDERATION: &str = "fed-1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

/// A cluster that was deleted this many seconds ago and has nothing left.
fn leaving(seconds: i64) -> Leaving {
    Leaving {
        now: at(seconds),
        since: at(0),
        wishes: Wishes::default(),
        member: Member::Reachable,
        bindings: vec![],
        works: vec![],
        namespace: Space::Absent,
    }
}

fn work(name: &str) -> WorkLeft {
    WorkLeft { name: name.into(), objects: 1, going_since: Some(at(0)), held: None, ours: true, foreign: vec![] }
}

fn away() -> Member {
    Member::Unreachable { since: Some(at(-60)), why: "no route to host".into() }
}

fn asks(annotations: &[(&str, &str)]) -> Wishes {
    let all: BTreeMap<String, String> =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Wishes::of(Some(&all))
}

fn text(leaving: &Leaving) -> String {
    decide(leaving).to_string()
}

#[test]
fn a_cluster_goes_step_by_step() {
    let named = Leaving {
        bindings: vec!["prod/web".into()],
        works: vec![WorkLeft { going_since: None, ..work("a") }],
        namespace: Space::Active,
        ..leaving(1)
    };
    insta::assert_snapshot!(text(&named), @"say      InProgress: 1 binding names it (prod/web), 1 Work with 1 object is left, its execution namespace is there");
    let free = Leaving { bindings: vec![], ..named.clone() };
    insta::assert_snapshot!(text(&free), @r"
    remove   its execution namespace
    say      InProgress: no binding names it, 1 Work with 1 object is left, its execution namespace is there
    ");
    let going = Leaving { namespace: Space::Terminating(vec![]), works: vec![work("a"), work("b")], ..free };
    insta::assert_snapshot!(text(&going), @"say      InProgress: no binding names it, 2 Works with 2 objects are left, its execution namespace is going");
    assert_eq!(text(&leaving(3)), "end");
}

#[test]
fn bindings_that_nobody_schedules_do_not_keep_a_cluster() {
    let named = |seconds| Leaving { bindings: vec!["prod/web".into()], ..leaving(seconds) };
    assert!(!decide(&named(9)).ends, "the scheduler has its head start");
    assert!(decide(&named(10)).ends);
    assert!(decide(&Leaving { wishes: asks(&[(annotations::DETACH_FORCE, "true")]), ..named(1) }).ends);
    let there = Leaving { namespace: Space::Active, ..named(1) };
    assert!(!decide(&there).removes_namespace);
    assert!(decide(&Leaving { now: at(11), ..there }).removes_namespace);
}

#[test]
fn objects_in_a_member_are_never_forgotten_by_time_alone() {
    for member in [Member::Reachable, Member::Unknown, away()] {
        for wishes in [Wishes::default(), asks(&[(annotations::DETACH_DEADLINE, "1m")])] {
            let old = Leaving { member: member.clone(), wishes, works: vec![work("a")], ..leaving(1_000_000) };
            let decision = decide(&old);
            assert!(!decision.ends && decision.lets_go.is_empty(), "{member:?}: {decision}");
        }
    }
}

#[test]
fn a_member_that_is_away_is_the_blocker_and_its_works_words_are_old() {
    let held = WorkLeft { held: Some("ConfigMap prod/a is being deleted".into()), ..work("a") };
    let waiting = Leaving {
        member: away(),
        works: vec![held],
        namespace: Space::Terminating(vec!["2 left".into()]),
        ..leaving(5)
    };
    insta::assert_snapshot!(text(&waiting), @"say      MemberUnreachable: no binding names it, 1 Work with 1 object is left, its execution namespace is going; blocked by: the member cannot be reached since 2023-11-14T22:12:20Z (no route to host), so nothing is known of what is in it");
    let nothing_left = Leaving { works: vec![], namespace: Space::Absent, ..waiting };
    assert!(decide(&nothing_left).ends, "a member without Works needs no word from it");
}

#[test]
fn a_member_is_away_when_its_cluster_says_so_or_nothing_can_connect() {
    let told = |type_: &'static str, status: &str, message: &str| Condition {
        type_: type_.into(),
        status: status.into(),
        message: message.into(),
        reason: "Told".into(),
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(7)),
        observed_generation: None,
    };
    let ready = told(READY, "True", "fine");
    let not_ready = told(READY, "False", "cluster is not reachable");
    let lost = told(CONNECTED, "False", "no route");
    let away = |since, why: &str| Member::Unreachable { since, why: why.into() };
    let table: Vec<(Link, Vec<Condition>, Member)> = vec![
        (Link::Connected, vec![not_ready.clone()], Member::Reachable),
        (Link::Connecting, vec![lost.clone()], Member::Unknown),
        (Link::Lost, vec![ready.clone()], Member::Unknown),
        (Link::Lost, vec![ready.clone(), lost.clone()], away(Some(at(7)), "no route")),
        (Link::Lost, vec![not_ready.clone()], away(Some(at(7)), "cluster is not reachable")),
        (Link::Refused("no secret".into()), vec![ready.clone()], away(None, "no secret")),
        (Link::Agent, vec![ready], Member::Reachable),
        (Link::Agent, vec![not_ready], away(Some(at(7)), "cluster is not reachable")),
        (Link::Agent, vec![], away(None, "it has never been ready")),
    ];
    for (link, conditions, member) in table {
        assert_eq!(Member::of(link.clone(), &conditions), member, "{link:?} {conditions:?}");
    }
}

#[test]
fn each_blocker_is_named_and_many_are_counted() {
    let held = |name: &str| WorkLeft {
        held: Some(format!("ConfigMap prod/{name} is being deleted; held by its finalizers: example.io/hold")),
        ..work(name)
    };
    let foreign = WorkLeft { ours: false, foreign: vec!["example.io/audit".into()], ..work("b") };
    let blocked = Leaving { works: vec![held("a"), foreign, work("c")], ..leaving(5) };
    insta::assert_snapshot!(text(&blocked), @"say      Blocked: no binding names it, 3 Works with 3 objects are left, its execution namespace is gone; blocked by: Work a: ConfigMap prod/a is being deleted; held by its finalizers: example.io/hold; Work b: its finalizers on the hub are somebody else's: example.io/audit");
    let many = Leaving { works: (0..9).map(|nth| held(&nth.to_string())).collect(), ..leaving(5) };
    assert_eq!(decide(&many).blockers.len(), 9);
    let message = decide(&many).condition.message;
    assert!(message.ends_with("and 4 more") && !message.contains("Work 5"), "{message}");
    let namespace = |told: &[&str]| {
        let told = told.iter().map(|sentence| (*sentence).to_owned()).collect();
        decide(&Leaving { namespace: Space::Terminating(told), ..leaving(5) }).condition
    };
    let old = [
        "Some resources are remaining: works.work.karmada.io has 2 resource instances",
        "Some content in the namespace has finalizers remaining: karmada.io/execution-controller in 2 resource instances",
    ];
    assert_eq!(namespace(&old).reason, DETACH_IN_PROGRESS, "no Work is left: the hub has not looked since");
    let stuck = namespace(&[old[0], "Discovery failed\nfor x.example/v1"]);
    assert_eq!(stuck.reason, DETACH_BLOCKED);
    assert!(stuck.message.ends_with("its execution namespace: Discovery failed for x.example/v1"), "{}", stuck.message);
    let verdict = still_running(&leaving(5));
    assert_eq!(verdict.reason, DETACH_BLOCKED);
    assert!(verdict.message.contains("has not ended"), "{}", verdict.message);
}

#[test]
fn force_lets_go_of_what_would_not_go_by_itself() {
    let forced = |member: Member, works: Vec<WorkLeft>, seconds| {
        let wishes = asks(&[(annotations::DETACH_FORCE, "alice")]);
        decide(&Leaving { wishes, member, works, ..leaving(seconds) }).lets_go
    };
    let held = WorkLeft { held: Some("held".into()), ..work("held") };
    let wanted = WorkLeft { going_since: None, ..work("wanted") };
    let released = WorkLeft { ours: false, ..work("released") };
    let all = || vec![work("plain"), held.clone(), wanted.clone(), released.clone()];
    assert_eq!(forced(away(), all(), 1), ["plain", "held"], "nothing of a member that is away is waited for");
    assert_eq!(forced(Member::Reachable, all(), 1), ["held"], "the others go by themselves");
    assert_eq!(forced(Member::Reachable, all(), 30), ["plain", "held"]);
    assert_eq!(forced(Member::Unknown, all(), 1000), Vec::<String>::new(), "a probe finds out in a moment");
    let message = decide(&Leaving {
        wishes: asks(&[(annotations::DETACH_FORCE, "alice")]),
        member: away(),
        works: vec![work("a")],
        ..leaving(1)
    })
    .condition;
    assert_eq!(message.reason, DETACH_FORCED);
    assert!(message.message.starts_with("forced by alice; "), "{}", message.message);
}

#[test]
fn a_deadline_changes_what_is_said_and_not_what_is_done() {
    let wishes = asks(&[(annotations::DETACH_DEADLINE, "10m")]);
    let early = Leaving { wishes, works: vec![work("a")], ..leaving(599) };
    let late = Leaving { now: at(600), ..early.clone() };
    assert_eq!(decide(&early).condition.reason, DETACH_IN_PROGRESS);
    let said = decide(&late).condition;
    assert_eq!(said.reason, DETACH_DEADLINE_EXCEEDED);
    assert!(said.message.starts_with("the deadline of 10m has passed; "), "{}", said.message);
    assert_eq!(decide(&late).lets_go, decide(&early).lets_go);
}

#[test]
fn wishes_are_read_as_people_write_them() {
    let force = |value: &str| asks(&[(annotations::DETACH_FORCE, value)]).forced_by;
    assert_eq!(force("alice"), Some("alice".into()));
    assert_eq!(force(" system:serviceaccount:ops:bot\nx "), Some("system:serviceaccount:ops:bot x".into()));
    assert_eq!(force("true"), Some("somebody".into()));
    assert_eq!((force(""), force("false")), (None, None));
    let deadline = |value: &str| asks(&[(annotations::DETACH_DEADLINE, value)]);
    assert_eq!(deadline("1h30m").deadline, Some(SignedDuration::from_mins(90)));
    for wrong in ["soon", "", "-5m"] {
        let wishes = deadline(wrong);
        assert_eq!(wishes.deadline, None, "{wrong}");
        assert!(wishes.unreadable.as_ref().unwrap().contains(annotations::DETACH_DEADLINE), "{wishes:?}");
        let said = decide(&Leaving { wishes, works: vec![work("a")], ..leaving(5) }).condition.message;
        assert!(said.contains("is ignored"), "{said}");
    }
    assert_eq!(Wishes::of(None), Wishes::default());
}

#[test]
fn what_others_say_is_one_line_of_bounded_length() {
    let why = "x\n".repeat(5000);
    let said = Blocker::Work { name: "a".into(), why }.to_string();
    assert!(said.chars().count() < 330 && !said.contains('\n'), "{said}");
}

fn full(kind: &str, preserve: bool, overwrite: bool) -> Work {
    let mut manifest = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "namespace": "prod",
        "annotations": {annotations::TEMPLATE_UID: "t-1", annotations::BINDING: "b-1"}}});
    if overwrite {
        manifest["metadata"]["annotations"][annotations::CONFLICT_RESOLUTION] = json!("overwrite");
    }
    let mut work = Work::default();
    work.metadata.namespace = Some("karmada-es-bj".into());
    work.metadata.name = Some("a-1".into());
    work.spec.preserve_resources_on_deletion = Some(preserve);
    work.spec.workload.manifests = vec![EmbeddedObject::from_value(&manifest).unwrap()];
    work
}

fn fate(work: &Work, live: Option<Seen<&Value>>) -> Fate {
    foresee(FEDERATION, work, |_| live.clone()).remove(0).fate
}

#[test]
fn the_record_on_the_hub_foretells_what_goes_and_what_stays() {
    assert_eq!(fate(&full("ConfigMap", false, false), None), Fate::Removed);
    assert_eq!(fate(&full("ConfigMap", false, true), None), Fate::RemovedUnlessAdopted);
    for kept in [full("ConfigMap", true, true), full("Namespace", false, false)] {
        assert!(matches!(fate(&kept, None), Fate::Kept { .. }));
    }
    let unread = Seen::Unreadable(ReadFailure::new("ConfigMap prod/a", "timeout"));
    assert_eq!(fate(&full("ConfigMap", false, false), Some(unread)), Fate::Removed);
}

#[test]
fn a_look_at_the_member_foretells_it_exactly() {
    let work = full("ConfigMap", false, true);
    let mut live = objects_of(&work)[0].manifest.value().clone();
    live["metadata"]["uid"] = json!("u-1");
    live["metadata"]["resourceVersion"] = json!("7");
    assert_eq!(fate(&work, Some(Seen::Found(&live))), Fate::Removed);
    live["metadata"]["annotations"][annotations::ADOPTED] = json!("true");
    assert!(matches!(fate(&work, Some(Seen::Found(&live))), Fate::Kept { why } if why.contains("taken over")));
    live["metadata"]["annotations"][annotations::FEDERATION] = json!("fed-2");
    assert!(matches!(fate(&work, Some(Seen::Found(&live))), Fate::Kept { why } if why.contains("another federation")));
    assert_eq!(fate(&work, Some(Seen::Absent)), Fate::Gone);
}

fn objects_of(work: &Work) -> Vec<crate::drift::Desired> {
    fate::objects(FEDERATION, work).unwrap()
}

#[test]
fn without_the_member_what_was_to_go_is_left_behind_and_what_stays_stays() {
    let left = |fate: Fate| fate.without_the_member("it is away");
    assert!(matches!(left(Fate::Removed), Fate::LeftBehind { .. }));
    assert!(matches!(left(Fate::RemovedUnlessAdopted), Fate::LeftBehind { .. }));
    let kept = Fate::Kept { why: "x".into() };
    assert_eq!(left(kept.clone()), kept);
}

#[test]
fn a_work_that_cannot_be_read_is_foretold_as_such() {
    let mut work = full("ConfigMap", false, false);
    work.metadata.namespace = Some("elsewhere".into());
    let fated = foresee(FEDERATION, &work, |_| None).remove(0);
    assert_eq!(fated.object, "Work a-1");
    assert!(matches!(fated.fate, Fate::LeftBehind { .. }));
}

#[test]
fn what_is_left_behind_is_recorded_once_and_of_this_cluster_only() {
    let mut left = LeftBehind { cluster_uid: "u-1".into(), forced_by: "alice".into(), ..LeftBehind::default() };
    let names = ["Deployment prod/web", "ConfigMap prod/a"].map(str::to_owned);
    left.add(names.clone());
    left.add(names);
    assert_eq!(left.count(), 2);
    let data = left.data();
    assert_eq!(data[OBJECTS], "ConfigMap prod/a\nDeployment prod/web");
    assert_eq!(LeftBehind::of("u-1", Some(&data)), Some(left));
    assert_eq!(LeftBehind::of("u-2", Some(&data)), None);
    assert_eq!(LeftBehind::of("u-1", None), None);
}

#[test]
fn a_record_has_room_for_names_and_counts_the_others() {
    let mut left = LeftBehind::default();
    left.add((0..20_000).map(|nth| format!("ConfigMap a-namespace-of-some-length/object-{nth:09}")));
    assert!(left.unnamed > 0);
    assert_eq!(left.count(), 20_000);
    let size: usize = left.data().values().map(String::len).sum();
    assert!(size < 600 * 1024, "{size}");
    assert_eq!(LeftBehind::of("", Some(&left.data())).unwrap().count(), 20_000);
}
