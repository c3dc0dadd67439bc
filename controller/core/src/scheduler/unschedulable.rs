//! Why nothing could be assigned.

use std::{collections::BTreeMap, fmt};

use pando_api::names::ClusterName;
use thiserror::Error;

use super::{Verdict, divide};

/// Why a unit was not assigned to any cluster.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Unschedulable {
    /// Every cluster was rejected. The text is Karmada's: `0/3 clusters are available: 2 …, 1 ….`
    #[error("{}", FitError(verdicts))]
    NoClusterFits {
        /// The rejections, one for each cluster; empty when there is no cluster at all.
        verdicts: BTreeMap<ClusterName, Verdict>,
    },
    /// The placement asks for what this release does not do. Guessing could place work where it must not be.
    #[error("{} is not supported by this release: remove it to have the template placed", fields.join(", "))]
    NotBuilt {
        /// The fields, as paths in the policy.
        fields: Vec<&'static str>,
    },
    /// The replicas could not be divided.
    #[error(transparent)]
    Division(#[from] divide::Error),
}

impl Unschedulable {
    /// The reason of the binding's condition Scheduled=False.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoClusterFits { .. } => pando_api::conditions::NO_CLUSTER_FIT,
            Self::NotBuilt { .. } => pando_api::conditions::NOT_SUPPORTED,
            Self::Division(_) => pando_api::conditions::SCHEDULER_ERROR,
        }
    }

    /// Whether the binding loses its present targets. As in Karmada only when no cluster fits: then each of them was
    /// looked at and rejected. Every other failure leaves the last assignment alone.
    #[must_use]
    pub const fn clears_targets(&self) -> bool {
        matches!(self, Self::NoClusterFits { .. })
    }
}

struct FitError<'a>(&'a BTreeMap<ClusterName, Verdict>);

impl fmt::Display for FitError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0/{} clusters are available: ", self.0.len())?;
        if self.0.is_empty() {
            return f.write_str("no cluster exists.");
        }
        let mut histogram = BTreeMap::<&str, usize>::new();
        for verdict in self.0.values() {
            if let Verdict::Rejected(rejection) = verdict {
                *histogram.entry(&rejection.reason).or_default() += 1;
            }
        }
        let mut causes: Vec<String> = histogram.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        causes.sort();
        write!(f, "{}.", causes.join(", "))
    }
}
