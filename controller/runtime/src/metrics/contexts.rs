//! The context tree in numbers, counted at each scrape.

use std::fmt;

use pando_context::{Ctx, Joins, Kind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{gauge_alone, gauges};
use crate::stuck;

/// The tree whose numbers are shown.
pub(super) struct Contexts(pub(super) Ctx);

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contexts")
    }
}

type Labels = Vec<(&'static str, &'static str)>;

fn of_kind(kind: Kind) -> Labels {
    vec![("kind", kind.as_str())]
}

impl Collector for Contexts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counts, totals) = (self.0.counts(), self.0.totals());
        let kinds = || counts.kinds.iter();
        let rows = kinds().map(|(kind, count)| (of_kind(*kind), count.live));
        gauges(&mut encoder, "pando_ctx_live", "Contexts that are active", rows)?;
        let rows = kinds().map(|(kind, count)| (of_kind(*kind), count.stopping));
        gauges(&mut encoder, "pando_ctx_stopping", "Contexts that are cancelled and have not ended", rows)?;
        let rows = kinds().map(|(kind, count)| (of_kind(*kind), count.tasks));
        gauges(&mut encoder, "pando_ctx_tasks", "Tasks that run in contexts of the kind", rows)?;
        let stuck = stuck::count(&self.0, &counts);
        gauge_alone(&mut encoder, "pando_ctx_stuck", "Contexts that should have ended and have not", stuck)?;

        let cancelled = totals.cancelled.iter().map(|((kind, reason), count)| {
            let mut labels = of_kind(*kind);
            labels.push(("reason", reason.as_str()));
            (labels, *count)
        });
        counters(
            &mut encoder,
            "pando_ctx_cancelled",
            "Contexts that a cancel reached before they had ended",
            cancelled,
        )?;
        let panicked = totals.panicked.iter().map(|(kind, count)| (of_kind(*kind), *count));
        counters(&mut encoder, "pando_ctx_panics", "Panics of tasks that were caught", panicked)?;
        joins(&mut encoder, totals.joins.iter().map(|(kind, joins)| (of_kind(*kind), joins)))
    }
}

/// Writes one counter with a row for each set of labels. The name is without the `_total` that it gets.
fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (Labels, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// How long it took from a stop until nothing was left.
fn joins<'a>(encoder: &mut DescriptorEncoder<'_>, rows: impl Iterator<Item = (Labels, &'a Joins)>) -> fmt::Result {
    let help = "How long it took from the stop of a context until nothing of it was left";
    let mut metric = encoder.encode_descriptor("pando_ctx_join_seconds", help, None, MetricType::Histogram)?;
    for (labels, joins) in rows {
        let bounds = Joins::BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(joins.buckets).collect();
        metric.encode_family(&labels)?.encode_histogram::<Labels>(joins.seconds, joins.count, &buckets, None)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use pando_context::{Kind, ReasonKind, Scope};

    use super::super::Metrics;

    const CLUSTER: Kind = Kind::new("cluster");
    const CALL: Kind = Kind::new("call");

    #[track_caller]
    fn has(metrics: &Metrics, line: &str) {
        let text = metrics.encode().unwrap();
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }

    #[pando_context::test(paused)]
    async fn the_tree_is_counted_by_kind_and_reason(root: &Scope) {
        let metrics = Metrics::new();
        metrics.watch_contexts(root.ctx());
        let cluster = root.ctx().child(&CLUSTER);
        let calls: Vec<Scope> = (0..3).map(|_| cluster.ctx().child(&CALL)).collect();
        has(&metrics, "pando_ctx_live{kind=\"call\"} 3");
        has(&metrics, "pando_ctx_stuck 0");

        cluster.cancel(ReasonKind::Detached);
        has(&metrics, "pando_ctx_live{kind=\"cluster\"} 0");
        has(&metrics, "pando_ctx_stopping{kind=\"call\"} 3");
        has(&metrics, "pando_ctx_cancelled_total{kind=\"call\",reason=\"detached\"} 3");

        // What does not end is stuck: the calls, not the cluster that waits for them.
        root.ctx().sleep(crate::stuck::AFTER + Duration::from_secs(1)).await.unwrap();
        has(&metrics, "pando_ctx_stuck 3");
        drop(calls);
        cluster.stop(ReasonKind::Detached, Duration::from_secs(1)).await.unwrap();
        has(&metrics, "pando_ctx_stuck 0");
        has(&metrics, "pando_ctx_join_seconds_count{kind=\"cluster\"} 1");
        assert!(metrics.encode().unwrap().contains("pando_ctx_join_seconds_bucket{le=\"+Inf\",kind=\"cluster\"} 1"));
    }
}
