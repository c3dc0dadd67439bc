//! The numbers of the process.
//!
//! Labels are bounded by design: controllers, verbs, results and clusters, never objects. Names
//! that Karmada and controller-runtime have are used as they are; our own begin with `pando_`.

mod contexts;
mod members;
mod process;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pando_context::Ctx;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

pub use self::members::Member;
use self::members::Members;
use crate::budget::{Budget, Load};
use crate::priority::Priority;
use crate::queue::{Depth, Key, Queue};

/// The media type of what [`Metrics::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    controller: &'static str,
    category: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HubRequest {
    verb: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberRequest {
    member_cluster: String,
    verb: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Urgency {
    priority: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What became of an event: written, merged with an earlier one, or one of several sorts of dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventFate {
    /// In the API server.
    Written,
    /// The same was written a short while ago.
    Repeated,
    /// More events than the budget lets through.
    OverBudget,
    /// The API server did not take it.
    Refused,
}

impl EventFate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Repeated => "repeated",
            Self::OverBudget => "over_budget",
            Self::Refused => "refused",
        }
    }
}

/// The metrics of the process. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Mutex<Registry>,
    queues: Arc<Queues>,
    members: Members,
    budget: Arc<Budgeted>,
    reconciles: Family<Outcome, Counter>,
    failures: Family<Failure, Counter>,
    durations: Histograms<Controller>,
    hub_requests: Family<HubRequest, Counter>,
    member_requests: Family<MemberRequest, Counter>,
    events: Family<Result, Counter>,
    queue_waits: Histograms<Name>,
    write_waits: Histograms<Urgency>,
    slowdowns: Family<Cause, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// From 1 ms, a reconcile that changes nothing, to 30 s, one that waits for a slow API server.
fn reconcile_buckets() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// From 1 ms, the turn of a key in a quiet process, to a minute, that of one behind a resync of everything.
fn wait_buckets() -> Histogram {
    Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

impl Metrics {
    /// The standard metrics, all at zero.
    pub fn new() -> Self {
        let shared = Shared {
            registry: Mutex::default(),
            queues: Arc::default(),
            members: Members::default(),
            budget: Arc::default(),
            reconciles: Family::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(reconcile_buckets as fn() -> Histogram),
            hub_requests: Family::default(),
            member_requests: Family::default(),
            events: Family::default(),
            queue_waits: Family::new_with_constructor(wait_buckets as fn() -> Histogram),
            write_waits: Family::new_with_constructor(wait_buckets as fn() -> Histogram),
            slowdowns: Family::default(),
        };
        let metrics = Self { shared: Arc::new(shared) };
        metrics.register_standard();
        metrics
    }

    fn register_standard(&self) {
        let shared = &self.shared;
        self.register("controller_runtime_reconcile", "Reconciles by controller and result", shared.reconciles.clone());
        self.register(
            "pando_reconcile_errors",
            "Failed reconciles by controller and category of the error",
            shared.failures.clone(),
        );
        self.register("controller_runtime_reconcile_time_seconds", "Duration of a reconcile", shared.durations.clone());
        self.register(
            "pando_hub_requests",
            "Requests to the federation API server by verb and result",
            shared.hub_requests.clone(),
        );
        self.register(
            "pando_member_requests",
            "Requests to member clusters by cluster, verb and result",
            shared.member_requests.clone(),
        );
        self.register("pando_events", "Events by what became of them", shared.events.clone());
        self.register(
            "workqueue_queue_duration_seconds",
            "How long a key was ready before it was processed",
            shared.queue_waits.clone(),
        );
        self.register(
            "pando_hub_write_wait_seconds",
            "How long a write to the hub waited for its turn",
            shared.write_waits.clone(),
        );
        self.register(
            "pando_hub_write_slowdowns",
            "How often writes to the hub were slowed down, by cause",
            shared.slowdowns.clone(),
        );
        self.registry().register_collector(Box::new(Arc::clone(&shared.queues)));
        self.registry().register_collector(Box::new(Arc::clone(&shared.budget)));
        self.registry().register_collector(Box::new(shared.members.clone()));
        self.registry().register_collector(Box::new(process::Process));
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a metric of the caller's. The name is without the `_total` that a counter gets.
    pub fn register(&self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.registry().register(name, help, metric);
    }

    /// Adds a collector of the caller's, which is asked at each scrape.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.registry().register_collector(collector);
    }

    /// Shows the depth of a queue under `workqueue_depth{name}`, and `member_cluster` if it is that
    /// of a member, for as long as the queue exists. A later queue of the same name and member takes
    /// the place of an earlier one.
    pub fn watch_queue<K: Key>(&self, queue: &Queue<K>) {
        let mut queues = self.shared.queues.lock();
        let watched = Watched { name: queue.name(), member: queue.member().map(Arc::from) };
        queues.retain(|(other, _)| *other != watched);
        queues.push((watched, Box::new(queue.gauge())));
    }

    /// The queues that are watched and exist, in the order of their registration.
    pub fn queues(&self) -> Vec<(Watched, Depth)> {
        self.shared.queues.depths()
    }

    /// Shows the traffic to members, as `ask` tells it at each scrape.
    pub fn watch_members(&self, ask: impl Fn() -> Vec<Member> + Send + Sync + 'static) {
        self.shared.members.watch(Box::new(ask));
    }

    /// The traffic to each member right now.
    pub fn members(&self) -> Vec<Member> {
        self.shared.members.all()
    }

    /// Shows how many contexts live, stop and are stuck at and below this one, why they were cancelled and how long that took.
    pub fn watch_contexts(&self, top: &Ctx) {
        self.register_collector(Box::new(contexts::Contexts(top.clone())));
    }

    /// Counts a reconcile. `result` is one of a few words.
    pub fn reconciled(&self, controller: &'static str, result: &'static str, took: Duration) {
        self.shared.reconciles.get_or_create(&Outcome { controller, result }).inc();
        self.shared.durations.get_or_create(&Controller { controller }).observe(took.as_secs_f64());
    }

    /// Counts a failed reconcile by the category of its error.
    pub fn reconcile_failed(&self, controller: &'static str, category: &'static str) {
        self.shared.failures.get_or_create(&Failure { controller, category }).inc();
    }

    /// Notes how long a key of this queue was ready before it was taken.
    pub fn queue_waited(&self, name: &'static str, waited: Duration) {
        self.shared.queue_waits.get_or_create(&Name { name }).observe(waited.as_secs_f64());
    }

    /// Notes how long a write to the hub waited for its turn.
    pub fn write_waited(&self, priority: Priority, waited: Duration) {
        let labels = Urgency { priority: priority.as_str() };
        self.shared.write_waits.get_or_create(&labels).observe(waited.as_secs_f64());
    }

    /// Counts that writes to the hub were slowed down, for this reason.
    pub fn writes_slowed(&self, cause: &'static str) {
        self.shared.slowdowns.get_or_create(&Cause { cause }).inc();
    }

    /// Shows how a write budget is doing. A later one of the process takes the place of an earlier one.
    pub fn watch_budget(&self, budget: &Budget) {
        *self.shared.budget.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(budget.gauge());
    }

    /// Counts a request to the hub. `verb` is that of the Kubernetes API (`get`, `list`, `patch`),
    /// `result` a status class or what else became of it (`2xx`, `409`, `timeout`).
    pub fn hub_request(&self, verb: &'static str, result: &'static str) {
        self.shared.hub_requests.get_or_create(&HubRequest { verb, result }).inc();
    }

    /// Counts a request to a member cluster; as [`Metrics::hub_request`].
    pub fn member_request(&self, cluster: &str, verb: &'static str, result: &'static str) {
        let labels = MemberRequest { member_cluster: cluster.to_owned(), verb, result };
        self.shared.member_requests.get_or_create(&labels).inc();
    }

    /// Counts an event.
    pub fn event(&self, fate: EventFate) {
        self.shared.events.get_or_create(&Result { result: fate.as_str() }).inc();
    }

    /// How many events have had this fate.
    pub fn events(&self, fate: EventFate) -> u64 {
        self.shared.events.get_or_create(&Result { result: fate.as_str() }).get()
    }

    /// All metrics in the text format of OpenMetrics.
    pub fn encode(&self) -> std::result::Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry())?;
        Ok(text)
    }
}

type Gauge = Box<dyn Fn() -> Option<Depth> + Send + Sync>;

/// A queue in the metrics. Prints as its name, and the member if it is that of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    name: &'static str,
    member: Option<Arc<str>>,
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            Some(member) => f.pad(&format!("{} {member}", self.name)),
            None => f.pad(self.name),
        }
    }
}

#[derive(Default)]
struct Queues(Mutex<Vec<(Watched, Gauge)>>);

impl Queues {
    fn lock(&self) -> MutexGuard<'_, Vec<(Watched, Gauge)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn depths(&self) -> Vec<(Watched, Depth)> {
        let mut queues = self.lock();
        let mut depths = Vec::new();
        queues.retain(|(queue, gauge)| {
            let depth = gauge();
            depths.extend(depth.map(|depth| (queue.clone(), depth)));
            depth.is_some()
        });
        depths
    }
}

impl fmt::Debug for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queues")
    }
}

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        type Column = (&'static str, &'static str, fn(&Depth) -> usize);
        let columns: [Column; 4] = [
            ("workqueue_depth", "Keys that could be processed now", Depth::ready),
            ("workqueue_delayed", "Keys that wait for the end of a delay", |depth| depth.delayed),
            ("workqueue_processing", "Keys that are processed", |depth| depth.processing),
            ("workqueue_failing", "Keys whose last attempt failed", |depth| depth.failing),
        ];
        let depths = self.depths();
        for (name, help, column) in columns {
            gauges(
                &mut encoder,
                name,
                help,
                depths.iter().map(|(queue, depth)| {
                    let member = queue.member.as_deref().map(|member| ("member_cluster", member));
                    let labels = std::iter::once(("name", queue.name)).chain(member);
                    (labels.collect(), column(depth))
                }),
            )?;
        }
        Ok(())
    }
}

/// Asks for the load of a budget that may be gone.
pub(crate) type LoadGauge = Box<dyn Fn() -> Option<Load> + Send + Sync>;

/// The write budget, once there is one.
#[derive(Default)]
struct Budgeted(Mutex<Option<LoadGauge>>);

impl fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Budgeted")
    }
}

impl Collector for Budgeted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let budget = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(load) = budget.as_ref().and_then(|load| load()) else { return Ok(()) };
        let name = "pando_hub_writes_in_flight";
        gauge_alone(&mut encoder, name, "Writes that the hub has not answered yet", load.in_flight)?;
        let name = "pando_hub_writes_limit";
        gauge_alone(&mut encoder, name, "Writes that the hub is given at the same time at most", load.limit)?;
        let waiting = Priority::ALL.into_iter().zip(load.waiting);
        let rows = waiting.map(|(priority, count)| (vec![("priority", priority.as_str())], count));
        gauges(&mut encoder, "pando_hub_writes_waiting", "Writes to the hub that wait for their turn", rows)
    }
}

/// Writes one gauge without labels.
fn gauge_alone(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// Writes one gauge with a row for each set of labels.
fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (Vec<(&'static str, &'a str)>, usize)>,
) -> fmt::Result {
    let kind = prometheus_client::metrics::MetricType::Gauge;
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_standard_metrics_are_written_with_their_labels() {
        let metrics = Metrics::new();
        metrics.reconciled("binding_works", "done", Duration::from_millis(3));
        metrics.member_request("bj-prod", "patch", "2xx");
        let queue = Queue::new("binding_works");
        metrics.watch_queue(&queue);
        queue.add("web");
        let text = metrics.encode().unwrap();
        for line in [
            "controller_runtime_reconcile_total{controller=\"binding_works\",result=\"done\"} 1",
            "controller_runtime_reconcile_time_seconds_bucket{le=\"0.005\",controller=\"binding_works\"} 1",
            "pando_member_requests_total{member_cluster=\"bj-prod\",verb=\"patch\",result=\"2xx\"} 1",
            "workqueue_depth{name=\"binding_works\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn each_member_shows_its_own_queue() {
        let metrics = Metrics::new();
        let queues = ["bj", "sh"].map(|member| Queue::of_member("execution", member));
        queues.iter().for_each(|queue| metrics.watch_queue(queue));
        queues[0].add("web");
        let text = metrics.encode().unwrap();
        for line in [
            "workqueue_depth{name=\"execution\",member_cluster=\"bj\"} 1",
            "workqueue_depth{name=\"execution\",member_cluster=\"sh\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(metrics.queues()[1].0.to_string(), "execution sh");
    }

    #[test]
    fn a_queue_that_is_gone_leaves_the_metrics() {
        let metrics = Metrics::new();
        metrics.watch_queue(&Queue::<u8>::new("gone"));
        assert!(metrics.queues().is_empty());
    }
}
