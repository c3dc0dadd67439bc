//! Kinds whose template shows a sum or the worst of its members, from objects of real API servers.

use super::*;

fn items<'a>(statuses: &[(&'a str, Option<Value>)]) -> Vec<StatusItem<'a>> {
    statuses.iter().map(|(cluster, status)| StatusItem { cluster, status: status.clone() }).collect()
}

/// What two members report that both look like the real one, put together on the real template.
fn of_two(name: &str) -> Value {
    let (template, live) = pair(name);
    let status = reflect_status(&live);
    aggregate_status(&template, &items(&[("bj", status.clone()), ("sh", status)])).unwrap()
}

#[test]
fn daemon_sets_add_up_and_are_healthy_when_all_nodes_have_the_new_pod() {
    let (_, mut live) = pair("daemon_set");
    live["metadata"]["annotations"]["resourcetemplate.karmada.io/generation"] = json!("1");
    assert_eq!(
        reflect_status(&live).unwrap(),
        json!({
            "generation": 1, "resourceTemplateGeneration": 1, "observedGeneration": 1, "currentNumberScheduled": 1,
            "desiredNumberScheduled": 1, "numberAvailable": 1, "numberReady": 1, "updatedNumberScheduled": 1,
        })
    );
    let sum = of_two("daemon_set");
    assert_eq!((&sum["numberReady"], &sum["desiredNumberScheduled"]), (&json!(2), &json!(2)));
    assert_eq!(sum.get("observedGeneration"), None, "the members did not say which template they have");

    let rows = [
        ("as it is", live.clone(), ResourceHealth::Healthy),
        ("not observed", with(live.clone(), "/metadata/generation", json!(2)), ResourceHealth::Unhealthy),
        (
            "a node waits for the pod",
            with(live.clone(), "/status/desiredNumberScheduled", json!(2)),
            ResourceHealth::Unhealthy,
        ),
        ("a pod is not available", with(live, "/status/numberAvailable", json!(0)), ResourceHealth::Unhealthy),
    ];
    for (row, live, expected) in rows {
        assert_eq!(health(&live), expected, "{row}");
    }
}

#[test]
fn a_real_stateful_set_in_a_partitioned_rollout_is_healthy_and_adds_up() {
    let (_, live) = pair("stateful_set");
    assert_eq!(health(&live), ResourceHealth::Healthy);
    let sum = of_two("stateful_set");
    assert_eq!((&sum["replicas"], &sum["readyReplicas"], &sum["updatedReplicas"]), (&json!(6), &json!(6), &json!(4)));
}

#[test]
fn the_generation_of_a_stateful_set_is_compared_with_the_template_not_with_the_member() {
    let (mut template, _) = pair("stateful_set");
    template["metadata"]["generation"] = json!(3);
    let report = |template_generation: i64| json!({"generation": 9, "observedGeneration": 9, "resourceTemplateGeneration": template_generation});
    let observed = |of: i64| {
        aggregate_status(&template, &items(&[("bj", Some(report(of)))])).unwrap()["observedGeneration"].clone()
    };
    assert_eq!(observed(3), 3);
    assert_eq!(observed(2), Value::Null, "the member is at its ninth change, and still has the old template");
}

#[test]
fn the_worst_phase_of_a_pod_stands_for_all() {
    let (template, live) = pair("pod");
    let phase = |phase: &str| Some(json!({"phase": phase}));
    let rows = [
        (vec![phase("Running"), phase("Running")], "Running"),
        (vec![phase("Succeeded"), phase("Running")], "Running"),
        (vec![phase("Succeeded"), None], "Pending"),
        (vec![None, phase("Failed")], "Failed"),
        (vec![phase("Succeeded"), phase("Succeeded")], "Succeeded"),
    ];
    for (phases, expected) in rows {
        let all: Vec<_> = ["bj", "sh"].into_iter().zip(phases).collect();
        assert_eq!(aggregate_status(&template, &items(&all)).unwrap()["phase"], expected, "{all:?}");
    }
    assert_eq!(aggregate_status(&template, &[]), None);
    assert_eq!(aggregate_status(&template, &items(&[("bj", phase("Unknown"))])), None);
    assert_eq!(
        of_two("pod")["containerStatuses"],
        json!([
            {"name": "bj/sh", "ready": true, "state": {"running": {"startedAt": "2026-11-23T04:55:17Z"}}},
            {"name": "sh/sh", "ready": true, "state": {"running": {"startedAt": "2026-11-23T04:55:17Z"}}},
        ])
    );
    assert_eq!(health(&live), ResourceHealth::Healthy);
    assert_eq!(health(&with(live.clone(), "/status/conditions/1/status", json!("False"))), ResourceHealth::Unhealthy);
    assert_eq!(health(&with(live.clone(), "/status/phase", json!("Pending"))), ResourceHealth::Unhealthy);
    assert_eq!(health(&with(live, "/status", json!({"phase": "Succeeded"}))), ResourceHealth::Healthy);
}

/// An API server lets no container that is not in `spec.containers` leave the state `terminated`.
#[test]
fn a_container_that_ended_is_never_shown_as_terminated_so_that_it_can_come_back() {
    let (template, _) = pair("pod");
    let end = json!({"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-23T05:00:00Z"});
    let running = json!({"running": {"startedAt": "2026-11-23T05:00:01Z"}});
    let shown = |container: Value| {
        let status = json!({"phase": "Running", "containerStatuses": [container]});
        aggregate_status(&template, &items(&[("bj", Some(status))])).unwrap()["containerStatuses"][0].clone()
    };
    assert_eq!(
        shown(json!({"name": "app", "ready": false, "restartCount": 1, "state": {"terminated": end}, "lastState": {}})),
        json!({
            "name": "bj/app", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": "OOMKilled"}},
            "lastState": {"terminated": end},
        })
    );
    assert_eq!(
        shown(
            json!({"name": "app", "ready": true, "restartCount": 2, "state": running, "lastState": {"terminated": end}})
        ),
        json!({"name": "bj/app", "ready": true, "restartCount": 2, "state": running, "lastState": {"terminated": end}})
    );
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    assert_eq!(
        shown(json!({"name": "app", "ready": false, "restartCount": 0, "state": waiting, "lastState": {}})),
        json!({"name": "bj/app", "ready": false, "state": waiting})
    );
}

#[test]
fn absurd_numbers_of_a_member_end_at_what_the_api_can_hold() {
    let report = |replicas: i64| Some(json!({"replicas": replicas}));
    let replicas = |bj, sh| {
        let all = items(&[("bj", report(bj)), ("sh", report(sh))]);
        aggregate_status(&pair("stateful_set").0, &all).unwrap().get("replicas").and_then(Value::as_i64)
    };
    assert_eq!(replicas(i64::MAX, i64::MAX), Some(i32::MAX.into()));
    assert_eq!(replicas(i64::MIN, i64::MIN), None);
    assert_eq!(replicas(2, 3), Some(5));
    let mut live = pair("stateful_set").1;
    live["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": i64::MIN}});
    assert_eq!(health(&live), ResourceHealth::Unhealthy);
}

#[test]
fn nobody_has_observed_a_template_that_runs_nowhere() {
    let (mut template, _) = pair("stateful_set");
    (template["metadata"]["generation"], template["status"]) = (json!(3), json!({"observedGeneration": 2}));
    assert_eq!(aggregate_status(&template, &[]).unwrap()["observedGeneration"], 2);
}

#[test]
fn a_pod_is_one_replica_and_cannot_be_another_number() {
    let (template, _) = pair("pod");
    let mut pod = manifest(template);
    let one = replicas(&pod).unwrap();
    assert_eq!(one.count, 1);
    assert_eq!(serde_json::to_value(one.requirements.unwrap().resource_request).unwrap(), json!({"cpu": "250m"}));
    assert!(!revise_replicas(&mut pod, 3));
}

#[test]
fn volumes_and_claims_show_their_worst_phase() {
    let phase = |phase: &str| Some(json!({"phase": phase}));
    let rows = [
        ("persistent_volume_claim", phase("Bound"), phase("Bound"), "Bound"),
        ("persistent_volume_claim", phase("Bound"), None, "Pending"),
        ("persistent_volume_claim", phase("Lost"), phase("Pending"), "Lost"),
        ("persistent_volume", phase("Bound"), phase("Available"), "Available"),
        ("persistent_volume", phase("Released"), phase("Bound"), "Bound"),
        ("persistent_volume", phase("Failed"), None, "Failed"),
    ];
    for (name, bj, sh, expected) in rows {
        let (template, _) = pair(name);
        assert_eq!(
            aggregate_status(&template, &items(&[("bj", bj), ("sh", sh)])).unwrap()["phase"],
            expected,
            "{name}"
        );
    }
    let (template, live) = pair("persistent_volume");
    let kept = aggregate_status(&template, &items(&[("bj", reflect_status(&live))])).unwrap();
    assert_eq!(
        kept["lastPhaseTransitionTime"], template["status"]["lastPhaseTransitionTime"],
        "set by the hub's API server, which would set it again after every write without it"
    );
}

#[test]
fn a_claim_is_healthy_when_it_is_bound() {
    let (template, live) = pair("persistent_volume_claim");
    assert_eq!((health(&live), health(&template)), (ResourceHealth::Healthy, ResourceHealth::Unhealthy));
}

#[test]
fn disruption_budgets_add_up_and_name_their_pods_with_the_cluster() {
    let (template, live) = pair("pod_disruption_budget");
    let mut status = reflect_status(&live).unwrap();
    assert_eq!(status, json!({"currentHealthy": 2, "desiredHealthy": 1, "disruptionsAllowed": 1, "expectedPods": 2}));
    status["disruptedPods"] = json!({"web-1": "2026-11-23T05:00:00Z"});
    let sum = aggregate_status(&template, &items(&[("bj", Some(status.clone())), ("sh", Some(status))])).unwrap();
    assert_eq!(
        sum,
        json!({
            "currentHealthy": 4, "desiredHealthy": 2, "disruptionsAllowed": 2, "expectedPods": 4,
            "disruptedPods": {"bj/web-1": "2026-11-23T05:00:00Z", "sh/web-1": "2026-11-23T05:00:00Z"},
        })
    );
    assert_eq!(health(&live), ResourceHealth::Healthy);
    assert_eq!(health(&with(live, "/status/currentHealthy", json!(0))), ResourceHealth::Unhealthy);
}

#[test]
fn autoscalers_show_the_replicas_of_all_members() {
    let (_, live) = pair("horizontal_pod_autoscaler");
    assert_eq!(reflect_status(&live).unwrap(), json!({"currentReplicas": 2}), "desired is 0: left out, as in Go");
    assert_eq!(of_two("horizontal_pod_autoscaler")["currentReplicas"], 4);
    assert_eq!(health(&live), ResourceHealth::Healthy, "there is no rule for autoscalers");
}

#[test]
fn a_cron_job_shows_all_running_jobs_and_the_last_times() {
    let (template, live) = pair("cron_job");
    let mut later = live["status"].clone();
    later["lastScheduleTime"] = json!("2026-11-23T05:00:00Z");
    later["lastSuccessfulTime"] = json!("2026-11-23T04:59:00Z");
    let sum = aggregate_status(&template, &items(&[("bj", reflect_status(&live)), ("sh", Some(later)), ("sz", None)]))
        .unwrap();
    assert_eq!(sum["active"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&sum["lastScheduleTime"], &sum["lastSuccessfulTime"]),
        (&json!("2026-11-23T05:00:00Z"), &json!("2026-11-23T04:59:00Z"))
    );
    assert_eq!(health(&live), ResourceHealth::Healthy);
}

#[test]
fn a_custom_resource_definition_reports_its_small_status_whole() {
    let (template, live) = pair("custom_resource_definition");
    assert_eq!(reflect_status(&live).as_ref(), live.get("status"));
    assert!(live["status"].to_string().len() < 1024);
    assert_eq!(aggregate_status(&template, &[]), None);
    assert_eq!(health(&live), ResourceHealth::Healthy);
}
