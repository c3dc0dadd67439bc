//! Event reasons. Karmada 1.19's, spelled as Karmada spells them (`Succeed`, not `Succeeded`).

/// Cluster: its execution namespace could not be created.
pub const CREATE_EXECUTION_SPACE_FAILED: &str = "CreateExecutionSpaceFailed";
/// Cluster: its execution namespace was created.
pub const CREATE_EXECUTION_SPACE_SUCCEED: &str = "CreateExecutionSpaceSucceed";
/// Cluster: its execution namespace could not be removed.
pub const REMOVE_EXECUTION_SPACE_FAILED: &str = "RemoveExecutionSpaceFailed";
/// Cluster: its execution namespace was removed.
pub const REMOVE_EXECUTION_SPACE_SUCCEED: &str = "RemoveExecutionSpaceSucceed";
/// Ours, Cluster: it leaves, and something keeps it longer than somebody wanted; the message names it.
pub const DETACH_BLOCKED: &str = "DetachBlocked";
/// Ours, Cluster: it leaves by force, and objects stay in the member; the message names them.
pub const DETACH_FORCED: &str = "DetachForced";
/// Cluster: its taints could not be changed.
pub const TAINT_CLUSTER_FAILED: &str = "TaintClusterFailed";
/// Cluster: its taints were changed.
pub const TAINT_CLUSTER_SUCCEED: &str = "TaintClusterSucceed";
/// Cluster: the rights for impersonation reached the member.
pub const SYNC_IMPERSONATION_CONFIG_SUCCEED: &str = "SyncImpersonationConfigSucceed";
/// Cluster: the rights for impersonation did not reach the member.
pub const SYNC_IMPERSONATION_CONFIG_FAILED: &str = "SyncImpersonationConfigFailed";

/// Work: the member's status was copied into the Work.
pub const REFLECT_STATUS_SUCCEED: &str = "ReflectStatusSucceed";
/// Work: the member's status could not be copied into the Work.
pub const REFLECT_STATUS_FAILED: &str = "ReflectStatusFailed";
/// Work: the health of the member's object was judged.
pub const INTERPRET_HEALTH_SUCCEED: &str = "InterpretHealthSucceed";
/// Work: the health of the member's object could not be judged.
pub const INTERPRET_HEALTH_FAILED: &str = "InterpretHealthFailed";
/// Work: the manifest was applied in the member.
pub const SYNC_SUCCEED: &str = "SyncSucceed";
/// Work: the manifest was not applied in the member.
pub const SYNC_FAILED: &str = "SyncFailed";
/// Work: dispatching started or was suspended.
pub const WORK_DISPATCHING: &str = "WorkDispatching";

/// Binding: Works that are no longer wanted could not be removed.
pub const CLEANUP_WORK_FAILED: &str = "CleanupWorkFailed";
/// Binding: attached bindings received the clusters.
pub const SYNC_SCHEDULE_RESULT_TO_DEPENDENCIES_SUCCEED: &str = "SyncScheduleResultToDependenciesSucceed";
/// Binding: attached bindings did not receive the clusters.
pub const SYNC_SCHEDULE_RESULT_TO_DEPENDENCIES_FAILED: &str = "SyncScheduleResultToDependenciesFailed";
/// Binding: two policies want the same dependency in different ways.
pub const DEPENDENCY_POLICY_CONFLICT: &str = "DependencyPolicyConflict";

/// Binding and template: the Works were written.
pub const SYNC_WORK_SUCCEED: &str = "SyncWorkSucceed";
/// Binding and template: a Work could not be written.
pub const SYNC_WORK_FAILED: &str = "SyncWorkFailed";
/// Binding and template: member statuses were aggregated.
pub const AGGREGATE_STATUS_SUCCEED: &str = "AggregateStatusSucceed";
/// Binding and template: member statuses could not be aggregated.
pub const AGGREGATE_STATUS_FAILED: &str = "AggregateStatusFailed";
/// Binding and template: clusters were chosen.
pub const SCHEDULE_BINDING_SUCCEED: &str = "ScheduleBindingSucceed";
/// Binding and template: no clusters could be chosen.
pub const SCHEDULE_BINDING_FAILED: &str = "ScheduleBindingFailed";
/// Binding and template: replicas that cannot run were taken back.
pub const DESCHEDULE_BINDING_SUCCEED: &str = "DescheduleBindingSucceed";
/// Binding and template: replicas that cannot run could not be taken back.
pub const DESCHEDULE_BINDING_FAILED: &str = "DescheduleBindingFailed";
/// Binding and template: an eviction from a cluster was started or finished.
pub const EVICT_WORKLOAD_FROM_CLUSTER_SUCCEED: &str = "EvictWorkloadFromClusterSucceed";
/// Binding and template: an eviction from a cluster failed.
pub const EVICT_WORKLOAD_FROM_CLUSTER_FAILED: &str = "EvictWorkloadFromClusterFailed";

/// FederatedResourceQuota: usage was added up.
pub const COLLECT_OVERALL_STATUS_SUCCEED: &str = "CollectOverallStatusSucceed";
/// FederatedResourceQuota: usage could not be added up.
pub const COLLECT_OVERALL_STATUS_FAILED: &str = "CollectOverallStatusFailed";

/// Template: a policy claimed it and its binding is up to date.
pub const APPLY_POLICY_SUCCEED: &str = "ApplyPolicySucceed";
/// Template: a policy matches but could not be applied.
pub const APPLY_POLICY_FAILED: &str = "ApplyPolicyFailed";
/// Template: override policies were applied.
pub const APPLY_OVERRIDE_POLICY_SUCCEED: &str = "ApplyOverridePolicySucceed";
/// Template: an override policy failed, and nothing was shipped with it.
pub const APPLY_OVERRIDE_POLICY_FAILED: &str = "ApplyOverridePolicyFailed";
/// Template: the objects it refers to are known.
pub const GET_DEPENDENCIES_SUCCEED: &str = "GetDependenciesSucceed";
/// Template: the objects it refers to could not be found out.
pub const GET_DEPENDENCIES_FAILED: &str = "GetDependenciesFailed";
/// Template: its components are known.
pub const GET_COMPONENTS_SUCCEED: &str = "GetComponentsSucceed";
/// Template: its components could not be found out.
pub const GET_COMPONENTS_FAILED: &str = "GetComponentsFailed";
/// Template: its replicas and their needs are known.
pub const GET_REPLICAS_SUCCEED: &str = "GetReplicasSucceed";
/// Template: its replicas and their needs could not be found out.
pub const GET_REPLICAS_FAILED: &str = "GetReplicasFailed";
/// Template: a policy took it over from another one.
pub const PREEMPT_POLICY_SUCCEED: &str = "PreemptPolicySucceed";
/// Template: a policy could not take it over from another one.
pub const PREEMPT_POLICY_FAILED: &str = "PreemptPolicyFailed";

/// ServiceImport: the derived Service is up to date.
pub const SYNC_DERIVED_SERVICE_SUCCEED: &str = "SyncDerivedServiceSucceed";
/// ServiceImport: the derived Service could not be written.
pub const SYNC_DERIVED_SERVICE_FAILED: &str = "SyncDerivedServiceFailed";
/// MultiClusterService: its Service reached the clusters.
pub const SYNC_SERVICE_SUCCEED: &str = "SyncServiceSucceed";
/// MultiClusterService: its Service did not reach the clusters.
pub const SYNC_SERVICE_FAILED: &str = "SyncServiceFailed";
/// MultiClusterService: EndpointSlices reached the consumers.
pub const DISPATCH_ENDPOINT_SLICE_SUCCEED: &str = "DispatchEndpointSliceSucceed";
/// MultiClusterService: EndpointSlices did not reach the consumers.
pub const DISPATCH_ENDPOINT_SLICE_FAILED: &str = "DispatchEndpointSliceFailed";
/// MultiClusterService: a cluster it names does not exist.
pub const CLUSTER_NOT_FOUND: &str = "ClusterNotFound";
/// MultiClusterService: a cluster it names does not serve the API it needs.
pub const API_INCOMPATIBLE: &str = "APIIncompatible";

/// Ours, Work: an object of somebody else in the member was taken over.
pub const OBJECT_ADOPTED: &str = "ObjectAdopted";
/// Ours, Work: somebody in the member keeps changing the object, and repairs are slowed down.
pub const OBJECT_CONTESTED: &str = "ObjectContested";
/// Ours, Work: it was deleted while its binding wants it; its object stays in the member for the next Work.
pub const OBJECT_KEPT: &str = "ObjectKept";
/// Ours: an object sets a field that is not acted on yet. The message names the field.
pub const FIELD_NOT_SUPPORTED: &str = "FieldNotSupported";
/// Ours, policy: it selects a kind that the hub does not serve, or not in the way that propagation needs.
pub const KIND_NOT_SERVED: &str = "KindNotServed";
/// Ours, policy: it selects a kind that such a policy never selects.
pub const KIND_NOT_SELECTABLE: &str = "KindNotSelectable";
/// Ours, policy: the hub serves a kind that it selects, and does not let the controller list or watch it.
pub const KIND_NOT_READABLE: &str = "KindNotReadable";
