//! What every hub reconciler works with: the stores to read, the hub to write, the queues to hand over to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::core::ApiResource;
use pando_api::cluster::Cluster;
use pando_api::policy::{ClusterOverridePolicy, ClusterPropagationPolicy, OverridePolicy, PropagationPolicy};
use pando_api::work::{ResourceBinding, Work};
use pando_context::{Ctx, Stop};
use pando_core::detect::Scheduling;
use pando_core::policy_match::Skipped;
use pando_runtime::clock::Clock;
use pando_runtime::events::Recorder;
use pando_runtime::queue::Queue;
use pando_runtime::store::{Key, Store};

use crate::hub::Hub;
use crate::template::{Contents, TemplateKey, Templates};

/// One in-memory copy of every hub kind that decides anything.
#[derive(Clone)]
pub struct Stores {
    /// The users' objects.
    pub templates: Templates,
    /// Policies of one namespace.
    pub policies: Store<PropagationPolicy>,
    /// Policies of the whole federation.
    pub cluster_policies: Store<ClusterPropagationPolicy>,
    /// Overrides of one namespace.
    pub overrides: Store<OverridePolicy>,
    /// Overrides of the whole federation.
    pub cluster_overrides: Store<ClusterOverridePolicy>,
    /// One template's decided placement each.
    pub bindings: Store<ResourceBinding>,
    /// What each member must run. Indexed [`by binding`](WORKS_BY_BINDING).
    pub works: Store<Work>,
    /// The members.
    pub clusters: Store<Cluster>,
}

/// Index of `works`: the permanent id of the binding that a Work belongs to.
pub const WORKS_BY_BINDING: &str = "binding";

impl Stores {
    /// Empty stores for these templates; the watches fill them.
    #[must_use]
    pub fn new(templates: Templates) -> Self {
        Self {
            templates,
            policies: Store::new(ApiResource::erase::<PropagationPolicy>(&())),
            cluster_policies: Store::new(ApiResource::erase::<ClusterPropagationPolicy>(&())),
            overrides: Store::new(ApiResource::erase::<OverridePolicy>(&())),
            cluster_overrides: Store::new(ApiResource::erase::<ClusterOverridePolicy>(&())),
            bindings: Store::new(ApiResource::erase::<ResourceBinding>(&())),
            works: Store::new(ApiResource::erase::<Work>(&())).with_index(WORKS_BY_BINDING, |work: &Work| {
                let labels = work.metadata.labels.as_ref();
                labels.and_then(|labels| labels.get(pando_api::labels::BINDING_PERMANENT_ID)).cloned().into_iter().collect()
            }),
            clusters: Store::new(ApiResource::erase::<Cluster>(&())),
        }
    }

    /// Waits until every store has seen its first complete list. No decision is made before that: what is missing
    /// from a store that is not synced is unread, not absent.
    ///
    /// # Errors
    /// The context ended first.
    pub async fn synced(&self, ctx: &Ctx) -> Result<(), Stop> {
        for (_, store) in self.templates.iter() {
            store.synced(ctx).await?;
        }
        self.policies.synced(ctx).await?;
        self.cluster_policies.synced(ctx).await?;
        self.overrides.synced(ctx).await?;
        self.cluster_overrides.synced(ctx).await?;
        self.bindings.synced(ctx).await?;
        self.works.synced(ctx).await?;
        self.clusters.synced(ctx).await
    }
}

/// The hand-over between arrows: each controller has one queue, and [`crate::wiring`] says what fills it.
#[derive(Clone)]
pub struct Queues {
    /// Templates for the detector.
    pub templates: Queue<TemplateKey>,
    /// Bindings for the binding scheduler.
    pub schedule: Queue<Key>,
    /// Bindings whose Works may have to change.
    pub works: Queue<Key>,
    /// Bindings whose status may have to change.
    pub status: Queue<Key>,
    /// Namespaces to propagate.
    pub namespaces: Queue<Key>,
    /// Policies that may lack their permanent id. The key has a namespace for a PropagationPolicy only.
    pub policies: Queue<Key>,
}

impl Queues {
    /// Empty queues.
    #[must_use]
    pub fn new() -> Self {
        Self {
            templates: Queue::new("detector"),
            schedule: Queue::new("binding_scheduler"),
            works: Queue::new("binding_works"),
            status: Queue::new("binding_status"),
            namespaces: Queue::new("namespaces"),
            policies: Queue::new("policies"),
        }
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self::new()
    }
}

/// What the last scheduling of each binding came to. It is decided by arrows 1 and 2 and reported by arrow 6, the one
/// writer of a binding's status; after a restart the status itself remembers it.
#[derive(Clone, Default)]
pub struct Outcomes(Arc<Mutex<BTreeMap<Key, Scheduling>>>);

impl Outcomes {
    /// Records the outcome; true when it says something new.
    pub fn set(&self, binding: &Key, outcome: Scheduling) -> bool {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.insert(binding.clone(), outcome.clone()) != Some(outcome)
    }

    /// The last outcome, if this process has decided one.
    #[must_use]
    pub fn get(&self, binding: &Key) -> Option<Scheduling> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(binding).cloned()
    }

    /// Forgets a binding that is gone.
    pub fn forget(&self, binding: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(binding);
    }
}

/// Everything a hub reconciler gets.
#[derive(Clone)]
pub struct Env {
    /// Writes to the hub.
    pub hub: Hub,
    /// The federation's id: the uid of the hub's `kube-system` namespace.
    pub federation: Arc<str>,
    /// Reads.
    pub stores: Stores,
    /// Hand-over.
    pub queues: Queues,
    /// Scheduling outcomes on their way into a status.
    pub outcomes: Outcomes,
    /// Events on bindings and templates.
    pub events: Recorder,
    /// The only clock.
    pub clock: Arc<dyn Clock>,
    /// What is never propagated.
    pub skipped: Arc<Skipped>,
    /// Tells edits of templates from everything else.
    pub contents: Contents,
}

/// How long a change of a status is folded with what follows at once.
pub const LEADING_EDGE: Duration = Duration::from_millis(20);
/// How long the first answers of slow members are awaited before the others are reported without them.
pub const SETTLE: Duration = Duration::from_millis(400);

impl Env {
    /// Hands a scheduling outcome over to arrow 6.
    pub fn scheduled(&self, binding: &Key, outcome: &Scheduling) {
        if self.outcomes.set(binding, outcome.clone()) {
            self.queues.status.add_after(binding.clone(), SETTLE);
        }
    }
}
