//! Work that does not behave: slow, stuck, panicking, or cancelling at the worst moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::let_underscore_must_use,
    reason = "tests"
)]

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pando_context::{Activity, Ctx, Kind, Reason, ReasonKind, Scope, TaskError, assert_no_leaks};

const CLUSTER: Kind = Kind::new("cluster");
const RECONCILE: Kind = Kind::new("reconcile");
const CALL: Kind = Kind::new("call");

const SECOND: Duration = Duration::from_secs(1);
/// For what must happen: the machine may be busy.
const LONG: Duration = Duration::from_secs(60);

fn threads<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work)
}

/// Waits for something that another thread does.
async fn until(ctx: &Ctx, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        ctx.sleep(Duration::from_millis(1)).await.unwrap();
    }
}

/// A destructor that takes until it is allowed to end.
struct Slow {
    begun: Arc<AtomicBool>,
    end: mpsc::Receiver<()>,
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.begun.store(true, Ordering::SeqCst);
        self.end.recv().unwrap();
    }
}

#[test]
fn join_waits_for_a_slow_destructor_and_names_it() {
    threads(async {
        let root = Scope::root("root");
        let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
        let (release, end) = mpsc::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let slow = Slow { begun: Arc::clone(&begun), end };
        let task = cluster.ctx().spawn_named(&RECONCILE, "web", |_| async move {
            let _slow = slow;
            pending::<()>().await;
        });
        until(root.ctx(), || root.ctx().dump().nodes().last().is_some_and(|node| node.activity == Activity::Waiting))
            .await;
        cluster.cancel(Reason::detached("by alice"));
        until(root.ctx(), || begun.load(Ordering::SeqCst)).await;
        assert!(futures::poll!(pin!(cluster.join())).is_pending());

        let left = cluster.stop(ReasonKind::Detached, Duration::from_millis(1)).await.unwrap_err();
        let stuck = left.tree().stuck(Duration::ZERO);
        assert_eq!(stuck.len(), 1);
        assert_eq!(stuck[0].node.activity, Activity::Running);
        assert!(stuck[0].to_string().starts_with("cluster/bj-prod > reconcile/web: running"), "{}", stuck[0]);

        release.send(()).unwrap();
        left.into_scope().stop(ReasonKind::Detached, LONG).await.unwrap();
        assert!(matches!(task.await, Err(TaskError::Stopped(_))));
        assert_no_leaks!(root);
    });
}

#[test]
fn a_future_that_never_yields_is_named_and_ends_when_it_yields() {
    threads(async {
        let root = Scope::root("root");
        let cluster = root.ctx().child(&CLUSTER);
        let go_on = Arc::new(AtomicBool::new(true));
        let spins = Arc::clone(&go_on);
        let (started, has_started) = mpsc::channel();
        let task = cluster.ctx().spawn_named(&RECONCILE, "hot", |_| async move {
            started.send(()).unwrap();
            while spins.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            pending::<()>().await;
        });
        has_started.recv().unwrap();
        let left = cluster.stop(ReasonKind::Detached, Duration::from_millis(5)).await.unwrap_err();
        assert!(left.to_string().contains("  reconcile/hot  ") && left.to_string().contains("  running  "), "{left}");
        go_on.store(false, Ordering::SeqCst);
        left.into_scope().stop(ReasonKind::Detached, LONG).await.unwrap();
        assert!(task.await.is_err());
    });
}

#[test]
fn a_loop_without_awaits_ends_by_asking() {
    threads(async {
        let root = Scope::root("root");
        let task = root.ctx().spawn(&CALL, |ctx| async move {
            let mut rounds = 0_u64;
            while ctx.check().is_ok() {
                rounds += 1;
            }
            rounds
        });
        until(root.ctx(), || root.ctx().dump().nodes()[1].activity == Activity::Running).await;
        root.stop(ReasonKind::Shutdown, LONG).await.unwrap();
        // Its last poll ended with a result, which is as good an end as any.
        assert!(task.await.is_ok_and(|rounds| rounds > 0));
    });
}

#[test]
fn blocking_work_is_reported_as_not_stoppable_and_does_not_start_late() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let root = Scope::root("root");
        let cluster = root.ctx().child(&CLUSTER);
        let (release, end) = mpsc::channel::<()>();
        let (started, has_started) = mpsc::channel();
        let first = cluster.ctx().spawn_blocking(&CALL, move |ctx| {
            started.send(()).unwrap();
            end.recv().unwrap();
            ctx.is_cancelled()
        });
        has_started.recv().unwrap();
        let queued = cluster.ctx().spawn_blocking(&CALL, |_| panic!("starts in a cancelled context"));
        let left = cluster.stop(ReasonKind::Detached, Duration::from_millis(5)).await.unwrap_err();
        assert!(left.to_string().contains("blocking, cannot be stopped"), "{left}");
        release.send(()).unwrap();
        left.into_scope().stop(ReasonKind::Detached, LONG).await.unwrap();
        assert!(first.await.unwrap());
        assert!(matches!(queued.await, Err(TaskError::Stopped(_))), "it ran");
    });
}

/// Panics when it is dropped.
struct Bad;

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

#[pando_context::test]
async fn panics_are_kept_on_record_and_nobody_else_is_harmed(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let bystander = cluster.ctx().spawn(&CALL, |_| pending::<()>());
    let at_once =
        cluster.ctx().spawn_named(&RECONCILE, "at-once", |_| -> std::future::Ready<()> { panic!("no future") });
    let polled = cluster.ctx().spawn_named(&RECONCILE, "polled", |_| async { panic!("in poll") });
    let dropped = cluster.ctx().spawn_named(&RECONCILE, "dropped", |_| async {
        let _bad = Bad;
    });
    assert_eq!(at_once.await.unwrap_err().to_string(), "reconcile/at-once panicked: no future");
    assert_eq!(polled.await.unwrap_err().to_string(), "reconcile/polled panicked: in poll");
    assert_eq!(dropped.await.unwrap_err().to_string(), "reconcile/dropped panicked: in drop");
    let blocking = cluster.ctx().spawn_blocking(&RECONCILE, |_| panic!("in a thread"));
    assert_eq!(blocking.await.unwrap_err().to_string(), "reconcile panicked: in a thread");
    let node = cluster.ctx().dump().nodes()[0].clone();
    assert_eq!((node.panics, node.last_panic.as_deref()), (4, Some("reconcile: in a thread")));
    assert_eq!(root.ctx().totals().panicked[&RECONCILE], 4);
    assert!(!cluster.ctx().is_cancelled());
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    assert!(matches!(bystander.await, Err(TaskError::Stopped(_))));
}

#[pando_context::test]
async fn a_panic_in_a_destructor_that_the_cancel_runs_still_ends_the_task(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let tasks = Vec::from_iter((0..3).map(|_| {
        cluster.ctx().spawn(&CALL, |_| async {
            let _bad = Bad;
            pending::<()>().await;
        })
    }));
    tokio::task::yield_now().await;
    cluster.stop(ReasonKind::Detached, SECOND).await.unwrap();
    for task in tasks {
        assert_eq!(task.await.unwrap_err().to_string(), "call panicked: in drop");
    }
    assert_no_leaks!(root);
}

#[pando_context::test]
async fn a_panic_in_a_future_run_in_place_gives_its_hold_back(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let ctx = cluster.ctx().clone();
    let task = root.ctx().spawn(&CALL, |_| async move { ctx.run(async { panic!("in place") }).await });
    assert!(matches!(task.await, Err(TaskError::Panicked { .. })));
    assert!(Ctx::current().is_none());
    assert_no_leaks!(cluster);
}

#[pando_context::test]
async fn a_join_from_inside_is_an_error_for_whoever_waits_and_for_nobody_else(root: &Scope) {
    let cluster = Arc::new(root.ctx().child_named(&CLUSTER, "bj-prod"));
    let inner = Arc::clone(&cluster);
    let inside = cluster.ctx().spawn_named(&RECONCILE, "web", |_| async move { inner.join().await });
    let error = inside.await.unwrap().unwrap_err();
    let expected = "cluster/bj-prod cannot be awaited from inside itself, by reconcile/web: await it from above";
    assert_eq!(error.to_string(), expected);
    // From beside it, it is a wait like any other.
    let work = cluster.ctx().spawn(&CALL, |_| tokio::task::yield_now());
    let other = Arc::clone(&cluster);
    let beside = root.ctx().spawn(&CALL, |_| async move { other.join().await });
    work.await.unwrap();
    assert_eq!(beside.await.unwrap(), Ok(()));
}

#[pando_context::test(paused)]
async fn a_parent_ends_only_after_its_children(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let below = cluster.ctx().child(&RECONCILE);
    let undo = below.ctx().shield(&CALL, 9 * SECOND, |ctx| async move { ctx.sleep(3 * SECOND).await });
    drop(below);
    drop(cluster);
    // Its scope is gone, but it is in the tree for as long as something of it is.
    let text = root.ctx().dump().to_string();
    assert!(
        text.contains("  cluster  ") && text.contains("    reconcile  ") && text.contains("      call  "),
        "{text}"
    );
    let started = pando_context::Instant::now();
    root.join().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 3);
    undo.await.unwrap().unwrap();
}

/// Does something once, when it is woken.
struct OnWake<F: Fn() + Send + Sync>(F, AtomicUsize);

impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        if self.1.fetch_add(1, Ordering::SeqCst) == 0 {
            (self.0)();
        }
    }
}

#[test]
fn a_waker_may_cancel_create_and_drop_in_the_tree_that_wakes_it() {
    let root = Arc::new(Scope::root("root"));
    let cluster = Arc::new(root.ctx().child(&CLUSTER));
    let below = std::sync::Mutex::new(Some(cluster.ctx().child(&CALL)));
    let (up, side) = (Arc::clone(&root), Arc::clone(&cluster));
    let work = move || {
        assert!(!side.cancel(ReasonKind::Requested), "it is cancelled already");
        assert!(up.cancel(ReasonKind::Shutdown), "and this one was not");
        drop(below.lock().unwrap().take());
        let late = side.ctx().child(&CALL);
        assert_eq!(late.ctx().reason().unwrap().kind(), ReasonKind::Detached);
        drop(side.ctx().dump());
    };
    let on_wake = Arc::new(OnWake(work, AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&on_wake));
    let mut wait = pin!(cluster.ctx().cancelled());
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(cluster.cancel(ReasonKind::Detached));
    assert_eq!(on_wake.1.load(Ordering::SeqCst), 1);
    assert_eq!(root.ctx().reason().unwrap().kind(), ReasonKind::Shutdown);
    assert_eq!(cluster.ctx().reason().unwrap().kind(), ReasonKind::Detached);
}

/// Cancels when it is dropped.
struct CancelsOnDrop(Arc<Scope>, ReasonKind);

impl Drop for CancelsOnDrop {
    fn drop(&mut self) {
        self.0.cancel(self.1);
    }
}

#[pando_context::test]
async fn a_destructor_may_cancel_what_is_around_it(root: &Scope) {
    let outer = Arc::new(root.ctx().child_named(&CLUSTER, "outer"));
    let inner = outer.ctx().child(&RECONCILE);
    let bomb = CancelsOnDrop(Arc::clone(&outer), ReasonKind::SiblingFailed);
    let task = inner.ctx().spawn(&CALL, |_| async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    let sibling = outer.ctx().spawn(&CALL, |_| pending::<()>());
    tokio::task::yield_now().await;
    inner.cancel(ReasonKind::ClientGone);
    let reason_of = |error: TaskError| match error {
        TaskError::Stopped(stop) => stop.reason().kind(),
        TaskError::Panicked { message, .. } => panic!("{message}"),
    };
    assert_eq!(reason_of(task.await.unwrap_err()), ReasonKind::ClientGone);
    assert_eq!(reason_of(sibling.await.unwrap_err()), ReasonKind::SiblingFailed);
    drop(inner);
    outer.join().await.unwrap();
}

#[pando_context::test]
async fn clean_up_may_cancel_what_it_cleans_up_and_more(root: &Scope) {
    let process = Arc::new(root.ctx().child(&Kind::new("process")));
    let cluster = Arc::new(process.ctx().child(&CLUSTER));
    let (up, same) = (Arc::clone(&process), Arc::clone(&cluster));
    cluster
        .ctx()
        .on_cancel(&CALL, SECOND, |ctx| async move {
            assert!(!same.cancel(ReasonKind::Requested));
            assert!(up.cancel(ReasonKind::Shutdown));
            assert!(ctx.check().is_ok(), "still shielded");
            let inside = same.join().await.unwrap_err();
            assert!(inside.to_string().contains("from inside itself, by call"));
        })
        .keep();
    assert!(cluster.cancel(ReasonKind::Detached));
    cluster.join().await.unwrap();
    assert_eq!(process.ctx().reason().unwrap().kind(), ReasonKind::Shutdown);
    assert!(root.ctx().totals().panicked.is_empty());
}

#[test]
fn of_two_cancels_at_once_one_wins_everywhere() {
    for round in 0..300 {
        let root = Scope::root("root");
        let cluster = root.ctx().child(&CLUSTER);
        let below = Vec::from_iter((0..100).map(|_| cluster.ctx().child(&CALL)));
        let start = Barrier::new(3);
        let wins: usize = std::thread::scope(|scope| {
            let cancels = [ReasonKind::Detached, ReasonKind::Shutdown].map(|reason| {
                let (cluster, start) = (&cluster, &start);
                scope.spawn(move || {
                    start.wait();
                    cluster.cancel(reason)
                })
            });
            // And a third from above, at the same time.
            start.wait();
            root.cancel(ReasonKind::LeaderLost);
            cancels.into_iter().map(|cancel| usize::from(cancel.join().unwrap())).sum()
        });
        let reason = cluster.ctx().reason().unwrap();
        let from_above = reason.kind() == ReasonKind::LeaderLost;
        assert_eq!(wins, usize::from(!from_above), "round {round}");
        for call in &below {
            assert!(Arc::ptr_eq(&call.ctx().reason().unwrap(), &reason), "round {round}: a mixture");
        }
        assert_eq!(root.ctx().totals().cancelled.values().sum::<u64>(), 102);
    }
}

#[test]
fn no_child_made_during_a_cancel_stays_active() {
    for round in 0..200 {
        let root = Scope::root("root");
        let start = Barrier::new(3);
        std::thread::scope(|threads| {
            let makers = Vec::from_iter((0..2).map(|_| {
                let (ctx, start) = (root.ctx(), &start);
                threads.spawn(move || {
                    start.wait();
                    let made = Vec::from_iter((0..200).map(|_| ctx.child(&CLUSTER)));
                    Vec::from_iter(made.into_iter().map(|one| (one.ctx().child(&CALL), one)))
                })
            }));
            start.wait();
            root.cancel(ReasonKind::Shutdown);
            for maker in makers {
                for (below, one) in maker.join().unwrap() {
                    for ctx in [one.ctx(), below.ctx()] {
                        assert_eq!(
                            ctx.reason().map(|reason| reason.kind()),
                            Some(ReasonKind::Shutdown),
                            "round {round}"
                        );
                    }
                }
            }
        });
        assert_no_leaks!(root);
    }
}

/// Wakes whoever polls it, at once and for ever.
struct Restless;

impl Future for Restless {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn futures_that_are_always_ready_to_be_polled_are_stopped_too() {
    threads(async {
        let root = Scope::root("root");
        let tasks = Vec::from_iter((0..50).map(|_| root.ctx().spawn(&CALL, |_| Restless)));
        tokio::task::yield_now().await;
        root.stop(ReasonKind::Shutdown, LONG).await.unwrap();
        for task in tasks {
            assert!(task.await.is_err());
        }
    });
}

#[test]
fn a_chain_of_a_million_is_made_cancelled_and_dropped() {
    const DEPTH: usize = 1_000_000;
    for innermost_first in [true, false] {
        let root = Scope::root("root");
        let mut chain = Vec::with_capacity(DEPTH);
        chain.push(root.ctx().child(&CALL));
        for _ in 1..DEPTH {
            let next = chain.last().unwrap().ctx().child(&CALL);
            chain.push(next);
        }
        let leaf = chain.last().unwrap().ctx().clone();
        root.cancel(ReasonKind::Requested);
        assert!(leaf.is_cancelled());
        assert_eq!(root.ctx().counts().stopping(), DEPTH + 1);
        if innermost_first {
            while chain.pop().is_some() {}
        } else {
            drop(chain);
        }
        assert_no_leaks!(root);
        drop(root);
        drop(leaf); // the last handle of the whole chain of parents
    }
}

#[test]
fn a_runtime_that_goes_first_leaves_no_context_behind() {
    let root = Scope::root("root");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inside = runtime.enter();
    root.ctx().on_cancel(&CALL, SECOND, |_| async {}).keep();
    let task = root.ctx().spawn(&CALL, |ctx| async move { ctx.sleep(LONG).await });
    drop(inside);
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    assert_no_leaks!(root);
    let error = futures::executor::block_on(task).unwrap_err();
    assert!(error.to_string().contains("the runtime was dropped"), "{error}");
}

#[pando_context::test(sockets)]
async fn a_test_may_ask_for_its_sockets(_root: &Scope) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
}

#[pando_context::test(sockets)]
#[should_panic(expected = "leaves 1 sockets open")]
async fn a_test_that_leaves_a_socket_open_fails() {
    static KEPT: std::sync::Mutex<Option<std::net::TcpListener>> = std::sync::Mutex::new(None);
    *KEPT.lock().unwrap() = Some(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
}

#[pando_context::test]
#[should_panic(expected = "cluster is not empty:\ncluster  ")]
async fn a_leak_in_the_middle_of_a_test_fails_with_the_tree(root: &Scope) {
    let cluster = root.ctx().child(&CLUSTER);
    let _kept = cluster.ctx().child(&CALL);
    assert_no_leaks!(cluster);
}
