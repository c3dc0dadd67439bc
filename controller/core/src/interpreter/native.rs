//! Kinds that are known without configuration, one file each; what several share is in `scaled` and `addresses`.

mod addresses;
mod deployment;
mod ingress;
mod persistent_volume_claim;
mod replica_set;
mod scaled;
mod secret;
mod service;
mod stateful_set;

pub(super) use deployment::Deployment;
pub(super) use ingress::Ingress;
pub(super) use persistent_volume_claim::PersistentVolumeClaim;
pub(super) use replica_set::ReplicaSet;
pub(super) use secret::Secret;
pub(super) use service::Service;
pub(super) use stateful_set::StatefulSet;
