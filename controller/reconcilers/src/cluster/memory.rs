//! What is remembered of clusters between reconciles. All of it can be lost: a restart finds it out again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::jiff::Timestamp;
use pando_api::names::ClusterName;
use pando_context::Instant;
use pando_core::health::Hysteresis;
use pando_member::probe::ProbeResult;

/// The memory of the controller.
#[derive(Default)]
pub(super) struct Memory(Mutex<BTreeMap<ClusterName, Facts>>);

/// What is remembered of one cluster.
#[derive(Default)]
pub(super) struct Facts {
    /// uid of the Cluster that all of this is about. Another Cluster of the same name is another life.
    pub(super) uid: Option<String>,
    /// When the execution namespace was last seen to be there.
    pub(super) namespace: Option<Instant>,
    /// When the secret that the connection was made from was last read. `None`: it is to be read now.
    pub(super) secret_read: Option<Instant>,
    /// The last probe failed: the credentials may have changed.
    pub(super) credentials_suspect: bool,
    /// Generation of the Cluster that the connection was made from.
    pub(super) generation: Option<i64>,
    /// Since when probes have found the member lost.
    pub(super) lost_since: Option<Instant>,
    /// A probe that no reconcile has taken in yet.
    pub(super) probe: Option<Look>,
    /// The version that the member last reported.
    pub(super) version: Option<String>,
    /// Health over time.
    pub(super) hysteresis: Option<Hysteresis>,
    /// The token that this process works with.
    pub(super) own: Renewal,
    /// The token that may impersonate users.
    pub(super) impersonator: Renewal,
    /// When the secret of the impersonator was last read.
    pub(super) impersonator_read: Option<Instant>,
}

/// What one look at a member came to.
pub(super) struct Look {
    /// What the probe found.
    pub(super) result: ProbeResult,
    /// Why the member is not worked with although its health would allow it.
    pub(super) doubt: Option<String>,
}

/// What is known of one token's renewal.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Renewal {
    /// Until when it lives. `None`: it is not renewed.
    pub(super) life: Option<Lifetime>,
    /// The member is not asked for another one before.
    pub(super) not_before: Option<Instant>,
}

/// The life of a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lifetime {
    /// When it was issued, as far as is known.
    pub(super) from: Option<Timestamp>,
    /// When it ends.
    pub(super) until: Timestamp,
}

impl Memory {
    /// Reads or changes what is remembered of a cluster.
    pub(super) fn of<R>(&self, name: &ClusterName, look: impl FnOnce(&mut Facts) -> R) -> R {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(all.entry(name.clone()).or_default())
    }

    /// Changes what is remembered of a cluster, if anything is.
    pub(super) fn known(&self, name: &ClusterName, change: impl FnOnce(&mut Facts)) {
        if let Some(facts) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            change(facts);
        }
    }

    /// Forgets a cluster.
    pub(super) fn forget(&self, name: &ClusterName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}
