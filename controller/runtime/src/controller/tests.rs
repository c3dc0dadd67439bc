#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::let_underscore_must_use, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pando_context::{Ctx, Instant, Kind, Reason, Scope};

use super::{Action, Class, NOT_OURS, ReconcileError, Spec, UNAVAILABLE, run};
use crate::metrics::Metrics;
use crate::priority::Priority;
use crate::queue::{Depth, Queue};

mod cancelled;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("web: {0:?}")]
struct Failed(Class);

impl ReconcileError for Failed {
    fn class(&self) -> Class {
        self.0
    }

    fn category(&self) -> &'static str {
        "test"
    }
}

/// A controller over one queue whose reconciles write down when they ran.
struct Bench {
    queue: Queue<&'static str>,
    metrics: Metrics,
    start: Instant,
    runs: Arc<Mutex<Vec<(&'static str, u128)>>>,
}

impl Bench {
    fn new<Fut>(
        ctx: &Ctx,
        concurrency: usize,
        reconcile: impl Fn(Ctx, &'static str) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = Result<Action, Failed>> + Send + 'static,
    {
        let (queue, metrics, start) = (Queue::new("works"), Metrics::new(), Instant::now());
        let runs = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&runs);
        let spec = Spec { name: "works", concurrency, timeout: 10 * SECOND, metrics: metrics.clone() };
        run(ctx, spec, queue.clone(), move |ctx, key| {
            log.lock().unwrap().push((key, start.elapsed().as_millis()));
            reconcile(ctx, key)
        })
        .detach();
        Self { queue, metrics, start, runs }
    }

    fn times(&self) -> Vec<u128> {
        self.runs.lock().unwrap().iter().map(|run| run.1).collect()
    }

    fn count(&self, result: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let line = format!("controller_runtime_reconcile_total{{controller=\"works\",result=\"{result}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)).map_or(0, |n| n.parse().unwrap())
    }
}

#[pando_context::test(paused)]
async fn a_success_rests_and_a_planned_look_comes_back(ctx: Ctx) {
    let bench =
        Bench::new(
            &ctx,
            1,
            |_, key| async move { Ok(if key == "web" { Action::Done } else { Action::After(4 * SECOND) }) },
        );
    bench.queue.add("web");
    bench.queue.add("db");
    ctx.sleep(5 * SECOND).await.unwrap();
    assert_eq!(*bench.runs.lock().unwrap(), [("web", 0), ("db", 0), ("db", 4000)]);
    assert_eq!((bench.count("success"), bench.count("requeue_after")), (1, 2));
}

#[pando_context::test(paused)]
async fn a_transient_error_backs_off(ctx: Ctx) {
    let bench = Bench::new(&ctx, 1, |_, _| async { Err(Failed(Class::Transient)) });
    bench.queue.add("web");
    ctx.sleep(Duration::from_millis(50)).await.unwrap();
    assert_eq!(bench.times(), [0, 5, 15, 35]);
}

#[pando_context::test(paused)]
async fn what_is_away_costs_a_key_nothing_but_the_wait(ctx: Ctx) {
    let bench = Bench::new(&ctx, 1, |_, _| async { Err(Failed(Class::Unavailable)) });
    bench.queue.add("web");
    ctx.sleep(600 * SECOND + Duration::from_millis(500)).await.unwrap();
    assert_eq!(bench.times().last(), Some(&600_000));
    assert_eq!((bench.count("unavailable"), bench.queue.depth().failing), (601, 0));
}

#[pando_context::test(paused)]
async fn what_is_refused_for_now_comes_back_when_it_was_told_to_within_half_a_minute(ctx: Ctx) {
    let bench = Bench::new(&ctx, 1, |_, key| async move {
        Err(Failed(Class::Later(if key == "web" { 3 * SECOND } else { 86_400 * SECOND })))
    });
    bench.queue.add("web");
    bench.queue.add("db");
    ctx.sleep(7 * SECOND).await.unwrap();
    assert_eq!(*bench.runs.lock().unwrap(), [("web", 0), ("db", 0), ("web", 3000), ("web", 6000)]);
    ctx.sleep(24 * SECOND).await.unwrap();
    assert!(bench.runs.lock().unwrap().contains(&("db", 30_000)));
}

#[pando_context::test(paused)]
async fn an_invalid_object_waits_for_a_change(ctx: Ctx) {
    let bench = Bench::new(&ctx, 1, |_, _| async { Err(Failed(Class::Invalid)) });
    bench.queue.add("web");
    ctx.sleep(3600 * SECOND).await.unwrap();
    assert_eq!(bench.times(), [0]);
    bench.queue.add("web");
    ctx.sleep(SECOND).await.unwrap();
    assert_eq!(bench.count("invalid"), 2);
}

#[pando_context::test(paused)]
async fn what_is_not_ours_is_looked_at_slowly(ctx: Ctx) {
    let bench = Bench::new(&ctx, 1, |_, _| async { Err(Failed(Class::NotOurs)) });
    bench.queue.add("web");
    ctx.sleep(2 * NOT_OURS + SECOND).await.unwrap();
    assert_eq!(bench.times(), [0, 30_000, 60_000]);
}

#[pando_context::test(paused)]
async fn a_panic_is_a_failure_of_its_key_alone(ctx: Ctx) {
    let bench = Bench::new(&ctx, 2, |ctx, key| async move {
        assert_ne!(key, "bad", "as planned");
        ctx.sleep(SECOND).await.unwrap();
        Ok(Action::Done)
    });
    bench.queue.add("web");
    bench.queue.add("bad");
    ctx.sleep(2 * SECOND).await.unwrap();
    assert_eq!(bench.count("success"), 1);
    // 0, 5, 15, 35, 75, 155, 315, 635, 1275 ms
    assert_eq!(bench.count("panic"), 9);
}

#[pando_context::test(paused)]
async fn a_reconcile_that_hangs_ends_at_its_deadline_and_backs_off(ctx: Ctx) {
    let bench = Bench::new(&ctx, 1, |_, _| std::future::pending());
    bench.queue.add("web");
    ctx.sleep(21 * SECOND).await.unwrap();
    assert_eq!(bench.times(), [0, 10_005, 20_015]);
    assert_eq!(bench.count("deadline"), 2);
}

#[pando_context::test(paused)]
async fn no_more_than_the_concurrency_run_at_once(ctx: Ctx) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (current, highest) = (Arc::clone(&now), Arc::clone(&most));
    let bench = Bench::new(&ctx, 3, move |ctx, _| {
        let (now, most) = (Arc::clone(&current), Arc::clone(&highest));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            ctx.sleep(SECOND).await.unwrap();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(Action::Done)
        }
    });
    ["a", "b", "c", "d", "e", "f", "g"].into_iter().for_each(|key| bench.queue.add(key));
    ctx.sleep(10 * SECOND).await.unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(bench.times(), [0, 0, 0, 1000, 1000, 1000, 2000]);
    assert_eq!(bench.queue.depth(), Depth::default());
}

#[pando_context::test(paused)]
async fn a_stopped_controller_leaves_nothing_and_loses_no_key(root: &Scope) {
    let term = root.ctx().child(&Kind::new("term"));
    let bench = Bench::new(term.ctx(), 2, |_, _| std::future::pending());
    ["a", "b", "c"].into_iter().for_each(|key| bench.queue.add(key));
    root.ctx().sleep(SECOND).await.unwrap();
    let tree = term.ctx().dump().to_string();
    assert!(tree.contains("controller/works") && tree.contains("reconcile/a"), "{tree}");

    term.stop(Reason::shutdown("test"), SECOND).await.unwrap();
    assert!(bench.start.elapsed() < 2 * SECOND);
    let depth = bench.queue.depth();
    assert_eq!((depth.ready(), depth.delayed, depth.processing), (3, 0, 0));
}

#[pando_context::test(paused)]
async fn a_reconcile_finds_the_priority_of_its_key_in_its_context(ctx: Ctx) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let bench = Bench::new(&ctx, 1, move |ctx, _| {
        log.lock().unwrap().push(ctx.get::<Priority>().copied());
        std::future::ready(Ok(Action::Done))
    });
    bench.queue.add_with("resync", Priority::Background);
    bench.queue.add_with("going", Priority::Removal);
    ctx.sleep(SECOND).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [Some(Priority::Removal), Some(Priority::Background)]);
    let waits = "workqueue_queue_duration_seconds_count{name=\"works\"} 2";
    assert!(bench.metrics.encode().unwrap().contains(waits));
}

#[pando_context::test(paused)]
async fn each_reconcile_has_a_trace_of_its_own(ctx: Ctx) {
    let traces = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&traces);
    let bench = Bench::new(&ctx, 1, move |ctx, _| {
        log.lock().unwrap().push(ctx.trace_id());
        std::future::ready(Ok(Action::Done))
    });
    bench.queue.add("a");
    bench.queue.add("b");
    ctx.sleep(SECOND).await.unwrap();
    let traces = traces.lock().unwrap();
    assert_eq!(traces.len(), 2);
    assert_ne!(traces[0], traces[1]);
}
