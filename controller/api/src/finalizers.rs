//! Finalizers. Karmada 1.19's names.

/// On a Cluster: its execution namespace and its places in bindings go first.
pub const CLUSTER: &str = "karmada.io/cluster-controller";
/// On a Work: the object in the member goes first (or is released).
pub const EXECUTION: &str = "karmada.io/execution-controller";
/// On a ResourceBinding: its Works go first.
pub const BINDING: &str = "karmada.io/binding-controller";
/// On a ClusterResourceBinding: its Works go first.
pub const CLUSTER_BINDING: &str = "karmada.io/cluster-resource-binding-controller";
/// On a ResourceBinding with `propagateDeps`: the bindings that exist only because of it go first.
pub const BINDING_DEPENDENCIES: &str = "karmada.io/binding-dependencies-distributor";
/// On a PropagationPolicy: its marks on templates and bindings go first.
pub const PROPAGATION_POLICY: &str = "karmada.io/propagation-policy-controller";
/// On a ClusterPropagationPolicy: its marks on templates and bindings go first.
pub const CLUSTER_PROPAGATION_POLICY: &str = "karmada.io/cluster-propagation-policy-controller";
/// On a Work that carries an exported Service: the collected EndpointSlices go first.
pub const ENDPOINT_SLICE: &str = "karmada.io/endpointslice-controller";
/// On a Work of a MultiClusterService: the collected EndpointSlices go first.
pub const MCS_ENDPOINT_SLICE_COLLECT: &str = "karmada.io/mcs-endpointslice-collect-controller";
/// On a Work of a MultiClusterService: the dispatched EndpointSlices go first.
pub const MCS_ENDPOINT_SLICE_DISPATCH: &str = "karmada.io/mcs-endpointslice-dispatch-controller";
/// On a MultiClusterService: its Works go first.
pub const MULTI_CLUSTER_SERVICE: &str = "karmada.io/multiclusterservice-controller";
