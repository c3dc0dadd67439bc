#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use pando_api::work::{Binding, ResourceBindingStatus, ResourceHealth, Work, WorkStatus};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::manifest::{Identity, Manifest};

mod freshness;
mod incremental;
mod servers;
mod size;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn identity() -> Identity {
    Identity {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("prod".to_owned()),
        name: "web".to_owned(),
    }
}

fn live(ready: i64) -> Value {
    json!({
        "metadata": {"generation": 2, "annotations": {"resourcetemplate.karmada.io/generation": "3"}},
        "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 5},
        "status": {"observedGeneration": 2, "replicas": 5, "readyReplicas": ready, "updatedReplicas": 5, "availableReplicas": ready},
    })
}

fn looked_at(ready: i64) -> Vec<LiveManifest> {
    vec![LiveManifest::of(0, identity(), &live(ready))]
}

fn applied() -> Dispatch {
    Dispatch::Tried(vec![Ok(())])
}

/// As a server returns it: other bytes.
fn stored(status: &WorkStatus) -> WorkStatus {
    let text = serde_json::to_string_pretty(&serde_json::to_value(status).unwrap()).unwrap();
    serde_json::from_str(&text).unwrap()
}

mod works {
    use super::*;

    #[test]
    fn both_arrows_meet_in_one_status() {
        let status = work_status(None, &applied(), Some(&looked_at(4)), &at(7));
        insta::assert_snapshot!(serde_json::to_string_pretty(&serde_json::to_value(&status).unwrap()).unwrap(), @r#"
        {
          "conditions": [
            {
              "lastTransitionTime": "1970-01-01T00:00:07Z",
              "message": "Work is being dispatched to member clusters.",
              "reason": "Dispatching",
              "status": "True",
              "type": "Dispatching"
            },
            {
              "lastTransitionTime": "1970-01-01T00:00:07Z",
              "message": "Manifest has been successfully applied",
              "reason": "AppliedSuccessful",
              "status": "True",
              "type": "Applied"
            }
          ],
          "manifestStatuses": [
            {
              "health": "Unhealthy",
              "identifier": {
                "group": "apps",
                "kind": "Deployment",
                "name": "web",
                "namespace": "prod",
                "ordinal": 0,
                "resource": "",
                "version": "v1"
              },
              "status": {
                "availableReplicas": 4,
                "generation": 2,
                "observedGeneration": 2,
                "readyReplicas": 4,
                "replicas": 5,
                "resourceTemplateGeneration": 3,
                "updatedReplicas": 5
              }
            }
          ]
        }
        "#);
    }

    #[test]
    fn the_same_report_changes_nothing() {
        let status = stored(&work_status(None, &applied(), Some(&looked_at(4)), &at(7)));
        assert_eq!(work_status(Some(&status), &applied(), Some(&looked_at(4)), &at(99)), status);
        assert_eq!(work_status(Some(&status), &Dispatch::Unchanged, None, &at(99)), status);
    }

    #[test]
    fn one_arrow_leaves_the_others_part_alone() {
        let both = work_status(None, &applied(), Some(&looked_at(4)), &at(7));
        let reported = work_status(Some(&both), &Dispatch::Unchanged, Some(&looked_at(5)), &at(8));
        assert_eq!(reported.conditions, both.conditions);
        assert_eq!(reported.manifest_statuses[0].health, Some(ResourceHealth::Healthy));
        let failed = work_status(Some(&reported), &Dispatch::Tried(vec![Err("no".to_owned())]), None, &at(9));
        assert_eq!(failed.manifest_statuses, reported.manifest_statuses);
    }

    #[test]
    fn a_failure_counts_what_was_applied_and_says_why() {
        let tried =
            Dispatch::Tried(vec![Ok(()), Err("Service prod/web: forbidden".to_owned()), Err("quota".to_owned())]);
        let status = work_status(None, &tried, None, &at(7));
        let condition = crate::conditions::find(&status.conditions, "Applied").unwrap();
        insta::assert_snapshot!(format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message), @"Applied=False AppliedFailed: Failed to apply all manifests (1/3): Service prod/web: forbidden; quota");
    }

    #[test]
    fn suspension_says_nothing_about_what_was_applied() {
        let before = work_status(None, &applied(), None, &at(7));
        let status = work_status(Some(&before), &Dispatch::Suspended, None, &at(9));
        assert!(crate::conditions::is_true(&status.conditions, "Applied"));
        let dispatching = crate::conditions::find(&status.conditions, "Dispatching").unwrap();
        assert_eq!(
            (dispatching.status.as_str(), dispatching.reason.as_str(), &dispatching.last_transition_time),
            ("False", "SuspendDispatching", &at(9))
        );
    }

    #[test]
    fn an_object_that_vanished_has_no_status_any_more() {
        let before = work_status(None, &applied(), Some(&looked_at(4)), &at(7));
        assert!(work_status(Some(&before), &Dispatch::Unchanged, Some(&[]), &at(8)).manifest_statuses.is_empty());
    }
}

fn work(cluster: &str, status: Option<WorkStatus>) -> Arc<Work> {
    let mut work = Work::default();
    work.metadata.namespace = Some(format!("karmada-es-{cluster}"));
    work.metadata.name = Some("web-1".to_owned());
    work.metadata.uid = Some(format!("w-{cluster}"));
    work.metadata.resource_version = Some("1".to_owned());
    work.metadata.creation_timestamp = Some(at(3));
    work.status = status;
    Arc::new(work)
}

fn working(cluster: &str, ready: i64) -> Arc<Work> {
    work(cluster, Some(work_status(None, &applied(), Some(&looked_at(ready)), &at(7))))
}

fn failing(cluster: &str) -> Arc<Work> {
    work(cluster, Some(work_status(None, &Dispatch::Tried(vec![Err("forbidden".to_owned())]), None, &at(7))))
}

fn bound(clusters: &[&str]) -> Binding {
    let targets = clusters.iter().map(|name| json!({"name": name, "replicas": 5})).collect::<Vec<_>>();
    serde_json::from_value(json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": {"name": "web-deployment", "namespace": "prod", "labels": {"resourcebinding.karmada.io/permanent-id": "b-1"}},
        "spec": {"resource": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "prod", "name": "web"}, "clusters": targets},
    }))
    .unwrap()
}

/// As this function's callers see it: the whole status, made without any memory.
fn status_of(
    clusters: &[&str],
    works: &[Arc<Work>],
    previous: Option<&ResourceBindingStatus>,
    now: i64,
) -> ResourceBindingStatus {
    let mut binding = bound(clusters);
    binding.status = previous.cloned();
    folded(&mut Memory::default(), &binding, works, &|_| Reading::Current, now)
}

fn folded(
    memory: &mut Memory,
    binding: &Binding,
    works: &[Arc<Work>],
    reading: &dyn Fn(&str) -> Reading,
    now: i64,
) -> ResourceBindingStatus {
    let folded = fold(memory, &Sources { binding, works, reading, in_doubt: &|_| false }, &at(now));
    let items = folded.items(binding).to_vec();
    ResourceBindingStatus { aggregated_status: items, ..folded.head }
}

/// The template's whole next status; `None` when nothing is to be written.
fn template_of(object: &Value, items: &[pando_api::work::AggregatedStatusItem]) -> Option<Value> {
    let targets: Vec<_> = items.iter().map(|item| item.cluster_name.as_str()).collect();
    next_template(&mut Memory::default(), object, items, &targets)
}

fn next_template(
    memory: &mut Memory,
    object: &Value,
    items: &[pando_api::work::AggregatedStatusItem],
    targets: &[&str],
) -> Option<Value> {
    let status = object.get("status").map(|status| EmbeddedObject::from_value(status).unwrap());
    let manifest = Manifest::from_value(object.clone()).unwrap();
    let (content, content_hash) = (manifest.to_bytes(), manifest.hash());
    let template = Template {
        api_version: manifest.api_version(),
        kind: manifest.kind(),
        uid: "u-1",
        generation: object["metadata"]["generation"].as_i64().unwrap_or_default(),
        content: &content,
        content_hash: &content_hash,
        status: status.as_ref(),
    };
    let patch = template_status(memory, &template, items, targets).unwrap()?;
    let mut next = object.get("status").cloned().unwrap_or(Value::Null);
    json_patch::merge(&mut next, &patch);
    Some(next)
}

fn summary(status: &ResourceBindingStatus) -> String {
    let items = status.aggregated_status.iter().map(|item| {
        let health = item.health.map_or("-", ResourceHealth::as_str);
        format!("{} applied={} {health} {}", item.cluster_name, item.applied, item.applied_message)
    });
    let conditions = status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason));
    items.chain(conditions).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

mod bindings {
    use super::*;

    #[test]
    fn members_are_listed_by_name_with_what_they_report() {
        let status = status_of(&["sh", "bj"], &[working("sh", 5), working("bj", 4)], None, 9);
        insta::assert_snapshot!(summary(&status), @r"
        bj applied=true Unhealthy
        sh applied=true Healthy
        FullyApplied=True FullyAppliedSuccess
        ");
        let bj: Value = status.aggregated_status[0].status.as_ref().unwrap().parse().unwrap();
        assert_eq!(bj["readyReplicas"], 4);
    }

    #[test]
    fn a_failure_is_shown_with_its_message_and_without_a_status() {
        let status = status_of(&["bj", "sh"], &[working("bj", 5), failing("sh")], None, 9);
        insta::assert_snapshot!(summary(&status), @r"
        bj applied=true Healthy
        sh applied=false Unknown Failed to apply all manifests (0/1): forbidden
        FullyApplied=False FullyAppliedFailed
        ");
        assert_eq!(status.aggregated_status[1].status, None);
    }

    #[test]
    fn an_edit_that_a_member_refuses_does_not_hide_what_runs_there() {
        let running = work_status(None, &applied(), Some(&looked_at(5)), &at(7));
        let refused = work_status(Some(&running), &Dispatch::Tried(vec![Err("forbidden".to_owned())]), None, &at(8));
        let status = status_of(&["bj"], &[work("bj", Some(refused))], None, 9);
        insta::assert_snapshot!(summary(&status), @r"
        bj applied=false Unknown Failed to apply all manifests (0/1): forbidden
        FullyApplied=False FullyAppliedFailed
        ");
        let bj: Value = status.aggregated_status[0].status.as_ref().unwrap().parse().unwrap();
        assert_eq!(bj["readyReplicas"], 5);
    }

    #[test]
    fn a_work_without_an_answer_is_not_applied_and_a_missing_one_not_listed() {
        let status = status_of(&["bj", "sh"], &[work("bj", None)], None, 9);
        insta::assert_snapshot!(summary(&status), @r"
        bj applied=false Unknown
        FullyApplied=False FullyAppliedFailed
        ");
    }

    #[test]
    fn health_is_unknown_until_the_member_has_shown_the_object() {
        let status = status_of(&["bj"], &[work("bj", Some(work_status(None, &applied(), None, &at(7))))], None, 9);
        insta::assert_snapshot!(summary(&status), @r"
        bj applied=true Unknown
        FullyApplied=True FullyAppliedSuccess
        ");
    }

    #[test]
    fn clusters_of_bindings_that_need_it_are_targets_too() {
        let mut binding = bound(&["bj"]);
        binding.spec.required_by = serde_json::from_value(json!([
            {"namespace": "prod", "name": "api-deployment", "clusters": [{"name": "sh"}, {"name": "bj"}]},
        ]))
        .unwrap();
        let works = [working("sh", 5), working("bj", 5), working("sz", 5)];
        let status = folded(&mut Memory::default(), &binding, &works, &|_| Reading::Current, 9);
        insta::assert_snapshot!(summary(&status), @r"
        bj applied=true Healthy
        sh applied=true Healthy
        FullyApplied=True FullyAppliedSuccess
        ");
    }

    #[test]
    fn works_that_leave_or_belong_to_no_target_are_ignored() {
        let mut leaving = (*working("sh", 5)).clone();
        leaving.metadata.deletion_timestamp = Some(at(1));
        let status = status_of(&["bj", "sh"], &[working("bj", 5), Arc::new(leaving), working("sz", 5)], None, 9);
        assert_eq!(status.aggregated_status.iter().map(|item| item.cluster_name.as_str()).collect::<Vec<_>>(), ["bj"]);
    }

    #[test]
    fn no_target_is_never_fully_applied() {
        insta::assert_snapshot!(summary(&status_of(&[], &[], None, 9)), @"FullyApplied=False FullyAppliedFailed");
    }

    #[test]
    fn the_schedulers_part_is_passed_through() {
        let previous = ResourceBindingStatus {
            scheduler_observed_generation: 7,
            scheduler_observed_affinity_name: "group-a".to_owned(),
            conditions: vec![crate::conditions::Verdict::holds("Scheduled", "Success", "").since(&at(1))],
            ..ResourceBindingStatus::default()
        };
        let status = status_of(&["bj"], &[working("bj", 5)], Some(&previous), 9);
        assert_eq!(
            (status.scheduler_observed_generation, status.scheduler_observed_affinity_name.as_str()),
            (7, "group-a")
        );
        assert_eq!(status.conditions[0], previous.conditions[0]);
    }

    #[test]
    fn only_a_change_moves_the_time() {
        let works = [working("bj", 5), failing("sh")];
        let first = status_of(&["bj", "sh"], &works, None, 9);
        assert_eq!(status_of(&["bj", "sh"], &works, Some(&first), 50), first);
        let fixed = status_of(&["bj", "sh"], &[working("bj", 5), working("sh", 5)], Some(&first), 50);
        assert_eq!(fixed.conditions[0].last_transition_time, at(50));
    }

    #[test]
    fn other_bytes_of_the_same_status_are_no_change() {
        let mut reformatted = (*working("bj", 5)).clone();
        reformatted.status = reformatted.status.as_ref().map(stored);
        let first = status_of(&["bj"], &[working("bj", 5)], None, 9);
        let second = status_of(&["bj"], &[Arc::new(reformatted)], Some(&first), 50);
        assert_eq!(first, second);
    }

    proptest! {
        #[test]
        fn aggregating_again_is_equal_and_order_is_irrelevant(ready in proptest::collection::vec(0..6i64, 3), swap in any::<bool>()) {
            let mut works = vec![working("bj", ready[0]), working("sh", ready[1]), failing("sz")];
            let first = status_of(&["bj", "sh", "sz"], &works, None, 9);
            if swap { works.reverse() } else { works.rotate_left(1) }
            prop_assert_eq!(&status_of(&["bj", "sh", "sz"], &works, Some(&first), 99), &first);
        }
    }
}

mod templates {
    use super::*;

    fn template(status: Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "prod", "generation": 3},
            "spec": {"replicas": 10}, "status": status,
        })
    }

    #[test]
    fn the_template_shows_all_its_replicas() {
        let status = status_of(&["bj", "sh"], &[working("bj", 5), working("sh", 5)], None, 9);
        let next = template_of(&template(json!({})), &status.aggregated_status).unwrap();
        assert_eq!(
            next,
            json!({
                "observedGeneration": 3, "replicas": 10, "readyReplicas": 10, "updatedReplicas": 10, "availableReplicas": 10,
            })
        );
        assert_eq!(template_of(&template(next), &status.aggregated_status), None, "written once");
    }

    #[test]
    fn what_a_server_adds_or_leaves_out_is_no_change() {
        let status = status_of(&["bj"], &[failing("bj")], None, 9);
        assert_eq!(template_of(&template(json!({"replicas": 0, "conditions": []})), &status.aggregated_status), None);
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {}},
        });
        assert_eq!(template_of(&service, &[]), None);
    }

    #[test]
    fn a_failing_member_keeps_the_generation_unobserved() {
        let status = status_of(&["bj", "sh"], &[working("bj", 5), failing("sh")], None, 9);
        let next = template_of(&template(json!({"observedGeneration": 2})), &status.aggregated_status).unwrap();
        assert_eq!((&next["observedGeneration"], &next["readyReplicas"]), (&json!(2), &json!(5)));
    }

    #[test]
    fn a_target_that_has_no_work_has_not_answered() {
        let items = status_of(&["bj"], &[working("bj", 5)], None, 9).aggregated_status;
        let memory = &mut Memory::default();
        let mut object = template(json!({"observedGeneration": 2}));
        let status = next_template(memory, &object, &items, &["bj", "sh"]).unwrap();
        assert_eq!((&status["observedGeneration"], &status["readyReplicas"]), (&json!(2), &json!(5)));
        object["status"] = status;
        assert_eq!(next_template(memory, &object, &items, &["bj", "sh"]), None);
        let status = next_template(memory, &object, &items, &["bj"]).unwrap();
        assert_eq!(status["observedGeneration"], 3, "sh is no target any more");
    }

    #[test]
    fn a_job_is_not_complete_before_every_target_is() {
        let (job, live) = crate::interpreter::real::pair("job");
        let mut item = status_of(&["bj"], &[working("bj", 5)], None, 9).aggregated_status.remove(0);
        let report = crate::interpreter::reflect_status(&live).unwrap();
        item.status = Some(EmbeddedObject::from_value(&report).unwrap());
        let types = |targets: &[&str]| {
            let mut job = job.clone();
            job["status"] = Value::Null;
            let status = next_template(&mut Memory::default(), &job, std::slice::from_ref(&item), targets).unwrap();
            status["conditions"].as_array().map(|conditions| conditions.len())
        };
        assert_eq!(types(&["bj", "sh"]), None, "the share of sh has not run");
        assert_eq!(types(&["bj"]), Some(2));
    }

    #[test]
    fn kinds_without_aggregation_are_left_alone() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        assert_eq!(template_of(&map, &[]), None);
    }
}
