//! In which order objects are written into a member, so that what one needs is there first.
//!
//! The order is a courtesy, not a guarantee: an API server accepts a Deployment whose ConfigMap is missing and heals
//! later. Only a Namespace is really needed before what it contains.

/// Position in the order; lower comes first. Deleting goes the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u8);

/// From first to last: places, definitions, identities, configuration, storage, addresses, workloads, what watches them.
const ORDER: [&[&str]; 8] = [
    &["Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "RuntimeClass"],
    &["ResourceQuota", "LimitRange", "NetworkPolicy"],
    &["ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding"],
    &["Secret", "ConfigMap"],
    &["PersistentVolume", "PersistentVolumeClaim"],
    &["Service", "EndpointSlice"],
    &["Pod", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"],
    &["HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress"],
];

/// The rank of a kind. Unknown kinds come after configuration and workloads, which they may refer to.
pub fn rank(kind: &str) -> Rank {
    let position = ORDER.iter().position(|kinds| kinds.contains(&kind)).unwrap_or(ORDER.len());
    Rank(u8::try_from(position).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn what_others_need_comes_first() {
        let mut kinds = ["Ingress", "Deployment", "Gizmo", "ConfigMap", "Service", "Namespace", "ServiceAccount"];
        kinds.sort_by_key(|kind| rank(kind));
        assert_eq!(kinds, ["Namespace", "ServiceAccount", "ConfigMap", "Service", "Deployment", "Ingress", "Gizmo"]);
    }

    #[test]
    fn kinds_of_one_group_are_equal() {
        assert_eq!(rank("Secret"), rank("ConfigMap"));
    }
}
