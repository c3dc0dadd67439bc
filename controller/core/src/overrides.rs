//! Which override policies change an object for a cluster, and the changed object.
//!
//! Order (Karmada 1.19): all ClusterOverridePolicies, then the OverridePolicies of the object's namespace; inside each
//! class by how specific the selector is (all < label < name), then by name; so what is more specific is applied last and
//! wins. Inside a rule: image, command, args, labels, annotations, field, plaintext.
//!
//! Beyond Karmada: no override may change what the object *is* (group, kind, namespace, name) or whose it is (our labels
//! and annotations). A tenant could otherwise have a privileged controller write any object into members. And a policy that
//! cannot be applied as it is written is never passed over: what it selects, or might, changes in no cluster until it is
//! mended. Without the override, an image could come from a registry that a cluster must not use.

mod image;
mod patch;
#[cfg(test)]
mod tests;

use std::fmt;

use pando_api::policy::{ClusterOverridePolicy, OverridePolicy, OverrideSpec, Overriders, ResourceSelector};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::{
    cluster_facts::ClusterFacts,
    manifest::{Identity, InvalidManifest, Manifest},
    ownership::{OUR_ANNOTATIONS, OUR_LABELS},
    policy_check,
    policy_match::{Specificity, TemplateFacts, selector_selects},
    selector::cluster_matches,
};

/// An override policy by kind and name. Prints as `OverridePolicy prod/faster` or `ClusterOverridePolicy faster`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRef {
    /// Namespace of an OverridePolicy; `None` for a ClusterOverridePolicy.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "OverridePolicy {namespace}/{}", self.name),
            None => write!(f, "ClusterOverridePolicy {}", self.name),
        }
    }
}

/// Why an object cannot be overridden for a cluster. No variant quotes a value of the object.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OverrideError {
    /// The policy breaks a rule, or says what this release does not do. It might mean every cluster.
    #[error("{policy} cannot be applied: {message}")]
    Invalid {
        /// The policy.
        policy: PolicyRef,
        /// Field, cause and fix of each problem, in one line.
        message: String,
    },
    /// An overrider does not fit the object.
    #[error("{policy}: {overrider} at {path} failed for {object}: {cause}; fix the overrider or the template")]
    Failed {
        /// The policy.
        policy: PolicyRef,
        /// Field of `overriders`, as `plaintext`.
        overrider: &'static str,
        /// Where in the object.
        path: String,
        /// The object.
        object: Box<Identity>,
        /// What is wrong.
        cause: String,
    },
    /// The result would be another object, or look like somebody else's.
    #[error(
        "{policy}: override rejected for {object}: it changes {field}; overrides may change neither the identity of an object nor Pando's marks"
    )]
    Rejected {
        /// The policy.
        policy: PolicyRef,
        /// The object.
        object: Box<Identity>,
        /// What it would change.
        field: String,
    },
    /// The result is not an object any more.
    #[error("{policy}: override rejected for {object}: {cause}")]
    Broken {
        /// The policy.
        policy: PolicyRef,
        /// The object.
        object: Box<Identity>,
        /// What is wrong.
        cause: InvalidManifest,
    },
}

/// One applied rule, as recorded in the applied-overrides annotations of a Work.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Name of the policy.
    pub policy_name: String,
    /// What it said.
    pub overriders: Overriders,
}

/// What was applied for one cluster, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppliedOverrides {
    /// Rules of ClusterOverridePolicies.
    pub cluster: Vec<Applied>,
    /// Rules of OverridePolicies.
    pub namespaced: Vec<Applied>,
}

/// The policies that select one template, in the order in which they apply. Chosen once, applied per cluster.
#[derive(Clone, Debug, Default)]
pub struct Selected<'p> {
    policies: Vec<(PolicyRef, &'p OverrideSpec)>,
    /// Those that cannot be applied, sorted, each with what is wrong with it.
    broken: Vec<(PolicyRef, String)>,
}

/// Chooses the policies that select an object. Policies of other namespaces never do.
///
/// An invalid policy, or one with fields that are not built, is chosen too, and makes [`Selected::apply`] fail. Where its
/// selector is what is broken, it counts for every object that the rest of the selector allows.
pub fn select<'p>(
    cluster_policies: impl IntoIterator<Item = &'p ClusterOverridePolicy>,
    policies: impl IntoIterator<Item = &'p OverridePolicy>,
    object: &Manifest,
) -> Selected<'p> {
    let cluster_scoped = cluster_policies.into_iter().map(|policy| {
        let name = policy.metadata.name.clone().unwrap_or_default();
        (PolicyRef { namespace: None, name }, &policy.spec)
    });
    let namespaced = policies.into_iter().filter_map(|policy| {
        let namespace = policy.metadata.namespace.clone()?;
        let name = policy.metadata.name.clone().unwrap_or_default();
        let reference = PolicyRef { namespace: Some(namespace), name };
        (reference.namespace.as_deref() == object.namespace()).then_some((reference, &policy.spec))
    });
    let facts = TemplateFacts {
        api_version: object.api_version().to_owned(),
        kind: object.kind().to_owned(),
        namespace: object.namespace().map(str::to_owned),
        name: object.name().to_owned(),
        labels: object.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..TemplateFacts::default()
    };
    let mut selected = Selected::default();
    selected.add(cluster_scoped, &facts);
    selected.add(namespaced, &facts);
    selected.broken.sort();
    selected
}

/// How specifically a policy selects the object, or might.
fn specificity(policy: &PolicyRef, spec: &OverrideSpec, facts: &TemplateFacts) -> Option<Specificity> {
    if spec.resource_selectors.is_empty() {
        return Some(Specificity::Kind); // no selectors select everything
    }
    let namespace = policy.namespace.as_deref();
    let selects =
        |selector| selector_selects(selector, namespace, facts).or_else(|| may_select(selector, namespace, facts));
    spec.resource_selectors.iter().filter_map(selects).max()
}

/// As [`selector_selects`] for a broken selector, without the parts that are broken; `None` for a sound one.
fn may_select(selector: &ResourceSelector, own_namespace: Option<&str>, facts: &TemplateFacts) -> Option<Specificity> {
    if policy_check::is_sound_selector(selector, own_namespace) {
        return None;
    }
    let or = |said: &str, any: &str| if said.is_empty() { any.to_owned() } else { said.to_owned() };
    let rest = ResourceSelector {
        api_version: or(&selector.api_version, &facts.api_version),
        kind: or(&selector.kind, &facts.kind),
        // In a namespaced policy it is either the policy's own or wrong.
        namespace: own_namespace.map_or_else(|| selector.namespace.clone(), |_| String::new()),
        name: selector.name.clone(),
        label_selector: None,
    };
    selector_selects(&rest, own_namespace, facts)
}

/// Why a policy cannot be applied as it is written, in one line; `None` when it can.
fn problems(spec: &OverrideSpec, namespace: Option<&str>) -> Option<String> {
    let invalid = policy_check::invalid_overrides(spec, namespace);
    let missing = policy_check::holding(&policy_check::not_built_in_overrides(spec));
    let lines: Vec<_> =
        invalid.iter().map(ToString::to_string).chain(missing.iter().map(ToString::to_string)).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

impl<'p> Selected<'p> {
    /// Adds those of one class that select the object, in their order.
    fn add(&mut self, policies: impl Iterator<Item = (PolicyRef, &'p OverrideSpec)>, facts: &TemplateFacts) {
        let mut matching = Vec::new();
        for (policy, spec) in policies {
            let Some(specificity) = specificity(&policy, spec, facts) else {
                continue;
            };
            match problems(spec, policy.namespace.as_deref()) {
                None => matching.push((specificity, policy, spec)),
                Some(message) => self.broken.push((policy, message)),
            }
        }
        matching.sort_by(|(a, left, _), (b, right, _)| a.cmp(b).then_with(|| left.name.cmp(&right.name)));
        self.policies.extend(matching.into_iter().map(|(_, policy, spec)| (policy, spec)));
    }

    /// Whether no policy selects the object, so that every cluster gets it as it is.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.broken.is_empty()
    }

    /// The object for one cluster, and what was applied to get there.
    ///
    /// # Errors
    /// [`OverrideError`] for every cluster when a policy cannot be applied at all, else on the first rule that fails or is
    /// rejected; the object is then not to be used for this cluster.
    pub fn apply(
        &self,
        object: Manifest,
        cluster: &ClusterFacts,
    ) -> Result<(Manifest, AppliedOverrides), OverrideError> {
        if let Some((policy, message)) = self.broken.first() {
            return Err(OverrideError::Invalid { policy: policy.clone(), message: message.clone() });
        }
        let mut object = object;
        let mut applied = AppliedOverrides::default();
        for (policy, spec) in &self.policies {
            for overriders in matching_rules(spec, cluster) {
                object = one_rule(policy, overriders, object)?;
                let record = Applied { policy_name: policy.name.clone(), overriders: overriders.clone() };
                let list = if policy.namespace.is_some() { &mut applied.namespaced } else { &mut applied.cluster };
                list.push(record);
            }
        }
        Ok((object, applied))
    }
}

/// The rules for a cluster. Without rules the deprecated `targetCluster` and `overriders` are the only one.
fn matching_rules<'s>(spec: &'s OverrideSpec, cluster: &ClusterFacts) -> Vec<&'s Overriders> {
    let matches = |target: Option<&_>| target.is_none_or(|affinity| cluster_matches(affinity, cluster).is_ok());
    if spec.override_rules.is_empty() {
        let said = spec.overriders != Overriders::default() && matches(spec.target_cluster.as_ref());
        return said.then_some(&spec.overriders).into_iter().collect();
    }
    let rules = spec.override_rules.iter().filter(|rule| matches(rule.target_cluster.as_ref()));
    rules.map(|rule| &rule.overriders).collect()
}

fn one_rule(policy: &PolicyRef, overriders: &Overriders, object: Manifest) -> Result<Manifest, OverrideError> {
    let identity = Box::new(object.identity());
    let before = object.clone();
    let mut value = object.into_value();
    overridden(overriders, &mut value).map_err(|problem| OverrideError::Failed {
        policy: policy.clone(),
        overrider: problem.overrider,
        path: problem.path,
        object: identity.clone(),
        cause: problem.cause,
    })?;
    let after = Manifest::from_value(value).map_err(|cause| OverrideError::Broken {
        policy: policy.clone(),
        object: identity.clone(),
        cause,
    })?;
    match changed_identity(&before, &after) {
        Some(field) => Err(OverrideError::Rejected { policy: policy.clone(), object: identity, field }),
        None => Ok(after),
    }
}

/// An overrider that does not fit, without the policy's name.
struct Problem {
    overrider: &'static str,
    path: String,
    cause: String,
}

fn overridden(overriders: &Overriders, value: &mut Value) -> Result<(), Problem> {
    // Destructured, so that a new kind of overrider cannot be forgotten.
    let Overriders {
        plaintext,
        image_overrider,
        command_overrider,
        args_overrider,
        labels_overrider,
        annotations_overrider,
        field_overrider,
    } = overriders;
    for overrider in image_overrider {
        image::apply(overrider, value)?;
    }
    for overrider in command_overrider {
        patch::command("commandOverrider", "command", overrider, value)?;
    }
    for overrider in args_overrider {
        patch::command("argsOverrider", "args", overrider, value)?;
    }
    for overrider in labels_overrider {
        patch::metadata("labelsOverrider", "labels", overrider, value)?;
    }
    for overrider in annotations_overrider {
        patch::metadata("annotationsOverrider", "annotations", overrider, value)?;
    }
    for overrider in field_overrider {
        patch::field(overrider, value)?;
    }
    patch::plaintext(plaintext, value)
}

fn changed_identity(before: &Manifest, after: &Manifest) -> Option<String> {
    let (old, new) = (before.identity(), after.identity());
    for (field, same) in [
        ("apiVersion", old.group() == new.group()),
        ("kind", old.kind == new.kind),
        ("metadata.namespace", old.namespace == new.namespace),
        ("metadata.name", old.name == new.name),
    ] {
        if !same {
            return Some(field.to_owned());
        }
    }
    let label = OUR_LABELS.iter().find(|key| before.label(key) != after.label(key)).map(|key| format!("label {key}"));
    let annotation = || {
        let changed = OUR_ANNOTATIONS.iter().find(|key| before.annotation(key) != after.annotation(key));
        changed.map(|key| format!("annotation {key}"))
    };
    label.or_else(annotation)
}

/// Where a kind keeps its pod spec; `None` for kinds without pods. The kinds are Karmada's.
fn pod_spec_path(object: &Value) -> Option<&'static str> {
    match crate::manifest::text(object, &["kind"])? {
        "Pod" => Some("/spec"),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" | "Job" => Some("/spec/template/spec"),
        _ => None,
    }
}
