//! The identity of an object: key, uid and revision.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Namespace and name: where an object lives within one kind.
///
/// Sorts by namespace first, cluster-scoped objects before all others, so that the objects of one
/// namespace are neighbours. Clones share the text: a key is in tables, indexes and queues at the same time. Cheap to clone: queues and indexes share the text with the store.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace; `None` for cluster-scoped objects.
    pub namespace: Option<Arc<str>>,
    /// The name, unique within the namespace at any one time.
    pub name: Arc<str>,
}

impl Key {
    /// The key of `name` in `namespace`; an empty namespace counts as none.
    pub fn new(namespace: Option<&str>, name: &str) -> Self {
        Self { namespace: namespace.filter(|namespace| !namespace.is_empty()).map(Into::into), name: name.into() }
    }

    /// The key of a namespaced object.
    pub fn namespaced(namespace: &str, name: &str) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    pub fn cluster(name: &str) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// The key in `meta`. The name is empty where `meta` has none, which no object of an API server
    /// is without.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
    }

    /// The namespace, `None` for cluster-scoped objects.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A `resourceVersion` as the number it is.
///
/// The API server promises no order between versions, but etcd's revisions are what every
/// kube-apiserver serves, and since Kubernetes 1.35 (KEP-5504) their order is part of the contract.
/// Versions that are no number are faults, never guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// A `resourceVersion` that is not a decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("resourceVersion {0:?} is not a decimal number: this API server cannot be followed")]
pub struct InvalidRevision(pub String);

impl Revision {
    /// Parses a `resourceVersion`: decimal digits, at least one, at most `u64::MAX`.
    pub fn parse(text: &str) -> Result<Self, InvalidRevision> {
        // `u64::from_str` would also take a leading plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(InvalidRevision(text.chars().take(64).collect())),
        }
    }

    /// The revision in `meta`; a missing one is invalid.
    pub fn of(meta: &ObjectMeta) -> Result<Self, InvalidRevision> {
        Self::parse(meta.resource_version.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `metadata.uid`: one incarnation of a name. Never used twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Arc<str>);

impl Uid {
    /// The uid in `meta`, empty when it has none.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::from(meta.uid.as_deref().unwrap_or_default())
    }

    /// The uid as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
