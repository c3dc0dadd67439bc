//! What one sees of a tree: lines, filters, counts, and who is stuck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::future::pending;
use std::time::Duration;

use pando_context::{Activity, Filter, Joins, Kind, Reason, ReasonKind, Row, Scope, State, Tree, assert_no_leaks};
use proptest::prelude::*;

const CLUSTER: Kind = Kind::new("cluster");
const RECONCILE: Kind = Kind::new("reconcile");
const CALL: Kind = Kind::new("call");

const SECOND: Duration = Duration::from_secs(1);

fn labels(tree: &Tree) -> Vec<String> {
    tree.nodes().iter().map(|node| node.label.to_string()).collect()
}

#[test]
fn of_more_than_two_hundred_alike_ten_are_shown_and_the_rest_is_counted() {
    let root = Scope::root("root");
    let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
    let calls = Vec::from_iter((0..1000).map(|_| cluster.ctx().child(&CALL)));
    let below = calls[999].ctx().child(&CALL);
    let few = Vec::from_iter((0..200).map(|_| cluster.ctx().child(&RECONCILE)));
    let other = root.ctx().child_named(&CLUSTER, "sh-prod");
    let tree = root.ctx().dump();
    assert_eq!(tree.len(), 1204);
    let text = tree.to_string();
    let lines = Vec::from_iter(text.lines());
    assert_eq!(lines.len(), 1 + 1 + 10 + 200 + 1 + 1, "{text}");
    assert!(lines[212].starts_with("    … and 990 more call, active, with 1 below, the oldest "), "{}", lines[212]);
    assert!(lines[213].starts_with("  cluster/sh-prod"));
    drop((below, few, other));
}

#[test]
fn one_that_stops_is_not_hidden_among_many_that_do_not() {
    let root = Scope::root("root");
    let calls = Vec::from_iter((0..500).map(|number| root.ctx().child_named(&CALL, number)));
    calls[321].cancel(Reason::requested("test"));
    let text = root.ctx().dump().to_string();
    assert!(text.contains("  call/321  ") && text.contains("requested at call/321: test"), "{text}");
    assert!(text.contains("… and 489 more call, active"), "{text}");
}

#[pando_context::test(paused)]
async fn a_line_says_what_it_does_and_for_how_long(root: &Scope) {
    let cluster = root.ctx().derive(&CLUSTER).named("bj-prod").timeout(90 * SECOND).scope();
    cluster.ctx().spawn_named(&RECONCILE, "web", |_| pending::<()>()).detach();
    cluster.ctx().spawn_named(&RECONCILE, "bad", |_| async { panic!("oh no") }).detach();
    root.ctx().sleep(30 * SECOND).await.unwrap();
    let text = cluster.ctx().dump().to_string();
    let lines = Vec::from_iter(text.lines());
    let start =
        "cluster/bj-prod  30.0s  idle  60.0s left  tasks 1  1 panicked, the last one reconcile/bad: oh no  trace 0";
    assert!(lines[0].starts_with(start), "{text}");
    assert!(lines[1].starts_with("  reconcile/web  30.0s  waiting  60.0s left  tasks 1  trace 0"), "{text}");
    assert!(lines[1].contains("[controller/context/tests/view.rs:"), "{text}");
    let node = &cluster.ctx().dump().nodes()[1].clone();
    assert_eq!((node.activity, node.holds, node.owned, node.state()), (Activity::Waiting, 2, true, State::Active));
}

#[pando_context::test(paused)]
async fn the_end_of_a_deadline_shows_even_if_nobody_has_noticed_it(root: &Scope) {
    let call = root.ctx().with_timeout(&CALL, SECOND);
    root.ctx().sleep(2 * SECOND).await.unwrap();
    assert_eq!(root.ctx().dump().nodes()[1].state(), State::Stopping);
    assert_eq!(root.ctx().counts().stopping(), 1);
    drop(call);
}

#[pando_context::test]
async fn a_future_that_is_being_polled_is_running(root: &Scope) {
    let call = root.ctx().child(&CALL);
    let seen = call.ctx().run(async { root.ctx().dump().nodes()[1].activity }).await.unwrap();
    assert_eq!(seen, Activity::Running);
    assert_eq!(root.ctx().dump().nodes()[1].activity, Activity::Idle);
}

#[pando_context::test]
async fn a_scope_that_somebody_keeps_is_named_as_that(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let kept = cluster.ctx().child_named(&CALL, "kept");
    let left = cluster.stop(ReasonKind::Detached, Duration::ZERO).await.unwrap_err();
    assert!(left.to_string().contains("  call/kept  "), "{left}");
    assert!(left.to_string().contains("nothing runs, its scope is kept"), "{left}");
    drop(kept);
    left.into_scope().stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert_no_leaks!(root);
}

#[pando_context::test(paused)]
async fn filters_keep_what_is_above_a_match(root: &Scope) {
    let one = root.ctx().child_named(&CLUSTER, "one");
    let old = one.ctx().child_named(&RECONCILE, "old");
    let two = root.ctx().child_named(&CLUSTER, "two");
    root.ctx().sleep(10 * SECOND).await.unwrap();
    let new = one.ctx().child_named(&RECONCILE, "new");
    let call = new.ctx().child(&CALL);
    call.cancel(ReasonKind::ClientGone);
    let asked = |query: &[(&str, &str)]| labels(&root.ctx().dump_where(&Filter::parse(query.to_vec()).unwrap()));
    let top = root.ctx().label().to_string();
    let top = top.as_str();
    assert_eq!(asked(&[("cluster", "two")]), [top, "cluster/two"]);
    assert_eq!(asked(&[("within", "reconcile/new")]), [top, "cluster/one", "reconcile/new", "call"]);
    assert_eq!(asked(&[("state", "stopping")]), [top, "cluster/one", "reconcile/new", "call"]);
    assert_eq!(asked(&[("kind", "reconcile"), ("older", "5s")]), [top, "cluster/one", "reconcile/old"]);
    assert_eq!(asked(&[("depth", "1")]), [top, "cluster/one", "cluster/two"]);
    assert!(asked(&[("cluster", "three")]).is_empty());
    let matched = root.ctx().dump_where(&Filter { kind: Some("call".to_owned()), ..Filter::default() });
    assert_eq!(Vec::from_iter(matched.nodes().iter().map(|node| node.matched)), [false, false, false, true]);
    drop((old, two));
}

#[test]
fn a_filter_that_is_not_understood_says_what_would_be() {
    for (pair, error) in [
        (("older", "soon"), "older=soon: expected a time, such as 500ms, 30s, 2m or 1h"),
        (("within", "one"), "within=one: expected KIND/NAME"),
        (("depth", "-1"), "depth=-1: expected a number of levels"),
        (("colour", "red"), "colour=red: expected one of the keys cluster, within, kind, state, older and depth"),
    ] {
        assert_eq!(Filter::parse([pair]).unwrap_err().to_string(), error);
    }
}

proptest! {
    #[test]
    fn a_filter_survives_the_way_through_a_url(
        within in proptest::option::of(("[a-z]{1,8}", "[a-z0-9/.-]{1,12}")),
        kind in proptest::option::of("[a-z]{1,8}"),
        stopping in proptest::option::of(any::<bool>()),
        older in proptest::option::of(0..10_000_000_u64),
        depth in proptest::option::of(any::<usize>()),
    ) {
        let state = stopping.map(|is| if is { State::Stopping } else { State::Active });
        let filter = Filter { within, kind, state, older: older.map(Duration::from_millis), depth };
        prop_assert_eq!(Filter::parse(filter.pairs()).unwrap(), filter);
    }

    /// Each context is in exactly one row, or counted in one.
    #[test]
    fn no_context_gets_lost_between_the_rows(children in proptest::collection::vec((0..3_usize, 0..3_usize), 0..1200)) {
        let root = Scope::root("root");
        let mut scopes = vec![root];
        for (parent, kind) in children {
            // Few parents, so that some have very many children.
            let parent = parent.min(scopes.len() - 1);
            let child = scopes[parent].ctx().child([&CLUSTER, &RECONCILE, &CALL][kind]);
            scopes.push(child);
        }
        let tree = scopes[0].ctx().dump();
        let rows = tree.rows();
        let counted = rows.iter().map(|row| match row {
            Row::Context(_) => 1,
            Row::More(more) => more.count + more.below,
        });
        prop_assert_eq!(counted.sum::<usize>(), tree.len());
    }
}

#[pando_context::test(paused)]
async fn who_is_stuck_is_named_with_all_above_it_and_only_the_innermost(root: &Scope) {
    let cluster = root.ctx().derive(&CLUSTER).named("bj-prod").new_trace().scope();
    let reconcile = cluster.ctx().child_named(&RECONCILE, "web");
    let call = reconcile.ctx().child(&CALL);
    cluster.cancel(Reason::detached("by alice"));
    let fresh = root.ctx().child_named(&CLUSTER, "sh-prod");
    root.ctx().sleep(40 * SECOND).await.unwrap();
    fresh.cancel(Reason::detached("by bob"));
    let tree = root.ctx().dump();
    let stuck = tree.stuck(30 * SECOND);
    assert_eq!(stuck.len(), 1);
    let line = stuck[0].to_string();
    let root_label = root.ctx().label();
    let start = format!(
        "{root_label} > cluster/bj-prod > reconcile/web > call: nothing runs, its scope is kept, 40.0s after detached at \
         cluster/bj-prod: by alice; made 40.0s ago at controller/context/tests/view.rs:"
    );
    assert!(line.starts_with(&start), "{line}");
    assert!(line.ends_with(&format!("trace {}", cluster.ctx().trace_id())), "{line}");
    assert_eq!(stuck[0].node.id, tree.nodes()[3].id);
    drop((reconcile, call, fresh));
}

#[pando_context::test(paused)]
async fn contexts_are_counted_by_kind_and_state(root: &Scope) {
    let one = root.ctx().child(&CLUSTER);
    let two = root.ctx().child(&CLUSTER);
    one.ctx().spawn(&RECONCILE, |_| pending::<()>()).detach();
    let call = two.ctx().child(&CALL);
    two.cancel(ReasonKind::Detached);
    root.ctx().sleep(7 * SECOND).await.unwrap();
    let counts = root.ctx().counts();
    let of = |kind| {
        let count = counts.kinds[&kind];
        (count.live, count.stopping, count.tasks, count.longest_stopping.as_secs())
    };
    assert_eq!(of(CLUSTER), (1, 1, 0, 7));
    assert_eq!(of(RECONCILE), (1, 0, 1, 0));
    assert_eq!(of(CALL), (0, 1, 0, 7));
    assert_eq!((counts.live(), counts.stopping(), counts.tasks()), (3, 2, 1));
    drop(call);
}

#[pando_context::test(paused)]
async fn what_was_cancelled_and_what_panicked_is_counted_and_what_just_ended_is_not(root: &Scope) {
    drop(root.ctx().child(&CALL));
    root.ctx().spawn(&RECONCILE, |ctx| async move { drop(ctx.clone()) }).await.unwrap();
    assert!(root.ctx().totals().cancelled.is_empty());

    let cluster = root.ctx().child(&CLUSTER);
    let calls = Vec::from_iter((0..70).map(|_| cluster.ctx().child(&CALL)));
    cluster.cancel(ReasonKind::Detached);
    assert!(!cluster.cancel(ReasonKind::Shutdown));
    let owner = root.ctx().child(&CLUSTER);
    let below = owner.ctx().child(&CALL);
    drop(owner);
    let late = root.ctx().with_timeout(&CALL, Duration::ZERO);
    root.ctx().spawn(&RECONCILE, |_| async { panic!("oh no") }).await.unwrap_err();
    let totals = calls[0].ctx().totals();
    let expected = [
        ((CALL, ReasonKind::Deadline), 1),
        ((CALL, ReasonKind::Detached), 70),
        ((CALL, ReasonKind::OwnerDropped), 1),
        ((CLUSTER, ReasonKind::Detached), 1),
    ];
    let mut cancelled = Vec::from_iter(totals.cancelled);
    cancelled.sort_by_key(|((kind, reason), _)| (*kind, reason.as_str()));
    assert_eq!(cancelled, expected);
    assert_eq!(Vec::from_iter(totals.panicked), [(RECONCILE, 1)]);
    drop((below, late));
}

#[pando_context::test(paused)]
async fn the_time_a_stop_took_is_counted_by_kind(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    cluster.ctx().shield(&CALL, 10 * SECOND, |ctx| async move { ctx.sleep(2 * SECOND).await }).detach();
    cluster.stop(ReasonKind::Detached, 5 * SECOND).await.unwrap();
    let joins = root.ctx().totals().joins[&CLUSTER];
    assert_eq!((joins.count, joins.seconds.round()), (1, 2.0));
    let bucket = Joins::BOUNDS.iter().position(|bound| *bound >= 2.0).unwrap();
    assert_eq!(joins.buckets[bucket], 1);
}

#[test]
fn a_hundred_thousand_contexts_are_counted_and_dumped() {
    let root = Scope::root("root");
    let scopes = Vec::from_iter((0..100).map(|_| root.ctx().child(&CLUSTER)));
    let below = Vec::from_iter((0..100_000).map(|number| scopes[number % 100].ctx().child(&CALL)));
    let tree = root.ctx().dump();
    assert_eq!(tree.len(), 100_101);
    let counts = root.ctx().counts();
    assert_eq!(counts.kinds[&CALL].live, 100_000);
    let lines = tree.to_string().lines().count();
    assert_eq!(lines, 1 + 100 * (1 + 10 + 1));
    drop(below);
}

#[cfg(feature = "serde")]
#[pando_context::test(paused)]
async fn a_tree_serialises_as_flat_rows(root: &Scope) {
    let cluster = root.ctx().derive(&CLUSTER).named("bj-prod").timeout(60 * SECOND).scope();
    let calls = Vec::from_iter((0..300).map(|_| cluster.ctx().child(&CALL)));
    root.ctx().sleep(SECOND).await.unwrap();
    cluster.cancel(Reason::detached("by \"alice\""));
    let json = serde_json::to_value(root.ctx().dump()).unwrap();
    assert_eq!((&json["contexts"], &json["tasks"]), (&302.into(), &0.into()));
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1 + 1 + 10 + 1);
    let row = &rows[1];
    assert_eq!((&row["depth"], &row["kind"], &row["name"]), (&1.into(), &"cluster".into(), &"bj-prod".into()));
    assert_eq!((&row["state"], &row["activity"], &row["holds"]), (&"stopping".into(), &"idle".into(), &301.into()));
    assert_eq!(row["remaining_seconds"].as_f64().unwrap().round(), 59.0);
    assert_eq!(row["cancelled"]["kind"], "detached");
    assert_eq!(row["cancelled"]["text"], "by \"alice\"");
    assert_eq!(row["cancelled"]["origin"], "cluster/bj-prod");
    assert_eq!(row["trace"], row["cancelled"]["trace"]);
    assert!(rows[0].get("name").is_none() && rows[0].get("cancelled").is_none());
    assert_eq!(rows[12]["more"], 290);
    drop(calls);
}
