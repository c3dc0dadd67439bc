//! When a member's Ready condition may flip.
//!
//! One slow answer must not taint a cluster, and one good answer after an outage must not bring work back: what the
//! probes say has to last for a threshold before it is published (Karmada 1.19: 30 s each way). Beyond Karmada: after a
//! restart the published condition counts, so a takeover during a blip does not flip every cluster at once.

#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use pando_api::conditions::{
    CLUSTER_NOT_REACHABLE, CLUSTER_NOT_REACHABLE_MESSAGE, CLUSTER_NOT_READY, CLUSTER_NOT_READY_MESSAGE, CLUSTER_READY,
    CLUSTER_READY_MESSAGE, READY, STATUS_COLLECTION_FAILED,
};

use crate::conditions::Verdict;

/// How long something has to last before it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failing, before Ready stops being True (`--cluster-failure-threshold`).
    pub failure: Duration,
    /// Answering, before Ready becomes True again (`--cluster-success-threshold`).
    pub success: Duration,
}

impl Default for Thresholds {
    /// Karmada's 30 seconds each way.
    fn default() -> Self {
        Self { failure: Duration::from_secs(30), success: Duration::from_secs(30) }
    }
}

/// What one probe of a member found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `/readyz` answered ok.
    Ok,
    /// It answered something else.
    NotOk,
    /// There was no answer. The cause contains no address with credentials.
    NoAnswer {
        /// In a few words.
        cause: String,
    },
    /// It is healthy, but its status could not be collected.
    CollectionFailed {
        /// In a few words.
        cause: String,
    },
}

impl Probe {
    /// Whether the member takes work.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// The Ready condition that says so.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Ok => Verdict::holds(READY, CLUSTER_READY, CLUSTER_READY_MESSAGE),
            Self::NotOk => Verdict::fails(READY, CLUSTER_NOT_READY, CLUSTER_NOT_READY_MESSAGE),
            Self::NoAnswer { cause } => {
                Verdict::fails(READY, CLUSTER_NOT_REACHABLE, format!("{CLUSTER_NOT_REACHABLE_MESSAGE}: {cause}"))
            }
            Self::CollectionFailed { cause } => Verdict::fails(
                READY,
                STATUS_COLLECTION_FAILED,
                format!("failed to collect the cluster status: {cause}"),
            ),
        }
    }
}

/// What is remembered of one member between probes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hysteresis {
    published: Option<bool>,
    against: Option<Timestamp>,
}

/// What to do with an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Write this condition (it may equal the one that is there).
    Now(Verdict),
    /// Leave the condition as it is. If nothing changes, it flips at this time: probe again not later.
    Hold {
        /// When the threshold is over.
        until: Timestamp,
    },
}

impl Hysteresis {
    /// Starts from the condition that is stored on the Cluster. Without one (a cluster that just joined) the first
    /// observation is published at once; so it is when nobody could say so far (Unknown).
    pub fn from_stored(ready: Option<&Condition>) -> Self {
        let published = ready.and_then(|ready| match ready.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        });
        Self { published, against: None }
    }

    /// Takes one observation in. A clock that goes backwards only delays a flip.
    pub fn observe(&mut self, probe: &Probe, now: Timestamp, thresholds: &Thresholds) -> Publish {
        let ok = probe.is_ok();
        match self.published {
            Some(published) if published != ok => {
                let since = *self.against.get_or_insert(now);
                let threshold = if ok { thresholds.success } else { thresholds.failure };
                let until = since.checked_add(threshold).unwrap_or(Timestamp::MAX);
                if now < until {
                    return Publish::Hold { until };
                }
            }
            _ => {}
        }
        self.published = Some(ok);
        self.against = None;
        Publish::Now(probe.verdict())
    }
}
