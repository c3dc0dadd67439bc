//! ResourceBindings and ClusterResourceBindings behind one face: one record, one code path, two kinds on the hub.
//!
//! The key tells them apart: with a namespace it is a ResourceBinding's, without one a ClusterResourceBinding's.

use std::sync::Arc;

use kube::core::ApiResource;
use pando_api::work::{Binding, ClusterResourceBinding, ResourceBinding};
use pando_context::{Ctx, Stop};
use pando_core::aggregate;
use pando_runtime::store::{Change, Key, Read, Store, Values};

/// Index of bindings: the clusters that they target, by name.
pub const BINDINGS_BY_CLUSTER: &str = "cluster";

fn clusters_of(binding: &Binding, values: &mut Values) {
    for cluster in aggregate::targets(&binding.spec) {
        values.add(cluster);
    }
}

/// All bindings of the hub. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Bindings {
    namespaced: Store<Binding>,
    cluster_wide: Store<Binding>,
}

impl Bindings {
    /// Two empty stores, indexed [by cluster](BINDINGS_BY_CLUSTER); a watch for [each](Bindings::stores) fills them.
    #[must_use]
    pub fn new() -> Self {
        Self {
            namespaced: Store::new(ApiResource::erase::<ResourceBinding>(&()))
                .with_index(BINDINGS_BY_CLUSTER, clusters_of),
            cluster_wide: Store::new(ApiResource::erase::<ClusterResourceBinding>(&()))
                .with_index(BINDINGS_BY_CLUSTER, clusters_of),
        }
    }

    /// The store that holds the binding of this key, for writes to it.
    #[must_use]
    pub const fn of(&self, key: &Key) -> &Store<Binding> {
        if key.namespace.is_some() { &self.namespaced } else { &self.cluster_wide }
    }

    /// Both stores: that of ResourceBindings, then that of ClusterResourceBindings.
    #[must_use]
    pub const fn stores(&self) -> [&Store<Binding>; 2] {
        [&self.namespaced, &self.cluster_wide]
    }

    /// The binding of this key, as [`Store::get`].
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Binding>> {
        self.of(key).get(key)
    }

    /// What is known of the binding of this key, with doubt told from absence.
    #[must_use]
    pub fn read(&self, key: &Key) -> Read<Binding> {
        self.of(key).read(key)
    }

    /// The bindings of a namespace, or all of both kinds (`None`), in key order within each kind.
    #[must_use]
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<Binding>> {
        let mut found = self.namespaced.list(namespace);
        if namespace.is_none() {
            found.extend(self.cluster_wide.list(None));
        }
        found
    }

    /// The bindings of either kind that an index of both stores finds, as [`Store::by_index`].
    #[must_use]
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<Binding>> {
        self.stores().into_iter().flat_map(|store| store.by_index(name, value)).collect()
    }

    /// Calls `subscriber` for every change of a binding of either kind, as [`Store::subscribe`].
    pub fn subscribe(&self, subscriber: impl Fn(&Change<Binding>) + Send + Sync + 'static) {
        let subscriber = Arc::new(subscriber);
        for store in self.stores() {
            let subscriber = Arc::clone(&subscriber);
            store.subscribe(move |change| subscriber(change));
        }
    }

    /// Waits for the first complete list of both kinds.
    ///
    /// # Errors
    /// The context ended first.
    pub async fn synced(&self, ctx: &Ctx) -> Result<(), Stop> {
        self.namespaced.synced(ctx).await?;
        self.cluster_wide.synced(ctx).await
    }
}

impl Default for Bindings {
    fn default() -> Self {
        Self::new()
    }
}
