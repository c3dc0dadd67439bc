//! What a member shall run: an object without anything a server fills in.
//!
//! A [`Manifest`] has no status, uid, resourceVersion, managedFields, owner references or finalizers: rendering and
//! applying accept nothing else, so none of these can reach a member by mistake. [`Template`] is a manifest together with
//! the three facts about the hub object that would otherwise be lost by pruning.

mod prune;
#[cfg(test)]
mod tests;

use std::fmt;

pub use prune::LAST_APPLIED;
pub(crate) use prune::{JOB_LABELS, is_token_of};
use serde_json::{Map, Value};
use thiserror::Error;

/// Why bytes are not an object that can be propagated. The text never quotes content: it may be a Secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidManifest {
    /// The bytes are not JSON.
    #[error("the object is not valid JSON: {0}; fix the object at its source")]
    NotJson(String),
    /// The JSON is a list, a string, …
    #[error("the object is not a JSON object; a manifest needs apiVersion, kind and metadata.name")]
    NotAnObject,
    /// A field that every object needs is absent or empty.
    #[error("the object has no {field}; a manifest needs apiVersion, kind and metadata.name")]
    Missing {
        /// Path of the absent field.
        field: &'static str,
    },
    /// A field has a type that no API server would accept.
    #[error("{field} of the object is not {expected}; fix the object at its source")]
    WrongType {
        /// Path of the field.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
}

/// What names one object in a cluster. Prints as `Deployment prod/web` (namespaced) or `Namespace prod`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// `group/version`, or only the version for the core group.
    pub api_version: String,
    /// Kind, as `Deployment`.
    pub kind: String,
    /// Namespace; `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl Identity {
    /// API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// API version without the group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(self.api_version.as_str(), |(_, version)| version)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object stripped of everything that belongs to one server. Keys are sorted, so equal manifests have equal bytes.
///
/// Invariants: a JSON object; `apiVersion`, `kind` and `metadata.name` are non-empty strings; `metadata.labels` and
/// `metadata.annotations` are maps of strings or absent.
#[derive(Clone, PartialEq)]
pub struct Manifest(Value);

/// Prints the identity only: the content may be a Secret.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manifest({})", self.identity())
    }
}

impl Manifest {
    /// Reads an object as a server returns it (or as a user wrote it) and prunes what is not propagated.
    ///
    /// Pruned are the fields Karmada 1.19 prunes, and beyond Karmada the annotation
    /// `kubectl.kubernetes.io/last-applied-configuration`: it doubles the size of every Work, would carry the content of a
    /// Secret in clear text into an annotation, and is wrong in a member as soon as replicas or overrides differ.
    ///
    /// Pruning is idempotent: reading the bytes of a manifest gives the same manifest.
    ///
    /// # Errors
    /// [`InvalidManifest`] when the bytes are not an object with an identity.
    pub fn from_template(raw: &[u8]) -> Result<Self, InvalidManifest> {
        Self::from_value(parse(raw)?)
    }

    /// [`Manifest::from_template`] for an object that is parsed already.
    ///
    /// # Errors
    /// [`InvalidManifest`] when the value is not an object with an identity.
    pub fn from_value(mut value: Value) -> Result<Self, InvalidManifest> {
        check(&value)?;
        prune::prune(&mut value);
        value.sort_all_objects();
        Ok(Self(value))
    }

    /// `apiVersion`, for example `apps/v1`.
    pub fn api_version(&self) -> &str {
        text(&self.0, &["apiVersion"]).unwrap_or_default()
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        text(&self.0, &["kind"]).unwrap_or_default()
    }

    /// `metadata.namespace`; `None` for cluster-scoped objects.
    pub fn namespace(&self) -> Option<&str> {
        text(&self.0, &["metadata", "namespace"]).filter(|namespace| !namespace.is_empty())
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        text(&self.0, &["metadata", "name"]).unwrap_or_default()
    }

    /// Value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        text(&self.0, &["metadata", "labels", key])
    }

    /// Value of one annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        text(&self.0, &["metadata", "annotations", key])
    }

    /// All labels.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        entries(&self.0, "labels")
    }

    /// All annotations.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        entries(&self.0, "annotations")
    }

    /// Group, version, kind, namespace and name.
    pub fn identity(&self) -> Identity {
        Identity {
            api_version: self.api_version().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().map(str::to_owned),
            name: self.name().to_owned(),
        }
    }

    /// The object.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// For edits that leave the identity and the shape of the metadata alone.
    pub(crate) fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// The object, taken.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// Canonical bytes: compact JSON, keys sorted.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// xxh3 (128 bits, 32 hex digits) of the canonical bytes. It tells contents apart; it protects nothing.
    pub fn hash(&self) -> String {
        Self::hash_of(&self.to_bytes())
    }

    /// [`Manifest::hash`] for canonical bytes that were made already.
    pub fn hash_of(canonical: &[u8]) -> String {
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(canonical))
    }

    /// Sets a label, replacing a value that is there.
    pub fn set_label(&mut self, key: &str, value: impl Into<String>) {
        self.set_meta("labels", key, value.into());
    }

    /// Sets an annotation, replacing a value that is there.
    pub fn set_annotation(&mut self, key: &str, value: impl Into<String>) {
        self.set_meta("annotations", key, value.into());
    }

    /// Removes an annotation.
    pub fn remove_annotation(&mut self, key: &str) {
        if let Some(map) = self.0.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            map.remove(key);
        }
    }

    /// Removes a label.
    pub fn remove_label(&mut self, key: &str) {
        if let Some(map) = self.0.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            map.remove(key);
        }
    }

    fn set_meta(&mut self, map: &str, key: &str, value: String) {
        let Some(metadata) = self.0.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        let entry = metadata.entry(map).or_insert_with(|| Value::Object(Map::new()));
        if !entry.is_object() {
            *entry = Value::Object(Map::new());
        }
        if let Some(entries) = entry.as_object_mut() {
            entries.insert(key.to_owned(), Value::String(value));
            // A map that keeps insertion order (a serde_json feature any dependency may switch on) must not change the bytes.
            entries.sort_keys();
        }
    }
}

/// A hub object to propagate: its manifest and what pruning would lose.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The object as members get it, before replicas, overrides and marks.
    pub manifest: Manifest,
    /// `metadata.uid` on the hub.
    pub uid: String,
    /// `metadata.generation` on the hub; 0 for kinds that have none.
    pub generation: i64,
    /// `metadata.resourceVersion` on the hub.
    pub resource_version: String,
    /// Whether the hub object is being deleted.
    pub deleting: bool,
}

impl Template {
    /// Reads a hub object.
    ///
    /// # Errors
    /// [`InvalidManifest`] when the bytes are not an object with an identity and a uid.
    pub fn from_bytes(raw: &[u8]) -> Result<Self, InvalidManifest> {
        Self::from_value(parse(raw)?)
    }

    /// [`Template::from_bytes`] for an object that is parsed already.
    ///
    /// # Errors
    /// [`InvalidManifest`] when the value is not an object with an identity and a uid.
    pub fn from_value(value: Value) -> Result<Self, InvalidManifest> {
        let uid = text(&value, &["metadata", "uid"]).unwrap_or_default().to_owned();
        if uid.is_empty() {
            return Err(InvalidManifest::Missing { field: "metadata.uid" });
        }
        Ok(Self {
            uid,
            generation: value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
            resource_version: text(&value, &["metadata", "resourceVersion"]).unwrap_or_default().to_owned(),
            deleting: text(&value, &["metadata", "deletionTimestamp"]).is_some(),
            manifest: Manifest::from_value(value)?,
        })
    }
}

/// The string at `path`, when there is one. Keys are taken literally, so a key with `/` needs no escaping.
pub(crate) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    path.iter().try_fold(value, |at, key| at.get(key)).and_then(Value::as_str)
}

fn entries<'v>(value: &'v Value, map: &str) -> impl Iterator<Item = (&'v str, &'v str)> {
    let map = value.get("metadata").and_then(|metadata| metadata.get(map)).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

fn parse(raw: &[u8]) -> Result<Value, InvalidManifest> {
    // Syntax errors of an untyped parse name a line and a column, never content.
    serde_json::from_slice(raw).map_err(|error| InvalidManifest::NotJson(error.to_string()))
}

fn check(value: &Value) -> Result<(), InvalidManifest> {
    if !value.is_object() {
        return Err(InvalidManifest::NotAnObject);
    }
    for (path, field) in
        [(&["apiVersion"][..], "apiVersion"), (&["kind"][..], "kind"), (&["metadata", "name"][..], "metadata.name")]
    {
        if text(value, path).is_none_or(str::is_empty) {
            return Err(InvalidManifest::Missing { field });
        }
    }
    for (pointer, field) in [("/metadata/labels", "metadata.labels"), ("/metadata/annotations", "metadata.annotations")]
    {
        let valid = match value.pointer(pointer) {
            None | Some(Value::Null) => true,
            Some(Value::Object(map)) => map.values().all(Value::is_string),
            Some(_) => false,
        };
        if !valid {
            return Err(InvalidManifest::WrongType { field, expected: "a map of strings" });
        }
    }
    Ok(())
}
