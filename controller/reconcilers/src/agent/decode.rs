//! Reads a live object of a member into the few facts that arrows 4 and 5 need of it.

use std::sync::Arc;

use kube::core::ApiResource;
use pando_api::annotations;
use pando_api::names::ExecutionNamespace;
use pando_api::raw::EmbeddedObject;
use pando_api::work::{ResourceHealth, Work};
use pando_core::drift::{self, Desired, MemberStep};
use pando_core::interpreter;
use pando_core::manifest::Manifest;
use pando_core::seen::Seen;
use pando_member::object::{Decode, Reading, Verdict};
use pando_runtime::store::{Key, Store};
use serde_json::Value;
use serde_json::value::RawValue;

/// The decoder for one member: compares each object with the Work that claims it, as the Work is at that moment.
pub(super) fn decoder(federation: Arc<str>, works: Store<Work>, namespace: ExecutionNamespace) -> Decode {
    Arc::new(move |resource, raw| read(&federation, &works, &namespace, resource, raw))
}

fn read(
    federation: &str,
    works: &Store<Work>,
    namespace: &ExecutionNamespace,
    resource: &ApiResource,
    raw: &RawValue,
) -> Reading {
    let Ok(mut live) = serde_json::from_str::<Value>(raw.get()) else {
        return Reading { work: None, verdict: Verdict::Unclaimed, status: None, health: ResourceHealth::Unknown };
    };
    // Items of a list come without them.
    if let Some(object) = live.as_object_mut() {
        object.insert("apiVersion".into(), resource.api_version.as_str().into());
        object.insert("kind".into(), resource.kind.as_str().into());
    }
    let work = claimed_by(&live, namespace).map(|work| works.own(work));
    let verdict =
        work.as_ref().and_then(|key| Some(verdict(federation, &*works.get(key)?, &live))).unwrap_or(Verdict::Unclaimed);
    Reading {
        work,
        verdict,
        status: interpreter::reflect_status(&live).and_then(|status| EmbeddedObject::from_value(&status).ok()),
        health: interpreter::health(&live),
    }
}

/// The Work that an object names. A Work of another member's namespace is not believed.
fn claimed_by(live: &Value, namespace: &ExecutionNamespace) -> Option<Key> {
    let annotation = |key: &str| live.get("metadata")?.get("annotations")?.get(key)?.as_str();
    let (of, name) = (annotation(annotations::WORK_NAMESPACE)?, annotation(annotations::WORK_NAME)?);
    (of == namespace.as_str()).then(|| Key::namespaced(of, name))
}

fn verdict(federation: &str, work: &Work, live: &Value) -> Verdict {
    if work.metadata.deletion_timestamp.is_some() {
        // Any change matters to a release.
        return Verdict::Differs { desired: "".into(), live: fingerprint(live) };
    }
    let desired = Desired::of_work(federation, work).unwrap_or_default();
    let Some(desired) = desired.iter().find(|desired| is_of(desired, live)) else {
        return Verdict::Unclaimed;
    };
    let hash: Box<str> = desired.manifest.annotation(annotations::MANIFEST_HASH).unwrap_or_default().into();
    match drift::plan(desired, Seen::Found(live)) {
        MemberStep::Keep => Verdict::Matches(hash),
        _ => Verdict::Differs { desired: hash, live: fingerprint(live) },
    }
}

fn is_of(desired: &Desired, live: &Value) -> bool {
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str);
    text("/kind") == Some(desired.manifest.kind())
        && text("/apiVersion") == Some(desired.manifest.api_version())
        && text("/metadata/name") == Some(desired.manifest.name())
        && text("/metadata/namespace").filter(|namespace| !namespace.is_empty()) == desired.manifest.namespace()
}

/// A hash of what somebody can write into the object: no status, no versions, no managed fields.
fn fingerprint(live: &Value) -> Box<str> {
    let terminating = live.pointer("/metadata/deletionTimestamp").is_some();
    let content = Manifest::from_value(live.clone()).map(|manifest| manifest.hash()).unwrap_or_default();
    if terminating { format!("{content}, terminating").into() } else { content.into() }
}
