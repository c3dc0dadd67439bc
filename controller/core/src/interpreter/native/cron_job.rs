//! `batch/v1` CronJob.

use serde_json::Value;

use crate::{
    interpreter::{Dependency, Kind, StatusItem, dependencies, list, present_status},
    manifest::text,
};

pub(super) const KIND: Kind =
    Kind { aggregate_status: Some(aggregate_status), dependencies: Some(needs), ..Kind::of("batch/v1", "CronJob") };

/// All running Jobs, and the last times of all members.
fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    let mut status = present_status(template);
    let collected = || items.iter().filter_map(|item| item.status.as_ref());
    let active: Vec<_> = collected().flat_map(|member| list(member, "active")).cloned().collect();
    if active.is_empty() {
        status.remove("active");
    } else {
        status.insert("active".to_owned(), Value::Array(active));
    }
    for time in ["lastScheduleTime", "lastSuccessfulTime"] {
        // Times of the API are in UTC and of one length: they order as text.
        match collected().filter_map(|member| text(member, &[time])).max() {
            Some(last) => status.insert(time.to_owned(), Value::from(last)),
            None => status.remove(time),
        };
    }
    Some(Value::Object(status))
}

fn needs(template: &Value) -> Vec<Dependency> {
    dependencies::of_pod(template, "/spec/jobTemplate/spec/template/spec")
}
