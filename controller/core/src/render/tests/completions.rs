//! A Job in several clusters.

use proptest::prelude::*;

use super::*;

/// A binding of a Job with `completions`, divided or not, over `targets`.
fn job<const N: usize>(completions: Value, scheduling: &str, targets: [(&str, i32); N]) -> World {
    let mut world = world().placed(targets).settled();
    world.works.clear();
    world.template = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "sum", "namespace": "prod", "uid": "t-1", "generation": 1},
        "spec": {"parallelism": 10, "completions": completions, "template": {"spec": {"containers": [{"name": "a"}]}}},
    });
    let placement = json!({"replicaScheduling": {"replicaSchedulingType": scheduling}});
    world.binding.spec.placement = Some(serde_json::from_value(placement).unwrap());
    world
}

/// Parallelism and completions in each cluster.
fn shares(world: World) -> Vec<(Value, Value)> {
    let settled = world.settled();
    settled.works.values().map(manifest_of).collect()
}

fn manifest_of(work: &Arc<Work>) -> (Value, Value) {
    let spec = &manifest(work)["spec"];
    (spec["parallelism"].clone(), spec["completions"].clone())
}

#[test]
fn completions_follow_the_replicas() {
    let both = |parallelism: i64, completions: i64| (json!(parallelism), json!(completions));
    assert_eq!(
        shares(job(json!(25), "Divided", [("bj", 5), ("sh", 3), ("sz", 2)])),
        [both(5, 12), both(3, 8), both(2, 5)],
        "12.5, 7.5 and 5: the remainder goes where the tie-break of the template says"
    );
    assert_eq!(
        shares(job(json!(10), "Divided", [("bj", 5), ("sh", 3), ("sz", 2)])),
        [both(5, 5), both(3, 3), both(2, 2)]
    );
    assert_eq!(
        shares(job(json!(4), "Divided", [("bj", 4), ("sh", 0)])),
        [both(4, 4), both(0, 0)],
        "where no pod may run nothing is left to do"
    );
}

#[test]
fn a_duplicated_job_is_done_everywhere_in_full_and_a_work_queue_has_nothing_to_divide() {
    let both = |parallelism: i64, completions: Value| (json!(parallelism), completions);
    assert_eq!(shares(job(json!(6), "Duplicated", [("bj", 10), ("sh", 10)])), [both(10, json!(6)), both(10, json!(6))]);
    assert_eq!(
        shares(job(Value::Null, "Divided", [("bj", 6), ("sh", 4)])),
        [both(6, Value::Null), both(4, Value::Null)]
    );
}

#[test]
fn a_deployment_has_no_completions() {
    let mut world = world().placed([("bj", 6), ("sh", 4)]);
    let placement = json!({"replicaScheduling": {"replicaSchedulingType": "Divided"}});
    world.binding.spec.placement = Some(serde_json::from_value(placement).unwrap());
    world.template["spec"]["completions"] = json!(3);
    assert_eq!(shares(world), [(Value::Null, json!(3)), (Value::Null, json!(3))]);
}

proptest! {
    // A case renders, writes and reads back three Works.
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_shares_add_up_and_leave_no_pod_without_work(
        replicas in prop::array::uniform3(0..40_i32), more in 0..100_i64,
    ) {
        let [bj, sh, sz] = replicas;
        let completions = i64::from(bj + sh + sz) + more;
        let shares = shares(job(json!(completions), "Divided", [("bj", bj), ("sh", sh), ("sz", sz)]));
        let number = |value: &Value| value.as_i64().unwrap();
        prop_assert_eq!(shares.iter().map(|(_, share)| number(share)).sum::<i64>(), completions);
        prop_assert!(shares.iter().all(|(parallelism, share)| number(share) >= number(parallelism)));
    }
}
