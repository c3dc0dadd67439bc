//! What people are told about kinds: policies in events, each thing once; bindings out of reach in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use pando_api::events as reasons;
use pando_core::kinds::{Finding, KindName, Plan, Problem};
use pando_core::policy_match::{PolicyFacts, PolicyRef};
use pando_runtime::events::{self, Level, Recorder};
use pando_runtime::store::Key;
use pando_runtime::watch::{Health, Phase};

use crate::env::Stores;
use crate::template::Followed;

/// A first list that fails for so long is worth a word: the storage of a CRD that was just installed is not ready at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A kind that was listed once and is refused for so long is shown as it was then, for who knows how long.
const STALE: Duration = Duration::from_secs(60);

/// What was said already. A thing is said again only after it was not so for a while.
#[derive(Default)]
pub(super) struct Memory {
    told: BTreeSet<Said>,
    out_of_reach: BTreeMap<KindName, Problem>,
}

/// Something that a policy is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    policy: PolicyRef,
    reason: &'static str,
    message: String,
}

impl Memory {
    /// Says what is new.
    pub(super) fn tell(&mut self, plan: &Plan, stores: &Stores, recorder: &Recorder) {
        let found = plan.findings.iter().map(|Finding { policy, kind, problem }| Said {
            policy: policy.clone(),
            reason: problem.reason(),
            message: problem.explain(kind),
        });
        let found: BTreeSet<_> = found.chain(unreadable(stores)).collect();
        for Said { policy, reason, message } in found.difference(&self.told) {
            if let Some(about) = about(stores, policy) {
                recorder.record(&about, Level::Warning, reason, message);
            }
        }
        self.told = found;
        for (kind, problem) in &plan.out_of_reach {
            if self.out_of_reach.get(kind) != Some(problem) {
                let why = problem.explain(kind);
                tracing::warn!(%kind, why, "bindings ship objects of a kind that cannot be read, what runs stays as it is");
            }
        }
        self.out_of_reach.clone_from(&plan.out_of_reach);
    }
}

/// Why the first list of a kind fails, once it has failed for a while.
fn failure(health: Health) -> Option<String> {
    failing_for(health, PATIENCE)
}

/// Why a kind that was listed once is not followed any more, after a longer while. Only what is forbidden: a hub that is away
/// is so for all kinds, and is told elsewhere.
fn refusal(health: Health) -> Option<String> {
    failing_for(health, STALE).filter(|cause| is_forbidden(cause))
}

fn failing_for(health: Health, least: Duration) -> Option<String> {
    let since = health.since?;
    match health.phase {
        Phase::Failing(cause) if since.elapsed() >= least => Some(cause),
        _ => None,
    }
}

fn is_forbidden(cause: &str) -> bool {
    cause.contains("forbidden")
}

/// Whether the first list of the kind is still to come, and nobody knows yet whether it will.
pub(super) fn is_open(followed: &Followed) -> bool {
    !followed.store.is_synced() && failure(followed.store.health()).is_none()
}

/// What the policies of kinds are told that are served and cannot be listed, or not any more.
fn unreadable(stores: &Stores) -> Vec<Said> {
    let why = |followed: &Followed| {
        let judge = if followed.store.is_synced() { refusal } else { failure };
        judge(followed.store.health())
    };
    let all = stores.templates.all().into_iter();
    let failing: Vec<_> = all.filter_map(|followed| Some((why(&followed)?, followed.kind))).collect();
    if failing.is_empty() {
        return Vec::new();
    }
    let (policies, cluster_policies) = (stores.policies.list(None), stores.cluster_policies.list(None));
    let facts = policies.iter().map(|policy| PolicyFacts::from(policy.as_ref()));
    let facts = facts.chain(cluster_policies.iter().map(|policy| PolicyFacts::from(policy.as_ref())));
    let mut said = Vec::new();
    for facts in facts {
        for (cause, kind) in &failing {
            let resource = &kind.resource;
            let mut selectors = facts.selectors.iter();
            if selectors.any(|it| it.api_version == resource.api_version && it.kind == resource.kind) {
                let name = KindName::new(&resource.api_version, &resource.kind);
                let message = complaint(&name, cause);
                said.push(Said { policy: facts.policy.clone(), reason: reasons::KIND_NOT_READABLE, message });
            }
        }
    }
    said
}

fn complaint(kind: &KindName, cause: &str) -> String {
    let fix = match is_forbidden(cause) {
        true => "allow the controller to get, list, watch, patch and update it; ",
        false => "",
    };
    format!("the hub does not list {kind}: {cause}; {fix}it is tried again by itself, and the other kinds go on")
}

fn about(stores: &Stores, policy: &PolicyRef) -> Option<ObjectReference> {
    match policy {
        PolicyRef::Namespaced { namespace, name } => {
            stores.policies.get(&Key::namespaced(namespace, name)).map(|policy| events::about(policy.as_ref()))
        }
        PolicyRef::Cluster { name } => {
            stores.cluster_policies.get(&Key::cluster(name)).map(|policy| events::about(policy.as_ref()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use pando_context::Instant;

    use super::*;

    #[test]
    fn a_refused_list_names_the_right_that_is_missing_and_other_failures_do_not() {
        let widget = KindName::new("example.io/v1", "Widget");
        insta::assert_snapshot!(complaint(&widget, "widgets.example.io is forbidden"), @"the hub does not list Widget of example.io/v1: widgets.example.io is forbidden; allow the controller to get, list, watch, patch and update it; it is tried again by itself, and the other kinds go on");
        insta::assert_snapshot!(complaint(&widget, "storage is (re)initializing"), @"the hub does not list Widget of example.io/v1: storage is (re)initializing; it is tried again by itself, and the other kinds go on");
    }

    #[pando_context::test(paused)]
    async fn a_first_list_that_fails_is_a_fault_after_a_while_only() {
        let failing = || Health {
            phase: Phase::Failing("no".to_owned()),
            since: Some(Instant::now()),
            last_progress: None,
            denied: None,
        };
        let health = failing();
        assert_eq!(failure(health.clone()), None);
        let root = pando_context::Scope::root("test");
        root.ctx().sleep(PATIENCE).await.unwrap();
        assert_eq!(failure(health), Some("no".to_owned()));
        assert_eq!(failure(Health { phase: Phase::Listing, ..failing() }), None);
    }

    #[pando_context::test(paused)]
    async fn a_kind_that_was_listed_and_is_forbidden_now_is_a_fault_after_a_minute_and_a_hub_that_is_away_is_not() {
        let failing = |why: &str| Health {
            phase: Phase::Failing(why.to_owned()),
            since: Some(Instant::now()),
            last_progress: Some(Instant::now()),
            denied: None,
        };
        let (forbidden, away) = (failing("widgets.example.io is forbidden"), failing("connection refused"));
        assert_eq!(refusal(forbidden.clone()), None);
        let root = pando_context::Scope::root("test");
        root.ctx().sleep(STALE).await.unwrap();
        assert!(refusal(forbidden).is_some());
        assert_eq!(refusal(away), None);
    }
}
