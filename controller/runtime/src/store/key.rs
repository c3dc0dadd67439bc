//! The identity of an object: key, uid and revision.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Namespace and name: where an object lives within one kind.
///
/// Sorts by namespace first, cluster-scoped objects before all others, so that the objects of one
/// namespace are neighbours. Cheap to clone: tables, indexes and queues share the text.
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

    /// Where both are in the same namespace, its text is that of the other from now on.
    pub(super) fn share_namespace(&mut self, other: &Self) {
        if self.namespace == other.namespace {
            self.namespace.clone_from(&other.namespace);
        }
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
///
/// Every API server gives UUIDs; they are kept as their 16 bytes, of which there is one for each object in each store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Form);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    /// Of the usual spelling, and of no other: the text can be had back as it was.
    Uuid([u8; 16]),
    Other(Arc<str>),
}

impl Uid {
    /// The uid in `meta`, empty when it has none.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::from(meta.uid.as_deref().unwrap_or_default())
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(uuid(text).map_or_else(|| Form::Other(text.into()), Form::Uuid))
    }
}

/// Where the hyphens of a UUID are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The bytes of a UUID in lower case with its four hyphens.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let (mut bytes, mut digits) = ([0; 16], 0);
    for (place, character) in text.iter().enumerate() {
        let digit = match character {
            b'-' if HYPHENS.contains(&place) => continue,
            _ if HYPHENS.contains(&place) => return None,
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            _ => return None,
        };
        let byte: &mut u8 = bytes.get_mut(digits / 2)?;
        *byte = *byte << 4 | digit;
        digits += 1;
    }
    Some(bytes)
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Other(text) => f.write_str(text),
            Form::Uuid(bytes) => {
                for (place, byte) in bytes.iter().enumerate() {
                    f.write_str(if [4, 6, 8, 10].contains(&place) { "-" } else { "" })?;
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_prints_as_it_was_however_it_is_kept() {
        let usual = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa";
        assert!(matches!(Uid::from(usual).0, Form::Uuid(_)));
        let others = [
            "",
            "uid-a",
            "0B1C2D3E-4f50-6172-8394-a5b6c7d8e9fa",
            "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f",
            "0b1c2d3e4-f50-6172-8394-a5b6c7d8e9fa",
            "0b1c2d3e-4f50-6172-8394_a5b6c7d8e9fa",
            "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fg",
        ];
        for text in others {
            assert!(matches!(Uid::from(text).0, Form::Other(_)), "{text}");
        }
        for text in others.into_iter().chain([usual]) {
            assert_eq!(Uid::from(text).to_string(), text);
        }
    }
}
