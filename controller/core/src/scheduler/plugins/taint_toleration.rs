//! The placement must tolerate a cluster's NoSchedule and NoExecute taints.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::{FilterInput, Rejection};

pub(super) fn filter(input: &FilterInput<'_>) -> Result<(), Rejection> {
    // Who runs in a cluster that gets a taint is evicted by the taint manager after its toleration, not by a filter.
    if input.is_target() {
        return Ok(());
    }
    let tolerations = &input.unit.placement.cluster_tolerations;
    let untolerated = input.cluster.taints.iter().find(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    });
    match untolerated {
        None => Ok(()),
        Some(taint) => Err(Rejection {
            plugin: "TaintToleration",
            reason: format!("cluster(s) had untolerated taint {{{}}}", text(taint)),
            detail: None,
        }),
    }
}

/// As core/v1: an empty effect or key matches every one, and no operator means Equal.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    given(&toleration.effect).is_none_or(|effect| effect == taint.effect)
        && given(&toleration.key).is_none_or(|key| key == taint.key)
        && match toleration.operator.as_deref().unwrap_or_default() {
            "" | "Equal" => given(&toleration.value) == given(&taint.value),
            "Exists" => true,
            _ => false,
        }
}

/// `key=value:effect`, as core/v1 prints it.
fn text(taint: &Taint) -> String {
    match taint.value.as_deref() {
        None | Some("") => format!("{}:{}", taint.key, taint.effect),
        Some(value) => format!("{}={value}:{}", taint.key, taint.effect),
    }
}
