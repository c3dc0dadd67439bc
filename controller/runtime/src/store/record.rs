//! What a type must offer to live in a store.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::discovery::ApiResource;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A type that a [`Store`](super::Store) can hold.
///
/// Every typed Kubernetes resource (`DynamicType = ()`) is one. Stages that need less implement it
/// for a type of their own that holds just what they read.
pub trait Record: Send + Sync + Sized + 'static {
    /// Reads one object. The error is one line that says what is wrong with it; it must not quote
    /// the content, which may be secret.
    fn decode(resource: &ApiResource, raw: &RawValue) -> Result<Self, String>;

    /// The object's metadata; name, namespace, uid and resourceVersion must be there.
    fn meta(&self) -> &ObjectMeta;

    /// Drops what no reader of the store needs. Called for objects that come as replies; `decode`
    /// must do the same.
    fn prune(&mut self) {}
}

impl<K> Record for K
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Send + Sync + 'static,
{
    fn decode(_: &ApiResource, raw: &RawValue) -> Result<Self, String> {
        let mut object: Self = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
        Record::prune(&mut object);
        Ok(object)
    }

    fn meta(&self) -> &ObjectMeta {
        Resource::meta(self)
    }

    /// Drops `managedFields`: often half of an object, and never read here.
    fn prune(&mut self) {
        self.meta_mut().managed_fields = None;
    }
}
