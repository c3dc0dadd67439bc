//! `v1` ServiceAccount. Old clusters give it a Secret with a token.

use serde_json::Value;

use crate::{
    interpreter::{Kind, list},
    manifest::{is_token_of, text},
};

pub(super) const KIND: Kind = Kind { retain: Some(retain), ..Kind::of("v1", "ServiceAccount") };

/// The member's own token stays. (Karmada keeps every Secret that is there, so one that the template drops stays, too.)
fn retain(desired: &mut Value, live: &Value) {
    let Some(account) = text(desired, &["metadata", "name"]).map(str::to_owned) else { return };
    let tokens: Vec<_> = list(live, "secrets").filter(|secret| is_token_of(&account, secret)).cloned().collect();
    let Some(object) = desired.as_object_mut().filter(|_| !tokens.is_empty()) else { return };
    let secrets = object.entry("secrets").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(secrets) = secrets.as_array_mut() {
        let new: Vec<_> = tokens.into_iter().filter(|token| !secrets.contains(token)).collect();
        secrets.extend(new);
    }
}
