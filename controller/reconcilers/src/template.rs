//! Templates: the users' objects on the hub, as the stores keep them.
//!
//! A template is kept pruned and as bytes, once: what may travel (`content`), the status that is there now, and the
//! metadata. It is parsed where a decision needs it and dropped again; a parsed object costs eight times its bytes. Its
//! store keeps it [packed](Store::packed), as the root of what its binding and its Works are packed against.

mod contents;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use pando_api::names::binding_name;
use pando_api::raw::EmbeddedObject;
use pando_api::work::ObjectReference;
use pando_core::manifest::{self, InvalidManifest, Manifest};
use pando_core::policy_match::Marks;
use pando_runtime::store::{Change, Key, Packer, Read, Record, Role, Store, decode_error};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

pub use self::contents::Contents;
use crate::reach::indexed_templates;

/// A kind as the hub serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateKind {
    /// Group, version, kind and plural, as the hub serves them.
    pub resource: ApiResource,
    /// Whether objects of the kind live in a namespace.
    pub namespaced: bool,
    /// Whether their status has a path of its own. Where it has none, nothing is reported back to the template.
    pub has_status: bool,
}

impl TemplateKind {
    /// Namespaces, which every API server serves: the `namespaces` controller propagates them to every member.
    #[must_use]
    pub fn namespaces() -> Self {
        let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&());
        Self { resource, namespaced: false, has_status: true }
    }

    /// Whether this is the kind [of namespaces](TemplateKind::namespaces).
    #[must_use]
    pub fn is_namespace(&self) -> bool {
        self.resource.group.is_empty() && self.resource.kind == "Namespace"
    }
}

/// One template: kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateKey {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Deployment`, …
    pub kind: String,
    /// Namespace and name.
    pub key: Key,
}

impl TemplateKey {
    /// The template that a binding belongs to.
    #[must_use]
    pub fn of(resource: &ObjectReference) -> Self {
        Self {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            key: Key::new(Some(&resource.namespace), &resource.name),
        }
    }

    /// The key of its binding: same namespace, name derived from the template's name and kind.
    #[must_use]
    pub fn binding_key(&self) -> Key {
        Key::new(self.key.namespace(), &binding_name(&self.kind, &self.key.name))
    }
}

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// A template as its store keeps it. It is written and read as such only to be packed: what an API server says is
/// [decoded](Record::decode).
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Deployment`, …
    pub kind: String,
    /// Metadata without managedFields, and without kubectl's copy of the whole object.
    pub meta: ObjectMeta,
    /// The object as it may travel (see [`Manifest`]), in canonical bytes.
    #[serde(with = "verbatim")]
    pub content: Arc<[u8]>,
    /// Hash of `content`: two templates with the same hash need the same Works.
    pub content_hash: String,
    /// Hash of `content` without the marks of policies: it moves when somebody edits the template, not when it is claimed.
    pub authored_hash: String,
    /// The status on the hub, which [`crate::binding_status`] keeps equal to what the members report.
    pub status: Option<EmbeddedObject>,
}

impl Template {
    /// The key that controllers use for this template.
    #[must_use]
    pub fn key(&self) -> TemplateKey {
        TemplateKey { api_version: self.api_version.clone(), kind: self.kind.clone(), key: Key::of(&self.meta) }
    }

    /// The key of its binding: same namespace, name derived from the template's name and kind.
    #[must_use]
    pub fn binding_key(&self) -> Key {
        let name = binding_name(&self.kind, self.meta.name.as_deref().unwrap_or_default());
        Key::new(self.meta.namespace.as_deref(), &name)
    }

    /// Whether it is a namespace, which the `namespaces` controller propagates, whatever policies say.
    #[must_use]
    pub fn is_namespace(&self) -> bool {
        self.api_version == "v1" && self.kind == "Namespace"
    }

    /// The template parsed, for as long as one decision needs it.
    ///
    /// # Errors
    /// The content is not a manifest. It was one when it was stored, so this points at a bug.
    pub fn manifest(&self) -> Result<Manifest, InvalidManifest> {
        Manifest::from_template(&self.content)
    }

    /// The template as rendering takes it.
    ///
    /// # Errors
    /// As [`Template::manifest`].
    pub fn parsed(&self) -> Result<manifest::Template, InvalidManifest> {
        Ok(manifest::Template {
            manifest: self.manifest()?,
            uid: self.meta.uid.clone().unwrap_or_default(),
            generation: self.meta.generation.unwrap_or_default(),
            resource_version: self.meta.resource_version.clone().unwrap_or_default(),
            deleting: self.meta.deletion_timestamp.is_some(),
        })
    }
}

impl Record for Template {
    /// Parsed once: lists of large objects are where the start of a process spends its time.
    fn decode(resource: &ApiResource, raw: &RawValue) -> Result<Self, String> {
        let mut object: Value = serde_json::from_str(raw.get()).map_err(|error| decode_error(&error))?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields"); // often half of the object
        }
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        let mut meta = ObjectMeta::deserialize(metadata).map_err(|error| decode_error(&error))?;
        meta.annotations.iter_mut().for_each(|annotations| drop(annotations.remove(manifest::LAST_APPLIED)));
        let status =
            object.as_object_mut().and_then(|object| object.remove("status")).filter(|status| !status.is_null());
        let status = status.map(|status| EmbeddedObject::from_value(&status)).transpose();
        // Items of a list carry neither; both are known from the list's kind.
        object["apiVersion"] = resource.api_version.clone().into();
        object["kind"] = resource.kind.clone().into();
        let manifest = Manifest::from_value(object).map_err(|error| error.to_string())?;
        let content = manifest.to_bytes();
        let content_hash = Manifest::hash_of(&content);
        let authored_hash = authored(manifest).map_or_else(|| content_hash.clone(), |authored| authored.hash());
        Ok(Self {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            meta,
            content_hash,
            authored_hash,
            content: content.into(),
            status: status.map_err(|error| decode_error(&error))?,
        })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

/// JSON text as a part of other JSON text, byte for byte.
mod verbatim {
    use std::sync::Arc;

    use serde::de::{Deserialize as _, Deserializer};
    use serde::ser::{Error as _, Serialize as _, Serializer};
    use serde_json::value::RawValue;

    pub(super) fn serialize<S: Serializer>(text: &Arc<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(text).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u8]>, D::Error> {
        Ok(Box::<RawValue>::deserialize(deserializer)?.get().as_bytes().into())
    }
}

/// A kind that is followed, and the store that its watch fills. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The kind, as the hub served it when its watch began.
    pub kind: Arc<TemplateKind>,
    /// Its objects.
    pub store: Store<Template>,
}

/// The stores of all kinds that are followed. Kinds come and go while the process runs ([`crate::kinds`]). Cheap to
/// clone; all clones are the same.
///
/// A kind that is not followed, or not yet completely listed, is unreadable: what is not in its store is unknown, never
/// absent.
#[derive(Clone, Default)]
pub struct Templates {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    kinds: RwLock<BTreeMap<String, Vec<Followed>>>,
    subscribers: Mutex<Vec<Subscriber>>,
    packer: Packer,
    contents: Contents,
}

type Subscriber = Arc<dyn Fn(&TemplateKind, &Change<Template>) + Send + Sync>;

impl Templates {
    /// No kinds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts to follow a kind with an empty store, which the caller has to fill. A kind of the same apiVersion and name
    /// that was followed before is replaced.
    #[must_use]
    pub fn follow(&self, kind: TemplateKind) -> Followed {
        let family = |template: &Template| Some(template.binding_key());
        let store = Store::packed(kind.resource.clone(), &self.shared.packer, Role::Root, family);
        let followed = Followed { store: indexed_templates(store), kind: Arc::new(kind) };
        // One lock over both: a subscriber that comes at this moment gets the new kind exactly once.
        let subscribers = self.subscribers();
        for subscriber in subscribers.iter() {
            followed.tell(subscriber);
        }
        let mut kinds = self.shared.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let resource = &followed.kind.resource;
        let versions = kinds.entry(resource.kind.clone()).or_default();
        versions.retain(|known| known.kind.resource.api_version != resource.api_version);
        versions.push(followed.clone());
        followed
    }

    /// What packs the templates, and whatever is made from them.
    #[must_use]
    pub fn packer(&self) -> &Packer {
        &self.shared.packer
    }

    /// What of the templates was carried out.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.shared.contents
    }

    /// Stops to follow a kind: from now on its objects are unreadable, and nothing is remembered of them. Its watch is the
    /// caller's to end.
    pub fn forget(&self, api_version: &str, kind: &str) {
        self.shared.contents.forget_kind(api_version, kind);
        let mut kinds = self.shared.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(versions) = kinds.get_mut(kind) {
            versions.retain(|known| known.kind.resource.api_version != api_version);
            if versions.is_empty() {
                kinds.remove(kind);
            }
        }
    }

    /// Every kind that is followed, with its store.
    #[must_use]
    pub fn all(&self) -> Vec<Followed> {
        let kinds = self.shared.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.values().flatten().cloned().collect()
    }

    /// The kind of this apiVersion and name with its store, if it is followed.
    #[must_use]
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<Followed> {
        let kinds = self.shared.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.get(kind)?.iter().find(|known| known.kind.resource.api_version == api_version).cloned()
    }

    /// The template of this key, if it is known. Where absence decides something, use [`Templates::read`].
    #[must_use]
    pub fn get(&self, key: &TemplateKey) -> Option<Arc<Template>> {
        self.kind(&key.api_version, &key.kind)?.store.get(&key.key)
    }

    /// What is known of the template of this key, with doubt told from absence.
    #[must_use]
    pub fn read(&self, key: &TemplateKey) -> Read<Template> {
        match self.kind(&key.api_version, &key.kind) {
            Some(followed) => followed.store.read(&key.key),
            None => Read::Unreadable(format!("{key}: its kind in {} is not followed now", key.api_version)),
        }
    }

    /// Calls `subscriber` for every change of a template of any kind, also of those that come later, as
    /// [`Store::subscribe`].
    pub fn subscribe(&self, subscriber: impl Fn(&TemplateKind, &Change<Template>) + Send + Sync + 'static) {
        let subscriber: Subscriber = Arc::new(subscriber);
        let mut subscribers = self.subscribers();
        for followed in self.all() {
            followed.tell(&subscriber);
        }
        subscribers.push(subscriber);
    }

    fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.shared.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    fn tell(&self, subscriber: &Subscriber) {
        let (kind, subscriber) = (Arc::clone(&self.kind), Arc::clone(subscriber));
        self.store.subscribe(move |change| subscriber(&kind, change));
    }
}

/// The manifest without the marks of policies; `None` when it has none.
fn authored(mut manifest: Manifest) -> Option<Manifest> {
    let marks = Marks::none();
    let (labels, annotations) = (&marks.stale_labels, &marks.stale_annotations);
    let is_marked = labels.iter().any(|label| manifest.label(label).is_some())
        || annotations.iter().any(|annotation| manifest.annotation(annotation).is_some());
    if !is_marked {
        return None;
    }
    for label in labels {
        manifest.remove_label(label);
    }
    for annotation in annotations {
        manifest.remove_annotation(annotation);
    }
    Some(manifest)
}
