//! Rules for PropagationPolicies and ClusterPropagationPolicies.

use pando_api::policy::{FailoverBehavior, PreemptionBehavior, PropagationSpec, PurgeMode, ResourceSelector};

use crate::selector;

use super::{Invalid, invalid_placement};

/// What is wrong with the spec of a policy. `namespace` is that of a PropagationPolicy, `None` for a
/// ClusterPropagationPolicy.
#[must_use]
pub fn invalid_propagation(spec: &PropagationSpec, namespace: Option<&str>) -> Vec<Invalid> {
    let mut found = Vec::new();
    if spec.resource_selectors.is_empty() {
        found.push(Invalid::new("spec.resourceSelectors", "the list is empty, so nothing is selected: add a selector"));
    }
    for (index, resource) in spec.resource_selectors.iter().enumerate() {
        let path = format!("spec.resourceSelectors[{index}]");
        found.extend(invalid_selector(resource, &path));
        found.extend(foreign_namespace(resource, namespace, &path));
        if spec.preemption == PreemptionBehavior::Always && resource.name.is_empty() {
            let message =
                "preemption is Always, which could take over every object of this kind: name the one that is meant";
            found.push(Invalid::new(format!("{path}.name"), message));
        }
    }
    found.extend(invalid_placement(&spec.placement, "spec.placement"));
    found.extend(invalid_failover(spec));
    found.extend(invalid_suspension(spec));
    found.extend(invalid_priority(spec));
    found
}

/// What is wrong with a resource selector at `path`, of any kind of policy.
pub(super) fn invalid_selector(resource: &ResourceSelector, path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    for (name, value, example) in
        [("apiVersion", &resource.api_version, "apps/v1"), ("kind", &resource.kind, "Deployment")]
    {
        if value.is_empty() {
            found.push(Invalid::new(format!("{path}.{name}"), format!("it is empty: write for instance {example}")));
        }
    }
    let labels = resource.label_selector.iter().flat_map(selector::label_selector_problems);
    found.extend(labels.map(|problem| Invalid::below(&format!("{path}.labelSelector"), problem)));
    found
}

/// A namespaced policy selects in its own namespace only.
pub(super) fn foreign_namespace(resource: &ResourceSelector, own: Option<&str>, path: &str) -> Option<Invalid> {
    let selected = Some(resource.namespace.as_str()).filter(|selected| !selected.is_empty())?;
    let own = own.filter(|own| *own != selected)?;
    let message =
        format!("{selected:?} is not the policy's own namespace {own:?}: use the cluster-scoped kind of policy");
    Some(Invalid::new(format!("{path}.namespace"), message))
}

fn invalid_failover(spec: &PropagationSpec) -> Vec<Invalid> {
    let Some(FailoverBehavior { application: Some(application), .. }) = &spec.failover else {
        return Vec::new();
    };
    let path = "spec.failover.application";
    let mut found = Vec::new();
    if !spec.propagate_deps {
        found.push(Invalid::new("spec.propagateDeps", "application failover moves dependencies too: set it to true"));
    }
    let seconds = application.decision_conditions.toleration_seconds;
    if seconds < 0 {
        let message = format!("{seconds} is below 0: use 0 or more");
        found.push(Invalid::new(format!("{path}.decisionConditions.tolerationSeconds"), message));
    }
    let path = format!("{path}.gracePeriodSeconds");
    match (application.purge_mode == PurgeMode::Gracefully, application.grace_period_seconds) {
        (true, None) => found.push(Invalid::new(path, "purgeMode Gracefully needs it: set for instance 600")),
        (false, Some(_)) => found.push(Invalid::new(path, "only purgeMode Gracefully has a grace period: remove it")),
        (true, Some(seconds)) if seconds <= 0 => {
            found.push(Invalid::new(path, format!("{seconds} is not above 0: use 1 or more")));
        }
        (true, Some(_)) | (false, None) => {}
    }
    found
}

fn invalid_suspension(spec: &PropagationSpec) -> Option<Invalid> {
    let suspension = spec.suspension.as_ref()?;
    let some_clusters = suspension.dispatching_on_clusters.as_ref().is_some_and(|some| !some.cluster_names.is_empty());
    (suspension.dispatching == Some(true) && some_clusters).then(|| {
        let message = "dispatching suspends all clusters, dispatchingOnClusters some: keep one of them";
        Invalid::new("spec.suspension", message)
    })
}

fn invalid_priority(spec: &PropagationSpec) -> Vec<Invalid> {
    let Some(priority) = &spec.schedule_priority else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if priority.priority_class_name.is_empty() {
        found.push(Invalid::new("spec.schedulePriority.priorityClassName", "it is empty: name a PriorityClass"));
    }
    found
}
