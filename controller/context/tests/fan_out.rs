//! Many parts as one call: nothing is lost, nothing is left, and each policy does what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pando_context::testing::{self, Options};
use pando_context::{Ctx, Instant, Kind, Outcomes, Policy, Reason, ReasonKind, Scope, Stop};
use proptest::prelude::*;

const CLUSTER: Kind = Kind::new("cluster");
const CALL: Kind = Kind::new("call");

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Counts how many of it exist, and the most that ever did.
#[derive(Clone, Default)]
struct Alive {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Alive {
    fn enter(&self) -> Guard {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Guard(self.clone())
    }

    fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

struct Guard(Alive);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a part does after a number of milliseconds (0: without ever waiting).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Ok,
    Err,
    Panic,
    /// Panics while it is dropped, by its end or by a cancel.
    PanicInDrop,
    Never,
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in the destructor");
    }
}

async fn part(key: usize, fate: Fate, millis: u64, alive: Alive) -> Result<usize, String> {
    let _alive = alive.enter();
    let _bomb = (fate == Fate::PanicInDrop).then(|| PanicsInDrop);
    if millis > 0 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    match fate {
        Fate::Ok | Fate::PanicInDrop => Ok(key),
        Fate::Err => Err(format!("error of {key}")),
        Fate::Panic => panic!("panic of {key}"),
        Fate::Never => pending().await,
    }
}

async fn fan_out(
    ctx: &Ctx,
    local: bool,
    limit: usize,
    policy: Policy,
    parts: &[(Fate, u64)],
    alive: &Alive,
) -> Outcomes<usize, usize, String> {
    if local {
        let keys = 0..parts.len();
        let work = |key: usize, _| part(key, parts[key].0, parts[key].1, alive.clone());
        return ctx.fan_out_local(limit).policy(policy).each(keys, work).run().await;
    }
    let mut parallel = ctx.fan_out(limit).policy(policy);
    for (key, (fate, millis)) in parts.iter().copied().enumerate() {
        let alive = alive.clone();
        parallel = parallel.add(key, move |_| part(key, fate, millis, alive));
    }
    parallel.run().await
}

fn keys<V>(list: &[(usize, V)]) -> Vec<usize> {
    list.iter().map(|(key, _)| *key).collect()
}

/// Runs the same test with both forms.
macro_rules! both {
    ($($(#[$about:meta])* async fn $name:ident($root:ident, $local:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn test($root: &Scope, $local: bool) $body

            #[pando_context::test(paused)]
            async fn with_tasks(root: &Scope) {
                test(root, false).await;
            }

            #[pando_context::test(paused)]
            async fn in_place(root: &Scope) {
                test(root, true).await;
            }
        }
    )*};
}

both! {
    async fn without_a_policy_every_part_runs_to_its_end(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Err, 0), (Fate::Ok, 50), (Fate::Panic, 10), (Fate::PanicInDrop, 0), (Fate::Ok, 0)];
        let all = fan_out(root.ctx(), local, 5, Policy::All, &parts, &alive).await;
        assert_eq!(all.ok, [(1, 1), (4, 4)]);
        assert_eq!(all.failed, [(0, "error of 0".to_owned())]);
        assert_eq!(all.panicked, [(2, "panic of 2".to_owned()), (3, "in the destructor".to_owned())]);
        assert!(all.cancelled.is_empty());
        let line = all.into_result().unwrap_err().to_string();
        assert_eq!(
            line,
            "2 of 5 parts are ok, 5 are needed: 0 failed: error of 0; 2 panicked: panic of 2; \
             3 panicked: in the destructor"
        );
    }

    async fn failing_fast_cancels_the_rest_and_says_who_failed(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Never, 0), (Fate::Ok, 10), (Fate::Err, 20), (Fate::Never, 0), (Fate::Ok, 0)];
        let before = Instant::now();
        let all = fan_out(root.ctx(), local, 4, Policy::FailFast, &parts, &alive).await;
        assert!(before.elapsed() < SECOND);
        assert_eq!((keys(&all.ok), keys(&all.failed), keys(&all.cancelled)), (vec![1, 4], vec![2], vec![0, 3]));
        for (_, stop) in &all.cancelled {
            assert_eq!(stop.reason().kind(), ReasonKind::SiblingFailed);
            assert_eq!(stop.to_string(), "stopped: sibling_failed at fan-out: 2 failed");
        }
        assert!(!all.is_met());
    }

    async fn a_panic_is_a_failure_that_names_its_key(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Never, 0), (Fate::Panic, 5)];
        let all = fan_out(root.ctx(), local, 2, Policy::FailFast, &parts, &alive).await;
        assert_eq!(all.panicked, [(1, "panic of 1".to_owned())]);
        assert_eq!(all.cancelled[0].1.reason().text(), "1 panicked");
    }

    async fn two_failures_at_once_are_both_kept(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Err, 10), (Fate::Err, 10), (Fate::Never, 0)];
        let all = fan_out(root.ctx(), local, 3, Policy::FailFast, &parts, &alive).await;
        // One of them may have been stopped before it was polled again; neither is lost.
        assert_eq!(all.failed.len() + all.cancelled.len(), 3);
        assert!(!all.failed.is_empty() && all.cancelled.iter().any(|(key, _)| *key == 2));
    }

    async fn the_first_success_is_enough(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Err, 0), (Fate::Never, 0), (Fate::Ok, 10), (Fate::Ok, 1000)];
        let all = fan_out(root.ctx(), local, 4, Policy::First, &parts, &alive).await;
        assert_eq!((keys(&all.ok), keys(&all.failed), keys(&all.cancelled)), (vec![2], vec![0], vec![1, 3]));
        assert_eq!(all.cancelled[0].1.reason().kind(), ReasonKind::Requested);
        assert_eq!(all.into_result().unwrap(), [(2, 2)]);
    }

    async fn a_quorum_is_enough_and_a_lost_one_ends_it(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Ok, 10), (Fate::Ok, 20), (Fate::Err, 5), (Fate::Never, 0), (Fate::Ok, 900)];
        let all = fan_out(root.ctx(), local, 5, Policy::Quorum(2), &parts, &alive).await;
        assert_eq!((keys(&all.ok), keys(&all.cancelled), all.is_met()), (vec![0, 1], vec![3, 4], true));

        let parts = [(Fate::Err, 10), (Fate::Panic, 20), (Fate::Never, 0)];
        let all = fan_out(root.ctx(), local, 3, Policy::Quorum(2), &parts, &alive).await;
        assert_eq!(keys(&all.cancelled), [2]);
        assert_eq!(all.cancelled[0].1.reason().kind(), ReasonKind::SiblingFailed);
        assert_eq!(all.cancelled[0].1.reason().text(), "2 of 3 parts cannot be ok any more after 0 failed");
        assert!(!all.is_met());
    }

    async fn a_quorum_of_nothing_and_one_of_too_many_start_nothing(root, local) {
        let alive = Alive::default();
        for (needed, met) in [(0, true), (3, false)] {
            let parts = [(Fate::Ok, 0), (Fate::Ok, 0)];
            let all = fan_out(root.ctx(), local, 2, Policy::Quorum(needed), &parts, &alive).await;
            assert_eq!((all.cancelled.len(), alive.most(), all.is_met()), (2, 0, met));
        }
    }

    async fn no_more_than_the_limit_run_at_a_time_and_the_others_follow(root, local) {
        for (limit, most) in [(0, 1), (1, 1), (3, 3), (100, 20)] {
            let alive = Alive::default();
            let all = fan_out(root.ctx(), local, limit, Policy::All, &[(Fate::Ok, 10); 20], &alive).await;
            assert_eq!((all.ok.len(), alive.most()), (20, most), "limit {limit}");
        }
    }

    async fn what_has_not_started_when_it_is_over_is_cancelled_and_never_starts(root, local) {
        let alive = Alive::default();
        let parts = [[(Fate::Err, 10)].as_slice(), &[(Fate::Never, 0); 9]].concat();
        let all = fan_out(root.ctx(), local, 2, Policy::FailFast, &parts, &alive).await;
        assert_eq!((all.cancelled.len(), alive.most()), (9, 2));
    }

    async fn a_cancel_from_above_ends_every_part_with_its_own_reason(root, local) {
        let alive = Alive::default();
        let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
        let ctx = cluster.ctx().clone();
        let leaving = root.ctx().spawn(&CALL, move |ctx| async move {
            ctx.sleep(SECOND).await.unwrap();
            cluster.cancel(Reason::detached("test"));
        });
        let parts = [[(Fate::Ok, 10)].as_slice(), &[(Fate::Never, 0); 9]].concat();
        let all = fan_out(&ctx, local, 4, Policy::All, &parts, &alive).await;
        leaving.await.unwrap();
        assert_eq!((keys(&all.ok), all.cancelled.len(), alive.now()), (vec![0], 9, 0));
        assert!(all.cancelled.iter().all(|(_, stop)| stop.reason().kind() == ReasonKind::Detached));
    }

    async fn a_deadline_ends_every_part(root, local) {
        let alive = Alive::default();
        let call = root.ctx().with_timeout(&CALL, SECOND);
        let before = Instant::now();
        let all = fan_out(call.ctx(), local, 2, Policy::All, &[(Fate::Never, 0); 3], &alive).await;
        assert_eq!(before.elapsed(), SECOND);
        assert!(all.cancelled.iter().all(|(_, stop)| stop.is_deadline()));
        assert_eq!(all.cancelled.len(), 3);
    }

    async fn nothing_is_left_when_it_returns(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Err, 10), (Fate::Never, 0), (Fate::PanicInDrop, 5000)];
        let all = fan_out(root.ctx(), local, 3, Policy::FailFast, &parts, &alive).await;
        assert_eq!((all.len(), alive.now()), (3, 0));
        assert_eq!(all.panicked.len(), 1, "dropping it panicked: {all:?}");
        assert!(root.ctx().dump().is_empty(), "{}", root.ctx().dump());
    }

    async fn dropping_the_call_ends_the_parts(root, local) {
        let alive = Alive::default();
        let parts = [(Fate::Never, 0); 3];
        {
            let call = fan_out(root.ctx(), local, 3, Policy::All, &parts, &alive);
            assert!(root.ctx().timeout(&CALL, SECOND, call).await.is_err());
        }
        root.join().await.unwrap();
        assert_eq!((alive.most(), alive.now()), (3, 0));
    }

    async fn nothing_to_do_is_done_at_once(root, local) {
        let all = fan_out(root.ctx(), local, 3, Policy::All, &[], &Alive::default()).await;
        assert!(all.is_empty() && all.is_met());
    }
}

#[pando_context::test(paused)]
async fn parts_are_shown_in_the_tree_by_key_and_by_the_place_that_added_them(root: &Scope) {
    let line = line!() + 1;
    let call = root.ctx().fan_out::<_, (), ()>(2).add("bj-prod", |_| pending()).add("sg-prod", |_| pending());
    let ctx = root.ctx().clone();
    let look = async {
        ctx.sleep(SECOND).await.unwrap();
        ctx.dump()
    };
    let tree = tokio::select! {
        _ = call.run() => panic!("it ended"),
        tree = look => tree,
    };
    let shown: Vec<(usize, String)> =
        tree.nodes()[1..].iter().map(|node| (node.depth, node.label.to_string())).collect();
    let should =
        [(1, "fan-out"), (2, "part/bj-prod"), (2, "part/sg-prod")].map(|(depth, label)| (depth, label.to_owned()));
    assert_eq!(shown, should);
    for node in &tree.nodes()[1..] {
        assert_eq!((node.place.file(), node.place.line()), (file!(), line), "{}", node.label);
    }
}

#[pando_context::test(paused)]
async fn what_a_part_spawned_is_gone_before_the_call_returns(root: &Scope) {
    let alive = Alive::default();
    let inside = alive.clone();
    let all = root
        .ctx()
        .fan_out(1)
        .add("bj-prod", move |ctx| async move {
            ctx.spawn(&CALL, |_| async move {
                let _alive = inside.enter();
                pending::<()>().await;
            })
            .detach();
            ctx.sleep(SECOND).await
        })
        .run()
        .await;
    assert_eq!((all.ok.len(), alive.most(), alive.now()), (1, 1, 0));
}

#[pando_context::test(paused)]
async fn a_part_in_place_borrows_and_its_call_can_be_spawned(root: &Scope) {
    let task = root.ctx().spawn(&CALL, |ctx| async move {
        let words = ["one".to_owned(), "two".to_owned()];
        let lengths = ctx.fan_out_local(2).each(words.iter(), |word: &String, _| async { Ok::<_, Stop>(word.len()) });
        lengths.run().await.into_result().map(|all| all.iter().map(|(_, length)| *length).sum::<usize>()).unwrap()
    });
    assert_eq!(task.await.unwrap(), 6);
}

#[pando_context::test(paused)]
async fn a_part_that_panics_before_its_first_await_harms_nobody(root: &Scope) {
    fn broken(_: Ctx) -> std::future::Ready<Result<(), Stop>> {
        panic!("before there was a future");
    }
    let all = root.ctx().fan_out(2).add(0, broken).add(1, |_| async { Ok(()) }).run().await;
    assert_eq!((all.ok.len(), all.panicked), (1, vec![(0, "before there was a future".to_owned())]));
    let all = root.ctx().fan_out_local(2).add(0, broken).add(1, |_| async { Ok(()) }).run().await;
    assert_eq!((all.ok.len(), all.panicked.len()), (1, 1));
}

fn fate() -> impl Strategy<Value = (Fate, u64)> {
    let fate = prop_oneof![
        4 => Just(Fate::Ok),
        2 => Just(Fate::Err),
        1 => Just(Fate::Panic),
        1 => Just(Fate::PanicInDrop),
        1 => Just(Fate::Never),
    ];
    (fate, prop_oneof![Just(0), 1..100_u64])
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::All), Just(Policy::FailFast), Just(Policy::First), (0..8_usize).prop_map(Policy::Quorum),]
}

/// What must hold of every outcome, whatever the parts did.
fn check(parts: &[(Fate, u64)], policy: Policy, all: &Outcomes<usize, usize, String>) {
    let lists = [keys(&all.ok), keys(&all.failed), keys(&all.cancelled), keys(&all.panicked)];
    let every: Vec<usize> = lists.concat();
    assert_eq!(every.len(), parts.len(), "each key is in one list");
    assert_eq!(every.into_iter().collect::<BTreeSet<_>>(), (0..parts.len()).collect(), "no key is lost");
    assert!(lists.iter().all(|list| list.is_sorted()), "lists are in the order of adding");
    let fates = |list: &[usize]| list.iter().map(|key| parts[*key].0).collect::<BTreeSet<_>>();
    assert!(fates(&lists[0]).is_subset(&BTreeSet::from([Fate::Ok])));
    assert!(fates(&lists[1]).is_subset(&BTreeSet::from([Fate::Err])));
    assert!(fates(&lists[3]).is_subset(&BTreeSet::from([Fate::Panic, Fate::PanicInDrop])));
    assert!(all.ok.iter().all(|(key, value)| key == value), "a result stays with its key");
    assert!(all.failed.iter().all(|(key, error)| *error == format!("error of {key}")));

    let faults = all.failed.len() + all.panicked.len();
    let kinds: BTreeSet<ReasonKind> = all.cancelled.iter().map(|(_, stop)| stop.reason().kind()).collect();
    assert!(kinds.len() <= 1, "one reason for all: {kinds:?}");
    let needed = match policy {
        Policy::All | Policy::FailFast => parts.len(),
        Policy::First => 1,
        Policy::Quorum(needed) => needed,
        _ => panic!("a policy that this test does not know"),
    };
    assert_eq!(all.is_met(), all.ok.len() >= needed);
    match kinds.first() {
        // The hour was over first: for parts that never end, and for those that had no place because of them.
        Some(ReasonKind::Deadline) => assert!(fates(&lists[2]).contains(&Fate::Never)),
        Some(ReasonKind::SiblingFailed) => match policy {
            Policy::FailFast => assert!(faults > 0),
            _ => assert!(!all.is_met() && (faults > 0 || needed > parts.len())),
        },
        Some(ReasonKind::Requested) => assert!(all.is_met() && matches!(policy, Policy::First | Policy::Quorum(_))),
        Some(other) => panic!("nobody cancelled with {other}"),
        None => {}
    }
}

#[pando_context::test(paused)]
async fn results_that_hold_the_context_of_their_part_are_given_back_after_all(root: &Scope) {
    let bound =
        |_, ctx: Ctx| async move { Ok::<_, Stop>((ctx.bind(futures::stream::pending::<()>()), ctx.child(&CALL))) };
    let all = root.ctx().fan_out(2).each([1, 2], bound).run().await;
    assert_eq!(all.ok.len(), 2);
    let all = root.ctx().fan_out_local(2).each([1, 2], bound).run().await;
    assert_eq!(all.ok.len(), 2);
}

#[pando_context::test(paused)]
async fn work_that_a_part_left_behind_is_awaited_for_as_long_as_it_takes(root: &Scope) {
    let started = Instant::now();
    let shielded = |_, ctx: Ctx| async move {
        ctx.shield(&CALL, HOUR, |ctx| async move { ctx.sleep(60 * SECOND).await }).detach();
        Ok::<_, Stop>(())
    };
    let all = root.ctx().fan_out(2).each([1, 2], shielded).run().await;
    assert_eq!((all.ok.len(), started.elapsed().as_secs()), (2, 60));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_key_is_in_exactly_one_list_and_nothing_is_left(
        parts in proptest::collection::vec(fate(), 0..12),
        policy in policy(),
        limit in 1..6_usize,
        local in any::<bool>(),
    ) {
        testing::run(Options::default().paused(), "random parts", |root| {
            Box::pin(async move {
                let alive = Alive::default();
                let call = root.ctx().with_timeout(&CALL, HOUR);
                let all = fan_out(call.ctx(), local, limit, policy, &parts, &alive).await;
                assert_eq!(alive.now(), 0, "every part is dropped before the call returns");
                assert!(alive.most() <= limit);
                assert!(call.ctx().dump().is_empty(), "{}", call.ctx().dump());
                check(&parts, policy, &all);
            })
        });
    }
}
