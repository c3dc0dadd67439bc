//! A cluster must serve the template's kind. Before its kinds were collected it serves none.

use super::{FilterInput, Rejection};

pub(super) fn filter(input: &FilterInput<'_>) -> Result<(), Rejection> {
    let FilterInput { unit, cluster, .. } = input;
    // Discovery can fail for a while; that is no reason to take away what runs there.
    if input.is_target() || cluster.apis.serves(unit.api_version, unit.kind) {
        return Ok(());
    }
    Err(Rejection {
        plugin: "APIEnablement",
        reason: "cluster(s) did not have the API resource".to_owned(),
        detail: Some(format!("{}, kind {}", unit.api_version, unit.kind)),
    })
}
