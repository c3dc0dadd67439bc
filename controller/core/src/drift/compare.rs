//! Does the live object say everything that is desired?
//!
//! Fields that only the live object has are not drift: defaults, and what other managers add. Both sides come from API
//! servers that have normalised them, so scalars are compared exactly; only null and empty containers count as absent.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::quantity;

/// More than these are counted, not listed.
const LISTED: usize = 12;

/// Lists that API servers merge by key (`x-kubernetes-list-type: map` or a patch merge key in Kubernetes 1.36), by field name.
/// All other lists are compared whole, and all lists of other groups' kinds, where the same names mean other things: an additional RBAC subject or a dropped selector term *is* drift.
const KEYED_LISTS: [(&str, &[&str]); 20] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("resourceClaims", &["name"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("secrets", &["name"]),
    ("schedulingGates", &["name"]),
    ("claims", &["name"]),
    ("webhooks", &["name"]),
    ("matchConditions", &["name"]),
    ("variables", &["name"]),
    ("drivers", &["name"]),
    ("podGroupTemplates", &["name"]),
    ("ports", &["containerPort", "protocol"]),
];
const SERVICE_PORTS: &[&str] = &["port", "protocol"];

/// Fields of Kubernetes' kinds whose values (or whose map's values) are quantities. Elsewhere "1" and "1000m" are different texts.
const QUANTITIES: [&str; 14] = [
    "requests",
    "limits",
    "overhead",
    "capacity",
    "hard",
    "sizeLimit",
    "divisor",
    "averageValue",
    "min",
    "max",
    "default",
    "defaultRequest",
    "maxLimitRequestRatio",
    "storage",
];

/// Paths (without values) of what is desired and not so on the live object.
pub(super) fn differences(desired: &Value, live: &Value) -> Vec<String> {
    let mut found = Found::default();
    let is_native = is_native(desired);
    for map in ["labels", "annotations"] {
        let at = Path { text: format!("metadata.{map}"), field: map, is_native, quantity: false };
        found.object(&at, metadata(desired, map), metadata(live, map));
    }
    for (field, wanted) in desired.as_object().into_iter().flatten() {
        // The identity was looked up; items of a list have no apiVersion and kind.
        if !["apiVersion", "kind", "metadata", "status"].contains(&field.as_str()) {
            found.value(&Path { text: field.clone(), field, is_native, quantity: false }, wanted, live.get(field));
        }
    }
    found.listed()
}

/// Whether it is a kind of Kubernetes itself: only its group has no dot, or ends in `.k8s.io`.
fn is_native(object: &Value) -> bool {
    let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with(".k8s.io")
}

fn metadata<'v>(object: &'v Value, map: &str) -> Option<&'v Value> {
    object.get("metadata").and_then(|metadata| metadata.get(map))
}

/// Where a comparison is: for the message, and for what the place means.
struct Path<'p> {
    text: String,
    field: &'p str,
    is_native: bool,
    quantity: bool,
}

impl Path<'_> {
    fn child<'c>(&self, field: &'c str) -> Path<'c> {
        let plain = field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let text = if plain { format!("{}.{field}", self.text) } else { format!("{}[{field}]", self.text) };
        // Keys of a map of quantities are resource names; keys of a label map are never quantities.
        let is_quantity = || self.is_native && self.text.starts_with("spec") && QUANTITIES.contains(&field);
        Path { text, field, is_native: self.is_native, quantity: self.quantity || is_quantity() }
    }

    fn item(&self, label: &str) -> Path<'_> {
        let &Self { field, is_native, quantity, .. } = self;
        Path { text: format!("{}[{label}]", self.text), field, is_native, quantity }
    }
}

#[derive(Default)]
struct Found {
    paths: Vec<String>,
    more: usize,
}

impl Found {
    fn report(&mut self, at: &Path<'_>) {
        if self.paths.len() < LISTED {
            self.paths.push(at.text.clone());
        } else {
            self.more += 1;
        }
    }

    fn listed(mut self) -> Vec<String> {
        if self.more > 0 {
            self.paths.push(format!("and {} more", self.more));
        }
        self.paths
    }

    fn value(&mut self, at: &Path<'_>, desired: &Value, live: Option<&Value>) {
        match desired {
            Value::Null => {}
            Value::Object(_) => self.object(at, Some(desired), live),
            Value::Array(items) => self.list(at, items, live),
            scalar => {
                if !live.is_some_and(|live| same_scalar(at, scalar, live)) {
                    self.report(at);
                }
            }
        }
    }

    fn object(&mut self, at: &Path<'_>, desired: Option<&Value>, live: Option<&Value>) {
        let nothing = Map::new();
        let Some(desired) = desired.and_then(Value::as_object) else {
            return;
        };
        let live = match live {
            None | Some(Value::Null) => &nothing,
            Some(Value::Object(live)) => live,
            Some(_) => return self.report(at),
        };
        for (field, wanted) in desired {
            self.value(&at.child(field), wanted, live.get(field));
        }
    }

    fn list(&mut self, at: &Path<'_>, desired: &[Value], live: Option<&Value>) {
        let live: &[Value] = match live {
            None | Some(Value::Null) => &[],
            Some(Value::Array(live)) => live,
            Some(_) => return self.report(at),
        };
        if let Some(keys) = keys_of(at, desired)
            && let (Some(wanted), Some(found)) = (by_key(keys, desired), by_key(keys, live))
        {
            for (key, item) in &wanted {
                match found.get(key) {
                    Some(there) => self.value(&at.item(key), item, Some(there)),
                    None => self.report(&at.item(key)),
                }
            }
        } else if desired.len() == live.len() {
            for (position, (item, there)) in desired.iter().zip(live).enumerate() {
                self.value(&at.item(&position.to_string()), item, Some(there));
            }
        } else {
            self.report(at);
        }
    }
}

/// The merge keys of a list; `None` for lists that are one value.
fn keys_of(at: &Path<'_>, items: &[Value]) -> Option<&'static [&'static str]> {
    if !at.is_native {
        return None;
    }
    if at.text == "spec.ports" {
        return Some(SERVICE_PORTS);
    }
    let (_, keys) = KEYED_LISTS.iter().find(|(field, _)| *field == at.field)?;
    let first = keys.first()?;
    items.iter().all(|item| item.get(first).is_some()).then_some(*keys)
}

/// The items with their keys; `None` when a key is not unique, as two variables of one name in `env`.
fn by_key<'v>(keys: &[&str], items: &'v [Value]) -> Option<BTreeMap<String, &'v Value>> {
    let mut keyed = BTreeMap::new();
    for item in items {
        let parts = keys.iter().map(|key| match item.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            // The only key with a default.
            None => "TCP".to_owned(),
        });
        let key = parts.collect::<Vec<_>>().join("/");
        if keyed.insert(key, item).is_some() {
            return None;
        }
    }
    Some(keyed)
}

fn same_scalar(at: &Path<'_>, desired: &Value, live: &Value) -> bool {
    if desired == live {
        return true;
    }
    match (desired, live) {
        // 1 and 1.0 are one number to an API server.
        (Value::Number(desired), Value::Number(live)) => {
            matches!((desired.as_f64(), live.as_f64()), (Some(desired), Some(live)) if desired.total_cmp(&live).is_eq())
                && !(desired.is_i64() && live.is_i64())
        }
        (Value::String(_) | Value::Number(_), Value::String(live)) if at.quantity => {
            let desired = desired.as_str().map_or_else(|| desired.to_string(), str::to_owned);
            quantity::same(&desired, live)
        }
        _ => false,
    }
}
