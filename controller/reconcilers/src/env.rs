//! What every hub reconciler works with: the stores to read, the hub to write, the queues to hand over to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::core::ApiResource;
use pando_api::annotations;
use pando_api::cluster::Cluster;
use pando_api::conditions::SCHEDULED;
use pando_api::policy::{ClusterOverridePolicy, ClusterPropagationPolicy, OverridePolicy, PropagationPolicy};
use pando_api::work::{Binding, Work};
use pando_context::{Ctx, Stop};
use pando_core::aggregate::pacing::SETTLE;
use pando_core::conditions;
use pando_core::detect::{self, Scheduling};
use pando_core::gates::Gates;
use pando_core::policy_match::Skipped;
use pando_runtime::clock::Clock;
use pando_runtime::events::Recorder;
use pando_runtime::queue::Queue;
use pando_runtime::store::{Key, Packer, Role, Store, Values};

use crate::binding_status::Reports;
use crate::bindings::Bindings;
use crate::detector::Orphans;
use crate::hub::Hub;
use crate::reach::{indexed_overrides, indexed_policies};
use crate::template::{TemplateKey, Templates};

/// One in-memory copy of every hub kind that decides anything.
#[derive(Clone)]
pub struct Stores {
    /// The users' objects.
    pub templates: Templates,
    /// Policies of one namespace, [indexed](indexed_policies).
    pub policies: Store<PropagationPolicy>,
    /// Policies of the whole federation, [indexed](indexed_policies).
    pub cluster_policies: Store<ClusterPropagationPolicy>,
    /// Overrides of one namespace, [indexed](indexed_overrides).
    pub overrides: Store<OverridePolicy>,
    /// Overrides of the whole federation, [indexed](indexed_overrides).
    pub cluster_overrides: Store<ClusterOverridePolicy>,
    /// One template's decided placement each.
    pub bindings: Bindings,
    /// What each member must run. Indexed [`by binding`](WORKS_BY_BINDING).
    pub works: Store<Work>,
    /// The members.
    pub clusters: Store<Cluster>,
}

/// Index of `works`: the permanent id of the binding that a Work belongs to, and its [`full_name`].
pub const WORKS_BY_BINDING: &str = "binding";

/// The value of [`WORKS_BY_BINDING`] for a binding by name. Ids are uuids, so the two cannot be confused.
#[must_use]
pub fn full_name(binding: &Key) -> String {
    format!("{}/{}", binding.namespace().unwrap_or_default(), binding.name)
}

/// The binding that a Work was rendered for, by its annotations; `None` for the Work of a namespace.
#[must_use]
pub fn binding_of(work: &ObjectMeta) -> Option<Key> {
    let marks = work.annotations.as_ref()?;
    let namespaced = || {
        let name = marks.get(annotations::RESOURCE_BINDING_NAME)?;
        Some(Key::namespaced(marks.get(annotations::RESOURCE_BINDING_NAMESPACE)?, name))
    };
    namespaced().or_else(|| marks.get(annotations::CLUSTER_RESOURCE_BINDING_NAME).map(|name| Key::cluster(name)))
}

fn bindings_of(work: &Work, values: &mut Values) {
    let labels = work.metadata.labels.iter().flatten();
    for (_, id) in labels.filter(|(label, _)| BINDING_IDS.contains(&label.as_str())) {
        values.add(id);
    }
    if let Some(binding) = binding_of(&work.metadata) {
        values.add(&full_name(&binding));
    }
}

/// The Works, packed beside the templates that `packer` packs, too: those of one binding differ in little.
fn works(packer: &Packer) -> Store<Work> {
    // The Work of a namespace belongs to no binding; its name is the same in every cluster.
    let family = |work: &Work| binding_of(&work.metadata).or_else(|| work.metadata.name.as_deref().map(Key::cluster));
    let store = Store::packed(ApiResource::erase::<Work>(&()), packer, Role::Lead, family);
    store.with_index(WORKS_BY_BINDING, bindings_of)
}

/// The labels with which a Work names its binding, one for each scope.
const BINDING_IDS: [&str; 2] = [Binding::permanent_id_label(true), Binding::permanent_id_label(false)];

impl Stores {
    /// Empty stores for these templates; the watches fill them.
    #[must_use]
    pub fn new(templates: Templates) -> Self {
        Self {
            policies: indexed_policies(Store::new(ApiResource::erase::<PropagationPolicy>(&()))),
            cluster_policies: indexed_policies(Store::new(ApiResource::erase::<ClusterPropagationPolicy>(&()))),
            overrides: indexed_overrides(Store::new(ApiResource::erase::<OverridePolicy>(&()))),
            cluster_overrides: indexed_overrides(Store::new(ApiResource::erase::<ClusterOverridePolicy>(&()))),
            bindings: Bindings::packed_with(templates.packer()),
            works: works(templates.packer()),
            clusters: Store::new(ApiResource::erase::<Cluster>(&())),
            templates,
        }
    }

    /// Waits until every store but those of the templates has seen its first complete list. No decision is made before
    /// that: what is missing from a store that is not synced is unread, not absent.
    ///
    /// # Errors
    /// The context ended first.
    pub async fn synced(&self, ctx: &Ctx) -> Result<(), Stop> {
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

/// What the last scheduling of a binding came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The outcome.
    pub scheduling: Scheduling,
    /// When clusters were chosen that were not chosen before; `None` when this process has only looked at them again.
    pub at: Option<Time>,
}

/// The last outcome for each binding. It is decided by arrows 1 and 2 and reported by arrow 6, the one writer of a
/// binding's status; after a restart the status itself remembers it.
#[derive(Clone, Default)]
pub struct Outcomes(Arc<Mutex<BTreeMap<Key, Outcome>>>);

impl Outcomes {
    /// Records an outcome; true when it says something new.
    fn set(&self, binding: &Key, scheduling: &Scheduling, now: Timestamp) -> bool {
        let is_new = matches!(scheduling, Scheduling::Placed { changed: true, .. });
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = outcomes.get(binding);
        let at = if is_new { Some(Time(now)) } else { before.and_then(|outcome| outcome.at.clone()) };
        let outcome = Outcome { scheduling: scheduling.clone(), at };
        let says_more = before != Some(&outcome);
        outcomes.insert(binding.clone(), outcome);
        says_more
    }

    /// The last outcome, if this process has decided one.
    #[must_use]
    pub fn get(&self, binding: &Key) -> Option<Outcome> {
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
    /// When bindings were reported, and what from.
    pub reports: Reports,
    /// Events on bindings and templates.
    pub events: Recorder,
    /// The only clock.
    pub clock: Arc<dyn Clock>,
    /// What is never propagated.
    pub skipped: Arc<Skipped>,
    /// What is turned on.
    pub gates: Gates,
    /// Bindings whose template is gone.
    pub orphans: Orphans,
}

impl Env {
    /// Hands a scheduling outcome over to arrow 6. Called *before* the binding is written: a status that follows the new
    /// binding must never be made from the old outcome.
    pub fn scheduled(&self, binding: &Key, outcome: &Scheduling) {
        if self.outcomes.set(binding, outcome, self.clock.now()) {
            self.queues.status.add_after(binding.clone(), SETTLE);
        }
    }

    /// Whether the detector holds the binding: its policy is invalid, or uses what this release does not act on. What
    /// runs then stays as it is. After a restart the status remembers until the detector has decided again.
    #[must_use]
    pub fn is_held(&self, binding: &Binding) -> bool {
        if let Some(outcome) = self.outcomes.get(&Key::of(&binding.metadata)) {
            return detect::is_hold(&outcome.scheduling);
        }
        let status = binding.status.as_ref();
        let known = status.and_then(|status| conditions::find(&status.conditions, SCHEDULED));
        known.is_some_and(|condition| detect::HOLDS.contains(&condition.reason.as_str()))
    }
}
