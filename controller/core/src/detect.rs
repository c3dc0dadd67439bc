//! Template + policies + clusters → the binding, already scheduled. Arrows 1 and 2 as one pure decision.
//!
//! ```text
//! claim      which policy has the template                           policy_match
//! check      is the policy valid, and does this release act on it    policy_check
//! desire     the binding that the policy asks for                    here
//! schedule   its clusters, when they have to be chosen               scheduler
//! ```
//!
//! The plan says which marks the template needs, how the binding changes, and what to tell people. Planning again after
//! the plan was carried out yields an empty plan.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use pando_api::policy::{ActivationPreference, ClusterPropagationPolicy, PropagationPolicy, PropagationSpec};
use pando_api::work::{Binding, ObjectReference, ResourceBindingSpec, Suspension as BindingSuspension};
use pando_api::{annotations, conditions, events, labels, names};
use serde_json::{Value, json};

use crate::gates::Gates;
use crate::interpreter;
use crate::manifest::Manifest;
use crate::merge_patch;
use crate::policy_check::{self, Effect, one_line};
use crate::policy_match::{self, Cause, Claim, Marks, PolicyFacts, PolicyRef, Skipped, TemplateFacts};
use crate::scheduler::{self, Snapshot, Trigger, Unit};

#[cfg(test)]
mod tests;

/// Everything the decision needs.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The template as it may travel.
    pub template: &'a Manifest,
    /// Its metadata on the hub.
    pub meta: &'a ObjectMeta,
    /// The policies of its namespace.
    pub policies: &'a [&'a PropagationPolicy],
    /// The policies of the federation.
    pub cluster_policies: &'a [&'a ClusterPropagationPolicy],
    /// Names of the OverridePolicies of its namespace: what a PropagationPolicy's `dependentOverrides` wait for.
    pub overrides: &'a BTreeSet<String>,
    /// Names of the ClusterOverridePolicies: what a ClusterPropagationPolicy's `dependentOverrides` wait for.
    pub cluster_overrides: &'a BTreeSet<String>,
    /// Whether the binding was held when it was last decided on.
    pub is_held: bool,
    /// The binding of its name, if there is one.
    pub binding: Option<&'a Binding>,
    /// The members.
    pub clusters: &'a Snapshot,
    /// What is never propagated.
    pub skipped: &'a Skipped,
    /// What is turned on.
    pub gates: Gates,
    /// Whether the template itself changed, or only the world around it.
    pub cause: Cause,
    /// The permanent id of a binding that has to be created. Drawn by the shell: core has no randomness.
    pub fresh_id: &'a str,
}

/// What to do about one template.
#[derive(Debug, Default)]
pub struct Plan {
    /// Merge patch that puts the policy's marks on the template, or takes them off.
    pub marks: Option<Value>,
    /// How the binding changes.
    pub binding: BindingStep,
    /// What scheduling came to; `None` leaves the condition as it is.
    pub scheduling: Option<Scheduling>,
    /// What people should hear.
    pub notices: Vec<Notice>,
}

/// How the binding changes.
#[derive(Debug, Default)]
pub enum BindingStep {
    /// It does not.
    #[default]
    Keep,
    /// There is none yet.
    Create(Box<Binding>),
    /// This merge patch, which carries the resourceVersion it was computed from.
    Change(Value),
}

/// What scheduling came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// Clusters were chosen.
    Placed {
        /// Whether these are other clusters or replicas than before.
        changed: bool,
        /// How many clusters. None at all is a decision, too, and the only proof that an empty list is meant.
        targets: usize,
        /// The term of `clusterAffinities` that they were chosen by; the next run starts there.
        affinity: Option<String>,
    },
    /// None were: reason and message of the condition.
    Failed {
        /// Reason of `Scheduled=False`.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// An event for people, on the template and its binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody has to act.
    pub is_warning: bool,
    /// One of [`pando_api::events`].
    pub reason: &'static str,
    /// One line: what, why, what to do.
    pub message: String,
}

impl Notice {
    fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: true, reason, message: message.into() }
    }

    fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: false, reason, message: message.into() }
    }
}

/// The policy that has the template.
struct Owner<'a> {
    policy: PolicyRef,
    spec: &'a PropagationSpec,
    id: Option<&'a str>,
}

/// Decides what happens to the template.
#[must_use]
pub fn plan(observed: &Observed<'_>) -> Plan {
    if observed.meta.deletion_timestamp.is_some() {
        return Plan::default(); // its binding follows by owner reference
    }
    let facts = TemplateFacts::of(observed.template.api_version(), observed.template.kind(), observed.meta);
    let namespaced = observed
        .policies
        .iter()
        .map(|policy| may_preempt(observed, PolicyFacts::from(*policy), &policy.spec, observed.overrides));
    let cluster_wide = observed
        .cluster_policies
        .iter()
        .map(|policy| may_preempt(observed, PolicyFacts::from(*policy), &policy.spec, observed.cluster_overrides));
    let all = namespaced.chain(cluster_wide);
    match policy_match::claim(&facts, all, observed.skipped) {
        Claim::Ignore(_) => Plan::default(),
        // Waiting may be half a release: the template's marks went, the binding's did not.
        Claim::Release(_) | Claim::Waiting => release(observed),
        Claim::Keep(policy) | Claim::Take { by: policy, .. } => match owner(observed, policy) {
            Some(owner) => apply(observed, &owner),
            None => Plan::default(),
        },
        Claim::Preempt { by, from } => match owner(observed, by) {
            Some(owner) => preempt(observed, &owner, &from),
            None => Plan::default(),
        },
    }
}

/// A policy that waits for its overrides takes nothing yet: it would hold what another policy has working.
fn may_preempt<'p>(
    observed: &Observed<'_>,
    facts: PolicyFacts<'p>,
    spec: &PropagationSpec,
    overrides: &BTreeSet<String>,
) -> PolicyFacts<'p> {
    let is_waiting = || spec.dependent_overrides.iter().any(|name| !overrides.contains(name));
    let preempts = facts.preempts && observed.gates.policy_preemption && !is_waiting();
    PolicyFacts { preempts, ..facts }
}

/// As [`apply`], and people are told who lost the template.
fn preempt(observed: &Observed<'_>, owner: &Owner<'_>, from: &PolicyRef) -> Plan {
    let mut plan = apply(observed, owner);
    if plan.marks.is_some() {
        let message = format!("{} has taken it from {from}, which it outranks", owner.policy);
        plan.notices.push(Notice::normal(events::PREEMPT_POLICY_SUCCEED, message));
    }
    plan
}

/// The policy is gone: marks go, the binding and what runs in the members stay.
fn release(observed: &Observed<'_>) -> Plan {
    let binding = observed.binding.filter(|binding| is_of_template(binding, observed));
    let unmarked = binding.and_then(|binding| marks_patch(&binding.metadata, &Marks::none()));
    Plan {
        marks: marks_patch(observed.meta, &Marks::none()),
        binding: unmarked.map_or(BindingStep::Keep, BindingStep::Change),
        ..Plan::default()
    }
}

fn owner<'a>(observed: &Observed<'a>, policy: PolicyRef) -> Option<Owner<'a>> {
    let named = |meta: &ObjectMeta| meta.name.as_deref() == Some(policy.name());
    let (spec, meta, label) = match &policy {
        PolicyRef::Namespaced { .. } => {
            let found = observed.policies.iter().find(|found| named(&found.metadata))?;
            (&found.spec, &found.metadata, labels::PROPAGATION_POLICY_PERMANENT_ID)
        }
        PolicyRef::Cluster { .. } => {
            let found = observed.cluster_policies.iter().find(|found| named(&found.metadata))?;
            (&found.spec, &found.metadata, labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID)
        }
    };
    let id = meta.labels.as_ref().and_then(|labels| labels.get(label)).map(String::as_str).filter(|id| !id.is_empty());
    Some(Owner { policy, spec, id })
}

fn apply(observed: &Observed<'_>, owner: &Owner<'_>) -> Plan {
    let Some(id) = owner.id else { return Plan::default() }; // it gets one shortly, and the template is looked at again
    let PolicyRef::Namespaced { namespace, .. } = &owner.policy else { return claim_by(observed, owner, id, None) };
    claim_by(observed, owner, id, Some(namespace))
}

fn claim_by(observed: &Observed<'_>, owner: &Owner<'_>, id: &str, namespace: Option<&str>) -> Plan {
    let spec = policy_check::defaulted(owner.spec, namespace);
    let invalid = policy_check::invalid_propagation(&spec, namespace);
    if !invalid.is_empty() {
        return refuse(observed, format!("{} is invalid: {}", owner.policy, one_line(&invalid)));
    }
    if let Some(binding) = observed.binding.filter(|binding| !is_of_template(binding, observed)) {
        return foreign_binding(observed, binding);
    }
    let marks = Marks::of(&owner.policy, id);
    let plan = Plan { marks: marks_patch(observed.meta, &marks), ..Plan::default() };
    let is_lazy = owner.spec.activation_preference == Some(ActivationPreference::Lazy);
    if observed.binding.is_some() && !policy_match::applies_now(is_lazy, observed.cause) {
        return plan;
    }
    let gaps = policy_check::not_built_in_propagation(&spec, observed.gates);
    let overrides = if namespace.is_some() { observed.overrides } else { observed.cluster_overrides };
    let overrides = overrides.iter().map(String::as_str).collect();
    let missing = policy_check::missing_overrides(&spec, &overrides);
    let missing = missing.iter().map(|name| format!("override policy {name} of dependentOverrides does not exist yet"));
    let without_effect = gaps
        .iter()
        .filter(|gap| gap.effect != Effect::Hold)
        .map(|gap| Notice::warning(events::FIELD_NOT_SUPPORTED, format!("{}: {gap}", owner.policy)));
    let without_effect: Vec<_> = without_effect.collect();
    let held: Vec<_> = policy_check::holding(&gaps).iter().map(ToString::to_string).chain(missing).collect();
    if held.is_empty() {
        let mut plan = schedule(observed, &spec, &marks, plan);
        if !matches!(plan.binding, BindingStep::Keep) {
            plan.notices.extend(without_effect); // once for each change, not each time somebody looks
        }
        plan
    } else {
        let message = format!("held, because of {}: {}", owner.policy, held.join("; "));
        hold(observed, &spec, &marks, plan, message)
    }
}

/// The policy is invalid: what runs stays as it is, and its condition says why. A template without a binding gets none.
fn refuse(observed: &Observed<'_>, message: String) -> Plan {
    let scheduling = Scheduling::Failed { reason: conditions::INVALID_POLICY, message: message.clone() };
    let news = (!is_said(observed.binding, &message)).then(|| Notice::warning(events::APPLY_POLICY_FAILED, message));
    Plan {
        scheduling: observed.binding.is_some().then_some(scheduling),
        notices: news.into_iter().collect(),
        ..Plan::default()
    }
}

/// Whether the binding's condition says so already: people were told when it was written, perhaps by an earlier process.
fn is_said(binding: Option<&Binding>, message: &str) -> bool {
    let status = binding.and_then(|binding| binding.status.as_ref());
    let scheduled = status.and_then(|status| crate::conditions::find(&status.conditions, conditions::SCHEDULED));
    scheduled.is_some_and(|condition| condition.message == message)
}

/// A binding of our name that belongs to another template: a name collision, or the template was re-created and garbage
/// collection has not taken the old binding yet. Its end wakes us.
fn foreign_binding(observed: &Observed<'_>, binding: &Binding) -> Plan {
    let resource = &binding.spec.resource;
    let is_older_self = is_same_object(resource, observed.template);
    if is_older_self {
        return Plan::default();
    }
    let template = observed.template;
    let why = if resource.kind == template.kind() && resource.name == template.name() {
        format!("a template of the same kind and name in {} wants the same binding, and they", template.api_version())
    } else {
        "two templates whose kind and name differ only in spelling".to_owned()
    };
    let message = format!(
        "binding {} belongs to {} {} of {}: {why} cannot both be propagated; rename one",
        binding.metadata.name.as_deref().unwrap_or_default(),
        resource.kind,
        resource.name,
        resource.api_version,
    );
    Plan { notices: vec![Notice::warning(events::APPLY_POLICY_FAILED, message)], ..Plan::default() }
}

/// The policy uses what this release does not act on. What runs stays as it is; a new template gets a binding without
/// clusters, so that there is a condition to read.
fn hold(observed: &Observed<'_>, spec: &PropagationSpec, marks: &Marks, mut plan: Plan, message: String) -> Plan {
    if !is_said(observed.binding, &message) {
        plan.notices.push(Notice::warning(events::FIELD_NOT_SUPPORTED, message.clone()));
    }
    plan.scheduling = Some(Scheduling::Failed { reason: conditions::NOT_SUPPORTED, message });
    if observed.binding.is_none() {
        let mut desired = desired(observed, spec, marks);
        desired.spec.placement = None; // so that nobody schedules it
        plan.binding = BindingStep::Create(Box::new(desired));
    }
    plan
}

fn schedule(observed: &Observed<'_>, spec: &PropagationSpec, marks: &Marks, mut plan: Plan) -> Plan {
    let mut desired = desired(observed, spec, marks);
    let decided = place(&mut desired, observed.clusters);
    plan.notices.extend(decided.notices);
    plan.scheduling = decided.scheduling.or_else(|| released(observed));
    match observed.binding {
        None => {
            let message = format!("policy is applied to {} {}", observed.template.kind(), observed.template.name());
            plan.notices.push(Notice::normal(events::APPLY_POLICY_SUCCEED, message));
            plan.binding = BindingStep::Create(Box::new(desired));
        }
        Some(binding) => plan.binding = change(binding, desired).map_or(BindingStep::Keep, BindingStep::Change),
    }
    plan
}

/// Reasons of `Scheduled=False` under which what runs stays as it is, the template's edits included.
pub const HOLDS: [&str; 2] = [conditions::NOT_SUPPORTED, conditions::INVALID_POLICY];

/// Whether an outcome is a hold.
#[must_use]
pub fn is_hold(scheduling: &Scheduling) -> bool {
    matches!(scheduling, Scheduling::Failed { reason, .. } if HOLDS.contains(reason))
}

/// The outcome for a binding that was held, is not any more, and whose clusters stand.
fn released(observed: &Observed<'_>) -> Option<Scheduling> {
    let status = observed.binding.filter(|_| observed.is_held)?.status.as_ref();
    let affinity = status.map(|status| status.scheduler_observed_affinity_name.clone()).filter(|name| !name.is_empty());
    Some(Scheduling::Placed { changed: false, targets: observed.binding?.spec.clusters.len(), affinity })
}

/// What [`place`] decided.
#[derive(Debug, Default)]
pub struct Placed {
    /// Why scheduling ran; `None` when the assignment stands.
    pub trigger: Option<Trigger>,
    /// What it came to; `None` when the assignment stands.
    pub scheduling: Option<Scheduling>,
    /// What people should hear.
    pub notices: Vec<Notice>,
}

/// Chooses the clusters of a binding when they have to be chosen, and writes them into it.
#[must_use]
pub fn place(binding: &mut Binding, clusters: &Snapshot) -> Placed {
    let marks = binding.metadata.labels.clone().unwrap_or_default();
    if scheduler::may_schedule(&binding.spec, &marks).is_err() {
        return Placed::default();
    }
    let recorded = binding.metadata.annotations.clone().unwrap_or_default();
    let status = binding.status.as_ref();
    let Some(trigger) = scheduler::needs_scheduling(&binding.spec, status, &recorded, clusters) else {
        return Placed::default();
    };
    let Some(unit) = Unit::from_binding(&binding.spec, status) else { return Placed::default() };
    let decided = scheduler::schedule(&unit, clusters);
    let before = binding.spec.clusters.clone();
    match decided {
        Ok(assignment) => {
            let changed = assignment.targets != before;
            // What is not divided is looked at on every trigger; people are told when something came of it.
            let warnings = assignment.warnings.iter().filter(|_| changed || trigger != Trigger::NothingDivided);
            let mut notices: Vec<_> =
                warnings.map(|warning| Notice::warning(events::CLUSTER_NOT_FOUND, warning.to_string())).collect();
            if changed {
                let message = format!("Binding has been scheduled successfully. Result: {}", assignment.result());
                notices.push(Notice::normal(events::SCHEDULE_BINDING_SUCCEED, message));
            }
            let targets = assignment.targets.len();
            binding.spec.clusters = assignment.targets;
            record_placement(binding);
            let scheduling = Some(Scheduling::Placed { changed, targets, affinity: assignment.affinity });
            Placed { trigger: Some(trigger), scheduling, notices }
        }
        Err(failure) => {
            let message = failure.to_string();
            if failure.clears_targets() {
                binding.spec.clusters = Vec::new();
            }
            let news = (!is_said(Some(binding), &message))
                .then(|| Notice::warning(events::SCHEDULE_BINDING_FAILED, message.clone()));
            let scheduling = Some(Scheduling::Failed { reason: failure.reason(), message });
            Placed { trigger: Some(trigger), scheduling, notices: news.into_iter().collect() }
        }
    }
}

fn record_placement(binding: &mut Binding) {
    let Some(placement) = &binding.spec.placement else { return };
    // Writing a placement as JSON cannot fail; if it could, the binding would only be scheduled once more.
    if let Ok(applied) = scheduler::applied_placement(placement) {
        let annotations = binding.metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::APPLIED_PLACEMENT.to_owned(), applied);
    }
}

/// The binding that the policy asks for; clusters and everything that others decide are taken over from the present one.
fn desired(observed: &Observed<'_>, spec: &PropagationSpec, marks: &Marks) -> Binding {
    let template = observed.template;
    let replicas = interpreter::replicas(template);
    let mut binding = observed.binding.cloned().unwrap_or_else(|| new_binding(observed));
    complete(&mut binding.metadata, observed);
    let own = binding.spec.suspension.take().and_then(|suspension| suspension.scheduling);
    let wanted = spec.suspension.clone().unwrap_or_default();
    let suspension = BindingSuspension {
        dispatching: wanted.dispatching,
        dispatching_on_clusters: wanted.dispatching_on_clusters,
        scheduling: own,
    };
    binding.spec = ResourceBindingSpec {
        resource: ObjectReference {
            api_version: template.api_version().to_owned(),
            kind: template.kind().to_owned(),
            namespace: observed.meta.namespace.clone().unwrap_or_default(),
            name: template.name().to_owned(),
            uid: observed.meta.uid.clone().unwrap_or_default(),
            resource_version: observed.meta.resource_version.clone().unwrap_or_default(),
        },
        propagate_deps: spec.propagate_deps,
        replicas: replicas.as_ref().map_or(0, |replicas| replicas.count),
        replica_requirements: replicas.and_then(|replicas| replicas.requirements),
        placement: Some(spec.placement.clone()),
        scheduler_name: spec.scheduler_name.clone(),
        failover: spec.failover.clone(),
        conflict_resolution: spec.conflict_resolution,
        suspension: (suspension != BindingSuspension::default()).then_some(suspension),
        preserve_resources_on_deletion: spec.preserve_resources_on_deletion,
        ..binding.spec
    };
    let id = Binding::permanent_id_label(binding.namespace().is_some());
    let labels = binding.metadata.labels.get_or_insert_default();
    // Somebody may have removed it; its Works are found by the binding's name until they carry the new one.
    labels.entry(id.to_owned()).or_insert_with(|| observed.fresh_id.to_owned());
    marks.put_on(labels, binding.metadata.annotations.get_or_insert_default());
    binding
}

fn new_binding(observed: &Observed<'_>) -> Binding {
    let template = observed.template;
    let name = names::binding_name(template.kind(), template.name());
    let mut binding = Binding::new(&name, ResourceBindingSpec::default());
    binding.metadata.namespace = observed.meta.namespace.clone();
    binding
}

/// What a binding cannot do without: the finalizer that cleans up its Works, and the template that owns it.
fn complete(meta: &mut ObjectMeta, observed: &Observed<'_>) {
    let finalizer = Binding::finalizer(observed.meta.namespace.is_some());
    let finalizers = meta.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|present| present == finalizer) {
        finalizers.push(finalizer.to_owned());
    }
    if controller_of(meta).is_none() {
        meta.owner_references.get_or_insert_default().push(OwnerReference {
            api_version: observed.template.api_version().to_owned(),
            kind: observed.template.kind().to_owned(),
            name: observed.template.name().to_owned(),
            uid: observed.meta.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        });
    }
}

fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The merge patch from the present binding to the desired one. The template's resourceVersion is brought up to date
/// only together with something else: nothing is decided by it, and every status write moves it. What a replica needs
/// stays as it is written while it means the same: Karmada writes other texts.
#[must_use]
pub fn change(present: &Binding, mut desired: Binding) -> Option<Value> {
    let present_version = present.spec.resource.resource_version.clone();
    let resource_version = std::mem::replace(&mut desired.spec.resource.resource_version, present_version);
    desired.status = None;
    let needs = &present.spec.replica_requirements;
    if interpreter::same_requirements(needs.as_ref(), desired.spec.replica_requirements.as_ref()) {
        desired.spec.replica_requirements.clone_from(needs);
    }
    let (mut from, to) = (serde_json::to_value(present).ok()?, serde_json::to_value(&desired).ok()?);
    if let Value::Object(from) = &mut from {
        from.remove("status");
    }
    let mut patch = merge_patch::between(&from, &to)?;
    patch["metadata"]["resourceVersion"] = json!(present.metadata.resource_version);
    if patch.get("spec").is_some() {
        patch["spec"]["resource"]["resourceVersion"] = json!(resource_version);
    }
    Some(patch)
}

/// Whether a binding belongs to the template: by uid; or by name, when nobody owns it any more (its template was deleted
/// with `--cascade=orphan` and made again).
fn is_of_template(binding: &Binding, observed: &Observed<'_>) -> bool {
    let resource = &binding.spec.resource;
    match controller_of(&binding.metadata) {
        Some(owner) => Some(&owner.uid) == observed.meta.uid.as_ref(),
        None => is_same_object(resource, observed.template),
    }
}

fn is_same_object(resource: &ObjectReference, template: &Manifest) -> bool {
    resource.api_version == template.api_version()
        && resource.kind == template.kind()
        && resource.name == template.name()
}

fn marks_patch(meta: &ObjectMeta, marks: &Marks) -> Option<Value> {
    let labels = meta.labels.clone().unwrap_or_default();
    let annotations = meta.annotations.clone().unwrap_or_default();
    if marks.are_on(&labels, &annotations) {
        return None;
    }
    let (mut new_labels, mut new_annotations) = (labels.clone(), annotations.clone());
    marks.put_on(&mut new_labels, &mut new_annotations);
    let mut patch = json!({"metadata": {"resourceVersion": meta.resource_version}});
    for (part, from, to) in [("labels", labels, new_labels), ("annotations", annotations, new_annotations)] {
        if let Some(changed) = merge_patch::between(&json!(from), &json!(to)) {
            patch["metadata"][part] = changed;
        }
    }
    Some(patch)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(marks) = &self.marks {
            writeln!(f, "mark     template {marks}")?;
        }
        match &self.binding {
            BindingStep::Keep => writeln!(f, "keep     binding")?,
            BindingStep::Create(binding) => {
                let targets: Vec<_> =
                    binding.spec.clusters.iter().map(|target| format!("{}:{}", target.name, target.replicas)).collect();
                let name = binding.metadata.name.as_deref().unwrap_or_default();
                writeln!(f, "create   binding {name} on [{}]", targets.join(", "))?;
            }
            BindingStep::Change(patch) => writeln!(f, "change   binding {patch}")?,
        }
        for notice in &self.notices {
            let level = if notice.is_warning { "warn" } else { "tell" };
            writeln!(f, "{level}     {}: {}", notice.reason, notice.message)?;
        }
        Ok(())
    }
}
