//! What a type must offer to live in a store.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::discovery::ApiResource;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A type that a [`Store`](super::Store) can hold.
///
/// Every type of Kubernetes resource is one. Stages that need less implement it
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

    /// The store knows key, uid and revision from now on: drops what was there for that alone. Called for objects that
    /// come as replies; `decode` must do the same.
    fn placed(&mut self) {}
}

impl<K> Record for K
where
    K: Resource + Clone + DeserializeOwned + Send + Sync + 'static,
{
    /// What the decoder has built has room to grow, four places for a list of one; what is kept is a copy without.
    fn decode(_: &ApiResource, raw: &RawValue) -> Result<Self, String> {
        let mut object: Self = serde_json::from_str(raw.get()).map_err(|error| decode_error(&error))?;
        Record::prune(&mut object);
        Ok(object.clone())
    }

    fn meta(&self) -> &ObjectMeta {
        Resource::meta(self)
    }

    /// Drops `managedFields`: often half of an object, and never read here.
    fn prune(&mut self) {
        self.meta_mut().managed_fields = None;
    }
}

/// What a JSON error says, without the value it complains of: that may be a secret's.
///
/// `invalid type: string "hunter2", expected a map` becomes `invalid type: string "…", expected a
/// map`. Names of fields stay.
pub fn decode_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if let (Some(first), Some(last)) = (text.find('"'), text.rfind('"'))
        && first < last
    {
        return format!("{}\"…\"{}", &text[..first], &text[last + 1..]);
    }
    let names_a_field =
        ["missing field", "duplicate field", "unknown field"].iter().any(|words| text.starts_with(words));
    match text.split_once('`') {
        Some((before, rest)) if !names_a_field => match rest.split_once('`') {
            Some((_, after)) => format!("{before}`…`{after}"),
            None => format!("{before}…"),
        },
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[test]
    fn errors_name_the_place_and_never_the_value() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            #[expect(dead_code, reason = "only decoded")]
            data: BTreeMap<String, String>,
        }
        #[derive(Debug, Deserialize)]
        enum Mode {
            Push,
        }
        let object = |text: &str| decode_error(&serde_json::from_str::<Object>(text).unwrap_err());
        assert!(object(r#"{"data":"hun\"ter2"}"#).starts_with("invalid type: string \"…\", expected a map at line 1"));
        assert!(object(r#"{"data":{"a":4711}}"#).starts_with("invalid type: integer `…`, expected a string"));
        assert!(object("{}").starts_with("missing field `data`"));
        assert!(object(r#"{"x":1}"#).starts_with("unknown field `x`, expected `data`"));
        let mode = serde_json::from_str::<Mode>("\"secret\"").unwrap_err();
        assert!(decode_error(&mode).starts_with("unknown variant `…`, expected `Push`"));
        assert!(matches!(serde_json::from_str("\"Push\""), Ok(Mode::Push)));
    }
}
