//! A program around the real member link that can be put under load and detached: the other half of the end-to-end test
//! `detach_scale`, which brings the API server, the line to it, and the orders.
//!
//! It is an example and not a test of this package because it needs a real API server, and no part of the end-to-end tests
//! because those see the product from outside only. Orders come as lines of JSON on stdin, and each is answered by one line
//! on stdout. `$PANDO_MEMBERS` says where the members are: `{"gone": {"endpoint", "ca", "token"}, ..}`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "part of a test")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::ApiResource;
use pando_api::cluster::Cluster;
use pando_api::names::ClusterName;
use pando_api::work::ResourceHealth;
use pando_context::{Ctx, Instant, Kind, Reason, Scope, Stop};
use pando_member::connect::{self, Connection};
use pando_member::fault::{self, Fault};
use pando_member::gateway::Gateway;
use pando_member::link::Member;
use pando_member::object::{Reading, Verdict};
use pando_member::probe;
use pando_member::registry::{Entry, Registry, State};
use pando_member::target::Target;
use pando_member::watches::Watches;
use pando_runtime::controller::{self, Action, Class, ReconcileError, Spec};
use pando_runtime::metrics::Metrics;
use pando_runtime::queue::Queue;
use pando_runtime::store::Key;
use pando_runtime::watch::Phase;
use serde::Deserialize;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLEAN_UP: Kind = Kind::new("clean-up");
const TERM: Kind = Kind::new("term");
const WORK: Kind = Kind::new("work");

/// Longer than the test.
const LONG: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a member is.
#[derive(Deserialize)]
struct Place {
    endpoint: String,
    ca: String,
    token: String,
}

/// What a member is to be busy with.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Load {
    requests: usize,
    backoffs: usize,
    watches: usize,
    clean_ups: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
enum Order {
    /// Keeps reconciling against a member, and notes the longest time between two successes.
    Accompany { member: String },
    /// Attaches a member and starts everything but the requests.
    Attach { member: String, load: Load },
    /// Starts the requests, and waits until all are in flight.
    Request { member: String, load: Load },
    /// Detaches it.
    Detach { member: String },
    /// What there is now.
    Look,
    /// Attach, load, detach, so many times: how long each detach took.
    Repeat { member: String, load: Load, times: usize },
    /// Attach and detach, so many times, with a look after some of them.
    Cycle { member: String, times: usize, looks: Vec<usize> },
    /// A reconcile of one member calls another one; then the first or the second goes.
    Cross { from: String, to: String, goes: String },
    /// Ends what accompanies.
    Rest,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Member(#[from] fault::Error),
    #[error(transparent)]
    Stop(#[from] Stop),
    #[error("on purpose")]
    OnPurpose,
}

impl ReconcileError for Failed {
    fn class(&self) -> Class {
        match self {
            Self::Stop(_) | Self::Member(fault::Error { fault: Fault::Stopped(_), .. }) => Class::Stopped,
            Self::Member(_) | Self::OnPurpose => Class::Transient,
        }
    }

    fn category(&self) -> &'static str {
        "failed"
    }
}

/// What happened, for the test to read.
#[derive(Default)]
struct Counts {
    reconciles: AtomicU64,
    clean_ups: AtomicUsize,
    longest_gap: AtomicU64,
}

struct Rig {
    root: Scope,
    term: Scope,
    registry: Registry,
    places: BTreeMap<String, Place>,
    counts: Arc<Counts>,
    metrics: Metrics,
    watches: Vec<Arc<Watches>>,
    companion: Option<Scope>,
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let places = std::env::var("PANDO_MEMBERS").expect("PANDO_MEMBERS says where the members are");
        let mut rig = Rig::new(serde_json::from_str(&places).expect("PANDO_MEMBERS is JSON"));
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = rig.obey(serde_json::from_str(&line).expect("an order")).await;
            writeln!(std::io::stdout(), "{answer}").expect("somebody listens");
        }
        let Rig { root, term, registry, companion, .. } = rig;
        drop((registry, companion)); // they own scopes of the term
        term.stop(Reason::shutdown("the test is over"), PATIENCE).await.expect("the term ends");
        root.stop(Reason::shutdown("the test is over"), PATIENCE).await.expect("nothing is left");
    });
}

fn name(member: &str) -> ClusterName {
    ClusterName::parse(member).expect("a name")
}

impl Rig {
    fn new(places: BTreeMap<String, Place>) -> Self {
        let root = Scope::root("rig");
        let term = root.ctx().child(&TERM);
        let registry = Registry::new(term.ctx().clone());
        let (counts, metrics) = (Arc::default(), Metrics::new());
        Self { root, term, registry, places, counts, metrics, watches: Vec::new(), companion: None }
    }

    async fn obey(&mut self, order: Order) -> Value {
        match order {
            Order::Accompany { member } => self.accompany(&member).await,
            Order::Attach { member, load } => {
                self.attach(&member, load).await;
                self.look().await
            }
            Order::Request { member, load } => {
                self.request(&member, load).await;
                self.look().await
            }
            Order::Detach { member } => {
                let took = self.detach(&member).await;
                let mut seen = self.look().await;
                seen["took_ms"] = json!(took.as_secs_f64() * 1000.0);
                seen
            }
            Order::Look => self.look().await,
            Order::Repeat { member, load, times } => self.repeat(&member, load, times).await,
            Order::Cycle { member, times, looks } => self.cycle(&member, times, &looks).await,
            Order::Cross { from, to, goes } => self.cross(&from, &to, &goes).await,
            Order::Rest => {
                if let Some(companion) = self.companion.take() {
                    companion.stop(Reason::requested("rest"), PATIENCE).await.expect("it ends");
                }
                self.look().await
            }
        }
    }

    async fn link(&self, member: &str) -> Arc<Entry> {
        let Place { endpoint, ca, token } = &self.places[member];
        let cluster = json!({
            "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": member},
            "spec": {"syncMode": "Push", "apiEndpoint": endpoint},
        });
        let cluster: Cluster = serde_json::from_value(cluster).expect("a Cluster");
        let data = [(connect::TOKEN, token), (connect::CA_BUNDLE, ca)];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.clone().into_bytes())));
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        let connection = Connection::new(&cluster, &secret).expect("usable");
        let attached = self.registry.attach(&name(member), &connection).await.expect("it can be attached");
        let entry = Arc::clone(attached.entry());
        entry.set_state(State::Connected);
        entry
    }

    async fn attach(&mut self, member: &str, load: Load) -> Arc<Entry> {
        let entry = self.link(member).await;
        let member = entry.member();
        self.back_off(member, load.backoffs);
        self.clean_up(member.ctx(), load.clean_ups);
        self.watch(member, load.watches).await;
        entry
    }

    /// Half of them wait in a reconcile, half in the queue.
    fn back_off(&self, member: &Member, count: usize) {
        let queue = Queue::of_member("backoff", member.name().as_str());
        (0..count).for_each(|key| queue.add(key));
        let counts = Arc::clone(&self.counts);
        controller::run(member.ctx(), self.spec("backoff", count), queue, move |ctx, key: usize| {
            counts.reconciles.fetch_add(1, Ordering::SeqCst);
            async move {
                if key.is_multiple_of(2) {
                    ctx.sleep(LONG / 2).await?;
                }
                Err::<Action, _>(Failed::OnPurpose)
            }
        })
        .detach();
    }

    fn clean_up(&self, ctx: &Ctx, count: usize) {
        for _ in 0..count {
            let counts = Arc::clone(&self.counts);
            let undo = move |ctx: Ctx| async move {
                drop(ctx.sleep(Duration::from_millis(50)).await);
                counts.clean_ups.fetch_add(1, Ordering::SeqCst);
            };
            ctx.on_cancel(&CLEAN_UP, PATIENCE, undo).keep();
        }
    }

    /// Watches so many kinds, and waits until each of them follows the changes.
    async fn watch(&mut self, member: &Member, count: usize) {
        self.watches.clear();
        if count == 0 {
            return;
        }
        let found = probe::probe(member.ctx(), member, true, PATIENCE).await.discovered.expect("kinds");
        let kinds = found.group_versions.iter().filter(|group| group.preference == 0).flat_map(|group| {
            let served = group.kinds.iter().filter(|kind| kind.lacks.is_none());
            served.filter_map(|kind| found.resource(&group.group_version, &kind.kind))
        });
        let kinds: Vec<ApiResource> = kinds.map(|(resource, _)| resource).take(count).collect();
        assert_eq!(kinds.len(), count, "the API server serves fewer kinds");
        let read = |_: &ApiResource, _: &serde_json::value::RawValue| Reading {
            work: None,
            verdict: Verdict::Unclaimed,
            status: None,
            health: ResourceHealth::Unknown,
        };
        let watches = Arc::new(Watches::new(member.clone(), Arc::new(read), Arc::new(|_, _| {})));
        for resource in &kinds {
            watches.acquire(resource, &Key::cluster("rig"));
        }
        let began = Instant::now();
        while watches.health().iter().any(|(_, health)| health.phase != Phase::Watching) {
            assert!(began.elapsed() < PATIENCE, "not all watch: {:?}", watches.health());
            self.pause().await;
        }
        self.watches.push(watches);
    }

    /// Reconciles that each wait for an answer that does not come.
    async fn request(&self, member: &str, load: Load) {
        let entry = self.registry.get(&name(member)).expect("attached");
        let member = entry.member();
        member.gate().fix_limit(load.requests.max(1));
        let queue = Queue::of_member("requests", member.name().as_str());
        (0..load.requests).for_each(|key| queue.add(key));
        let gateway = Gateway::new(member.clone()).with_deadline(LONG / 4);
        let counts = Arc::clone(&self.counts);
        controller::run(member.ctx(), self.spec("requests", load.requests), queue, move |ctx, key: usize| {
            let (gateway, target) = (gateway.clone(), config_map(&format!("held-{key}")));
            counts.reconciles.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, Failed>(gateway.get(&ctx, &target).await.map(|_| Action::Done)?) }
        })
        .detach();
        let began = Instant::now();
        while member.gate().traffic().in_flight < load.requests {
            assert!(began.elapsed() < PATIENCE, "{:?}", member.gate().traffic());
            self.pause().await;
        }
    }

    async fn detach(&self, member: &str) -> Duration {
        let began = Instant::now();
        self.registry.detach(&name(member)).await.expect("Ok within its grace");
        began.elapsed()
    }

    async fn accompany(&mut self, member: &str) -> Value {
        let entry = self.link(member).await;
        let companion = self.term.ctx().child_named(&WORK, "companion");
        let queue = Queue::new("companion");
        queue.add(0_usize);
        let (gateway, target) = (Gateway::new(entry.member().clone()), config_map("companion"));
        let (counts, last) = (Arc::clone(&self.counts), Arc::new(Mutex::new(Instant::now())));
        controller::run(companion.ctx(), self.spec("companion", 1), queue, move |ctx, _| {
            let (gateway, target, counts, last) =
                (gateway.clone(), target.clone(), Arc::clone(&counts), Arc::clone(&last));
            async move {
                gateway.get(&ctx, &target).await?;
                let gap = std::mem::replace(&mut *last.lock().expect("not poisoned"), Instant::now()).elapsed();
                let gap = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                counts.longest_gap.fetch_max(gap, Ordering::SeqCst);
                Ok::<_, Failed>(Action::After(Duration::from_millis(10)))
            }
        })
        .detach();
        self.companion = Some(companion);
        self.look().await
    }

    async fn repeat(&mut self, member: &str, load: Load, times: usize) -> Value {
        let mut took = Vec::new();
        for _ in 0..times {
            self.attach(member, load).await;
            self.request(member, load).await;
            took.push(self.detach(member).await.as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        json!({ "took_ms": took, "now": self.look().await })
    }

    async fn cycle(&mut self, member: &str, times: usize, looks: &[usize]) -> Value {
        let mut seen = Vec::new();
        let load = Load { requests: 0, backoffs: 4, watches: 0, clean_ups: 2 };
        for cycle in 1..=times {
            let entry = self.attach(member, load).await;
            let link = entry.member();
            let companion = config_map("companion");
            Gateway::new(link.clone()).get(link.ctx(), &companion).await.expect("an answer");
            drop(entry);
            self.detach(member).await;
            if looks.contains(&cycle) {
                seen.push(self.look().await);
            }
        }
        json!({ "looks": seen })
    }

    async fn cross(&self, from: &str, to: &str, goes: &str) -> Value {
        let (caller, receiver) = (self.link(from).await, self.link(to).await);
        receiver.member().gate().fix_limit(8);
        let gateway = Gateway::new(receiver.member().clone()).with_deadline(LONG / 4);
        let call = caller.member().ctx().spawn(&WORK, |ctx| async move {
            let error = gateway.get(&ctx, &config_map("held-across")).await.expect_err("no answer comes");
            error.to_string()
        });
        let began = Instant::now();
        while receiver.member().gate().traffic().in_flight == 0 {
            assert!(began.elapsed() < PATIENCE, "the call does not begin");
            self.pause().await;
        }
        let took = self.detach(goes).await;
        let in_flight = receiver.member().gate().traffic().in_flight;
        let ended = match call.await {
            Ok(error) => error,
            Err(error) => error.to_string(),
        };
        for member in [from, to] {
            self.detach(member).await;
        }
        json!({ "ended": ended, "in_flight": in_flight, "took_ms": took.as_secs_f64() * 1000.0 })
    }

    fn spec(&self, name: &'static str, concurrency: usize) -> Spec {
        Spec { name, concurrency: concurrency.max(1), timeout: LONG, metrics: self.metrics.clone() }
    }

    async fn pause(&self) {
        self.root.ctx().sleep(Duration::from_millis(5)).await.expect("the rig runs");
    }

    /// Everything that could be left.
    async fn look(&self) -> Value {
        let tree = self.root.ctx().dump();
        let clusters: Vec<String> = tree.nodes().iter().map(|node| node.label.to_string()).collect();
        let clusters: Vec<&String> = clusters.iter().filter(|label| label.starts_with("cluster/")).collect();
        let sockets = sockets();
        let statistics = ALLOCATOR.stats();
        let live = statistics.bytes_allocated.saturating_sub(statistics.bytes_deallocated);
        json!({
            "contexts": tree.nodes().len(),
            "clusters": clusters,
            "tasks": self.fewest_tasks().await,
            "descriptors": std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            "sockets": sockets,
            "live_bytes": live,
            "reconciles": self.counts.reconciles.load(Ordering::SeqCst),
            "clean_ups": self.counts.clean_ups.load(Ordering::SeqCst),
            "longest_gap_ms": self.counts.longest_gap.swap(0, Ordering::SeqCst),
        })
    }

    /// Tasks of the runtime; what goes on beside comes and goes.
    async fn fewest_tasks(&self) -> usize {
        let mut fewest = usize::MAX;
        for _ in 0..20 {
            fewest = fewest.min(tokio::runtime::Handle::current().metrics().num_alive_tasks());
            self.pause().await;
        }
        fewest
    }
}

fn config_map(name: &str) -> Target {
    let resource = ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        plural: "configmaps".to_owned(),
    };
    Target::new(resource, Some("default"), name)
}

/// Remote ports of this process's connections, with their number.
fn sockets() -> BTreeMap<u16, usize> {
    let ours: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned))
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(remote), Some(inode)) = (fields.get(2), fields.get(9)) else { continue };
        let port = remote.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok()).unwrap_or_default();
        if ours.contains(&format!("socket:[{inode}]")) {
            *found.entry(port).or_default() += 1;
        }
    }
    found
}
