//! What is known of an object that lives in a member.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use pando_api::raw::EmbeddedObject;
use pando_api::work::ResourceHealth;
use pando_runtime::store::{Key, Record};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// An object as a member's API server answered it. It may be a Secret: it never prints its content.
#[derive(Clone)]
pub struct Live {
    raw: Arc<RawValue>,
    meta: Arc<ObjectMeta>,
}

#[derive(Deserialize)]
struct Envelope {
    metadata: ObjectMeta,
}

impl Live {
    /// Takes an answer for an object.
    ///
    /// # Errors
    /// The JSON has no metadata, name or uid: what answered is not an API server.
    pub fn read(raw: Box<RawValue>) -> Result<Self, String> {
        let meta = read_meta(&raw)?;
        Ok(Self { raw: Arc::from(raw), meta: Arc::new(meta) })
    }

    /// The whole object.
    ///
    /// # Errors
    /// It nests too deeply to be read.
    pub fn value(&self) -> Result<Value, String> {
        serde_json::from_str(self.raw.get()).map_err(|error| pando_runtime::store::decode_error(&error))
    }

    /// The JSON text.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// Its metadata, without `managedFields`.
    #[must_use]
    pub fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Its identity; a re-created object has another one.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// Is it being deleted?
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// The same object as the store keeps it.
    #[must_use]
    pub fn record(&self) -> MemberObject {
        MemberObject {
            unread: Mutex::new(Some(Arc::clone(&self.raw))),
            reading: OnceLock::new(),
            meta: Some(Box::new(kept(&self.meta))),
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({} bytes)", self.raw.get().len())
    }
}

fn read_meta(raw: &RawValue) -> Result<ObjectMeta, String> {
    // The parser's words could quote content.
    let Envelope { mut metadata } =
        serde_json::from_str(raw.get()).map_err(|_| "not a Kubernetes object".to_owned())?;
    if metadata.name.as_deref().is_none_or(str::is_empty) || metadata.uid.as_deref().is_none_or(str::is_empty) {
        return Err("not a Kubernetes object: metadata.name or metadata.uid is missing".into());
    }
    metadata.managed_fields = None;
    Ok(metadata)
}

/// What the store needs of metadata to place an object, and nothing else.
fn kept(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        deletion_timestamp: meta.deletion_timestamp.clone(),
        deletion_grace_period_seconds: meta.deletion_grace_period_seconds,
        finalizers: meta.finalizers.clone(),
        ..ObjectMeta::default()
    }
}

/// Does the live object hold what its Work wants?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No Work of ours claimed the object when it was read.
    Unclaimed,
    /// Every field of the manifest with this hash is there with its value.
    Matches(Box<str>),
    /// Something differs from the manifest with hash `desired`.
    Differs {
        /// Hash of the manifest that was compared.
        desired: Box<str>,
        /// Fingerprint of everything in the object that a writer can change (no status, no versions): tells a new edit
        /// from a difference that was seen before.
        live: Box<str>,
    },
}

/// What the injected decoder makes of a live object, beyond its metadata.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The Work that the object says it belongs to.
    pub work: Option<Key>,
    /// Does it hold what that Work wants?
    pub verdict: Verdict,
    /// The status to reflect into the Work, when the kind has one.
    pub status: Option<EmbeddedObject>,
    /// Health as the kind's interpreter sees it.
    pub health: ResourceHealth,
}

/// Reads a live object: injected, because comparing with what is wanted is deciding, and this package does not decide.
pub type Decode = Arc<dyn Fn(&ApiResource, &RawValue) -> Reading + Send + Sync>;

/// One of our objects in a member, as the store keeps it: what was read out of it, not the object.
///
/// The object itself is dropped at the first [`reading`](MemberObject::reading), which the subscriber of the watch asks
/// for at once. Its metadata says where it belongs in the store, which knows that itself afterwards.
pub struct MemberObject {
    unread: Mutex<Option<Arc<RawValue>>>,
    reading: OnceLock<Reading>,
    /// Until it is in a store.
    meta: Option<Box<ObjectMeta>>,
}

impl MemberObject {
    /// What `decode` makes of the object: computed once, by the first caller.
    pub fn reading(&self, resource: &ApiResource, decode: &Decode) -> &Reading {
        self.reading.get_or_init(|| {
            let raw = self.unread.lock().unwrap_or_else(PoisonError::into_inner).take();
            match raw {
                Some(raw) => decode(resource, &raw),
                // Unreachable while `reading` is the only taker; an empty reading makes the reconcile read again.
                None => {
                    Reading { work: None, verdict: Verdict::Unclaimed, status: None, health: ResourceHealth::Unknown }
                }
            }
        })
    }

    /// The reading, when it was made.
    #[must_use]
    pub fn known(&self) -> Option<&Reading> {
        self.reading.get()
    }
}

impl fmt::Debug for MemberObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberObject").field("reading", &self.reading.get()).finish_non_exhaustive()
    }
}

impl Record for MemberObject {
    fn decode(_: &ApiResource, raw: &RawValue) -> Result<Self, String> {
        read_meta(raw)?;
        Ok(Self { unread: Mutex::new(Some(Arc::from(raw.to_owned()))), reading: OnceLock::new(), meta: None })
    }

    /// Empty once it is in a store.
    fn meta(&self) -> &ObjectMeta {
        self.meta.as_deref().unwrap_or(&NO_META)
    }

    fn placed(&mut self) {
        self.meta = None;
    }
}

/// The metadata of an object whose place is known.
static NO_META: LazyLock<ObjectMeta> = LazyLock::new(ObjectMeta::default);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_answer_without_identity_is_no_object() {
        assert!(Live::read(raw("\"<html>\"")).is_err());
        assert!(Live::read(raw(r#"{"metadata":{"name":"x"}}"#)).is_err());
    }

    #[test]
    fn an_object_is_read_once_and_then_dropped() {
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let decode: Decode = Arc::new(move |_, raw| {
            counter.fetch_add(raw.get().len(), Ordering::Relaxed);
            Reading { work: None, verdict: Verdict::Unclaimed, status: None, health: ResourceHealth::Healthy }
        });
        let live = Live::read(raw(r#"{"metadata":{"name":"web","uid":"u1","resourceVersion":"7"}}"#)).unwrap();
        let object = live.record();
        let pods = ApiResource {
            group: "".into(),
            version: "v1".into(),
            api_version: "v1".into(),
            kind: "Pod".into(),
            plural: "pods".into(),
        };
        object.reading(&pods, &decode);
        object.reading(&pods, &decode);
        assert_eq!(seen.load(Ordering::Relaxed), live.raw().get().len());
        assert!(object.unread.lock().unwrap().is_none());
    }

    #[test]
    fn content_is_never_printed() {
        let live =
            Live::read(raw(r#"{"metadata":{"name":"db","uid":"u1"},"data":{"password":"aHVudGVyMg=="}}"#)).unwrap();
        assert!(!format!("{live:?} {:?}", live.record()).contains("aHVudGVyMg"));
    }
}
