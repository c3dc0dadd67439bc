//! One object of a list or watch, taken as it comes and decoded afterwards.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicResourceScope;
use kube::discovery::ApiResource;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::store::table::Observed;
use crate::store::{Key, Record, Revision, Uid};

/// An object as its bytes, with just enough read to place it.
///
/// Whatever JSON object the server sends, this takes it: [`watcher`](kube::runtime::watcher) fails
/// a whole list page for one item that its type cannot read, and loses a watch event.
///
/// The bytes get through kube's types untouched: `ObjectList` flattens only its type fields, so
/// `items` are read from the text and not from serde's buffer; `WatchEvent` is adjacently tagged,
/// so its `object` is read from the text as well **when `type` comes first**, as it does from every
/// API server written in Go (the order of the struct). In the other order serde has buffered the
/// object, where `RawValue` alone would fail; then it is written out again from the buffer
/// ([`TextOrBuffer`]).
#[derive(Clone)]
pub struct Item {
    meta: ObjectMeta,
    raw: Box<RawValue>,
}

/// An object that has no place in the order of changes.
#[derive(Debug)]
pub(super) struct Unplaced {
    pub(super) key: Key,
    pub(super) uid: Uid,
    pub(super) error: String,
}

impl Item {
    /// Decodes the object.
    pub(super) fn observe<T: Record>(self, resource: &ApiResource) -> Result<Observed<Arc<T>>, Unplaced> {
        let value = T::decode(resource, &self.raw).map(Arc::new);
        self.place(value)
    }

    /// What is needed of an object that is gone.
    pub(super) fn observe_end<T>(self) -> Result<Observed<Arc<T>>, Unplaced> {
        self.place(Err(String::new()))
    }

    fn place<T>(&self, value: Result<Arc<T>, String>) -> Result<Observed<Arc<T>>, Unplaced> {
        let (key, uid) = (Key::of(&self.meta), Uid::of(&self.meta));
        match Revision::of(&self.meta) {
            Ok(revision) => Ok(Observed { key, uid, revision, value }),
            Err(error) => Err(Unplaced { key, uid, error: error.to_string() }),
        }
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = deserializer.deserialize_newtype_struct(RAW_VALUE, TextOrBuffer)?;
        // A head that cannot be read leaves an object without a name: one fault, no more.
        let head: Head<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        let Metadata { name, namespace, uid, resource_version } = head.metadata;
        let text = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned);
        let meta = ObjectMeta {
            name: text(name),
            namespace: text(namespace),
            uid: text(uid),
            resource_version: text(resource_version),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, raw })
    }
}

/// What serde_json calls its raw value when it asks a deserializer for one. Should the name change
/// one day, objects come through the buffer, slower but right.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// Takes an object as text where serde_json reads from text, and writes it out again where serde
/// has buffered it.
struct TextOrBuffer;

impl<'de> Visitor<'de> for TextOrBuffer {
    type Value = Box<RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, raw: A) -> Result<Self::Value, A::Error> {
        Box::<RawValue>::deserialize(MapAccessDeserializer::new(raw))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, buffer: D) -> Result<Self::Value, D::Error> {
        let value = serde_json::Value::deserialize(buffer)?;
        serde_json::value::to_raw_value(&value).map_err(D::Error::custom)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource_version: Option<Cow<'a, str>>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content may be secret.
        write!(
            f,
            "Item({}, version {:?}, {} bytes)",
            Key::of(&self.meta),
            self.meta.resource_version,
            self.raw.get().len()
        )
    }
}

impl Resource for Item {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.kind)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.group)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.version)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&resource.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}
