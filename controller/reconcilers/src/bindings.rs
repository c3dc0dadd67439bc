//! ResourceBindings and ClusterResourceBindings behind one face: one record, one code path, two kinds on the hub.
//!
//! The key tells them apart: with a namespace it is a ResourceBinding's, without one a ClusterResourceBinding's.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::core::ApiResource;
use pando_api::work::{Binding, ClusterResourceBinding, ResourceBinding};
use pando_context::{Ctx, Stop};
use pando_core::aggregate;
use pando_runtime::store::{Change, Key, Packer, Read, Role, Store, Values};

#[cfg(doc)]
use crate::reach::kind_value;

/// Index of bindings: the clusters that they target, by name.
pub const BINDINGS_BY_CLUSTER: &str = "cluster";

/// Index of bindings: the kind of what they ship, as [`kind_value`].
pub const BINDINGS_BY_KIND: &str = "kind";

fn kind_of(binding: &Binding, values: &mut Values) {
    let shipped = &binding.spec.resource;
    values.add_joined(&[&shipped.api_version, "/", &shipped.kind]);
}

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
    /// Two empty stores that nothing else is packed with: see [`Bindings::packed_with`].
    #[must_use]
    pub fn new() -> Self {
        Self::packed_with(&Packer::default())
    }

    /// Two empty stores, indexed [by cluster](BINDINGS_BY_CLUSTER) and [by kind](BINDINGS_BY_KIND); a watch for
    /// [each](Bindings::stores) fills them. The bindings are packed beside the templates that `packer` packs, too.
    #[must_use]
    pub fn packed_with(packer: &Packer) -> Self {
        let store = |resource| {
            let family = |binding: &Binding| Some(Key::of(&binding.metadata));
            let store = Store::packed(resource, packer, Role::Leaf, family);
            store.with_index(BINDINGS_BY_CLUSTER, clusters_of).with_index(BINDINGS_BY_KIND, kind_of)
        };
        Self {
            namespaced: store(ApiResource::erase::<ResourceBinding>(&())),
            cluster_wide: store(ApiResource::erase::<ClusterResourceBinding>(&())),
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

    /// The keys of all bindings of both kinds, in order within each kind.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.stores().into_iter().flat_map(Store::keys).collect()
    }

    /// The kinds of templates, by `apiVersion` and name, that any binding ships.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<(String, String)> {
        let values = self.stores().into_iter().flat_map(|store| store.index_values(BINDINGS_BY_KIND));
        values
            .filter_map(|value| value.rsplit_once('/').map(|(version, kind)| (version.to_owned(), kind.to_owned())))
            .collect()
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
