//! Taints that follow the Ready condition: nothing new goes to a member that cannot take it. Nothing is evicted by them.

use k8s_openapi::api::core::v1::Taint;
use pando_api::cluster::Cluster;
use pando_api::conditions::{FALSE, READY, TRUE};
use pando_api::events;
use pando_api::taints::{NO_SCHEDULE, NOT_READY, UNREACHABLE};
use pando_context::Ctx;
use pando_core::conditions;
use pando_runtime::events::Level;
use pando_runtime::store::Key;
use serde_json::json;

use super::{Env, Error};

/// Brings the taints of a cluster to its Ready condition, as the store has it now.
pub(super) async fn follow(ctx: &Ctx, env: &Env, key: &Key) -> Result<(), Error> {
    let Some(cluster) = env.clusters.get(key) else {
        return Ok(());
    };
    let Some(taints) = wanted(&cluster) else {
        return Ok(());
    };
    let patch = json!({"metadata": {"resourceVersion": cluster.metadata.resource_version}, "spec": {"taints": taints}});
    let written = env.hub.patch(ctx, &env.clusters, key, &patch).await;
    match &written {
        Ok(_) => env.event(
            &cluster,
            Level::Normal,
            events::TAINT_CLUSTER_SUCCEED,
            &format!("Taint cluster({}) succeed: {}.", key.name, described(&taints)),
        ),
        Err(error) => env.event(&cluster, Level::Warning, events::TAINT_CLUSTER_FAILED, &error.to_string()),
    }
    written?;
    Ok(())
}

fn described(taints: &[Taint]) -> String {
    let texts: Vec<String> = taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
    if texts.is_empty() { "no taints".to_owned() } else { texts.join(", ") }
}

/// The taints that the cluster should have; `None` when it has them. Before the first Ready condition nothing is tainted:
/// an untested cluster has no Ready condition for milliseconds only, and two writes per join would be spent on it.
fn wanted(cluster: &Cluster) -> Option<Vec<Taint>> {
    let ready = conditions::find(&cluster.status.as_ref()?.conditions, READY)?;
    let key = match ready.status.as_str() {
        TRUE => None,
        FALSE => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    let ours = |taint: &&Taint| (taint.key == NOT_READY || taint.key == UNREACHABLE) && taint.effect == NO_SCHEDULE;
    let present = cluster.spec.taints.iter().filter(ours).map(|taint| taint.key.as_str());
    if present.eq(key) {
        return None;
    }
    let mut taints: Vec<Taint> = cluster.spec.taints.iter().filter(|taint| !ours(taint)).cloned().collect();
    taints.extend(key.map(|key| Taint { key: key.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() }));
    Some(taints)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    fn cluster(ready: Option<&str>, taints: &[(&str, &str)]) -> Cluster {
        let conditions: Vec<_> = ready.map(|status| json!({"type": "Ready", "status": status, "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})).into_iter().collect();
        let taints: Vec<_> = taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        serde_json::from_value(
            json!({"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "bj-prod"},
            "spec": {"syncMode": "Push", "taints": taints}, "status": {"conditions": conditions}}),
        )
        .unwrap()
    }

    fn taints_of(cluster: &Cluster) -> Option<String> {
        wanted(cluster).map(|taints| described(&taints))
    }

    #[test]
    fn taints_follow_ready_and_leave_others_alone() {
        let cordoned = ("cluster.karmada.io/unschedulable", "NoSchedule");
        let (not_ready, unreachable) = ((NOT_READY, NO_SCHEDULE), (UNREACHABLE, NO_SCHEDULE));
        assert_eq!(taints_of(&cluster(None, &[])), None);
        assert_eq!(taints_of(&cluster(Some("True"), &[cordoned])), None);
        assert_eq!(taints_of(&cluster(Some("False"), &[not_ready])), None);
        assert_eq!(
            taints_of(&cluster(Some("False"), &[cordoned])).unwrap(),
            "cluster.karmada.io/unschedulable:NoSchedule, cluster.karmada.io/not-ready:NoSchedule"
        );
        assert_eq!(
            taints_of(&cluster(Some("Unknown"), &[not_ready])).unwrap(),
            "cluster.karmada.io/unreachable:NoSchedule"
        );
        assert_eq!(taints_of(&cluster(Some("True"), &[unreachable, not_ready])).unwrap(), "no taints");
    }

    #[test]
    fn a_taint_of_the_user_with_our_key_and_another_effect_stays() {
        assert_eq!(taints_of(&cluster(Some("True"), &[(NOT_READY, "NoExecute")])), None);
    }
}
