//! Labels. Karmada 1.19's names; we have none of our own.

/// On objects a PropagationPolicy claimed: the policy's permanent id (a UUID given at creation).
pub const PROPAGATION_POLICY_PERMANENT_ID: &str = "propagationpolicy.karmada.io/permanent-id";
/// On objects a ClusterPropagationPolicy claimed: the policy's permanent id.
pub const CLUSTER_PROPAGATION_POLICY_PERMANENT_ID: &str = "clusterpropagationpolicy.karmada.io/permanent-id";
/// On a ResourceBinding and its Works: the binding's permanent id.
pub const BINDING_PERMANENT_ID: &str = "resourcebinding.karmada.io/permanent-id";
/// On a ClusterResourceBinding and its Works: the binding's permanent id.
pub const CLUSTER_BINDING_PERMANENT_ID: &str = "clusterresourcebinding.karmada.io/permanent-id";
/// On a Work: its permanent id.
pub const WORK_PERMANENT_ID: &str = "work.karmada.io/permanent-id";
/// On objects of a MultiClusterService: its permanent id.
pub const MULTI_CLUSTER_SERVICE_PERMANENT_ID: &str = "multiclusterservice.karmada.io/permanent-id";

/// On a Namespace: `"true"` keeps it from being created in members.
pub const NAMESPACE_SKIP_AUTO_PROPAGATION: &str = "namespace.karmada.io/skip-auto-propagation";
/// On a binding: which controller other than the detector made it.
pub const BINDING_MANAGED_BY: &str = "binding.karmada.io/managed-by";
/// Prefix of the label on an attached binding that names the binding that needs it; followed by
/// [`names::depended_by_hash`](crate::names::depended_by_hash).
pub const DEPENDED_BY_PREFIX: &str = "resourcebinding.karmada.io/depended-by-";

/// On every object we propagate into a member. Member watches select it.
pub const MANAGED: &str = "karmada.io/managed";
/// The only value of [`MANAGED`].
pub const MANAGED_VALUE: &str = "true";
/// On objects that belong to the installation itself.
pub const SYSTEM: &str = "karmada.io/system";
/// The only value of [`SYSTEM`].
pub const SYSTEM_VALUE: &str = "true";

/// On a template: the member decides about replicas (its own autoscaler does).
pub const RETAIN_REPLICAS: &str = "resourcetemplate.karmada.io/retain-replicas";
/// The value of [`RETAIN_REPLICAS`] that turns it on.
pub const RETAIN_REPLICAS_VALUE: &str = "true";
/// On a template: the controller that owns it. While it has a value, no policy propagates the template.
pub const CLAIMED_BY: &str = "resourcetemplate.karmada.io/claimed-by";
/// On a template: deleting it is refused.
pub const DELETION_PROTECTED: &str = "resourcetemplate.karmada.io/deletion-protected";
/// The only value of [`DELETION_PROTECTED`] that protects.
pub const DELETION_PROTECTED_ALWAYS: &str = "Always";

/// On a collected EndpointSlice's Work: namespace of the slice.
pub const ENDPOINT_SLICE_NAMESPACE: &str = "endpointslice.karmada.io/namespace";
/// On a collected EndpointSlice's Work: name of the slice.
pub const ENDPOINT_SLICE_NAME: &str = "endpointslice.karmada.io/name";
/// On a collected EndpointSlice's Work: the controller that collected it.
pub const ENDPOINT_SLICE_MANAGED_BY: &str = "endpointslice.karmada.io/managed-by";
/// Value of [`ENDPOINT_SLICE_MANAGED_BY`] for slices of exported Services.
pub const ENDPOINT_SLICE_CONTROLLER: &str = "endpointslice-controller.karmada.io";
/// Value of [`ENDPOINT_SLICE_MANAGED_BY`] for slices of MultiClusterServices.
pub const ENDPOINT_SLICE_DISPATCH_CONTROLLER: &str = "endpointslice-dispatch-controller.karmada.io";
/// On Works of a MultiClusterService: its namespace.
pub const MULTI_CLUSTER_SERVICE_NAMESPACE: &str = "multiclusterservice.karmada.io/namespace";
/// On Works of a MultiClusterService: its name.
pub const MULTI_CLUSTER_SERVICE_NAME: &str = "multiclusterservice.karmada.io/name";
/// On Works of a FederatedResourceQuota: its namespace.
pub const FEDERATED_RESOURCE_QUOTA_NAMESPACE: &str = "federatedresourcequota.karmada.io/namespace";
/// On Works of a FederatedResourceQuota: its name.
pub const FEDERATED_RESOURCE_QUOTA_NAME: &str = "federatedresourcequota.karmada.io/name";
