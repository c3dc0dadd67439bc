//! Works → binding → template: what the members report, folded back.
//!
//! Every function takes the previous status and returns the next one; what did not change keeps its time and its bytes,
//! so an unchanged status is equal and need not be written.

mod binding;
mod scheduled;
#[cfg(test)]
mod tests;
mod work;

pub use binding::{binding_status, template_status};
pub use scheduled::scheduled;
pub use work::{Dispatch, LiveManifest, work_status};

use pando_api::raw::EmbeddedObject;
use serde_json::Value;

/// A raw status as a value; `None` when it is absent or unusable.
fn parsed(raw: Option<&EmbeddedObject>) -> Option<Value> {
    raw.and_then(|raw| raw.parse().ok())
}

/// Whether two raw statuses mean the same. Bytes alone do not tell: every server writes JSON its own way.
fn same_raw(left: Option<&EmbeddedObject>, right: Option<&EmbeddedObject>) -> bool {
    left == right || left.is_some() == right.is_some() && parsed(left) == parsed(right)
}
