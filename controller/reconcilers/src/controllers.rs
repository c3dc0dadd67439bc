//! The one list of the hub controllers that run.

use std::time::Duration;

use pando_context::{Ctx, Kind, Task};
use pando_runtime::controller::{self, Spec};
use pando_runtime::metrics::Metrics;

use crate::env::Env;
use crate::next::action;
use crate::{binding_scheduler, binding_status, binding_works, detector, namespaces, policies};

/// How many keys of each controller are reconciled at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Concurrency {
    /// Templates.
    pub templates: usize,
    /// Bindings: scheduling, Works and status, each.
    pub bindings: usize,
    /// Namespaces.
    pub namespaces: usize,
    /// Policies.
    pub policies: usize,
}

static TIDY: Kind = Kind::new("tidy");

/// How often what is remembered of quiet bindings is dropped.
const QUIET: Duration = Duration::from_secs(30);
/// The deadline of one reconcile: a handful of hub writes, each with a deadline of its own.
const RECONCILE: Duration = Duration::from_secs(60);

/// Runs every controller of arrows 1, 2, 3 and 6 under `ctx`, until it ends. Call it once all stores are synced: what a
/// decision does not find in a synced store is absent.
///
/// The tasks end with `ctx`; one that ends otherwise has panicked, and its arrow stands still.
pub fn run(ctx: &Ctx, env: &Env, metrics: &Metrics, concurrency: Concurrency) -> Vec<Task<()>> {
    let Concurrency { templates, bindings, namespaces, policies } = concurrency;
    let queues = &env.queues;
    macro_rules! start {
        ($reconcile:path, $name:literal, $queue:expr, $concurrency:expr) => {{
            let spec = Spec { name: $name, concurrency: $concurrency, timeout: RECONCILE, metrics: metrics.clone() };
            let env = env.clone();
            controller::run(ctx, spec, $queue.clone(), move |ctx, key| {
                let env = env.clone();
                async move { $reconcile(&ctx, &env, &key).await.map(action) }
            })
        }};
    }
    let reports = env.reports.clone();
    let tidy = ctx.spawn(&TIDY, move |ctx| async move {
        while ctx.sleep(QUIET).await.is_ok() {
            reports.sweep();
        }
    });
    vec![
        tidy,
        start!(policies::reconcile, "policies", queues.policies, policies),
        start!(detector::reconcile, "detector", queues.templates, templates),
        start!(binding_scheduler::reconcile, "binding_scheduler", queues.schedule, bindings),
        start!(binding_works::reconcile, "binding_works", queues.works, bindings),
        start!(binding_status::reconcile, "binding_status", queues.status, bindings),
        start!(namespaces::reconcile, "namespaces", queues.namespaces, namespaces),
    ]
}
