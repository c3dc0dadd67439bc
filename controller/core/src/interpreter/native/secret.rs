//! `v1` Secret. The token of a service account is written by the member that will check it.

use serde_json::{Map, Value};

use crate::{interpreter::Kind, manifest::text};

const SERVICE_ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

pub(super) const KIND: Kind = Kind { retain: Some(retain), ..Kind::of("v1", "Secret") };

fn retain(desired: &mut Value, live: &Value) {
    if text(desired, &["type"]) != Some("kubernetes.io/service-account-token") {
        return;
    }
    if let Some(data) = live.get("data").filter(|data| data.is_object()) {
        desired["data"] = data.clone();
    }
    if let Some(uid) = text(live, &["metadata", "annotations", SERVICE_ACCOUNT_UID])
        && let Some(metadata) = desired.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(annotations) =
            metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new())).as_object_mut()
    {
        annotations.insert(SERVICE_ACCOUNT_UID.to_owned(), Value::from(uid));
    }
}
