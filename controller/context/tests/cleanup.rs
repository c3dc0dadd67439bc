//! What a cancel does not reach: clean-up, always bounded and always waited for. And trying again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pando_context::{
    Activity, Backoff, Ctx, Instant, Kind, Reason, ReasonKind, RetryError, Scope, Stop, TraceId, assert_no_leaks,
};
use proptest::prelude::*;

const CLUSTER: Kind = Kind::new("cluster");
const CALL: Kind = Kind::new("call");
const UNDO: Kind = Kind::new("undo");

const SECOND: Duration = Duration::from_secs(1);

/// Counts its calls.
fn counter() -> (Arc<AtomicUsize>, impl Fn() + Send + Sync + Clone + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let add = move || {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    (count, add)
}

fn read(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

#[pando_context::test(paused)]
async fn registered_clean_up_runs_once_after_the_cancel_in_an_active_context_and_is_waited_for(root: &Scope) {
    let cluster = root.ctx().derive(&CLUSTER).value("bj-prod").new_trace().scope();
    let trace = cluster.ctx().trace_id();
    let (count, add) = counter();
    let guard = cluster.ctx().on_cancel(&UNDO, 5 * SECOND, move |ctx| async move {
        assert!(!ctx.is_cancelled());
        assert_eq!(ctx.get::<&str>(), Some(&"bj-prod"));
        assert_eq!(ctx.trace_id(), trace);
        assert_eq!(ctx.remaining(), Some(5 * SECOND));
        ctx.sleep(2 * SECOND).await.unwrap();
        add();
    });
    root.ctx().sleep(60 * SECOND).await.unwrap();
    assert_eq!(read(&count), 0);
    let node = cluster.ctx().dump().nodes()[1].clone();
    assert_eq!((node.label.to_string().as_str(), node.activity), ("undo", Activity::OnCancel));
    assert!(node.place.file().ends_with("tests/cleanup.rs"));

    let stopped = cluster.stop(ReasonKind::Detached, 9 * SECOND).await.unwrap();
    assert_eq!((read(&count), stopped.after.as_secs(), stopped.aborted.len()), (1, 2, 0));
    assert!(!guard.deregister(), "it has run");
    assert!(root.ctx().totals().panicked.is_empty());
}

#[pando_context::test(paused)]
async fn clean_up_that_is_taken_back_never_runs(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let (count, add) = counter();
    let one = cluster.ctx().on_cancel(&UNDO, SECOND, {
        let add = add.clone();
        move |_| async move { add() }
    });
    let two = cluster.ctx().on_cancel(&UNDO, SECOND, move |_| async move { add() });
    assert!(one.deregister());
    drop(two);
    cluster.join().await.unwrap();
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert_eq!(read(&count), 0);
}

#[pando_context::test(paused)]
async fn a_guard_dropped_by_the_cancel_itself_does_not_take_the_clean_up_back(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let (count, add) = counter();
    let task = cluster.ctx().spawn(&CALL, {
        let cluster = cluster.ctx().clone();
        move |_| async move {
            let _unlock = cluster.on_cancel(&UNDO, SECOND, move |_| async move { add() });
            pending::<()>().await;
        }
    });
    tokio::task::yield_now().await;
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert_eq!(read(&count), 1);
    assert!(task.await.is_err());
}

#[pando_context::test(paused)]
async fn the_end_of_a_scope_its_deadline_and_a_cancel_before_registering_count_as_cancels(root: &Scope) {
    let (count, add) = counter();
    let register = |ctx: &Ctx| {
        let add = add.clone();
        ctx.on_cancel(&UNDO, SECOND, move |_| async move { add() }).keep();
    };
    let dropped = root.ctx().child(&CLUSTER);
    register(dropped.ctx());
    drop(dropped);
    root.join().await.unwrap();
    assert_eq!(read(&count), 1);

    let short = root.ctx().with_timeout(&CLUSTER, SECOND);
    register(short.ctx());
    root.ctx().sleep(2 * SECOND).await.unwrap();
    assert_eq!(read(&count), 2);

    let cancelled = root.ctx().child(&CLUSTER);
    cancelled.cancel(ReasonKind::Detached);
    register(cancelled.ctx());
    cancelled.join().await.unwrap();
    assert_eq!(read(&count), 3);

    // Even in one that has ended: the nearest above that has not takes it.
    let ended = root.ctx().child(&CLUSTER).ctx().clone();
    register(&ended);
    short.join().await.unwrap();
    drop((short, cancelled));
    root.join().await.unwrap();
    assert_eq!(read(&count), 4);
}

#[pando_context::test(paused)]
async fn clean_up_that_outlasts_its_grace_is_dropped(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let (count, add) = counter();
    cluster
        .ctx()
        .on_cancel(&UNDO, 3 * SECOND, move |_| async move {
            pending::<()>().await;
            add();
        })
        .keep();
    let stopped = cluster.stop(ReasonKind::Detached, 9 * SECOND).await.unwrap();
    assert_eq!((stopped.after.as_secs(), stopped.aborted.len(), read(&count)), (3, 0, 0));
}

#[pando_context::test(paused)]
async fn stop_aborts_what_is_shielded_when_its_own_grace_is_over_and_says_what(root: &Scope) {
    let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
    let call = cluster.ctx().child(&CALL);
    let undo = call.ctx().shield(&UNDO, 60 * SECOND, |ctx| async move {
        let below = ctx.spawn(&CALL, |_| pending::<()>());
        below.await
    });
    drop(call);
    let stopped = cluster.stop(Reason::detached("by alice"), 2 * SECOND).await.unwrap();
    assert_eq!(stopped.after.as_secs(), 2);
    assert_eq!(Vec::from_iter(stopped.aborted.iter().map(ToString::to_string)), ["undo"]);
    let error = undo.await.unwrap_err().to_string();
    assert_eq!(error, "stopped: detached at cluster/bj-prod: aborted after its grace of 2s");
    assert_no_leaks!(root);
}

#[pando_context::test(paused)]
async fn what_a_shield_drops_at_the_very_end_of_the_grace_has_stopped(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let undo = cluster.ctx().shield(&UNDO, 2 * SECOND, |ctx| async move {
        let below = ctx.spawn(&CALL, |_| pending::<()>());
        below.await
    });
    undo.detach();
    cluster.stop(ReasonKind::Detached, 2 * SECOND).await.unwrap();
}

#[pando_context::test(paused)]
async fn no_shield_is_without_a_bound(root: &Scope) {
    let endless = root.ctx().shield(&UNDO, Duration::MAX, |ctx| async move { ctx.remaining() });
    assert_eq!(endless.await.unwrap(), Some(Ctx::LONGEST_GRACE));
    let nested = root.ctx().shield(&UNDO, 5 * SECOND, |ctx| async move {
        let short = ctx.with_timeout(&CALL, SECOND);
        short.ctx().shield(&UNDO, 60 * SECOND, |ctx| async move { ctx.remaining() }).await
    });
    assert_eq!(nested.await.unwrap().unwrap(), Some(5 * SECOND), "the outer shield's, not the call's");
}

#[pando_context::test(paused)]
async fn an_adopted_shield_keeps_values_and_trace_of_the_context_it_was_started_in(root: &Scope) {
    let ended = root.ctx().derive(&CLUSTER).value(7_u8).new_trace().scope().ctx().clone();
    let (value, trace) =
        ended.shield(&UNDO, SECOND, |ctx| async move { (ctx.get::<u8>().copied(), ctx.trace_id()) }).await.unwrap();
    assert_eq!((value, trace), (Some(7), ended.trace_id()));
    assert_ne!(trace, root.ctx().trace_id());
}

/// Leader election: the lease may be given up only when nothing writes any more, and giving it up
/// must not be stopped by the very cancel that led to it.
#[pando_context::test(paused)]
async fn a_lease_is_given_up_after_the_work_has_ended_and_in_spite_of_the_cancel(root: &Scope) {
    struct Busy(Arc<Mutex<Vec<&'static str>>>);
    impl Drop for Busy {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("work ended");
        }
    }
    let steps = Arc::new(Mutex::new(Vec::new()));
    let process = root.ctx().child(&Kind::new("process"));
    let term = process.ctx().child(&Kind::new("term"));
    let busy = Busy(Arc::clone(&steps));
    term.ctx()
        .spawn(&CALL, |_| async move {
            let _busy = busy;
            pending::<()>().await;
        })
        .detach();
    let log = Arc::clone(&steps);
    let leading = process.ctx().shield(&UNDO, 60 * SECOND, |shield| async move {
        let lost = term.ctx().cancelled().await;
        assert_eq!(lost.kind(), ReasonKind::Shutdown);
        term.stop(ReasonKind::LeaderLost, 5 * SECOND).await.unwrap();
        shield.sleep(SECOND).await.unwrap(); // the request that gives it up
        log.lock().unwrap().push("lease given up");
    });
    tokio::task::yield_now().await;
    process.stop(Reason::shutdown("test"), 9 * SECOND).await.unwrap();
    leading.await.unwrap();
    assert_eq!(*steps.lock().unwrap(), ["work ended", "lease given up"]);
}

const QUICK: Backoff = Backoff { first: SECOND, factor: 2.0, longest: Duration::from_secs(8), attempts: Some(4) };

#[pando_context::test(paused)]
async fn a_retry_waits_longer_each_time_and_gives_up_with_the_last_failure(root: &Scope) {
    let mut at = Vec::new();
    let start = Instant::now();
    let error = root
        .ctx()
        .retry(&QUICK, |_| {
            at.push(start.elapsed());
            let failure = format!("no {}", at.len());
            async move { Err::<(), _>(failure) }
        })
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "gave up after 4 failed attempts, the last one: no 4");
    let waits = Vec::from_iter(at.windows(2).map(|pair| pair[1] - pair[0]));
    assert_eq!(waits.len(), 3);
    for (wait, whole) in waits.iter().zip([1, 2, 4]) {
        let whole = whole * SECOND;
        assert!(*wait >= whole / 2 && *wait <= whole + Duration::from_millis(1), "{waits:?}");
    }
}

#[pando_context::test(paused)]
async fn the_jitter_of_a_retry_can_be_repeated_and_differs_between_places(root: &Scope) {
    async fn waits(ctx: &Ctx) -> Vec<Duration> {
        let (start, mut at) = (Instant::now(), Vec::new());
        let outcome = ctx
            .retry(&QUICK, |_| {
                at.push(start.elapsed());
                async { Err::<(), _>("no") }
            })
            .await;
        assert!(outcome.is_err());
        at
    }
    let place = |name: &str| root.ctx().derive(&CLUSTER).named(name).trace(TraceId::from_u128(7)).scope();
    let first = waits(place("one").ctx()).await;
    assert_eq!(first, waits(place("one").ctx()).await);
    assert_ne!(first, waits(place("two").ctx()).await, "two members that fail together come back apart");
    let other = root.ctx().derive(&CLUSTER).named("one").trace(TraceId::from_u128(8)).scope();
    assert_ne!(first, waits(other.ctx()).await);
}

#[pando_context::test(paused)]
async fn a_retry_ends_at_once_when_the_next_attempt_would_be_too_late(root: &Scope) {
    let short = root.ctx().with_timeout(&CALL, 2 * SECOND);
    let start = Instant::now();
    let mut asked = 0;
    let patient = Backoff { attempts: None, ..QUICK };
    let error = short
        .ctx()
        .retry(&patient, |_| {
            asked += 1;
            async { Err::<(), _>("busy") }
        })
        .await
        .unwrap_err();
    assert!(error.stop().is_some_and(Stop::is_deadline));
    assert!(start.elapsed() < 2 * SECOND, "{:?}", start.elapsed());
    let RetryError::Stopped { attempts, last, .. } = error else { panic!() };
    assert_eq!((attempts, last), (asked, Some("busy")));
    assert!(!short.ctx().is_cancelled());
}

#[pando_context::test(paused)]
async fn an_attempt_that_is_stopped_is_not_one_that_failed(root: &Scope) {
    // Dropped in the middle, or noticing it itself: both are the stop.
    for notices in [false, true] {
        let cluster = root.ctx().child(&CLUSTER);
        let ctx = cluster.ctx().clone();
        let (count, add) = counter();
        let task = root.ctx().spawn(&CALL, move |_| async move {
            ctx.retry(&Backoff::default(), |ctx| {
                add();
                async move {
                    match notices {
                        false => pending::<()>().await,
                        true => drop(ctx.cancelled().await),
                    }
                    Err::<(), _>("an error of its own")
                }
            })
            .await
        });
        tokio::task::yield_now().await;
        cluster.cancel(Reason::detached("by alice"));
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "stopped: detached at cluster: by alice (after 0 failed attempts)");
        assert_eq!((read(&count), error.into_last()), (1, None));
    }
}

#[pando_context::test(paused)]
async fn no_retry_of_a_stopped_cluster_starts(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let (count, add) = counter();
    for _ in 0..20 {
        let add = add.clone();
        cluster
            .ctx()
            .spawn(&CALL, |ctx| async move {
                let patient = Backoff { attempts: None, ..QUICK };
                let refused = || async { Err::<(), _>("refused") };
                drop(
                    ctx.retry(&patient, |_| {
                        add();
                        refused()
                    })
                    .await,
                );
            })
            .detach();
    }
    root.ctx().sleep(30 * SECOND).await.unwrap();
    assert!(read(&count) > 20);
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    let before = read(&count);
    root.ctx().sleep(600 * SECOND).await.unwrap();
    assert_eq!(read(&count), before);
}

proptest! {
    #[test]
    fn no_wait_is_longer_than_said_and_none_is_shorter_than_half_of_what_it_should_be(
        first in 0_u64..10_000, factor in -1.0..10.0_f64, longest in 1_u64..100_000, attempts in 1_u32..12,
    ) {
        let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
        let backoff = Backoff { first, factor, longest, attempts: Some(attempts) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let at = runtime.block_on(async {
            let (root, start, mut at) = (Scope::root("root"), Instant::now(), Vec::new());
            let outcome = root.ctx().retry(&backoff, |_| { at.push(start.elapsed()); async { Err::<(), _>(()) } }).await;
            assert!(matches!(outcome, Err(RetryError::Failed { .. })));
            at
        });
        prop_assert_eq!(at.len(), attempts as usize);
        for (number, pair) in at.windows(2).enumerate() {
            let whole = first.mul_f64(factor.max(1.0).powi(number as i32)).min(longest);
            let wait = pair[1] - pair[0];
            // The clock of the runtime has steps of a millisecond.
            prop_assert!(wait <= whole + Duration::from_millis(1), "{wait:?} of {whole:?}");
            prop_assert!(wait + Duration::from_millis(1) >= whole / 2, "{wait:?} of {whole:?}");
        }
    }
}
