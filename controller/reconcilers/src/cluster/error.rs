//! What can go wrong with looking after a cluster.

use pando_api::names::ClusterName;
use pando_context::Stop;
use pando_member::registry::StillRunning;
use pando_runtime::controller::{Class, ReconcileError};

/// A reconcile of a Cluster that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Cluster itself cannot be read.
    #[error("cannot read Cluster {cluster}: {why}")]
    Unreadable {
        /// The Cluster.
        cluster: ClusterName,
        /// Why not.
        why: String,
    },
    /// A call to the hub for a namespace or secret was stopped.
    #[error("cannot {what}: {stop}")]
    Stopped {
        /// What was tried.
        what: String,
        /// Why it ended.
        stop: Stop,
    },
    /// A call to the hub for a namespace or secret failed.
    #[error("cannot {what}: {source}")]
    Api {
        /// What was tried.
        what: String,
        /// What the client says.
        #[source]
        source: Box<kube::Error>,
    },
    /// A write to a Cluster or Work failed.
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
    /// A former life of the member has not ended.
    #[error(transparent)]
    StillRunning(#[from] StillRunning),
}

impl ReconcileError for Error {
    fn class(&self) -> Class {
        match self {
            Self::Stopped { stop, .. } => Class::of_stop(stop),
            Self::Unreadable { .. } | Self::Api { .. } | Self::StillRunning(_) => Class::Transient,
            Self::Hub(error) => error.class(),
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "cluster_unreadable",
            Self::Stopped { .. } => "stopped",
            Self::Api { .. } => "hub",
            Self::Hub(error) => error.category(),
            Self::StillRunning(_) => "still_running",
        }
    }
}
