//! Binding → Works: exactly one Work for each target cluster, none elsewhere.
//!
//! A plan is a value: the same binding, template, overrides and Works give the same steps, and planning after the steps
//! were taken keeps everything. What goes wrong for one cluster is a fault of that cluster: its Work stays as it is, and
//! the others are rendered.

mod completions;
mod existing;
mod namespace;
mod plan;
#[cfg(test)]
mod tests;
mod work;

use std::{collections::BTreeMap, fmt, sync::Arc};

use pando_api::{
    names::ClusterName,
    work::{Binding as BindingRecord, ResourceBindingSpec, ResourceBindingStatus, Work},
};
use thiserror::Error;

pub use namespace::{NamespaceInput, namespace_work};
pub use plan::{plan, release_all};

use crate::{
    cluster_facts::ClusterFacts,
    manifest::Template,
    next::Next,
    overrides::{OverrideError, Selected},
};

/// A Work larger than this is not written: etcd refuses requests above 1.5 MiB, and a status has to fit beside it.
pub const MAX_WORK_BYTES: usize = 1024 * 1024;

/// A binding of either scope, as rendering sees it.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// Namespace of a ResourceBinding; `None` for a ClusterResourceBinding.
    pub namespace: Option<&'a str>,
    /// Name.
    pub name: &'a str,
    /// Value of the permanent-id label: the binding's identity for its Works.
    pub permanent_id: &'a str,
    /// What is placed where.
    pub spec: &'a ResourceBindingSpec,
    /// `metadata.generation`, to tell whether the scheduler has seen this spec.
    pub generation: i64,
    /// What is known of the clusters and of scheduling.
    pub status: Option<&'a ResourceBindingStatus>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// Why a binding cannot be rendered (yet).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotRenderable {
    /// The detector has not labelled it yet, or somebody removed the label.
    #[error("binding {binding} has no label {label}; it is set when the binding is created")]
    NoPermanentId {
        /// Namespace and name.
        binding: String,
        /// The missing label.
        label: &'static str,
    },
}

impl<'a> Binding<'a> {
    /// Of a binding of either scope.
    ///
    /// # Errors
    /// [`NotRenderable`] without a permanent id.
    pub fn of(binding: &'a BindingRecord) -> Result<Self, NotRenderable> {
        let BindingRecord { metadata, spec, status } = binding;
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = binding.namespace();
        let deleting = metadata.deletion_timestamp.is_some();
        // A binding that is being deleted finds its Works by name as well, and must be able to end.
        let Some(permanent_id) = binding.permanent_id().or(deleting.then_some("")) else {
            let binding = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
            let label = BindingRecord::permanent_id_label(namespace.is_some());
            return Err(NotRenderable::NoPermanentId { binding, label });
        };
        let generation = metadata.generation.unwrap_or_default();
        Ok(Self { namespace, name, permanent_id, spec, generation, status: status.as_ref(), deleting })
    }

    /// Label that marks the binding's Works and manifests with its permanent id.
    pub fn permanent_id_label(&self) -> &'static str {
        BindingRecord::permanent_id_label(self.namespace.is_some())
    }
}

/// Everything a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct RenderInput<'a> {
    /// Uid of the hub's kube-system namespace.
    pub federation: &'a str,
    /// The binding.
    pub binding: Binding<'a>,
    /// The template it is for.
    pub template: &'a Template,
    /// The override policies that select the template.
    pub overrides: &'a Selected<'a>,
    /// The facts of (at least) the target clusters.
    pub clusters: &'a BTreeMap<ClusterName, ClusterFacts>,
    /// The binding's Works as they are now: those with its permanent id, and those in the place of a Work to be.
    pub works: &'a [Arc<Work>],
    /// Whether `works` is complete: the store of Works is synchronised. Nothing is released on an incomplete list.
    pub works_complete: bool,
}

/// One cluster's step.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkStep {
    /// The member.
    pub cluster: ClusterName,
    /// What to do.
    pub action: Action,
    /// Why, for people.
    pub why: String,
}

/// What happens to one Work.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// POST.
    Create(Box<Work>),
    /// Write `to` over `from`. `to` carries the uid and resourceVersion of `from`, its foreign labels, annotations,
    /// finalizers and owners.
    Replace {
        /// What is there.
        from: Arc<Work>,
        /// What shall be there.
        to: Box<Work>,
    },
    /// Leave it.
    Keep(Arc<Work>),
    /// Wanted, but not now: something else has to go first.
    Hold,
    /// DELETE with both preconditions; the finalizer takes care of the member.
    Release {
        /// Namespace of the Work.
        namespace: String,
        /// Name of the Work.
        name: String,
        /// Uid precondition.
        uid: String,
        /// ResourceVersion precondition.
        resource_version: String,
    },
}

impl Action {
    /// One word for logs, events and snapshots.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Replace { .. } => "replace",
            Self::Keep(_) => "keep",
            Self::Hold => "hold",
            Self::Release { .. } => "release",
        }
    }
}

/// What keeps one cluster from getting its Work. The Work that is there stays unchanged.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// The override policies cannot be applied for this cluster.
    #[error(transparent)]
    Override(#[from] OverrideError),
    /// The Work would not fit into etcd.
    #[error("the Work would have {bytes} bytes, more than {MAX_WORK_BYTES}; split the object or move data out of it")]
    ManifestTooLarge {
        /// Size of the Work.
        bytes: usize,
    },
    /// The name of the Work is in use.
    #[error("Work {work} belongs to another binding ({owner}); rename one of the two templates")]
    NameTaken {
        /// Namespace and name of the Work.
        work: String,
        /// What its label says.
        owner: String,
    },
    /// There is no such Cluster.
    #[error("there is no Cluster {name}; join it, or remove it from the placement")]
    UnknownCluster {
        /// The name in the binding.
        name: String,
    },
}

impl Fault {
    /// Stable one-word reason for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Override(OverrideError::Invalid { .. }) => "OverrideInvalid",
            Self::Override(OverrideError::Failed { .. }) => "ApplyOverridePolicyFailed",
            Self::Override(OverrideError::Rejected { .. } | OverrideError::Broken { .. }) => "OverrideRejected",
            Self::ManifestTooLarge { .. } => "ManifestTooLarge",
            Self::NameTaken { .. } => "NameCollision",
            Self::UnknownCluster { .. } => "ClusterNotFound",
        }
    }
}

/// The decision for one binding.
#[derive(Clone, Debug, PartialEq)]
pub struct WorksPlan {
    /// Name of the template, for printing.
    pub template: String,
    /// One step per cluster that has or shall have a Work: what eviction keeps, then the targets, then the releases, so
    /// that a move makes before it breaks.
    pub steps: Vec<WorkStep>,
    /// What went wrong, by the name of the cluster.
    pub faults: BTreeMap<String, Fault>,
    /// When to look again.
    pub next: Next,
}

/// One line per step and per fault; the text of a plan is what tests assert.
impl fmt::Display for WorksPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for WorkStep { cluster, action, why } in &self.steps {
            writeln!(f, "{:<7} work {} in {cluster}   {why}", action.verb(), self.template)?;
        }
        for (cluster, fault) in &self.faults {
            writeln!(f, "fault   work {} in {cluster}   {}: {fault}", self.template, fault.reason())?;
        }
        Ok(())
    }
}
