//! May this cluster join under this name? Decided without a request, from what is joined already and
//! what the member holds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use pando_api::annotations;
use pando_api::cluster::{Cluster, SyncMode};
use pando_api::names::ClusterName;

use super::ClusterId;

/// What joining means here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Admission {
    /// Neither the name nor the cluster is known.
    New,
    /// The same cluster under the same name: credentials and given facts are refreshed.
    Refresh(Box<Cluster>),
}

impl Admission {
    /// What a dry run says.
    pub(super) fn would(&self, name: &ClusterName) -> String {
        match self {
            Self::New => format!("would join a new cluster {name}"),
            Self::Refresh(_) => {
                format!("would refresh the credentials of cluster {name}, which is joined already")
            }
        }
    }
}

/// Why it may not, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Templates would be overwritten by their own copies.
    #[error("this kubeconfig leads to the hub itself: a federation cannot be its own member")]
    Hub,
    /// One cluster under two names would get its work twice.
    #[error("this cluster is joined already as {name:?}: use that name, or `pando unjoin {name}` first")]
    OtherName {
        /// The name it has.
        name: String,
    },
    /// The name belongs to another cluster.
    #[error("cluster {name:?} is another cluster (id {id}): choose another name, or `pando unjoin {name}` first")]
    NameTaken {
        /// The name asked for.
        name: String,
        /// The id of the cluster that has it.
        id: String,
    },
    /// The old registration is still being cleaned up.
    #[error("cluster {name:?} is leaving the federation: try again when `pando get clusters` no longer shows it")]
    Leaving {
        /// The name asked for.
        name: String,
    },
    /// An agent owns this registration.
    #[error("cluster {name:?} is joined in pull mode: remove its agent and registration first")]
    Pull {
        /// The name asked for.
        name: String,
    },
    /// The member holds objects under our names that someone else made and may be using.
    #[error(
        "the member holds {}, not made by this federation: join under another name, \
         or delete in the member what is left over from a hub that is gone",
        objects.join(" and ")
    )]
    Foreign {
        /// The objects, and whose each of them is.
        objects: Vec<String>,
    },
}

/// An object of the member that joining needs for itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    /// Kind and name, for messages.
    pub(super) object: String,
    /// Its metadata, if it exists.
    pub(super) found: Option<ObjectMeta>,
}

/// Whether joining may write these objects, and a later unjoin delete them.
///
/// What carries no record at all may be Karmada's: its `join` uses the same names. Only where this
/// hub has the Cluster already is it known to be ours, from a time when nobody kept records. What
/// carries the record of another federation is never ours.
pub(super) fn claim(held: &[Held], federation: &ClusterId, admission: &Admission) -> Result<(), Refusal> {
    let foreign = |held: &Held| {
        let record = held.found.as_ref()?.annotations.as_ref().and_then(|all| all.get(annotations::FEDERATION));
        match record.filter(|record| !record.is_empty()) {
            Some(record) if *record == federation.0 => None,
            Some(other) => Some(format!("{} of federation {other}", held.object)),
            None if matches!(admission, Admission::Refresh(_)) => None,
            None => Some(format!("{} of an unknown owner, such as a Karmada hub", held.object)),
        }
    };
    match held.iter().filter_map(foreign).collect::<Vec<_>>() {
        objects if objects.is_empty() => Ok(()),
        objects => Err(Refusal::Foreign { objects }),
    }
}

/// Karmada 1.19 behaviour: the same id or the same name twice is refused. The same pair is a refresh.
pub(super) fn decide(
    name: &ClusterName,
    id: &ClusterId,
    federation: &ClusterId,
    joined: &[Cluster],
) -> Result<Admission, Refusal> {
    if id == federation {
        return Err(Refusal::Hub);
    }
    let Some(same_name) = joined.iter().find(|cluster| cluster.name_any() == name.as_ref()) else {
        return match joined.iter().find(|cluster| cluster.spec.id == id.0) {
            Some(other) => Err(Refusal::OtherName { name: other.name_any() }),
            None => Ok(Admission::New),
        };
    };
    refreshable(same_name, id)?;
    Ok(Admission::Refresh(Box::new(same_name.clone())))
}

/// Whether the Cluster found before, and read again now, is still there to be refreshed.
pub(super) fn still(known: &Cluster, now: Option<Cluster>, id: &ClusterId) -> Result<Cluster, Refusal> {
    let same = now.filter(|now| now.metadata.uid == known.metadata.uid);
    let now = same.ok_or_else(|| Refusal::Leaving { name: known.name_any() })?;
    refreshable(&now, id)?;
    Ok(now)
}

fn refreshable(cluster: &Cluster, id: &ClusterId) -> Result<(), Refusal> {
    let name = cluster.name_any();
    if cluster.metadata.deletion_timestamp.is_some() {
        return Err(Refusal::Leaving { name });
    }
    if cluster.spec.id != id.0 {
        return Err(Refusal::NameTaken { name, id: cluster.spec.id.clone() });
    }
    if cluster.spec.sync_mode == SyncMode::Pull {
        return Err(Refusal::Pull { name });
    }
    Ok(())
}
