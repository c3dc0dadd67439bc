//! `autoscaling/v2` HorizontalPodAutoscaler: one in each member, which scales what runs there.

use serde_json::Value;

use super::counters;
use crate::interpreter::{Kind, StatusItem, present_status};

const COUNTERS: [&str; 2] = ["currentReplicas", "desiredReplicas"];

pub(super) const KIND: Kind = Kind {
    aggregate_status: Some(aggregate_status),
    reflect_status: Some(reflect_status),
    ..Kind::of("autoscaling/v2", "HorizontalPodAutoscaler")
};

fn reflect_status(live: &Value) -> Option<Value> {
    counters::reflect_plainly(live, &COUNTERS).map(Value::Object)
}

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    let mut status = present_status(template);
    counters::sum(&mut status, items, &COUNTERS);
    Some(Value::Object(status))
}
