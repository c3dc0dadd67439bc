//! What a Cluster's status says of its member: Ready with hysteresis, version, kinds.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use pando_api::cluster::{ApiEnablement, ApiResource, Cluster, ClusterStatus};
use pando_api::conditions::{
    API_ENABLEMENTS_COMPLETE, API_ENABLEMENTS_EMPTY, API_ENABLEMENTS_PARTIAL, COMPLETE_API_ENABLEMENTS, CONNECTED,
    FALSE, LINK_LOST, READY,
};
use pando_api::names::ClusterName;
use pando_context::Ctx;
use pando_core::conditions::{self, Verdict};
use pando_core::health::{Hysteresis, Probe, Publish};
use pando_core::next::Next;
use pando_member::probe::{Discovered, Health};
use pando_member::registry::State;
use pando_runtime::store::Key;
use serde_json::json;

use super::attach::Link;
use super::memory::Look;
use super::{Env, Error};

/// How long a member must have been lost before its Cluster says so: a blip is not worth two writes.
const LINK_PATIENCE: Duration = Duration::from_secs(2);

/// Takes in the last probe and the state of the link, and writes the status where it differs. Returns when to look again.
pub(super) async fn publish(
    ctx: &Ctx,
    env: &Env,
    key: &Key,
    name: &ClusterName,
    cluster: &Cluster,
    link: &Link,
) -> Result<Next, Error> {
    let mut status = cluster.status.clone().unwrap_or_default();
    let next = follow_link(env, name, link, &mut status).min(follow_probe(env, name, link, &mut status));
    write(ctx, env, key, cluster, &status).await.map(|written| written.min(next))
}

/// Says at once that the member cannot be worked with, and why. Ready says so after its threshold only, since workloads are
/// moved by it.
fn follow_link(env: &Env, name: &ClusterName, link: &Link, status: &mut ClusterStatus) -> Next {
    let Link::Attached(entry) = link else { return Next::await_change() };
    match entry.state() {
        State::Connecting => {}
        State::Connected => conditions::remove(&mut status.conditions, CONNECTED),
        State::Lost { cause, .. } => {
            let lost_for =
                env.memory.of(name, |facts| facts.lost_since.map(|since| since.elapsed())).unwrap_or_default();
            let patience = LINK_PATIENCE.saturating_sub(lost_for);
            if !patience.is_zero() {
                return Next::after(patience);
            }
            let now = env.clock.now();
            // An outage that began before this process did has been said. That we find other words for it is no news.
            let lost_at = now.checked_sub(lost_for).unwrap_or(now);
            let known = conditions::find(&status.conditions, CONNECTED);
            if !known.is_some_and(|known| known.status == FALSE && known.last_transition_time.0 < lost_at) {
                conditions::set(&mut status.conditions, Verdict::fails(CONNECTED, LINK_LOST, cause), &Time(now));
            }
        }
    }
    Next::await_change()
}

/// Takes in the last probe.
fn follow_probe(env: &Env, name: &ClusterName, link: &Link, status: &mut ClusterStatus) -> Next {
    let observed = match link {
        Link::Refused(cause) => Probe::CollectionFailed { cause: cause.clone() },
        Link::Attached(_) => match env.memory.of(name, |facts| facts.probe.take()) {
            Some(look) => {
                if let Some(version) = &look.result.kubernetes_version {
                    env.memory.of(name, |facts| facts.version = Some(version.clone()));
                }
                observation(&look)
            }
            None => return Next::await_change(), // the next probe brings us back
        },
    };
    let now = env.clock.now();
    let stored = conditions::find(&status.conditions, READY);
    let decision = env.memory.of(name, |facts| {
        let hysteresis = facts.hysteresis.get_or_insert_with(|| Hysteresis::from_stored(stored));
        hysteresis.observe(&observed, now, &env.settings.thresholds)
    });
    let verdict = match decision {
        Publish::Hold { until } => return Next::after(left(now, until)),
        Publish::Now(verdict) => verdict,
    };
    // The words of a failure change from probe to probe; only a new reason is news.
    if !stored.is_some_and(|stored| stored.status == verdict.status && stored.reason == verdict.reason) {
        conditions::set(&mut status.conditions, verdict, &Time(now));
    }
    if let (Link::Attached(entry), true) = (link, observed.is_ok()) {
        if let Some(version) = env.memory.of(name, |facts| facts.version.clone()) {
            status.kubernetes_version = version;
        }
        collect(status, &entry.discovered(), now);
    }
    Next::await_change()
}

/// Writes a status where it differs from the one that was read.
pub(super) async fn write(
    ctx: &Ctx,
    env: &Env,
    key: &Key,
    cluster: &Cluster,
    status: &ClusterStatus,
) -> Result<Next, Error> {
    if cluster.status.as_ref() == Some(status) {
        return Ok(Next::await_change());
    }
    // The finalizer's patch may have made a newer version; what this decision was made from is the status, which it keeps.
    let current = env.clusters.get(key);
    let same = current
        .as_ref()
        .is_some_and(|current| current.status == cluster.status && current.metadata.uid == cluster.metadata.uid);
    let version = if same {
        current.and_then(|current| current.metadata.resource_version.clone())
    } else {
        cluster.metadata.resource_version.clone()
    };
    let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
    env.hub.patch_status(ctx, &env.clusters, key, &patch).await?;
    Ok(Next::await_change())
}

fn left(now: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

/// What a look means for Ready. A token that is not accepted, or another cluster behind the endpoint, is said as such.
fn observation(look: &Look) -> Probe {
    match &look.result.health {
        Health::Healthy | Health::Forbidden(_) => match &look.doubt {
            Some(cause) => Probe::CollectionFailed { cause: cause.clone() },
            None => Probe::Ok,
        },
        Health::Unhealthy(_) => Probe::NotOk,
        Health::Unreachable(cause) | Health::NotKubernetes(cause) => Probe::NoAnswer { cause: cause.clone() },
        Health::Unauthorized => Probe::CollectionFailed {
            cause: "the member does not accept the token (401): renew it in the secret".into(),
        },
    }
}

/// Kinds. Groups that did not answer keep their old list: the entry's, or, when this process has never read them, the one
/// in the status.
fn collect(status: &mut ClusterStatus, discovered: &Discovered, now: Timestamp) {
    let verdict = if discovered.group_versions.is_empty() {
        Verdict::fails(COMPLETE_API_ENABLEMENTS, API_ENABLEMENTS_EMPTY, "no API could be read")
    } else if discovered.is_complete() {
        Verdict::holds(COMPLETE_API_ENABLEMENTS, API_ENABLEMENTS_COMPLETE, "every API could be read")
    } else {
        Verdict::fails(
            COMPLETE_API_ENABLEMENTS,
            API_ENABLEMENTS_PARTIAL,
            format!("could not read {}", discovered.missing.join(", ")),
        )
    };
    conditions::set(&mut status.conditions, verdict, &Time(now));
    if discovered.group_versions.is_empty() {
        return;
    }
    let found = discovered.group_versions.iter().map(|found| ApiEnablement {
        group_version: found.group_version.clone(),
        resources: found
            .kinds
            .iter()
            .map(|kind| ApiResource { name: kind.name.clone(), kind: kind.kind.clone() })
            .collect(),
    });
    let mut listed: Vec<ApiEnablement> = found.collect();
    for old in std::mem::take(&mut status.api_enablements) {
        if discovered.is_unread(&old.group_version) && !listed.iter().any(|new| new.group_version == old.group_version)
        {
            listed.push(old);
        }
    }
    listed.sort_by(|a, b| a.group_version.cmp(&b.group_version));
    status.api_enablements = listed;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use pando_member::probe::{GroupVersion, Identity, Kind, ProbeResult};

    use super::*;

    fn found(health: Health, doubt: Option<&str>) -> Look {
        let result = ProbeResult { health, kubernetes_version: None, identity: Identity::Unasked, discovered: None };
        Look { result, doubt: doubt.map(str::to_owned) }
    }

    #[test]
    fn a_rejected_token_and_a_stranger_are_not_outages() {
        let text = |probe: Probe| format!("{probe:?}");
        assert_eq!(observation(&found(Health::Healthy, None)), Probe::Ok);
        assert_eq!(observation(&found(Health::Forbidden("x".into()), None)), Probe::Ok);
        assert!(text(observation(&found(Health::Healthy, Some("another cluster")))).contains("another cluster"));
        assert!(text(observation(&found(Health::Unauthorized, None))).contains("401"));
        assert!(matches!(observation(&found(Health::Unreachable("x".into()), None)), Probe::NoAnswer { .. }));
    }

    #[test]
    fn kinds_of_a_broken_group_stay_listed() {
        let mut status = ClusterStatus::default();
        let kind = Kind { name: "deployments".into(), kind: "Deployment".into(), namespaced: true, ..Kind::default() };
        let discovered = Discovered {
            group_versions: vec![GroupVersion {
                group_version: "apps/v1".into(),
                kinds: vec![kind],
                ..GroupVersion::default()
            }],
            missing: vec!["metrics.k8s.io/v1".into()],
        };
        collect(&mut status, &discovered, Timestamp::UNIX_EPOCH);
        assert_eq!(status.conditions[0].reason, API_ENABLEMENTS_PARTIAL);
        collect(&mut status, &Discovered::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(status.conditions[0].reason, API_ENABLEMENTS_EMPTY);
        assert_eq!(status.api_enablements.len(), 1);
    }

    #[test]
    fn a_restart_with_half_a_discovery_loses_no_kinds() {
        let listed = |name: &str| ApiEnablement { group_version: name.into(), resources: vec![] };
        let mut status =
            ClusterStatus { api_enablements: vec![listed("apps/v1"), listed("v1")], ..ClusterStatus::default() };
        let core = GroupVersion { group_version: "v1".into(), ..GroupVersion::default() };
        let discovered = Discovered { group_versions: vec![core.clone()], missing: vec!["/apis".into()] };
        collect(&mut status, &discovered, Timestamp::UNIX_EPOCH);
        let names = |status: &ClusterStatus| -> Vec<String> {
            status.api_enablements.iter().map(|listed| listed.group_version.clone()).collect()
        };
        assert_eq!(names(&status), ["apps/v1", "v1"]);
        let discovered = Discovered { group_versions: vec![core], missing: vec![] };
        collect(&mut status, &discovered, Timestamp::UNIX_EPOCH);
        assert_eq!(names(&status), ["v1"], "what a complete answer lacks is gone");
    }
}
