//! What one copy of a pod needs of a cluster (Karmada 1.19, `GenerateReplicaRequirements`).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{NodeSelector, Toleration},
    apimachinery::pkg::api::resource::Quantity as Text,
};
use pando_api::work::{NodeClaim, ReplicaRequirements};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::list;
use crate::{
    manifest::text,
    quantity::{self, Quantity},
};

const NANOS: i128 = 1_000_000_000;
const BINARY_SUFFIXES: [(&str, i128); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

/// Whether two requirements mean the same: quantities have many texts.
pub(super) fn same(left: Option<&ReplicaRequirements>, right: Option<&ReplicaRequirements>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return left == right };
    let rest = |all: &ReplicaRequirements| ReplicaRequirements { resource_request: BTreeMap::new(), ..all.clone() };
    let (wanted, found) = (&left.resource_request, &right.resource_request);
    rest(left) == rest(right)
        && wanted.len() == found.len()
        && wanted
            .iter()
            .zip(found)
            .all(|((resource, amount), (other, found))| resource == other && quantity::same(&amount.0, &found.0))
}

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

/// What the kubelet needs at the worst moment: all containers together, or an init container beside the sidecars that
/// were started before it; requests of the pod as a whole replace the sum, overhead comes on top.
///
/// Sidecars are init containers that restart always: they run beside everything that comes after them.
fn requests(spec: &Value) -> BTreeMap<String, Text> {
    let mut total = Amounts::new();
    for container in list(spec, "containers") {
        add(&mut total, container_requests(container));
    }
    let (mut sidecars, mut floor) = (Amounts::new(), Amounts::new());
    for container in list(spec, "initContainers") {
        let mut present = sidecars.clone();
        add(&mut present, container_requests(container));
        raise(&mut floor, &present);
        if text(container, &["restartPolicy"]) == Some("Always") {
            sidecars = present;
        }
    }
    add(&mut total, sidecars);
    raise(&mut total, &floor);
    total.extend(amounts(spec.pointer("/resources/requests")));
    add(&mut total, amounts(spec.get("overhead")));
    total.into_iter().map(|(resource, amount)| (resource, Text(amount.to_string()))).collect()
}

type Amounts = BTreeMap<String, Amount>;

fn add(total: &mut Amounts, more: Amounts) {
    for (resource, amount) in more {
        total.entry(resource).or_default().add(&amount);
    }
}

fn raise(total: &mut Amounts, floor: &Amounts) {
    for (resource, amount) in floor {
        let have = total.entry(resource.clone()).or_default();
        if amount.nanos > have.nanos {
            *have = *amount;
        }
    }
}

/// A limit without a request is a request of the same size.
fn container_requests(container: &Value) -> Amounts {
    let resources = container.get("resources");
    let part = |name| amounts(resources.and_then(|resources| resources.get(name)));
    let mut requests = part("limits");
    requests.extend(part("requests"));
    requests
}

fn amounts(resources: Option<&Value>) -> Amounts {
    let entries = resources.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(resource, text)| Some((resource.clone(), Amount::parse(text)?))).collect()
}

/// A quantity that remembers whether it was written in powers of two. Its text is exact and not always Go's: 128M becomes
/// 128000000. Bindings are compared by value ([`same`]).
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
