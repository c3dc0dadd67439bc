//! What the tree promises, one sentence each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    reason = "tests"
)]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::StreamExt;
use pando_context::{Ctx, Instant, Kind, Reason, ReasonKind, Scope, Stop, TaskError};

const CLUSTER: Kind = Kind::new("cluster");
const RECONCILE: Kind = Kind::new("reconcile");
const CALL: Kind = Kind::new("call");

const SECOND: Duration = Duration::from_secs(1);

/// Sets a flag when dropped.
struct Flag(Arc<AtomicBool>);

impl Flag {
    fn new() -> (Self, Arc<AtomicBool>) {
        let set = Arc::new(AtomicBool::new(false));
        (Self(Arc::clone(&set)), set)
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[pando_context::test]
async fn a_cancel_reaches_every_descendant_with_its_reason_origin_and_trace(root: &Scope) {
    let cluster = root.ctx().derive(&CLUSTER).named("bj-prod").new_trace().scope();
    let reconcile = cluster.ctx().child(&RECONCILE);
    let call = reconcile.ctx().child(&CALL);

    assert!(cluster.cancel(Reason::detached("by alice")));

    let reason = call.ctx().reason().unwrap();
    assert_eq!(reason.kind(), ReasonKind::Detached);
    assert_eq!(reason.origin().unwrap().to_string(), "cluster/bj-prod");
    assert_eq!(reason.trace_id(), Some(call.ctx().trace_id()));
    assert_ne!(root.ctx().trace_id(), call.ctx().trace_id());
    assert!(!root.ctx().is_cancelled());
}

#[pando_context::test]
async fn the_first_reason_wins(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    assert!(cluster.cancel(Reason::detached("first")));
    assert!(!cluster.cancel(Reason::shutdown("second")));
    assert_eq!(cluster.ctx().reason().unwrap().text(), "first");
}

#[pando_context::test]
async fn a_subtree_that_was_cancelled_before_keeps_its_own_reason(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let reconcile = cluster.ctx().child(&RECONCILE);
    reconcile.cancel(ReasonKind::ClientGone);
    cluster.cancel(ReasonKind::Detached);
    assert_eq!(reconcile.ctx().reason().unwrap().kind(), ReasonKind::ClientGone);
}

#[pando_context::test]
async fn a_child_of_a_cancelled_context_is_born_cancelled(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    cluster.cancel(ReasonKind::Detached);
    let late = cluster.ctx().child(&CALL);
    assert_eq!(late.ctx().reason().unwrap().kind(), ReasonKind::Detached);
    assert_eq!(cluster.ctx().dump().len(), 2, "and is in the tree, so that join waits for it");
}

#[pando_context::test]
async fn nothing_is_added_to_an_ended_context(root: &Scope) {
    let ctx = root.ctx().child(&CLUSTER).ctx().clone();
    let late = ctx.child(&CALL);
    assert_eq!(late.ctx().reason().unwrap().kind(), ReasonKind::OwnerDropped);
    assert!(root.ctx().dump().is_empty());
    let refused = ctx.spawn(&CALL, |_| async { 1 }).await.unwrap_err();
    assert!(matches!(refused, TaskError::Stopped(_)));
}

#[pando_context::test]
async fn dropping_a_scope_cancels_and_deregisters(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let ctx = cluster.ctx().clone();
    assert_eq!(root.ctx().dump().len(), 2);
    drop(cluster);
    assert_eq!(ctx.reason().unwrap().kind(), ReasonKind::OwnerDropped);
    assert_eq!(root.ctx().dump().len(), 1);
}

#[pando_context::test]
async fn a_handle_keeps_nothing_alive(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let kept = cluster.ctx().child(&CALL).ctx().clone();
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert!(kept.is_cancelled());
}

#[pando_context::test]
async fn run_drops_the_future_before_it_reports(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let (flag, dropped) = Flag::new();
    let ctx = cluster.ctx().clone();
    let task = root.ctx().spawn(&CALL, |_| async move {
        let stopped = ctx
            .run(async move {
                let _flag = flag;
                pending::<()>().await;
            })
            .await;
        (stopped.is_err(), dropped.load(Ordering::SeqCst))
    });
    tokio::task::yield_now().await;
    cluster.cancel(ReasonKind::Detached);
    assert_eq!(task.await.unwrap(), (true, true));
}

#[pando_context::test]
async fn a_future_is_not_polled_in_a_cancelled_context(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    cluster.cancel(ReasonKind::Detached);
    let stop = cluster.ctx().run(async { panic!("polled") }).await.unwrap_err();
    assert_eq!(stop.reason().kind(), ReasonKind::Detached);
}

#[pando_context::test(paused)]
async fn a_deadline_is_the_earlier_of_the_own_and_the_parents(root: &Scope) {
    let start = Instant::now();
    let outer = root.ctx().with_timeout(&RECONCILE, 2 * SECOND);
    let longer = outer.ctx().with_timeout(&CALL, 9 * SECOND);
    let shorter = outer.ctx().with_timeout(&CALL, SECOND);
    assert_eq!(longer.ctx().deadline(), outer.ctx().deadline());
    assert_eq!(shorter.ctx().remaining(), Some(SECOND));

    let stop = longer.ctx().run(pending::<()>()).await.unwrap_err();
    assert!(stop.is_deadline());
    assert_eq!(stop.reason().origin().unwrap().to_string(), "reconcile");
    assert_eq!(start.elapsed().as_secs(), 2);
    assert!(outer.ctx().is_cancelled());
    assert!(!root.ctx().is_cancelled());
}

#[pando_context::test(paused)]
async fn a_deadline_counts_from_its_moment_even_if_nobody_waited(root: &Scope) {
    let scope = root.ctx().with_timeout(&CALL, SECOND);
    let below = scope.ctx().child(&CALL);
    root.ctx().sleep(2 * SECOND).await.unwrap();
    assert!(below.ctx().is_cancelled());
    assert!(matches!(below.ctx().check(), Err(Stop::Deadline(_))));
}

#[pando_context::test(paused)]
async fn a_deadline_in_the_past_refuses_the_work(root: &Scope) {
    let at = Instant::now();
    root.ctx().sleep(SECOND).await.unwrap();
    let late = root.ctx().with_deadline(&CALL, at);
    assert!(late.ctx().is_cancelled());
    let outcome = root.ctx().timeout(&CALL, Duration::ZERO, async { panic!("polled") }).await;
    assert!(outcome.unwrap_err().is_deadline());
}

#[pando_context::test(paused)]
async fn a_sleep_beyond_the_deadline_fails_at_once(root: &Scope) {
    let start = Instant::now();
    let scope = root.ctx().with_timeout(&CALL, SECOND);
    let stop = scope.ctx().sleep(2 * SECOND).await.unwrap_err();
    assert!(stop.is_deadline());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(!scope.ctx().is_cancelled(), "the second that is left is still good for something");
}

#[pando_context::test(paused)]
async fn a_call_that_answers_in_time_leaves_nothing(root: &Scope) {
    let answer = root.ctx().timeout(&CALL, SECOND, async { 7 }).await.unwrap();
    assert_eq!(answer, 7);
    assert!(root.ctx().dump().is_empty());
}

#[pando_context::test]
async fn a_bound_stream_ends_with_its_context(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let mut stream = Box::pin(cluster.ctx().bind(futures::stream::iter([1]).chain(futures::stream::pending::<i32>())));
    assert_eq!(stream.next().await, Some(1));
    assert!(futures::poll!(stream.next()).is_pending());
    cluster.cancel(ReasonKind::Detached);
    assert_eq!(stream.next().await, None);
    cluster.join().await.unwrap();
}

#[pando_context::test]
async fn stop_waits_for_slow_destructors(root: &Scope) {
    struct Slow(Arc<AtomicBool>);
    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(30));
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let ended = Arc::new(AtomicBool::new(false));
    let slow = Slow(Arc::clone(&ended));
    let cluster = root.ctx().child(&CLUSTER);
    let task = cluster.ctx().spawn(&CALL, |_| async move {
        let _slow = slow;
        pending::<()>().await;
    });
    tokio::task::yield_now().await;
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert!(ended.load(Ordering::SeqCst));
    assert!(matches!(task.await, Err(TaskError::Stopped(_))));
}

#[pando_context::test]
async fn stop_names_what_still_runs(root: &Scope) {
    let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = std::sync::mpsc::channel();
    let stuck = cluster.ctx().spawn_blocking(&CALL, move |_| {
        started.send(()).unwrap();
        released.recv().is_ok()
    });
    has_started.recv().unwrap();

    let grace = Duration::from_millis(20);
    let left = cluster.stop(Reason::detached("test"), grace).await.unwrap_err();
    let text = left.to_string();
    assert!(text.starts_with("cluster/bj-prod still runs 20ms after it was cancelled:\n"), "{text}");
    assert!(text.contains("\n  call "), "{text}");
    assert!(text.contains("tests/tree.rs:"), "{text}");

    release.send(()).unwrap();
    left.into_scope().stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert!(stuck.await.unwrap());
}

#[pando_context::test]
async fn stop_from_inside_is_an_error_and_not_a_deadlock(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let ctx = cluster.ctx().clone();
    let left = root
        .ctx()
        .spawn(&CALL, |_| async move {
            let inner = ctx.clone();
            inner.run(async move { cluster.stop(ReasonKind::Requested, SECOND).await }).await
        })
        .await
        .unwrap();
    assert!(left.unwrap().unwrap_err().to_string().contains("from inside itself"));
}

#[pando_context::test]
async fn a_panic_stays_in_its_task(root: &Scope) {
    let sibling = root.ctx().spawn(&CALL, |_| async { 1 });
    let broken = root.ctx().spawn_named(&CALL, "broken", |_| async { panic!("oh no") });
    let error = broken.await.unwrap_err();
    assert_eq!(error.to_string(), "call/broken panicked: oh no");
    assert_eq!(sibling.await.unwrap(), 1);
    assert!(!root.ctx().is_cancelled());
}

#[pando_context::test]
async fn a_panic_in_a_destructor_stays_in_its_task(root: &Scope) {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }
    let cluster = root.ctx().child(&CLUSTER);
    let task = cluster.ctx().spawn(&CALL, |_| async {
        let _bad = Bad;
        pending::<()>().await;
    });
    tokio::task::yield_now().await;
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert_eq!(task.await.unwrap_err().to_string(), "call panicked: in drop");
}

#[pando_context::test]
async fn a_task_ends_what_it_spawned(root: &Scope) {
    let (flag, dropped) = Flag::new();
    let task = root.ctx().spawn(&RECONCILE, |ctx| async move {
        let below = ctx.spawn(&CALL, |_| async move {
            let _flag = flag;
            pending::<()>().await;
        });
        tokio::task::yield_now().await;
        below.detach();
    });
    task.await.unwrap();
    root.join().await.unwrap();
    assert!(dropped.load(Ordering::SeqCst));
}

#[pando_context::test(paused)]
async fn a_shield_outlives_the_cancel_and_is_waited_for(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let done = Arc::new(AtomicBool::new(false));
    let (ctx, seen) = (cluster.ctx().clone(), Arc::clone(&done));
    let task = cluster.ctx().spawn(&RECONCILE, |_| async move {
        let undo = ctx.shield(&CALL, 5 * SECOND, |ctx| async move {
            ctx.sleep(SECOND).await.unwrap();
            seen.store(true, Ordering::SeqCst);
        });
        undo.await
    });
    tokio::task::yield_now().await;
    let stopped = cluster.stop(ReasonKind::Detached, 5 * SECOND).await.unwrap();
    assert!(done.load(Ordering::SeqCst));
    assert_eq!(stopped.after.as_secs(), 1);
    assert!(task.await.is_err());
}

#[pando_context::test(paused)]
async fn a_shield_has_a_bound(root: &Scope) {
    let task = root.ctx().shield(&CALL, SECOND, |ctx| async move { ctx.cancelled().await });
    let Err(TaskError::Stopped(stop)) = task.await else { panic!("no bound") };
    assert!(stop.is_deadline());
}

#[pando_context::test(paused)]
async fn a_shield_starts_in_a_cancelled_context_and_is_adopted_when_that_has_ended(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let ctx = cluster.ctx().clone();
    drop(cluster);
    let done = ctx.shield(&CALL, SECOND, |ctx| async move { ctx.check().is_ok() });
    assert_eq!(root.ctx().dump().len(), 2);
    assert!(done.await.unwrap());
}

#[pando_context::test]
async fn values_are_found_by_type_upwards(root: &Scope) {
    let outer = root.ctx().with_value(&CLUSTER, 1_u32);
    let inner = outer.ctx().with_value(&CALL, "text");
    assert_eq!(inner.ctx().get::<u32>(), Some(&1));
    assert_eq!(inner.ctx().get::<&str>(), Some(&"text"));
    assert_eq!(outer.ctx().get::<&str>(), None);
}

#[pando_context::test]
async fn the_current_context_is_that_of_the_innermost_run(root: &Scope) {
    assert!(Ctx::current().is_none());
    let name = root
        .ctx()
        .spawn_named(&RECONCILE, "web", |ctx| async move {
            let call = ctx.child(&CALL);
            let inner = call.ctx().run(async { Ctx::current().unwrap().label().to_string() });
            (inner.await.unwrap(), Ctx::current().unwrap().label().to_string())
        })
        .await
        .unwrap();
    assert_eq!(name, ("call".to_owned(), "reconcile/web".to_owned()));
    assert!(Ctx::current().is_none());
}

#[pando_context::test]
async fn several_joiners_each_hear_of_the_end(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    for _ in 0..3 {
        let work = cluster.ctx().spawn(&CALL, |_| tokio::task::yield_now());
        let (mut one, mut two) = (cluster.join(), cluster.join());
        let first = futures::poll!(&mut one);
        assert!(first.is_pending() && futures::poll!(&mut two).is_pending());
        work.await.unwrap();
        drop(one); // must not take the other's place in the list
        two.await.unwrap();
    }
}

#[test]
fn all_are_marked_before_the_first_waker_runs() {
    struct Look(Ctx, AtomicUsize);
    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            if self.0.is_cancelled() {
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    let root = Scope::root("root");
    let waits = root.ctx().child(&CALL);
    let younger = root.ctx().child(&CALL);
    let look = Arc::new(Look(younger.ctx().clone(), AtomicUsize::new(0)));
    let mut wait = Box::pin(waits.ctx().cancelled());
    let waker = Waker::from(Arc::clone(&look));
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    root.cancel(ReasonKind::Requested);
    assert_eq!(look.1.load(Ordering::SeqCst), 1);
}

#[test]
fn a_waker_may_panic_or_cancel_again() {
    struct Odd(Scope, AtomicUsize);
    impl Wake for Odd {
        fn wake(self: Arc<Self>) {
            self.0.cancel(ReasonKind::Shutdown);
            let _ = self.0.ctx().child(&CALL).ctx().dump();
            self.1.fetch_add(1, Ordering::SeqCst);
            panic!("a waker's panic");
        }
    }
    let root = Scope::root("root");
    let odd = Arc::new(Odd(root.ctx().child(&CLUSTER), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&odd));
    let mut waits = Vec::from_iter((0..3).map(|_| Box::pin(root.ctx().cancelled())));
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert!(root.cancel(ReasonKind::Requested));
    assert_eq!(odd.1.load(Ordering::SeqCst), 3);
    for wait in &mut waits {
        let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(reason) if reason.kind() == ReasonKind::Requested));
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_is_cancelled_dumped_and_dropped() {
    for innermost_first in [true, false] {
        let root = Scope::root("root");
        let mut chain = vec![root.ctx().child(&CALL)];
        for _ in 1..100_000 {
            let next = chain.last().unwrap().ctx().child(&CALL);
            chain.push(next);
        }
        let leaf = chain.last().unwrap().ctx().clone();
        assert_eq!(root.ctx().dump().len(), 100_001);
        assert!(root.ctx().dump().to_string().lines().count() == 100_001);
        root.cancel(ReasonKind::Requested);
        assert!(leaf.is_cancelled());
        if innermost_first {
            while chain.pop().is_some() {}
        } else {
            drop(chain);
        }
        assert!(root.ctx().dump().is_empty());
        drop(root);
        drop(leaf); // the last handle of the whole chain of parents
    }
}

#[test]
fn a_hundred_thousand_children_are_cancelled_and_leave_no_memory_in_the_list() {
    let root = Scope::root("root");
    let mut children = Vec::from_iter((0..100_000).map(|_| root.ctx().child(&CALL)));
    root.cancel(ReasonKind::Requested);
    assert!(children.iter().all(|child| child.ctx().is_cancelled()));
    children.clear();
    assert!(root.ctx().dump().is_empty());
}

#[test]
fn equal_roots_give_equal_traces() {
    let traces = || {
        let root = Scope::root_with_trace("root", pando_context::TraceId::from_u128(7));
        let of = |_| root.ctx().derive(&CALL).new_trace().scope().ctx().trace_id();
        Vec::from_iter((0..100).map(of))
    };
    let first = traces();
    assert_eq!(first, traces());
    assert_eq!(std::collections::HashSet::<_>::from_iter(first).len(), 100);
}

#[pando_context::test(paused)]
#[should_panic(expected = "still runs 5s after it was cancelled")]
async fn a_test_that_leaves_work_behind_fails_with_its_tree(ctx: Ctx) {
    ctx.shield(&CALL, 60 * SECOND, |ctx| async move { ctx.sleep(30 * SECOND).await }).detach();
}

#[pando_context::test]
#[should_panic(expected = "leaves 1 tasks that were spawned past the tree")]
async fn a_test_that_spawns_past_the_tree_fails() {
    drop(tokio::spawn(pending::<()>()));
}

#[pando_context::test(paused, foreign_tasks)]
async fn a_test_may_allow_tasks_of_libraries() {
    drop(tokio::spawn(pending::<()>()));
}
