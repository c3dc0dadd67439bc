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
    /// When the execution namespace was last seen to be there.
    pub(super) namespace: Option<Instant>,
    /// When the secret was last read, and how often a probe has failed since.
    pub(super) secret_read: Option<Instant>,
    /// The last probe failed: the credentials may have changed.
    pub(super) credentials_suspect: bool,
    /// Generation of the Cluster that the connection was made from.
    pub(super) generation: Option<i64>,
    /// A probe that no reconcile has taken in yet.
    pub(super) probe: Option<ProbeResult>,
    /// The version that the member last reported.
    pub(super) version: Option<String>,
    /// Health over time.
    pub(super) hysteresis: Option<Hysteresis>,
    /// When and until when the present token lives.
    pub(super) token: Option<Lifetime>,
}

/// The life of a token.
#[derive(Clone, Copy, Debug)]
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

    /// Forgets a cluster.
    pub(super) fn forget(&self, name: &ClusterName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}
