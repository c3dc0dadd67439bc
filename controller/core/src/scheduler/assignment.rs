//! The scheduler's answer, with a verdict on every cluster.

use std::{collections::BTreeMap, fmt};

use pando_api::{names::ClusterName, work::TargetCluster};

use super::{EqualWeights, Rejection, Strategy, Unit, Warning};

/// Where a unit runs, and why there.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The targets, sorted by name; for `binding.spec.clusters`. Replicas are 0 for what is no workload.
    pub targets: Vec<TargetCluster>,
    /// The term of `clusterAffinities` that was used; for `binding.status`.
    pub affinity: Option<String>,
    /// A verdict on every cluster of the snapshot.
    pub verdicts: BTreeMap<ClusterName, Verdict>,
    /// What a person should look at all the same.
    pub warnings: Vec<Warning>,
    pub(super) equal_weights: Option<EqualWeights>,
    manner: Manner,
    replicas: u32,
}

/// How replicas were given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    NoWorkload,
    Duplicated,
    Divided,
}

/// What the scheduler says of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is a target.
    Placed {
        /// How many replicas it gets; 0 for what is no workload.
        replicas: i32,
        /// Its weight, when replicas were divided.
        weight: Option<u64>,
        /// Its score: 100 for a target it was before.
        score: u32,
    },
    /// It fits, but all replicas went to others.
    NoReplicasLeft {
        /// Its weight, when replicas were divided.
        weight: Option<u64>,
    },
    /// It fits, but no weight rule matches it while one matches others.
    NoWeight,
    /// A filter rejected it.
    Rejected(Rejection),
}

impl Assignment {
    pub(super) fn empty(unit: &Unit<'_>) -> Self {
        let manner = match unit.strategy() {
            _ if !unit.is_workload => Manner::NoWorkload,
            Strategy::Duplicated => Manner::Duplicated,
            Strategy::StaticWeights(_) | Strategy::NotBuilt(_) => Manner::Divided,
        };
        Self {
            targets: Vec::new(),
            affinity: None,
            verdicts: BTreeMap::new(),
            warnings: Vec::new(),
            equal_weights: None,
            manner,
            replicas: unit.replicas,
        }
    }

    /// `{bj-prod:5, sh-prod:3}`: the result as Karmada's event ScheduleBindingSucceed shows it.
    #[must_use]
    pub fn result(&self) -> String {
        let targets: Vec<String> =
            self.targets.iter().map(|target| format!("{}:{}", target.name, target.replicas)).collect();
        format!("{{{}}}", targets.join(", "))
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.manner {
            Manner::NoWorkload => f.write_str("every selected cluster gets it")?,
            Manner::Duplicated => write!(f, "{} on every selected cluster", counted(self.replicas))?,
            Manner::Divided => {
                write!(f, "{} divided ", counted(self.replicas))?;
                match self.equal_weights {
                    Some(because) => because.fmt(f)?,
                    None => f.write_str("by static weights")?,
                }
            }
        }
        if let Some(term) = &self.affinity {
            write!(f, " (affinity term {term})")?;
        }
        let width = self.verdicts.keys().map(|name| name.as_ref().len()).max().unwrap_or(0);
        for (name, verdict) in &self.verdicts {
            write!(f, "\n  {:width$}  {verdict}", name.as_ref())?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

fn counted(replicas: u32) -> String {
    if replicas == 1 { "1 replica".to_owned() } else { format!("{replicas} replicas") }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed { replicas, weight: Some(weight), .. } => write!(f, "{replicas} (weight {weight})"),
            Self::Placed { replicas: 0, .. } => f.write_str("placed"),
            Self::Placed { replicas, .. } => write!(f, "{replicas}"),
            Self::NoReplicasLeft { weight: Some(weight) } => write!(f, "none: no replica left at weight {weight}"),
            Self::NoReplicasLeft { weight: None } => f.write_str("none: the template wants no replicas"),
            Self::NoWeight => f.write_str("none: no rule of staticWeightList gives it a weight"),
            Self::Rejected(rejection) => write!(f, "none: {rejection}"),
        }
    }
}
