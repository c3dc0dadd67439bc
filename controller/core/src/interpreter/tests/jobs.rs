//! One Job out of those in the members.

use super::*;

const START: &str = "2026-11-23T04:55:17Z";
const END: &str = "2026-11-23T04:55:19Z";

fn template() -> Value {
    pair("job").0
}

fn running(active: i64, succeeded: i64) -> Value {
    json!({"active": active, "succeeded": succeeded, "startTime": START})
}

fn failed(at: &str) -> Value {
    json!({"failed": 7, "startTime": START, "conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": at}]})
}

fn complete() -> Value {
    reflect_status(&pair("job").1).unwrap()
}

fn items<'a>(statuses: &[(&'a str, Option<Value>)]) -> Vec<StatusItem<'a>> {
    statuses.iter().map(|(cluster, status)| StatusItem { cluster, status: status.clone() }).collect()
}

fn types(status: &Value) -> Vec<&str> {
    list(status, "conditions").map(|condition| condition["type"].as_str().unwrap()).collect()
}

#[test]
fn replicas_are_the_parallelism_but_no_more_than_the_completions() {
    let of = |parallelism: Value, completions: Value| {
        let mut job = template();
        job["spec"]["parallelism"] = parallelism;
        job["spec"]["completions"] = completions;
        replicas(&manifest(job)).unwrap().count
    };
    assert_eq!(of(json!(3), json!(6)), 3);
    assert_eq!(of(json!(8), json!(6)), 6);
    assert_eq!(of(json!(3), Value::Null), 3, "a work queue");
    assert_eq!(of(Value::Null, json!(6)), 1, "the API's default");
}

#[test]
fn revising_sets_the_parallelism() {
    let mut job = manifest(template());
    assert!(revise_replicas(&mut job, 2));
    assert_eq!((&job.value()["spec"]["parallelism"], &job.value()["spec"]["completions"]), (&json!(2), &json!(6)));
}

#[test]
fn a_real_finished_job_reports_counters_times_and_conditions() {
    let status = complete();
    assert_eq!(
        (&status["succeeded"], &status["startTime"], &status["completionTime"]),
        (&json!(6), &json!(START), &json!(END))
    );
    assert_eq!(types(&status), ["SuccessCriteriaMet", "Complete"]);
    assert_eq!(status.get("uncountedTerminatedPods"), None);
}

#[test]
fn it_is_complete_when_all_are_and_says_first_that_its_criteria_are_met() {
    let all = items(&[("bj", Some(complete())), ("sh", Some(complete()))]);
    let status = aggregate_status(&template(), &all).unwrap();
    assert_eq!(
        (&status["succeeded"], &status["startTime"], &status["completionTime"]),
        (&json!(12), &json!(START), &json!(END))
    );
    assert_eq!(
        types(&status),
        ["SuccessCriteriaMet", "Complete"],
        "the hub's API server refuses the one without the other"
    );
    assert_eq!(status["conditions"][1]["lastTransitionTime"], END, "no clock is asked");

    let some = items(&[("bj", Some(complete())), ("sh", Some(running(1, 2)))]);
    let status = aggregate_status(&template(), &some).unwrap();
    assert_eq!((types(&status), status.get("completionTime")), (vec![], None));
    let not_all_have_answered = items(&[("bj", Some(complete())), ("sh", None)]);
    assert_eq!(types(&aggregate_status(&template(), &not_all_have_answered).unwrap()), Vec::<&str>::new());
    assert_eq!(
        types(&aggregate_status(&template(), &[]).unwrap()),
        Vec::<&str>::new(),
        "no members are not all members"
    );
}

#[test]
fn one_failure_fails_it_as_soon_as_no_pod_runs() {
    let while_others_run = items(&[("bj", Some(failed(END))), ("sh", Some(running(2, 1)))]);
    let status = aggregate_status(&template(), &while_others_run).unwrap();
    assert_eq!(types(&status), ["FailureTarget"], "the hub's API server refuses Failed with active pods");
    assert_eq!(status["conditions"][0]["message"], "the Job failed in member clusters bj");

    let afterwards = items(&[("bj", Some(failed(END))), ("sh", Some(failed(START)))]);
    let status = aggregate_status(&template(), &afterwards).unwrap();
    assert_eq!(types(&status), ["FailureTarget", "Failed"]);
    assert_eq!(status["conditions"][1]["message"], "the Job failed in member clusters bj, sh");
    assert_eq!(status["failed"], 14);
}

#[test]
fn of_many_failed_members_the_first_are_named() {
    let clusters: Vec<_> = (10..22).map(|number| format!("m{number}")).collect();
    let all: Vec<_> = clusters.iter().map(|cluster| (cluster.as_str(), Some(failed(END)))).collect();
    let status = aggregate_status(&template(), &items(&all)).unwrap();
    let message = &status["conditions"][0]["message"];
    assert_eq!(message, "the Job failed in member clusters m10, m11, m12, m13, m14, m15, m16, m17 and 4 more");
}

#[test]
fn a_failure_stays_when_its_member_leaves() {
    let mut job = template();
    let items_before = items(&[("bj", Some(failed(END))), ("sh", Some(running(2, 1)))]);
    job["status"] = aggregate_status(&job, &items_before).unwrap();
    let status = aggregate_status(&job, &items(&[("sh", Some(complete()))])).unwrap();
    assert_eq!(types(&status), ["FailureTarget", "Failed"]);
    assert_eq!(status["conditions"][0], job["status"]["conditions"][0]);
}

#[test]
fn counters_never_go_back_and_the_start_is_written_once() {
    let mut job = template();
    job["status"] = json!({"succeeded": 5, "failed": 1, "active": 3, "startTime": "2026-11-23T04:00:00Z"});
    let status = aggregate_status(&job, &items(&[("bj", Some(running(1, 2)))])).unwrap();
    assert_eq!(status, json!({"active": 1, "succeeded": 5, "failed": 1, "startTime": "2026-11-23T04:00:00Z"}));
    let one_started = items(&[("bj", Some(running(1, 2))), ("sh", None)]);
    assert_eq!(
        aggregate_status(&template(), &one_started).unwrap().get("startTime"),
        None,
        "sh may have started earlier"
    );
}

#[test]
fn a_finished_job_is_left_alone() {
    let mut job = template();
    job["status"] = aggregate_status(&job, &items(&[("bj", Some(complete()))])).unwrap();
    assert_eq!(aggregate_status(&job, &items(&[("bj", Some(running(1, 0)))])), None);
}

#[test]
fn the_generated_selector_and_labels_are_the_members() {
    let (template, live) = pair("job");
    let mut desired = manifest(template).into_value();
    assert_eq!(desired["spec"].get("selector"), None);
    desired["spec"]["template"]["metadata"]["labels"]["app"] = json!("edited");
    retain(&mut desired, &live);
    assert_eq!(desired["spec"]["selector"], live["spec"]["selector"]);
    let labels = &desired["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["controller-uid"], live["metadata"]["uid"]);
    assert_eq!(labels["app"], "edited", "the member will refuse that, and say why");
}

#[test]
fn a_job_with_its_own_selector_keeps_it() {
    let (mut template, live) = pair("job");
    template["spec"]["manualSelector"] = json!(true);
    template["spec"]["selector"] = json!({"matchLabels": {"job-name": "mine"}});
    let mut desired = manifest(template.clone()).into_value();
    retain(&mut desired, &live);
    assert_eq!(desired["spec"]["selector"], template["spec"]["selector"]);
}
