//! What one copy of a pod needs of a cluster (Karmada 1.19, `GenerateReplicaRequirements`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{NodeSelector, Toleration},
    apimachinery::pkg::api::resource::Quantity as Text,
};
use pando_api::work::{NodeClaim, ReplicaRequirements};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::quantity::Quantity;

const NANOS: i128 = 1_000_000_000;
const BINARY_SUFFIXES: [(&str, i128); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

/// The requirements of a pod spec; `None` when it asks for nothing in particular.
pub(super) fn requirements(spec: &Value) -> Option<ReplicaRequirements> {
    let node_claim = node_claim(spec);
    let requests = requests(spec);
    if node_claim.is_none() && requests.is_empty() {
        return None;
    }
    Some(ReplicaRequirements { node_claim, resource_request: requests, ..ReplicaRequirements::default() })
}

fn node_claim(spec: &Value) -> Option<NodeClaim> {
    let claim = NodeClaim {
        hard_node_affinity: typed::<NodeSelector>(
            spec.pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution"),
        ),
        node_selector: typed::<BTreeMap<String, String>>(spec.get("nodeSelector")).unwrap_or_default(),
        tolerations: typed::<Vec<Toleration>>(spec.get("tolerations")).unwrap_or_default(),
    };
    (claim != NodeClaim::default()).then_some(claim)
}

/// A part of the object in its own type. The hub's API server has validated it; what it accepted of an unknown future
/// version and we cannot read counts as not asked for.
fn typed<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    T::deserialize(value?).ok()
}

/// Containers add up, the largest init container is a floor, overhead comes on top.
fn requests(spec: &Value) -> BTreeMap<String, Text> {
    let mut total = BTreeMap::<String, Amount>::new();
    for container in list(spec, "containers") {
        for (resource, amount) in container_requests(container) {
            total.entry(resource).or_default().add(&amount);
        }
    }
    for container in list(spec, "initContainers") {
        for (resource, amount) in container_requests(container) {
            let floor = total.entry(resource).or_default();
            if amount.nanos > floor.nanos {
                *floor = amount;
            }
        }
    }
    for (resource, amount) in amounts(spec.get("overhead")) {
        total.entry(resource).or_default().add(&amount);
    }
    total.into_iter().map(|(resource, amount)| (resource, Text(amount.to_string()))).collect()
}

/// A limit without a request is a request of the same size.
fn container_requests(container: &Value) -> BTreeMap<String, Amount> {
    let resources = container.get("resources");
    let part = |name| amounts(resources.and_then(|resources| resources.get(name)));
    let mut requests = part("limits");
    requests.extend(part("requests"));
    requests
}

fn list<'v>(spec: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    spec.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn amounts(resources: Option<&Value>) -> BTreeMap<String, Amount> {
    let entries = resources.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(resource, text)| Some((resource.clone(), Amount::parse(text)?))).collect()
}

/// A quantity that remembers how it was written, as Go's does.
#[derive(Clone, Copy, Default)]
struct Amount {
    nanos: i128,
    binary: bool,
}

impl Amount {
    fn parse(text: &Value) -> Option<Self> {
        // A number is valid YAML for a quantity, too.
        let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
        Some(Self { nanos: Quantity::parse(&text).ok()?.nanos(), binary: text.ends_with('i') })
    }

    fn add(&mut self, other: &Self) {
        if self.nanos == 0 {
            self.binary = other.binary;
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = self.nanos / NANOS;
        if self.nanos % NANOS != 0 {
            return match self.nanos % 1_000_000 {
                0 => write!(f, "{}m", self.nanos / 1_000_000),
                _ => write!(f, "{}n", self.nanos),
            };
        }
        if self.binary
            && whole != 0
            && let Some((suffix, unit)) = BINARY_SUFFIXES.iter().find(|(_, unit)| whole % unit == 0)
        {
            return write!(f, "{}{suffix}", whole / unit);
        }
        write!(f, "{whole}")
    }
}
