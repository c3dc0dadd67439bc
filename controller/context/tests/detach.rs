//! A cluster leaves: what other controllers leave behind then (see the issues they have about it)
//! must be gone here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use pando_context::{Ctx, Kind, Reason, ReasonKind, Scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CLUSTER: Kind = Kind::new("cluster");
const RECONCILE: Kind = Kind::new("reconcile");
const CALL: Kind = Kind::new("call");
const WATCH: Kind = Kind::new("watch");
const UNDO: Kind = Kind::new("undo");

const MINUTE: Duration = Duration::from_secs(60);

/// A request that the other side never answers; counts while it exists.
async fn request(in_flight: Arc<AtomicUsize>) {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    in_flight.fetch_add(1, Ordering::SeqCst);
    let _count = Count(in_flight);
    pending::<()>().await;
}

/// All that a busy cluster does: reconciles with requests, back-offs, watches, and clean-up.
fn work(ctx: &Ctx, in_flight: &Arc<AtomicUsize>, undone: &Arc<AtomicUsize>) {
    for number in 0..1000 {
        let in_flight = Arc::clone(in_flight);
        ctx.spawn_named(&RECONCILE, number, |ctx| async move { ctx.timeout(&CALL, MINUTE, request(in_flight)).await })
            .detach();
    }
    for _ in 0..200 {
        ctx.spawn(&RECONCILE, |ctx| async move { ctx.sleep(30 * MINUTE).await }).detach();
    }
    for _ in 0..50 {
        ctx.spawn(&WATCH, |ctx| async move {
            let mut events = Box::pin(ctx.bind(futures::stream::pending::<u8>()));
            while events.next().await.is_some() {}
        })
        .detach();
    }
    for _ in 0..20 {
        let undone = Arc::clone(undone);
        ctx.on_cancel(&UNDO, MINUTE, |ctx| async move {
            ctx.sleep(Duration::from_millis(100)).await.unwrap();
            undone.fetch_add(1, Ordering::SeqCst);
        })
        .keep();
    }
}

#[pando_context::test(paused)]
async fn a_busy_cluster_is_gone_when_stop_returns(root: &Scope) {
    let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
    let (in_flight, undone) = (Arc::default(), Arc::default());
    work(cluster.ctx(), &in_flight, &undone);
    root.ctx().sleep(Duration::from_secs(1)).await.unwrap();
    assert_eq!(in_flight.load(Ordering::SeqCst), 1000);

    let stopped = cluster.stop(Reason::detached("test"), 5 * MINUTE).await.unwrap();
    assert_eq!(in_flight.load(Ordering::SeqCst), 0);
    assert_eq!(undone.load(Ordering::SeqCst), 20);
    assert!(stopped.after < Duration::from_secs(1), "{stopped:?}");
    assert!(root.ctx().dump().is_empty());
    assert_eq!(root.ctx().counts().tasks(), 0);
    let cancelled = root.ctx().totals().cancelled;
    assert_eq!(cancelled[&(RECONCILE, ReasonKind::Detached)], 1200);
    assert_eq!(cancelled[&(CALL, ReasonKind::Detached)], 1000);
}

/// A watcher takes a failure for something to try again; a stream that ends, it takes for the end.
#[pando_context::test(paused)]
async fn a_watcher_of_a_detached_cluster_does_not_spin(root: &Scope) {
    let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rounds);
    let source = futures::stream::repeat(()).then(move |()| {
        counted.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)) // the error of a connection, and the back-off after it
    });
    let events = cluster.ctx().bind(source);
    // The one who reads lives outside of the cluster.
    let reader = root.ctx().spawn(&WATCH, |_| events.count());
    root.ctx().sleep(Duration::from_millis(10_500)).await.unwrap();
    cluster.stop(ReasonKind::Detached, MINUTE).await.unwrap();
    let before = rounds.load(Ordering::SeqCst);
    assert_eq!(reader.await.unwrap(), 10);
    root.ctx().sleep(60 * MINUTE).await.unwrap();
    assert_eq!(rounds.load(Ordering::SeqCst), before);
}

#[pando_context::test(paused)]
async fn attaching_and_detaching_a_thousand_times_leaves_nothing(root: &Scope) {
    for _ in 0..1000 {
        let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
        for _ in 0..5 {
            let ctx = cluster.ctx();
            ctx.spawn(&RECONCILE, |ctx| async move { ctx.sleep(30 * MINUTE).await }).detach();
        }
        cluster.stop(ReasonKind::Detached, MINUTE).await.unwrap();
        assert!(root.ctx().dump().is_empty());
    }
}

#[pando_context::test]
async fn sockets_of_a_detached_cluster_are_closed(root: &Scope) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let cluster = root.ctx().child_named(&CLUSTER, "bj-prod");
    let call = cluster.ctx().spawn(&CALL, move |_| async move {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"?").await?;
        stream.read_u8().await
    });
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'?');
    cluster.stop(ReasonKind::Detached, MINUTE).await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "the peer sees the end");
    assert!(call.await.is_err());
}

/// A reconcile in one cluster calls another one: the call ends when either goes.
#[pando_context::test]
async fn a_call_across_clusters_ends_with_either(root: &Scope) {
    for caller_goes in [true, false] {
        let caller = root.ctx().child_named(&CLUSTER, "caller");
        let callee = root.ctx().child_named(&CLUSTER, "callee");
        let in_flight = Arc::new(AtomicUsize::new(0));
        let (receiver, count) = (callee.ctx().clone(), Arc::clone(&in_flight));
        let call =
            caller.ctx().spawn(&RECONCILE, |_| async move { receiver.timeout(&CALL, MINUTE, request(count)).await });
        tokio::task::yield_now().await;
        assert_eq!(in_flight.load(Ordering::SeqCst), 1);
        let (goes, stays) = if caller_goes { (caller, callee) } else { (callee, caller) };
        goes.stop(ReasonKind::Detached, MINUTE).await.unwrap();
        assert_eq!(in_flight.load(Ordering::SeqCst), 0);
        drop((call, stays));
    }
}
