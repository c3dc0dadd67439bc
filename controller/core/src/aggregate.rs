//! Works → binding → template: what the members report, folded back.
//!
//! What did not change keeps its time and its bytes, so an unchanged status is equal and need not be written. Of a binding
//! only the members that reported something new are looked at again ([`Memory`]), and how often it is written is a matter
//! of [`pacing`].

mod binding;
mod freshness;
mod item;
mod memory;
pub mod pacing;
mod scheduled;
mod sight;
mod template;
#[cfg(test)]
mod tests;
mod work;

pub use binding::{Folded, Sources, fold, targets};
pub use freshness::{Reading, is_answered};
pub use memory::{Memory, Tally};
pub use scheduled::scheduled;
pub use sight::Sight;
pub use template::{Template, template_status};
pub use work::{Dispatch, LiveManifest, MAX_STATUS_BYTES, work_status};

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
