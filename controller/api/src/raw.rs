//! Objects that pass through unread: manifests and member statuses.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON document kept as the bytes it came in: never re-encoded, never losing a field we do not
/// know.
///
/// Clones share the bytes. Equality is equality of bytes, so compare only documents written by the
/// same serialiser. `Debug` prints the size and never the content, which may be a Secret.
///
/// It reads from `serde_json` only, and not from inside a flattened or internally tagged type: the
/// bytes are gone there.
#[derive(Clone)]
pub struct EmbeddedObject(Arc<RawValue>);

impl EmbeddedObject {
    /// Serialises `value` once and keeps the bytes.
    ///
    /// # Errors
    ///
    /// When `value` does not serialise to JSON (for example a map with keys that are no strings).
    pub fn from_value<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(value).map(Self::from)
    }

    /// The document as JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Decodes the document.
    ///
    /// # Errors
    ///
    /// When the document has another shape than `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.get())
    }
}

impl From<Box<RawValue>> for EmbeddedObject {
    fn from(raw: Box<RawValue>) -> Self {
        Self(Arc::from(raw))
    }
}

impl fmt::Debug for EmbeddedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedObject({} bytes)", self.get().len())
    }
}

impl PartialEq for EmbeddedObject {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.get() == other.get()
    }
}

impl Eq for EmbeddedObject {}

impl Serialize for EmbeddedObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for EmbeddedObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for EmbeddedObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EmbeddedObject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn debug_prints_the_size_and_never_the_content() {
        let secret = EmbeddedObject::from_value(&json!({"data": {"password": "aHVudGVyMg=="}})).unwrap();
        assert_eq!(format!("{secret:?}"), "EmbeddedObject(36 bytes)");
        assert_eq!(format!("{:?}", Some(secret)), "Some(EmbeddedObject(36 bytes))");
    }

    #[test]
    fn bytes_survive_a_round_trip_with_order_and_spaces() {
        let text = r#"{ "z": 1.10, "a": {"unknown": [null]} }"#;
        let object: EmbeddedObject = serde_json::from_str(text).unwrap();
        assert_eq!(object.get(), text);
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
    }

    #[test]
    fn equality_is_equality_of_bytes() {
        let one: EmbeddedObject = serde_json::from_str(r#"{"a":1}"#).unwrap();
        let same: EmbeddedObject = serde_json::from_str(r#"{"a":1}"#).unwrap();
        let spaced: EmbeddedObject = serde_json::from_str(r#"{"a": 1}"#).unwrap();
        assert_eq!(one, same);
        assert_eq!(one, one.clone());
        assert_ne!(one, spaced);
    }

    #[test]
    fn parsing_a_wrong_shape_is_an_error() {
        let object = EmbeddedObject::from_value(&json!({"a": "x"})).unwrap();
        assert!(object.parse::<std::collections::BTreeMap<String, i32>>().is_err());
        assert_eq!(object.parse::<serde_json::Value>().unwrap(), json!({"a": "x"}));
    }
}
