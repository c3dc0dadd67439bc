//! Nothing goes to a cluster that is being deleted, and what is there goes elsewhere.
//!
//! Karmada skips such clusters before its plugins run, without a word; here they have a verdict like all others.

use super::{FilterInput, Rejection};

pub(super) fn filter(input: &FilterInput<'_>) -> Result<(), Rejection> {
    if !input.cluster.is_deleting {
        return Ok(());
    }
    Err(Rejection { plugin: "Deletion", reason: "cluster(s) is being deleted".to_owned(), detail: None })
}
