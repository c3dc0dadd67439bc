//! `apps/v1` Deployment.

use pando_api::{annotations, labels};
use serde_json::{Map, Value};

use crate::{
    interpreter::{Interpreter, Replicas, StatusItem, integer, keep_spec_field, pod, set_counter},
    manifest::text,
};

const COUNTERS: [&str; 5] = [
    "replicas",
    "readyReplicas",
    "updatedReplicas",
    "availableReplicas",
    "unavailableReplicas",
];

/// The API server's default when `spec.replicas` is absent.
const DEFAULT_REPLICAS: i64 = 1;

pub(in crate::interpreter) struct Deployment;

impl Interpreter for Deployment {
    fn replicas(&self, object: &Value) -> Option<Replicas> {
        let spec = object.get("spec")?;
        let count = spec
            .get("replicas")
            .and_then(Value::as_i64)
            .unwrap_or(DEFAULT_REPLICAS);
        let requirements = spec.pointer("/template/spec").and_then(pod::requirements);
        Some(Replicas {
            count: i32::try_from(count.max(0)).unwrap_or(i32::MAX),
            requirements,
        })
    }

    fn revise_replicas(&self, object: &mut Value, count: i32) -> bool {
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
            return false;
        };
        spec.insert("replicas".to_owned(), Value::from(count));
        true
    }

    fn reflect_status(&self, live: &Value) -> Option<Value> {
        let status = live.get("status").filter(|status| status.is_object())?;
        let mut reflected = Map::new();
        set_counter(
            &mut reflected,
            "generation",
            live.pointer("/metadata/generation")
                .map_or(0, |g| g.as_i64().unwrap_or(0)),
        );
        set_counter(
            &mut reflected,
            "resourceTemplateGeneration",
            template_generation(live),
        );
        set_counter(
            &mut reflected,
            "observedGeneration",
            integer(status, "observedGeneration"),
        );
        for counter in COUNTERS {
            set_counter(&mut reflected, counter, integer(status, counter));
        }
        Some(Value::Object(reflected))
    }

    fn healthy(&self, live: &Value) -> bool {
        let status = live.get("status").unwrap_or(&Value::Null);
        let updated = integer(status, "updatedReplicas");
        let generation = live
            .get("metadata")
            .map_or(0, |metadata| integer(metadata, "generation"));
        let wanted = live.pointer("/spec/replicas").and_then(Value::as_i64);
        integer(status, "observedGeneration") == generation
            && wanted.is_none_or(|wanted| updated >= wanted)
            && integer(status, "availableReplicas") >= updated
    }

    fn aggregate_status(&self, template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
        let generation = template
            .get("metadata")
            .map_or(0, |metadata| integer(metadata, "generation"));
        let mut status = template
            .get("status")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let collected = || items.iter().filter_map(|item| item.status.as_ref());
        for counter in COUNTERS {
            set_counter(
                &mut status,
                counter,
                collected().map(|member| integer(member, counter)).sum(),
            );
        }
        let observed = collected().filter(|member| {
            integer(member, "observedGeneration") >= integer(member, "generation")
                && integer(member, "resourceTemplateGeneration") >= generation
        });
        if observed.count() == items.len() {
            set_counter(&mut status, "observedGeneration", generation);
        }
        Some(Value::Object(status))
    }

    fn retain(&self, desired: &mut Value, live: &Value) {
        // Karmada's rule: the label on the *template* hands the replicas over to the member (an autoscaler there).
        if text(desired, &["metadata", "labels", labels::RETAIN_REPLICAS])
            == Some(labels::RETAIN_REPLICAS_VALUE)
        {
            keep_spec_field(desired, live, "replicas");
        }
    }
}

fn template_generation(live: &Value) -> i64 {
    text(
        live,
        &["metadata", "annotations", annotations::TEMPLATE_GENERATION],
    )
    .and_then(|generation| generation.parse().ok())
    .unwrap_or_default()
}
