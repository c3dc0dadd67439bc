//! Work that was called off: what is said of it, what is counted, and what becomes of its key.

use pando_context::ReasonKind;
use serde_json::Value;

use super::*;
use crate::telemetry::Format;
use crate::telemetry::captured::{self, Log};

/// The lines that were logged inside a reconcile.
fn reconciles(log: &Log) -> Vec<Value> {
    let mut lines = log.lines();
    lines.retain(|line| line["span"]["name"] == "reconcile");
    lines
}

/// Says that it goes, as a guard of a real reconcile might.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        tracing::info!("letting go");
    }
}

/// A controller in a context of its own whose reconciles say that they begin, and then wait for ever.
fn endless(term: &Scope, concurrency: usize) -> Bench {
    Bench::new(term.ctx(), concurrency, |_, _| async {
        tracing::info!("looking");
        let _guard = Guard;
        std::future::pending().await
    })
}

#[pando_context::test(paused)]
async fn each_line_of_a_reconcile_has_its_trace_and_once_it_is_cancelled_the_reason(root: &Scope) {
    let (log, _guard) = captured::start();
    let term = root.ctx().child(&Kind::new("term"));
    let bench = endless(&term, 2);
    bench.queue.add("a");
    bench.queue.add("b");
    root.ctx().sleep(SECOND).await.unwrap();
    let began = log.saying("looking");
    let traces: Vec<&str> = began.iter().filter_map(|line| line["span"]["trace"].as_str()).collect();
    assert!(traces.len() == 2 && traces[0] != traces[1] && traces.iter().all(|trace| trace.len() == 32), "{began:?}");
    assert!(began.iter().all(|line| line["span"]["reason"].is_null()), "{began:?}");

    term.stop(Reason::detached("asked for by alice"), SECOND).await.unwrap();
    for said in ["letting go", "reconcile cancelled"] {
        let lines = log.saying(said);
        assert_eq!(lines.len(), 2, "{said}: {}", log.text());
        for line in lines {
            assert_eq!(line["span"]["reason"], "detached at term: asked for by alice");
            assert!(traces.contains(&line["span"]["trace"].as_str().unwrap()), "{line}");
        }
    }
    assert!(reconciles(&log).iter().all(|line| line["span"]["trace"].is_string() && line["span"]["key"].is_string()));
}

#[pando_context::test(paused)]
async fn people_read_trace_and_reason_in_the_line(root: &Scope) {
    let (log, _guard) = captured::start_as(Format::Text);
    let term = root.ctx().child(&Kind::new("term"));
    let bench = endless(&term, 1);
    bench.queue.add("web");
    root.ctx().sleep(SECOND).await.unwrap();
    term.stop(Reason::shutdown("SIGTERM"), SECOND).await.unwrap();
    let text = log.text();
    let line = text.lines().find(|line| line.ends_with("letting go")).unwrap();
    assert!(line.contains("reconcile{controller=\"works\" key=web trace="), "{line}");
    assert!(line.contains("reason=shutdown at term: SIGTERM}"), "{line}");
}

#[pando_context::test(paused)]
async fn a_cancelled_reconcile_is_no_error_in_log_metric_or_back_off(root: &Scope) {
    let (log, _guard) = captured::start();
    let term = root.ctx().child(&Kind::new("term"));
    let bench = endless(&term, 2);
    ["a", "b", "waits"].into_iter().for_each(|key| bench.queue.add(key));
    root.ctx().sleep(SECOND).await.unwrap();
    term.stop(ReasonKind::Detached, SECOND).await.unwrap();

    let text = log.text();
    assert!(!text.contains("\"WARN\"") && !text.contains("\"ERROR\""), "{text}");
    assert_eq!(bench.count("cancelled"), 2);
    let metrics = bench.metrics.encode().unwrap();
    let results = metrics.lines().filter(|line| line.starts_with("controller_runtime_reconcile_total{"));
    assert_eq!(results.count(), 1, "{metrics}");
    assert!(!metrics.contains("pando_reconcile_errors_total{"), "{metrics}");
    let depth = bench.queue.depth();
    assert_eq!((depth.ready(), depth.delayed, depth.processing, depth.failing), (3, 0, 0, 0));

    // Whoever goes on with the queue gets each key at once.
    for _ in 0..3 {
        bench.queue.next(root.ctx()).await.unwrap().done();
    }
    assert!(bench.start.elapsed() <= SECOND, "{:?}", bench.start.elapsed());
}

#[pando_context::test(paused)]
async fn a_call_that_ends_with_the_cluster_it_went_to_is_no_error_of_the_caller(ctx: Ctx) {
    let (log, _guard) = captured::start();
    let other = ctx.child(&Kind::new("cluster"));
    let called = other.ctx().clone();
    let bench = Bench::new(&ctx, 1, move |_, _| {
        let called = called.clone();
        async move {
            let stop = called.run(std::future::pending::<()>()).await.unwrap_err();
            Err(Failed(Class::of_stop(&stop)))
        }
    });
    bench.queue.add("web");
    ctx.sleep(SECOND).await.unwrap();
    other.cancel(ReasonKind::Detached);
    ctx.sleep(3 * UNAVAILABLE + SECOND / 2).await.unwrap();
    assert_eq!(bench.times(), [0, 2000, 3000, 4000]);
    assert_eq!((bench.count("cancelled"), bench.count("error"), bench.queue.depth().failing), (4, 0, 0));
    assert!(!log.text().contains("\"WARN\""), "{}", log.text());
}

#[pando_context::test(paused)]
async fn a_reconcile_that_is_too_slow_has_failed_and_says_why(ctx: Ctx) {
    let (log, _guard) = captured::start();
    let bench = Bench::new(&ctx, 1, |_, _| std::future::pending());
    bench.queue.add("web");
    ctx.sleep(11 * SECOND).await.unwrap();
    assert_eq!((bench.count("deadline"), bench.count("cancelled"), bench.queue.depth().failing), (1, 0, 1));
    let line = log.saying("reconcile failed").pop().unwrap();
    assert_eq!(line["level"], "WARN");
    assert!(line["span"]["reason"].as_str().unwrap().starts_with("deadline at reconcile/web"), "{line}");
}
