//! The hub process: builds the context tree, fills the stores, and runs every hub reconciler.
//!
//! ```text
//! root ─┬─ admin        /healthz /readyz /metrics /debug, from the first moment
//!       ├─ watch …      one per hub kind that is wanted, into one store each
//!       ├─ controller/kinds    which kinds those are
//!       ├─ events       the recorder
//!       └─ term ─┬─ controller …           after every store is synced
//!                └─ cluster/<name> ─ …     one member each: connections, watches, execution, status
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use pando_context::{Ctx, Kind, Reason, Scope, Task, TaskError};
use pando_core::health::Thresholds;
use pando_core::policy_match::Skipped;
use pando_member::registry::Registry;
use pando_reconcilers::detector::Orphans;
use pando_reconcilers::env::{Env, Queues, Stores};
use pando_reconcilers::hub::Hub;
use pando_reconcilers::kinds::{self, Kinds};
use pando_reconcilers::template::{TemplateKind, Templates};
use pando_reconcilers::{binding_status, cluster, controllers, env, member_agent, next, wiring};
use pando_runtime::admin::{self, Debug, Purpose, Readiness};
use pando_runtime::budget::Budget;
use pando_runtime::client::{Limits, Stack};
use pando_runtime::clock::{Clock, SystemClock};
use pando_runtime::controller::{self, Spec};
use pando_runtime::events::Recorder;
use pando_runtime::failpoint;
use pando_runtime::metrics::Metrics;
use pando_runtime::shutdown::{self, Signals};
use pando_runtime::store::{Record, Store};
use pando_runtime::stuck;
use pando_runtime::telemetry::{self, Format};
use pando_runtime::term::Term;
use pando_runtime::watch;

use crate::args::{self, ControllerArgs, LoggingFormat};

static TERM: Kind = Kind::new("term");
static WATCH: Kind = Kind::new("watch");
static FIRST_READ: Kind = Kind::new("first-read");

/// How long the first read of the hub may take before the process gives up and says so.
const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// How long the process waits for its tasks when it ends.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the controller until it is told to stop.
///
/// # Errors
///
/// The hub cannot be reached at the start, an address cannot be listened on, or a stop leaves something behind.
pub(crate) async fn run(args: ControllerArgs) -> anyhow::Result<()> {
    let format = match args.logging_format {
        LoggingFormat::Text => Format::Text,
        LoggingFormat::Json => Format::Json,
    };
    let log = telemetry::init(format, args.log_filter())?;
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let root = Scope::root("pando");
    let ctx = root.ctx().clone();
    let metrics = Metrics::new();
    failpoint::arm(&metrics)?;
    let readiness = Readiness::new();

    serve(&ctx, &args, &metrics, &readiness, log).await?;
    let synced = readiness.gate("stores-synced");
    // The reconcilers and the members belong to the term: who may not lead may not touch them.
    let term = ctx.child(&TERM);
    let running = async {
        let (env, clusters, kinds, mut tasks) = build(&ctx, term.ctx(), &args, &metrics).await?;
        env.stores.synced(&ctx).await?;
        kinds.settled(&ctx).await?;
        tasks.extend(start(term.ctx(), &args, &env, clusters, &metrics));
        synced.open();
        tracing::info!(federation = %env.federation, "controllers started");
        supervise(tasks).await
    };
    let outcome = tokio::select! {
        // With an arrow standing still, a new process is better than half of this one.
        failure = running => failure.map(|never| match never {}),
        signal = signals.next() => Ok(signal),
    };
    let reason = || match &outcome {
        Ok(signal) => signal.reason(),
        Err(_) => Reason::shutdown("a part of the controller failed"),
    };
    // Cancelled from the top, so that every context has the same reason; then the term ends before its parent is awaited.
    root.cancel(reason());
    drop(term);
    shutdown::stop(root, reason(), GRACE, &mut signals).await?;
    outcome.map(drop)
}

/// Ends when one of the tasks that live as long as the process has panicked.
async fn supervise(tasks: Vec<Task<()>>) -> anyhow::Result<Infallible> {
    let mut tasks: FuturesUnordered<_> = tasks.into_iter().collect();
    while let Some(ended) = tasks.next().await {
        if let Err(failure @ TaskError::Panicked { .. }) = ended {
            return Err(failure.into());
        }
    }
    std::future::pending().await // all of them were stopped: so will this be
}

/// Listens on the admin addresses, so that probes are answered from the first moment.
async fn serve(
    ctx: &Ctx,
    args: &ControllerArgs,
    metrics: &Metrics,
    readiness: &Readiness,
    log: telemetry::LogFilter,
) -> anyhow::Result<()> {
    metrics.watch_contexts(ctx);
    stuck::report(ctx).detach();
    if let Some(address) = args.health_probe_bind_address.get() {
        admin::serve_health(ctx, admin::listen(address, Purpose::Health).await?, readiness.clone()).detach();
    }
    if let Some(address) = args.metrics_bind_address.get() {
        admin::serve_metrics(ctx, admin::listen(address, Purpose::Metrics).await?, metrics.clone()).detach();
    }
    if let Some(address) = args.debug_bind_address.get() {
        let listener = admin::listen(address, Purpose::Debug).await?;
        tracing::info!(address = %listener.local_addr().context("the debug listener has no address")?, "debug pages");
        let debug = Debug { contexts: ctx.clone(), metrics: metrics.clone(), log: Some(log) };
        admin::serve_debug(ctx, listener, debug).detach();
    }
    Ok(())
}

/// Everything the reconcilers need; the watches are running when this returns.
async fn build(
    ctx: &Ctx,
    term: &Ctx,
    args: &ControllerArgs,
    metrics: &Metrics,
) -> anyhow::Result<(Env, cluster::Env, Kinds, Vec<Task<()>>)> {
    let config = crate::commands::hub_config(&args.hub).await?;
    let counted = metrics.clone();
    let stack = Stack::from_config(&config).limits(Limits::hub()).on_request(move |exchange| {
        counted.hub_request(exchange.verb.as_str(), result(exchange.status));
    });
    let client = stack.client(ctx)?;
    // Watches on connections of their own: a long list must never delay a write.
    let watching = stack.client(ctx)?;
    let federation: Arc<str> = federation_id(ctx, &client).await?.into();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (events, recorder) = Recorder::start(ctx, client.clone(), Arc::clone(&clock), metrics.clone());
    recorder.detach();
    let budget = Budget::new(usize::from(args.concurrency.concurrent_hub_writes), metrics.clone());
    let hub = Hub::new(client.clone(), Term::constant()).within(budget);
    let stores = Stores::new(Templates::new());
    let namespaces = stores.templates.follow(TemplateKind::namespaces());
    let env = Env {
        hub: hub.clone(),
        federation: Arc::clone(&federation),
        stores: stores.clone(),
        queues: Queues::new(),
        outcomes: env::Outcomes::default(),
        reports: binding_status::Reports::new(),
        events: events.clone(),
        clock: Arc::clone(&clock),
        skipped: Arc::new(skipped(args)),
        gates: args::gates(&args.feature_gates),
        orphans: Orphans::default(),
    };
    wiring::connect(&env);

    let registry = Registry::new(term.clone());
    let agents = member_agent::Agents::new(member_agent::Parts {
        hub: hub.clone(),
        works: stores.works.clone(),
        bindings: stores.bindings.clone(),
        clusters: stores.clusters.clone(),
        federation,
        events: events.clone(),
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        settings: member_agent::Settings {
            concurrency: usize::from(args.concurrency.concurrent_work_syncs),
            ..member_agent::Settings::default()
        },
    });
    let clusters = cluster::Env::new(cluster::Parts {
        hub,
        client,
        clusters: stores.clusters.clone(),
        works: stores.works.clone(),
        bindings: stores.bindings.clone(),
        namespaces: Some(namespaces.store),
        registry,
        agents,
        events,
        clock,
        settings: cluster_settings(args),
    });
    let kinds = Kinds::new(
        ctx,
        kinds::Parts {
            client: watching.clone(),
            stores: stores.clone(),
            skipped: Arc::clone(&env.skipped),
            events: env.events.clone(),
            queues: env.queues.clone(),
        },
    );
    let mut watches = follow(ctx, &watching, &stores);
    watches.extend(kinds.run(metrics));
    Ok((env, clusters, kinds, watches))
}

fn cluster_settings(args: &ControllerArgs) -> cluster::Settings {
    cluster::Settings {
        probe_period: args.cluster_status_update_frequency.get(),
        thresholds: Thresholds {
            failure: args.cluster_failure_threshold.get(),
            success: args.cluster_success_threshold.get(),
        },
        ..cluster::Settings::default()
    }
}

/// The metric's word for an answer. A label must have few values.
const fn result(status: Option<u16>) -> &'static str {
    match status {
        Some(200..=299) => "ok",
        Some(404) => "not_found",
        Some(409) => "conflict",
        Some(429) => "throttled",
        Some(400..=499) => "refused",
        Some(_) => "failed",
        None => "unreachable",
    }
}

/// The federation's id: the uid of the hub's `kube-system` namespace, which lives as long as the hub's store.
async fn federation_id(ctx: &Ctx, client: &Client) -> anyhow::Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let read = ctx.timeout(&FIRST_READ, FIRST_ANSWER, namespaces.get("kube-system")).await;
    let namespace = read
        .map_err(anyhow::Error::from)
        .and_then(|reply| reply.map_err(anyhow::Error::from))
        .context("cannot read the hub's namespace kube-system, whose uid is the federation's id")?;
    namespace.metadata.uid.context("the hub's namespace kube-system has no uid")
}

fn skipped(args: &ControllerArgs) -> Skipped {
    let mut skipped = Skipped {
        namespaces: args.skipped_propagating_namespaces.iter().map(crate::args::SkippedNamespace::pattern).collect(),
        ..Skipped::default()
    };
    args.skipped_propagating_apis.add_to(&mut skipped);
    skipped
}

/// One watch for each hub kind that is always followed, each a task of its own. The others follow as policies want them.
fn follow(ctx: &Ctx, client: &Client, stores: &Stores) -> Vec<Task<()>> {
    let namespaces = stores.templates.all();
    let mut watches: Vec<_> = namespaces.iter().map(|followed| feed(ctx, client, &followed.store)).collect();
    watches.extend(stores.bindings.stores().map(|store| feed(ctx, client, store)));
    watches.extend([
        feed(ctx, client, &stores.policies),
        feed(ctx, client, &stores.cluster_policies),
        feed(ctx, client, &stores.overrides),
        feed(ctx, client, &stores.cluster_overrides),
        feed(ctx, client, &stores.works),
        feed(ctx, client, &stores.clusters),
    ]);
    watches
}

fn feed<T: Record>(ctx: &Ctx, client: &Client, store: &Store<T>) -> Task<()> {
    let (client, store) = (client.clone(), store.clone());
    let plural = store.resource().plural.clone();
    ctx.spawn_named(&WATCH, plural, move |ctx| async move {
        let stop = watch::run(ctx, client, store, watch::Options::default()).await;
        tracing::debug!(%stop, "watch ended");
    })
}

/// Starts every controller. All stores are synced.
fn start(ctx: &Ctx, args: &ControllerArgs, env: &Env, clusters: cluster::Env, metrics: &Metrics) -> Vec<Task<()>> {
    let concurrency = &args.concurrency;
    let mut tasks = controllers::run(
        ctx,
        env,
        metrics,
        controllers::Concurrency {
            templates: usize::from(concurrency.concurrent_resource_template_syncs),
            bindings: usize::from(
                concurrency.concurrent_resourcebinding_syncs.max(concurrency.concurrent_clusterresourcebinding_syncs),
            ),
            namespaces: usize::from(concurrency.concurrent_namespace_syncs),
            policies: usize::from(
                concurrency
                    .concurrent_propagation_policy_syncs
                    .max(concurrency.concurrent_cluster_propagation_policy_syncs),
            ),
        },
    );
    let spec = Spec {
        name: "cluster",
        concurrency: usize::from(concurrency.concurrent_cluster_syncs),
        timeout: Duration::from_secs(60),
        metrics: metrics.clone(),
    };
    let queue = clusters.queue.clone();
    tasks.push(controller::run(ctx, spec, queue, move |ctx, key| {
        let clusters = clusters.clone();
        async move { cluster::reconcile(&ctx, &clusters, &key).await.map(next::action) }
    }));
    tasks
}
