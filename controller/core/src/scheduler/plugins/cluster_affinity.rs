//! The active affinity term must match. This one does not spare present targets: leaving a policy's affinity is how work moves.

use crate::selector;

use super::{FilterInput, Rejection};

pub(super) fn filter(input: &FilterInput<'_>) -> Result<(), Rejection> {
    let Some(affinity) = input.term.affinity else {
        return Ok(());
    };
    selector::cluster_matches(affinity, input.cluster).map_err(|mismatch| Rejection {
        plugin: "ClusterAffinity",
        reason: "cluster(s) did not match the placement cluster affinity constraint".to_owned(),
        detail: Some(mismatch.to_string()),
    })
}
