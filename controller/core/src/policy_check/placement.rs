//! Rules for placements and cluster affinities.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Toleration;
use pando_api::policy::{ClusterAffinity, ClusterAffinityTerm, Placement, SpreadConstraint, SpreadField};

use crate::{
    scheduler::{Strategy, strategy_of},
    selector,
};

use super::Invalid;

/// The longest affinity name.
const AFFINITY_NAME_MAX: usize = 32;

/// What is wrong with a placement at `path`.
#[must_use]
pub fn invalid_placement(placement: &Placement, path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    if placement.cluster_affinity.is_some() && !placement.cluster_affinities.is_empty() {
        found.push(Invalid::new(path, "clusterAffinity and clusterAffinities exclude each other: keep one of them"));
    }
    if let Some(affinity) = &placement.cluster_affinity {
        found.extend(invalid_affinity(affinity, &format!("{path}.clusterAffinity")));
    }
    found.extend(invalid_terms(placement, &format!("{path}.clusterAffinities")));
    for (index, toleration) in placement.cluster_tolerations.iter().enumerate() {
        found.extend(invalid_toleration(toleration, &format!("{path}.clusterTolerations[{index}]")));
    }
    found.extend(invalid_spread(&placement.spread_constraints, &format!("{path}.spreadConstraints")));
    found.extend(invalid_weights(placement, &format!("{path}.replicaScheduling.weightPreference.staticWeightList")));
    found.extend(invalid_company(placement, &format!("{path}.workloadAffinity")));
    found
}

/// What is wrong with a cluster affinity at `path`.
#[must_use]
pub fn invalid_affinity(affinity: &ClusterAffinity, path: &str) -> Vec<Invalid> {
    let labels = affinity.label_selector.iter().flat_map(selector::label_selector_problems);
    let expressions = affinity.field_selector.iter().map(|fields| &fields.match_expressions);
    let fields = expressions.flat_map(|expressions| selector::field_selector_problems(expressions));
    let labels = labels.map(|problem| Invalid::below(&format!("{path}.labelSelector"), problem));
    labels.chain(fields.map(|problem| Invalid::below(&format!("{path}.fieldSelector"), problem))).collect()
}

fn invalid_terms(placement: &Placement, path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for (index, term) in placement.cluster_affinities.iter().enumerate() {
        let path = format!("{path}[{index}]");
        found.extend(invalid_affinity_name(&term.affinity_name, &path));
        if !names.insert(&term.affinity_name) {
            let message = format!("{:?} is used twice: give each term its own name", term.affinity_name);
            found.push(Invalid::new(format!("{path}.affinityName"), message));
        }
        found.extend(invalid_affinity(&term.affinity, &path));
        found.extend(invalid_overflow(placement, term, &path));
    }
    found
}

fn invalid_affinity_name(name: &str, path: &str) -> Option<Invalid> {
    if name.len() > AFFINITY_NAME_MAX {
        let message = format!("{name:?} is longer than {AFFINITY_NAME_MAX} characters: shorten it");
        return Some(Invalid::new(format!("{path}.affinityName"), message));
    }
    selector::label_key_problem(name).map(|message| Invalid::new(format!("{path}.affinityName"), message))
}

fn invalid_overflow(placement: &Placement, term: &ClusterAffinityTerm, path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    if !term.overflow_affinities.is_empty() && !matches!(strategy_of(placement), Strategy::NotBuilt(_)) {
        let message = "tiers need to know how much fits: set dynamicWeight, or replicaDivisionPreference Aggregated";
        found.push(Invalid::new(format!("{path}.overflowAffinities"), message));
    }
    for (index, tier) in term.overflow_affinities.iter().enumerate() {
        let path = format!("{path}.overflowAffinities[{index}]");
        found.extend(invalid_affinity_name(&tier.affinity_name, &path));
        if tier.affinity == ClusterAffinity::default() {
            found.push(Invalid::new(path.as_str(), "an empty tier selects every cluster: say which ones"));
        }
        found.extend(invalid_affinity(&tier.affinity, &path));
    }
    found
}

fn invalid_toleration(toleration: &Toleration, path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    let key = toleration.key.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" if key.is_empty() => {
            found.push(Invalid::new(
                format!("{path}.operator"),
                "without a key it must be Exists, which tolerates every taint",
            ));
        }
        "" | "Equal" => found
            .extend(selector::label_value_problem(value).map(|message| Invalid::new(format!("{path}.value"), message))),
        "Exists" if !value.is_empty() => {
            found.push(Invalid::new(format!("{path}.value"), "Exists takes no value: remove it"));
        }
        "Exists" => {}
        other => found
            .push(Invalid::new(format!("{path}.operator"), format!("unknown operator {other:?}: use Equal or Exists"))),
    }
    if !key.is_empty() {
        found.extend(selector::label_key_problem(key).map(|message| Invalid::new(format!("{path}.key"), message)));
    }
    match toleration.effect.as_deref().unwrap_or_default() {
        "NoExecute" => {}
        _ if toleration.toleration_seconds.is_some() => {
            found.push(Invalid::new(
                format!("{path}.effect"),
                "tolerationSeconds goes with NoExecute only: set it, or remove the seconds",
            ));
        }
        "" | "NoSchedule" | "PreferNoSchedule" => {}
        other => {
            let message = format!("unknown effect {other:?}: use NoSchedule, PreferNoSchedule or NoExecute");
            found.push(Invalid::new(format!("{path}.effect"), message));
        }
    }
    found
}

fn invalid_spread(constraints: &[SpreadConstraint], path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    let mut fields = BTreeSet::new();
    for (index, constraint) in constraints.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let field = constraint.spread_by_field;
        let by_label = !constraint.spread_by_label.is_empty();
        if field.is_some() && by_label {
            found.push(Invalid::new(
                path.as_str(),
                "spreadByField and spreadByLabel exclude each other: keep one of them",
            ));
        }
        let (min, max) = (constraint.min_groups, constraint.max_groups);
        for (name, groups) in [("minGroups", min), ("maxGroups", max)] {
            if groups < 0 {
                found.push(Invalid::new(format!("{path}.{name}"), format!("{groups} is below 0: use 0 or more")));
            }
        }
        if max > 0 && max < min {
            let message = format!("{max} is below minGroups {min}: raise it, or lower minGroups");
            found.push(Invalid::new(format!("{path}.maxGroups"), message));
        }
        if let Some(field) = field
            && !fields.insert(field)
        {
            found.push(Invalid::new(
                format!("{path}.spreadByField"),
                format!("{field} is constrained twice: merge the two"),
            ));
        }
    }
    if !fields.is_empty() && !fields.contains(&SpreadField::Cluster) {
        found.push(Invalid::new(path, "spreadByField needs a constraint on cluster as well: add one"));
    }
    found
}

fn invalid_weights(placement: &Placement, path: &str) -> Vec<Invalid> {
    let preference = placement.replica_scheduling.as_ref().and_then(|scheduling| scheduling.weight_preference.as_ref());
    let mut found = Vec::new();
    for (index, rule) in preference.iter().flat_map(|preference| &preference.static_weight_list).enumerate() {
        if rule.weight < 1 {
            found.push(Invalid::new(
                format!("{path}[{index}].weight"),
                format!("{} is below 1: use 1 or more", rule.weight),
            ));
        }
        found.extend(invalid_affinity(&rule.target_cluster, &format!("{path}[{index}].targetCluster")));
    }
    found
}

fn invalid_company(placement: &Placement, path: &str) -> Vec<Invalid> {
    let Some(company) = &placement.workload_affinity else {
        return Vec::new();
    };
    let together = company.affinity.as_ref().map(|affinity| affinity.group_by_label_key.as_str());
    let apart = company.anti_affinity.as_ref().map(|affinity| affinity.group_by_label_key.as_str());
    let mut found = Vec::new();
    for (name, key) in [("affinity", together), ("antiAffinity", apart)] {
        let problem = key.and_then(selector::label_key_problem);
        found.extend(problem.map(|message| Invalid::new(format!("{path}.{name}.groupByLabelKey"), message)));
    }
    if together.is_some() && together == apart {
        found
            .push(Invalid::new(path, "affinity and antiAffinity group by the same label: no cluster can satisfy both"));
    }
    found
}
