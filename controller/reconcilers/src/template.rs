//! Templates: the users' objects on the hub, as the stores keep them.
//!
//! A template is kept pruned and as bytes, once: what may travel (`content`), the status that is there now, and the
//! metadata. It is parsed where a decision needs it and dropped again; a parsed object costs eight times its bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use pando_api::names::binding_name;
use pando_api::raw::EmbeddedObject;
use pando_api::work::ObjectReference;
use pando_core::manifest::{self, InvalidManifest, Manifest};
use pando_core::policy_match::{Cause, Marks};
use pando_runtime::store::{Key, Record, Store, decode_error};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A kind that the hub serves and Pando propagates.
#[derive(Clone, Debug)]
pub struct TemplateKind {
    /// Group, version, kind and plural, as the hub serves them.
    pub resource: ApiResource,
    /// Whether objects of the kind live in a namespace.
    pub namespaced: bool,
}

impl TemplateKind {
    fn new(group: &str, kind: &str, plural: &str, namespaced: bool) -> Self {
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        let resource = ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Self { resource, namespaced }
    }

    /// The kinds of this release. Discovery of every kind comes with "Solid ground" (docs/roadmap.md).
    #[must_use]
    pub fn known() -> Vec<Self> {
        vec![
            Self::new("", "Namespace", "namespaces", false),
            Self::new("", "ConfigMap", "configmaps", true),
            Self::new("", "Secret", "secrets", true),
            Self::new("", "Service", "services", true),
            Self::new("apps", "Deployment", "deployments", true),
        ]
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
}

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// A template as its store keeps it.
#[derive(Debug)]
pub struct Template {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Deployment`, …
    pub kind: String,
    /// Metadata without managedFields.
    pub meta: ObjectMeta,
    /// The object as it may travel (see [`Manifest`]), in canonical bytes.
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
    fn decode(resource: &ApiResource, raw: &RawValue) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            metadata: ObjectMeta,
            status: Option<EmbeddedObject>,
        }
        let mut head: Head = serde_json::from_str(raw.get()).map_err(|error| decode_error(&error))?;
        head.metadata.managed_fields = None;
        let mut object: Value = serde_json::from_str(raw.get()).map_err(|error| decode_error(&error))?;
        // Items of a list carry neither; both are known from the list's kind.
        object["apiVersion"] = resource.api_version.clone().into();
        object["kind"] = resource.kind.clone().into();
        let manifest = Manifest::from_value(object).map_err(|error| error.to_string())?;
        Ok(Self {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            meta: head.metadata,
            content_hash: manifest.hash(),
            authored_hash: authored(manifest.clone()).hash(),
            content: manifest.to_bytes().into(),
            status: head.status,
        })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

/// The stores of all template kinds.
#[derive(Clone)]
pub struct Templates {
    kinds: Arc<Vec<(TemplateKind, Store<Template>)>>,
}

impl Templates {
    /// One empty store for each of `kinds`.
    #[must_use]
    pub fn new(kinds: Vec<TemplateKind>) -> Self {
        let kinds = kinds
            .into_iter()
            .map(|kind| {
                let store = Store::new(kind.resource.clone());
                (kind, store)
            })
            .collect();
        Self { kinds: Arc::new(kinds) }
    }

    /// Every kind with its store.
    pub fn iter(&self) -> impl Iterator<Item = &(TemplateKind, Store<Template>)> {
        self.kinds.iter()
    }

    /// The kind and store of an apiVersion and kind, if Pando propagates it.
    #[must_use]
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<&(TemplateKind, Store<Template>)> {
        self.iter().find(|(known, _)| known.resource.api_version == api_version && known.resource.kind == kind)
    }

    /// The template of this key; `None` when it is absent from a synced store or of a kind that is not propagated.
    #[must_use]
    pub fn get(&self, key: &TemplateKey) -> Option<Arc<Template>> {
        self.kind(&key.api_version, &key.kind)?.1.get(&key.key)
    }
}

/// The manifest without the marks of policies.
fn authored(mut manifest: Manifest) -> Manifest {
    let marks = Marks::none();
    for label in marks.stale_labels {
        manifest.remove_label(label);
    }
    for annotation in marks.stale_annotations {
        manifest.remove_annotation(annotation);
    }
    manifest
}

/// The content of each template when it was last carried out, to tell an edit from everything else. A template that was
/// not seen before counts as edited, as in Karmada.
#[derive(Clone, Default)]
pub struct Contents(Arc<Mutex<BTreeMap<TemplateKey, String>>>);

impl Contents {
    /// Whether the template changed since it was last carried out.
    #[must_use]
    pub fn cause(&self, key: &TemplateKey, hash: &str) -> Cause {
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if contents.get(key).is_some_and(|before| before == hash) { Cause::Federation } else { Cause::Template }
    }

    /// Remembers what was carried out.
    pub fn carried_out(&self, key: TemplateKey, hash: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, hash);
    }

    /// Forgets a template that is gone.
    pub fn forget(&self, key: &TemplateKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
