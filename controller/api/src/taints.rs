//! Keys and effects of taints on clusters.

/// A user cordoned the cluster: nothing new is placed there. Effect `NoSchedule`.
pub const UNSCHEDULABLE: &str = "cluster.karmada.io/unschedulable";
/// The cluster answers but is not ready. Karmada 1.19 adds it with effect `NoSchedule` only.
pub const NOT_READY: &str = "cluster.karmada.io/not-ready";
/// The cluster cannot be reached. Karmada 1.19 adds it with effect `NoSchedule` only.
pub const UNREACHABLE: &str = "cluster.karmada.io/unreachable";

/// Effect: nothing new is placed; what runs stays.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// Effect: the scheduler avoids the cluster where it can.
pub const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
/// Effect: what runs is evicted unless it tolerates the taint.
pub const NO_EXECUTE: &str = "NoExecute";
