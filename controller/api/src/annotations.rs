//! Annotations: Karmada 1.19's names, and ours under `pando.io`.

/// On claimed objects and their bindings: namespace of the PropagationPolicy.
pub const PROPAGATION_POLICY_NAMESPACE: &str = "propagationpolicy.karmada.io/namespace";
/// On claimed objects and their bindings: name of the PropagationPolicy.
pub const PROPAGATION_POLICY_NAME: &str = "propagationpolicy.karmada.io/name";
/// On claimed objects and their bindings: name of the ClusterPropagationPolicy.
pub const CLUSTER_PROPAGATION_POLICY_NAME: &str = "clusterpropagationpolicy.karmada.io/name";

/// On member objects: namespace of the Work that ships them (an execution namespace).
pub const WORK_NAMESPACE: &str = "work.karmada.io/namespace";
/// On member objects: name of the Work that ships them.
pub const WORK_NAME: &str = "work.karmada.io/name";
/// On Works, manifests and member objects: namespace of the ResourceBinding.
pub const RESOURCE_BINDING_NAMESPACE: &str = "resourcebinding.karmada.io/namespace";
/// On Works, manifests and member objects: name of the ResourceBinding.
pub const RESOURCE_BINDING_NAME: &str = "resourcebinding.karmada.io/name";
/// On Works, manifests and member objects: name of the ClusterResourceBinding.
pub const CLUSTER_RESOURCE_BINDING_NAME: &str = "clusterresourcebinding.karmada.io/name";

/// What to do about an object that is in the member already and is not ours.
pub const CONFLICT_RESOLUTION: &str = "work.karmada.io/conflict-resolution";
/// Value of [`CONFLICT_RESOLUTION`]: take it over.
pub const CONFLICT_RESOLUTION_OVERWRITE: &str = "overwrite";
/// Value of [`CONFLICT_RESOLUTION`]: leave it alone and report.
pub const CONFLICT_RESOLUTION_ABORT: &str = "abort";

/// On manifests and member objects: uid of the template.
pub const TEMPLATE_UID: &str = "resourcetemplate.karmada.io/uid";
/// On manifests and member objects: generation of the template, a decimal number.
pub const TEMPLATE_GENERATION: &str = "resourcetemplate.karmada.io/generation";
/// On manifests and member objects: comma-separated keys of the labels that we set.
pub const MANAGED_LABELS: &str = "resourcetemplate.karmada.io/managed-labels";
/// On manifests and member objects: comma-separated keys of the annotations that we set.
pub const MANAGED_ANNOTATIONS: &str = "resourcetemplate.karmada.io/managed-annotations";

/// On a binding: JSON of the placement that the current clusters come from.
pub const APPLIED_PLACEMENT: &str = "policy.karmada.io/applied-placement";
/// On a Work: JSON list of the OverridePolicies that shaped it.
pub const APPLIED_OVERRIDES: &str = "policy.karmada.io/applied-overrides";
/// On a Work: JSON list of the ClusterOverridePolicies that shaped it.
pub const APPLIED_CLUSTER_OVERRIDES: &str = "policy.karmada.io/applied-cluster-overrides";
/// On a binding: JSON list of the objects its template refers to.
pub const DEPENDENCIES: &str = "resourcebinding.karmada.io/dependencies";

/// On a dispatched EndpointSlice: the cluster that provides the endpoints.
pub const ENDPOINT_SLICE_PROVISION_CLUSTER: &str = "endpointslice.karmada.io/provision-cluster";
/// On derived objects: namespace of the MultiClusterService.
pub const MULTI_CLUSTER_SERVICE_NAMESPACE: &str = "multiclusterservice.karmada.io/namespace";
/// On derived objects: name of the MultiClusterService.
pub const MULTI_CLUSTER_SERVICE_NAME: &str = "multiclusterservice.karmada.io/name";
/// On search results: the cluster the cached object comes from.
pub const CACHED_FROM_CLUSTER: &str = "resource.karmada.io/cached-from-cluster";
/// On metrics: the cluster that was asked.
pub const QUERY_FROM_CLUSTER: &str = "resource.karmada.io/query-from-cluster";

/// Ownership record on member objects: uid of the `kube-system` namespace of the hub that ships
/// the object. Two hubs never mistake each other's objects for their own.
pub const FEDERATION: &str = "pando.io/federation";
/// Ownership record on member objects: permanent id of the binding that ships the object.
pub const BINDING: &str = "pando.io/binding";
/// On Works and member objects: hash of the manifest, to see a change without comparing it.
pub const MANIFEST_HASH: &str = "pando.io/manifest-hash";
/// On member objects: `"true"` on one that was there before and was taken over. It stays when its Work goes.
pub const ADOPTED: &str = "pando.io/adopted";
/// On a credential secret of a member: when its token ends, RFC 3339. The controller renews it before.
pub const TOKEN_EXPIRES: &str = "pando.io/token-expires";
/// On a credential secret of a member: when its token was issued, RFC 3339.
pub const TOKEN_ISSUED: &str = "pando.io/token-issued";
/// On a Cluster: how long after its deletion it shall be gone, a duration such as `10m`. When it is not, its condition
/// Detaching says so and what keeps it; nothing is given up.
pub const DETACH_DEADLINE: &str = "pando.io/detach-deadline";
/// On a Cluster: the name of who wants it gone even where the member cannot be cleaned up (`true` for nobody in
/// particular). What stays in the member is listed in the ConfigMap `detached-<cluster>`.
pub const DETACH_FORCE: &str = "pando.io/detach-force";
