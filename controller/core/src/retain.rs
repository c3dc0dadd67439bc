//! What a member decides itself stays: the desired object with the member's own values filled in.

use serde_json::Value;

use crate::{interpreter, manifest::Manifest};

/// A desired object after retaining.
#[derive(Clone, Debug, PartialEq)]
pub struct Retained {
    /// What to compare and to apply.
    pub value: Value,
    /// Whether a value came from the live object. Then a write must carry the live resourceVersion, or it could put an
    /// outdated value back (an autoscaler may have moved on since the read).
    pub from_live: bool,
}

/// Fills in what the member gives out (see [`interpreter::retain`]).
pub fn retain(desired: &Manifest, live: &Value) -> Retained {
    let mut value = desired.value().clone();
    interpreter::retain(&mut value, live);
    let from_live = value != *desired.value();
    Retained { value, from_live }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn scaled_by_the_member(label: &str) -> Manifest {
        Manifest::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"resourcetemplate.karmada.io/retain-replicas": label}},
            "spec": {"replicas": 2},
        }))
        .unwrap()
    }

    #[test]
    fn a_retained_value_is_reported() {
        let retained = retain(&scaled_by_the_member("true"), &json!({"spec": {"replicas": 7}}));
        assert_eq!(retained.value["spec"]["replicas"], 7);
        assert!(retained.from_live);
    }

    #[test]
    fn an_equal_value_needs_no_guard() {
        assert!(!retain(&scaled_by_the_member("true"), &json!({"spec": {"replicas": 2}})).from_live);
        assert!(!retain(&scaled_by_the_member("false"), &json!({"spec": {"replicas": 7}})).from_live);
    }
}
