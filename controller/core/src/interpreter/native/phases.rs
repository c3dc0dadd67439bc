//! Statuses that are one word: the template shows the one that asks most for attention.

use serde_json::Value;

use crate::interpreter::{StatusItem, present_status};

/// The template's status with the first phase of `order` that a member reports; a member that has not reported yet counts
/// as `Pending`, or the others would speak for it. `None` without members, or when no phase is known.
pub(super) fn aggregate(template: &Value, items: &[StatusItem<'_>], order: &[&str]) -> Option<Value> {
    const UNCOLLECTED: &str = "Pending";
    let phase = |item: &StatusItem<'_>| match &item.status {
        Some(status) => status.get("phase").and_then(Value::as_str).unwrap_or_default().to_owned(),
        None => UNCOLLECTED.to_owned(),
    };
    let phases: Vec<_> = items.iter().map(phase).collect();
    let first = order.iter().find(|phase| phases.iter().any(|reported| reported == *phase))?;
    let mut status = present_status(template);
    status.insert("phase".to_owned(), Value::from(*first));
    Some(Value::Object(status))
}
