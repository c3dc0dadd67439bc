//! What is being evicted from a cluster does not come back to it meanwhile.

use super::{FilterInput, Rejection};

pub(super) fn filter(input: &FilterInput<'_>) -> Result<(), Rejection> {
    if !input.unit.evicting.contains(input.cluster.name.as_ref()) {
        return Ok(());
    }
    Err(Rejection {
        plugin: "ClusterEviction",
        reason: "cluster(s) is in the process of eviction".to_owned(),
        detail: None,
    })
}
