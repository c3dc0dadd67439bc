//! May this cluster join under this name? Decided from what is joined already, without a request.

use kube::ResourceExt as _;
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
    /// The member holds an account of this name made by another federation.
    #[error(
        "another federation ({federation}) already uses this member as {name:?}: unjoin it there, \
         or delete serviceaccount {namespace}/karmada-{name} in the member if that federation is gone"
    )]
    OtherFederation {
        /// Uid of the other hub's kube-system namespace.
        federation: String,
        /// The name asked for.
        name: String,
        /// Where the account is.
        namespace: String,
    },
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
    let name = same_name.name_any();
    if same_name.metadata.deletion_timestamp.is_some() {
        return Err(Refusal::Leaving { name });
    }
    if same_name.spec.id != id.0 {
        return Err(Refusal::NameTaken { name, id: same_name.spec.id.clone() });
    }
    if same_name.spec.sync_mode == SyncMode::Pull {
        return Err(Refusal::Pull { name });
    }
    Ok(Admission::Refresh(Box::new(same_name.clone())))
}
