//! What a hub's API server makes of a status is no reason to write it again.

use super::*;
use crate::interpreter::{
    real::{names, pair},
    reflect_status,
};

/// Go's way to write a type: these fields are always there.
fn written_out(status: &mut Value) {
    let zeroes = ["replicas", "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];
    for field in zeroes.into_iter().chain(["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]) {
        status.as_object_mut().unwrap().entry(field).or_insert(json!(0));
    }
    for container in status.get_mut("containerStatuses").and_then(Value::as_array_mut).into_iter().flatten() {
        let container = container.as_object_mut().unwrap();
        for (field, zero) in
            [("lastState", json!({})), ("restartCount", json!(0)), ("image", json!("")), ("imageID", json!(""))]
        {
            container.entry(field).or_insert(zero);
        }
    }
    let ingresses = status.pointer_mut("/loadBalancer/ingress").and_then(Value::as_array_mut);
    for ingress in ingresses.into_iter().flatten().filter(|ingress| ingress.get("ip").is_some()) {
        ingress.as_object_mut().unwrap().entry("ipMode").or_insert(json!("VIP"));
    }
}

/// Go's way to leave out what is empty.
fn left_out(status: &mut Value) {
    status.as_object_mut().unwrap().retain(|_, value| *value != json!(0) && *value != json!({}) && *value != json!([]));
}

fn item(cluster: &str, status: Option<Value>) -> pando_api::work::AggregatedStatusItem {
    let mut item = status_of(&[cluster], &[working(cluster, 5)], None, 9).aggregated_status.remove(0);
    item.status = status.map(|status| EmbeddedObject::from_value(&status).unwrap());
    item
}

fn reports(name: &str) -> Vec<Option<Value>> {
    let (template, live) = pair(name);
    let mut reports = vec![None, reflect_status(&live), reflect_status(&template)];
    if let Some(mut other) = reflect_status(&live) {
        other["loadBalancer"] = json!({"ingress": [{"ip": "10.0.0.7"}, {"hostname": "lb"}]});
        other["containerStatuses"] = json!([
            {"name": "app", "ready": false, "state": {"terminated": {"exitCode": 1}}},
            {"name": "side", "ready": true, "restartCount": 3, "state": {"running": {}}},
        ]);
        reports.push(Some(other));
    }
    reports
}

proptest! {
    #[test]
    fn of_every_kind_a_status_is_written_once_whatever_servers_fill_in(
        name in prop::sample::select(names()), picks in prop::collection::vec(0..4_usize, 1..5),
    ) {
        let (mut template, _) = pair(&name);
        if name == "service" {
            template["spec"]["type"] = json!("LoadBalancer");
        }
        let reports = reports(&name);
        let items: Vec<_> = ["bj", "gz", "sh", "sz"].into_iter().zip(&picks)
            .map(|(cluster, pick)| item(cluster, reports.get(*pick).cloned().flatten()))
            .collect();
        if let Some(status) = template_of(&template, &items) {
            for fill in [written_out, left_out] {
                let mut stored = template.clone();
                stored["status"] = status.clone();
                fill(&mut stored["status"]);
                prop_assert_eq!(template_of(&stored, &items), None, "{}: {}", name, stored["status"]);
            }
        }
    }
}

#[test]
fn every_kind_with_a_sum_is_among_the_real_objects() {
    let has_sum = |name: &&String| {
        let (template, _) = pair(name);
        crate::interpreter::aggregates(template["apiVersion"].as_str().unwrap(), template["kind"].as_str().unwrap())
    };
    assert!(names().iter().filter(has_sum).count() >= 12);
}
