//! Which objects a label selector selects, and which clusters a cluster affinity does.
//!
//! A selector that is not valid selects nothing here (as in Karmada 1.19); [`label_selector_problems`] and
//! [`field_selector_problems`] say what is wrong with it.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::core::v1::NodeSelectorRequirement,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use pando_api::policy::ClusterAffinity;

use crate::cluster_facts::ClusterFacts;

mod syntax;
#[cfg(test)]
mod tests;

pub use syntax::{label_key_problem, label_value_problem};

/// Labels or annotations of an object.
pub type Labels = BTreeMap<String, String>;

/// The cluster fields that a field selector may name.
pub const CLUSTER_FIELDS: [&str; 3] = ["provider", "region", "zone"];

/// Something wrong inside a selector: the path below the selector, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path below the selector: `matchExpressions[0].operator`.
    pub path: String,
    /// The cause and the fix, in one line.
    pub message: String,
}

impl Problem {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Whether a label selector selects these labels. The empty selector selects everything.
#[must_use]
pub fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let pairs = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    pairs.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().all(|expression| expression_selects(expression, labels))
}

/// Whether a label selector can select anything: one with a requirement that is not valid selects nothing.
#[must_use]
pub fn can_select(selector: &LabelSelector) -> bool {
    selector.match_expressions.iter().flatten().all(|expression| {
        let values = expression.values.as_deref().unwrap_or_default();
        matches!((expression.operator.as_str(), values), ("Exists" | "DoesNotExist", []) | ("In" | "NotIn", [_, ..]))
    })
}

fn expression_selects(expression: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let values = expression.values.as_deref().unwrap_or_default();
    let value = labels.get(&expression.key);
    match (expression.operator.as_str(), values) {
        ("Exists", []) => value.is_some(),
        ("DoesNotExist", []) => value.is_none(),
        ("In", [_, ..]) => value.is_some_and(|value| values.contains(value)),
        ("NotIn", [_, ..]) => value.is_none_or(|value| !values.contains(value)),
        _ => false, // not valid
    }
}

/// What is wrong with a label selector, by the rules of Kubernetes. Empty when it is valid.
#[must_use]
pub fn label_selector_problems(selector: &LabelSelector) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in selector.match_labels.iter().flatten() {
        let path = format!("matchLabels[{key}]");
        problems.extend(label_key_problem(key).map(|message| Problem::new(&path, message)));
        problems.extend(label_value_problem(value).map(|message| Problem::new(&path, message)));
    }
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = format!("matchExpressions[{index}]");
        problems.extend(label_key_problem(&expression.key).map(|message| Problem::new(format!("{path}.key"), message)));
        problems.extend(
            values_problem(expression).map(|(field, message)| Problem::new(format!("{path}.{field}"), message)),
        );
    }
    problems
}

fn values_problem(expression: &LabelSelectorRequirement) -> Option<(&'static str, String)> {
    let values = expression.values.as_deref().unwrap_or_default();
    match (expression.operator.as_str(), values) {
        ("In" | "NotIn", []) => Some(("values", format!("{} needs at least one value", expression.operator))),
        ("In" | "NotIn", values) => values.iter().find_map(|value| Some(("values", label_value_problem(value)?))),
        ("Exists" | "DoesNotExist", []) => None,
        ("Exists" | "DoesNotExist", _) => {
            Some(("values", format!("{} takes no values: remove them", expression.operator)))
        }
        (unknown, _) => {
            Some(("operator", format!("unknown operator {unknown:?}: use In, NotIn, Exists or DoesNotExist")))
        }
    }
}

/// What is wrong with the expressions of a cluster field selector: only provider, region and zone with In and NotIn are
/// accepted, as by Karmada's webhook. Empty when it is valid.
#[must_use]
pub fn field_selector_problems(expressions: &[NodeSelectorRequirement]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, expression) in expressions.iter().enumerate() {
        let path = format!("matchExpressions[{index}]");
        if !CLUSTER_FIELDS.contains(&expression.key.as_str()) {
            let message = format!("unknown cluster field {:?}: use provider, region or zone", expression.key);
            problems.push(Problem::new(format!("{path}.key"), message));
        }
        if !matches!(expression.operator.as_str(), "In" | "NotIn") {
            let message = format!("unsupported operator {:?}: use In or NotIn", expression.operator);
            problems.push(Problem::new(format!("{path}.operator"), message));
        }
        if expression.values.as_deref().unwrap_or_default().is_empty() {
            problems.push(Problem::new(format!("{path}.values"), "at least one value is needed"));
        }
    }
    problems
}

/// Which part of a cluster affinity rules a cluster out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// `exclude` names the cluster.
    Excluded,
    /// `labelSelector` does not select its labels.
    Labels,
    /// `fieldSelector` does not select this field.
    Field {
        /// `provider`, `region` or `zone`, or what was written instead.
        key: String,
    },
    /// `clusterNames` lists others.
    NotNamed,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded => f.write_str("exclude names it"),
            Self::Labels => f.write_str("labelSelector does not select its labels"),
            Self::Field { key } => write!(f, "fieldSelector does not select its {key}"),
            Self::NotNamed => f.write_str("clusterNames does not name it"),
        }
    }
}

/// Whether a cluster affinity matches a cluster: not excluded, and selected by every part that is given.
///
/// # Errors
///
/// The first [`Mismatch`] in the order exclude, labels, fields, names.
pub fn cluster_matches(affinity: &ClusterAffinity, cluster: &ClusterFacts) -> Result<(), Mismatch> {
    let name = cluster.name.as_ref();
    if affinity.exclude.iter().any(|excluded| excluded == name) {
        return Err(Mismatch::Excluded);
    }
    if let Some(selector) = &affinity.label_selector
        && !selects(selector, &cluster.labels)
    {
        return Err(Mismatch::Labels);
    }
    let fields = affinity.field_selector.iter().flat_map(|selector| &selector.match_expressions);
    for expression in fields {
        if !field_selects(expression, cluster) {
            return Err(Mismatch::Field { key: expression.key.clone() });
        }
    }
    if !affinity.cluster_names.is_empty() && !affinity.cluster_names.iter().any(|named| named == name) {
        return Err(Mismatch::NotNamed);
    }
    Ok(())
}

/// A cluster may lie in several zones: In means any of them is listed, NotIn that none is.
fn field_selects(expression: &NodeSelectorRequirement, cluster: &ClusterFacts) -> bool {
    let values = expression.values.as_deref().unwrap_or_default();
    let listed = match expression.key.as_str() {
        "provider" => cluster.provider.as_ref().is_some_and(|provider| values.contains(provider)),
        "region" => cluster.region.as_ref().is_some_and(|region| values.contains(region)),
        "zone" => cluster.zones.iter().any(|zone| values.contains(zone)),
        _ => return false, // not valid
    };
    match expression.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        _ => false, // not valid
    }
}
