//! Template + policies → claim: which policy propagates a template.
//!
//! ```text
//!   skipped? ── yes ─► Ignore
//!      │ no
//!   claimed by a policy that exists and still selects it? ── yes ─► does one preempt that policy? ── yes ─► Preempt
//!      │ no                                                                                        └─ no ──► Keep
//!      │
//!   best PropagationPolicy of its namespace, else best ClusterPropagationPolicy? ── yes ─► Take
//!      │ no
//!   claimed by a policy that is gone or selects it no longer? ── yes ─► Release, else Waiting
//! ```
//!
//! The best policy has the highest `priority`; among equals the one whose selector is the most specific (a name before a
//! label selector before neither); among those the one whose name sorts first. A policy that is being deleted claims
//! nothing.
//!
//! A claim is not lost to a better policy, but to one that says `preemption: Always`, names the template, and outranks the
//! policy that has it: a PropagationPolicy outranks every ClusterPropagationPolicy, and within a class the higher explicit
//! priority does. A policy that is invalid, or held for what it uses, preempts nobody. (Karmada 1.19 behaviour with its
//! gate PropagationPolicyPreemption on, which is off by default here, too: [`Gates`](crate::gates::Gates). Karmada acts when a policy changes, here the rule holds at any time, so that it does not matter what changed first.)
//!
//! [`reach`] and [`wake`] say which templates a changed policy concerns.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pando_api::{
    annotations, labels,
    names::is_reserved_namespace,
    policy::{ClusterPropagationPolicy, PreemptionBehavior, PropagationPolicy, PropagationSpec, ResourceSelector},
};

use crate::gates::Gates;
use crate::policy_check;
use crate::selector::{self, Labels};

mod marks;
pub mod reach;
mod skipped;
#[cfg(test)]
mod tests;
pub mod wake;

pub use marks::Marks;
pub use skipped::{Ignored, NamespacePattern, Skipped};

/// What policy matching knows of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateFacts {
    /// `apps/v1`, `v1`.
    pub api_version: String,
    /// `Deployment`.
    pub kind: String,
    /// `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its labels, among them the marks of the policy that claims it.
    pub labels: Labels,
    /// Its annotations, among them the marks of the policy that claims it.
    pub annotations: Labels,
}

impl TemplateFacts {
    /// From an object's type and metadata.
    pub fn of(api_version: impl Into<String>, kind: impl Into<String>, metadata: &ObjectMeta) -> Self {
        Self {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: metadata.namespace.clone().filter(|namespace| !namespace.is_empty()),
            name: metadata.name.clone().unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
        }
    }

    /// The policy that its marks name. A PropagationPolicy's marks win over a ClusterPropagationPolicy's.
    #[must_use]
    pub fn claimed_by(&self) -> Option<PolicyRef> {
        claimed_by(&self.labels, &self.annotations)
    }
}

/// `Deployment default/web`
impl fmt::Display for TemplateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// The policy named by the marks on a template or binding.
#[must_use]
pub fn claimed_by(labels: &Labels, annotations: &Labels) -> Option<PolicyRef> {
    let named = |key: &str| annotations.get(key).filter(|name| !name.is_empty()).cloned();
    let namespaced = || {
        labels.get(labels::PROPAGATION_POLICY_PERMANENT_ID)?;
        Some(PolicyRef::Namespaced {
            namespace: named(annotations::PROPAGATION_POLICY_NAMESPACE)?,
            name: named(annotations::PROPAGATION_POLICY_NAME)?,
        })
    };
    let cluster = || {
        labels.get(labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID)?;
        Some(PolicyRef::Cluster { name: named(annotations::CLUSTER_PROPAGATION_POLICY_NAME)? })
    };
    namespaced().or_else(cluster)
}

/// Names one policy of either kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyRef {
    /// A PropagationPolicy.
    Namespaced {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A ClusterPropagationPolicy.
    Cluster {
        /// Its name.
        name: String,
    },
}

impl PolicyRef {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Namespaced { name, .. } | Self::Cluster { name } => name,
        }
    }
}

/// `PropagationPolicy default/web`
impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespaced { namespace, name } => {
                write!(f, "PropagationPolicy {namespace}/{name}")
            }
            Self::Cluster { name } => write!(f, "ClusterPropagationPolicy {name}"),
        }
    }
}

/// What matching needs of a policy, of either kind.
#[derive(Clone, Debug)]
pub struct PolicyFacts<'a> {
    /// Which policy it is.
    pub policy: PolicyRef,
    /// What it selects.
    pub selectors: &'a [ResourceSelector],
    /// Its explicit priority; higher wins.
    pub priority: i32,
    /// Whether it takes what it names from policies that it outranks. Never true of a policy that is invalid, or that
    /// this release holds for what it uses: that would only hold the template back.
    pub preempts: bool,
    /// Whether it is being deleted. It claims nothing any more.
    pub is_deleting: bool,
}

fn preempts(spec: &PropagationSpec, namespace: Option<&str>) -> bool {
    let is_in_order = || {
        let spec = policy_check::defaulted(spec, namespace);
        let gaps = policy_check::not_built_in_propagation(&spec, Gates::default());
        policy_check::holding(&gaps).is_empty() && policy_check::invalid_propagation(&spec, namespace).is_empty()
    };
    spec.preemption == PreemptionBehavior::Always && is_in_order()
}

impl<'a> From<&'a PropagationPolicy> for PolicyFacts<'a> {
    fn from(policy: &'a PropagationPolicy) -> Self {
        let PropagationPolicy { metadata, spec, .. } = policy;
        Self {
            policy: PolicyRef::Namespaced {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            selectors: &spec.resource_selectors,
            priority: spec.priority,
            preempts: preempts(spec, metadata.namespace.as_deref()),
            is_deleting: metadata.deletion_timestamp.is_some(),
        }
    }
}

impl<'a> From<&'a ClusterPropagationPolicy> for PolicyFacts<'a> {
    fn from(policy: &'a ClusterPropagationPolicy) -> Self {
        let ClusterPropagationPolicy { metadata, spec, .. } = policy;
        Self {
            policy: PolicyRef::Cluster { name: metadata.name.clone().unwrap_or_default() },
            selectors: &spec.resource_selectors,
            priority: spec.priority,
            preempts: preempts(spec, None),
            is_deleting: metadata.deletion_timestamp.is_some(),
        }
    }
}

/// How specifically a selector selects a template; the larger one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    /// Neither a name nor a label selector: every object of the kind.
    Kind,
    /// By its labels.
    Labels,
    /// By its name.
    Name,
}

impl PolicyFacts<'_> {
    /// How specifically the policy selects a template: by its most specific selector; `None` when it does not.
    ///
    /// A PropagationPolicy selects in its own namespace only.
    #[must_use]
    pub fn selects(&self, template: &TemplateFacts) -> Option<Specificity> {
        let namespace = match &self.policy {
            PolicyRef::Namespaced { namespace, .. } if template.namespace.as_ref() != Some(namespace) => {
                return None;
            }
            // An empty namespace of a selector means the policy's own, which the webhook would have filled in.
            PolicyRef::Namespaced { namespace, .. } => Some(namespace.as_str()),
            PolicyRef::Cluster { .. } => None,
        };
        self.selectors.iter().filter_map(|selector| selector_selects(selector, namespace, template)).max()
    }
}

/// How specifically one selector selects a template. The name wins over the label selector; without both, everything of
/// the kind is selected. `default_namespace` stands for an empty namespace of the selector.
#[must_use]
pub fn selector_selects(
    selector: &ResourceSelector,
    default_namespace: Option<&str>,
    template: &TemplateFacts,
) -> Option<Specificity> {
    let namespace = Some(selector.namespace.as_str()).filter(|namespace| !namespace.is_empty()).or(default_namespace);
    if selector.api_version != template.api_version
        || selector.kind != template.kind
        || namespace.is_some_and(|namespace| template.namespace.as_deref() != Some(namespace))
    {
        return None;
    }
    match (selector.name.as_str(), &selector.label_selector) {
        ("", Some(labels)) => selector::selects(labels, &template.labels).then_some(Specificity::Labels),
        ("", None) => Some(Specificity::Kind),
        (name, _) => (name == template.name).then_some(Specificity::Name),
    }
}

/// Which policy propagates a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody may: it is not for us.
    Ignore(Ignored),
    /// The policy that has it keeps it.
    Keep(PolicyRef),
    /// This policy takes it.
    Take {
        /// The new policy.
        by: PolicyRef,
        /// The policy that had it, which is gone or no longer selects it.
        from: Option<PolicyRef>,
    },
    /// This policy takes it from one that would have kept it.
    Preempt {
        /// The new policy.
        by: PolicyRef,
        /// The policy that had it, which exists and selects it.
        from: PolicyRef,
    },
    /// The policy that had it is gone or no longer selects it, and no other one does. Marks go; the binding, its Works
    /// and what runs in the members stay.
    Release(PolicyRef),
    /// No policy selects it, and none did.
    Waiting,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ignore(why) => write!(f, "ignored: {why}"),
            Self::Keep(policy) => write!(f, "kept by {policy}"),
            Self::Take { by, from: None } => write!(f, "taken by {by}"),
            Self::Take { by, from: Some(from) } => write!(f, "taken by {by}: {from} selects it no longer"),
            Self::Preempt { by, from } => write!(f, "taken by {by}: it preempts {from}"),
            Self::Release(from) => write!(f, "released: {from} selects it no longer, and no other policy does"),
            Self::Waiting => f.write_str("waiting: no policy selects it"),
        }
    }
}

/// Decides which policy propagates a template. The order of `policies` does not matter.
///
/// Hand in all policies from a synchronised store: a policy that is missing counts as gone.
pub fn claim<'a>(
    template: &TemplateFacts,
    policies: impl IntoIterator<Item = PolicyFacts<'a>>,
    skipped: &Skipped,
) -> Claim {
    if let Err(why) = skipped.check(template) {
        return Claim::Ignore(why);
    }
    let had = template.claimed_by();
    let (mut owner, mut best, mut usurper) = (None, None, None);
    for facts in policies {
        let Some(specificity) = facts.selects(template).filter(|_| !facts.is_deleting) else {
            continue;
        };
        let rank = Rank::of(&facts, specificity);
        if had.as_ref() == Some(&facts.policy) {
            owner = Some((rank, facts.policy));
            continue;
        }
        if facts.preempts && specificity == Specificity::Name {
            keep_greater(&mut usurper, &rank, &facts.policy);
        }
        keep_greater(&mut best, &rank, &facts.policy);
    }
    match (owner, usurper, best, had) {
        (Some((own, from)), Some((rank, by)), ..) if rank.outranks(&own) => Claim::Preempt { by, from },
        (Some((_, owner)), ..) => Claim::Keep(owner),
        (None, _, Some((_, by)), from) => Claim::Take { by, from },
        (None, _, None, Some(from)) => Claim::Release(from),
        (None, _, None, None) => Claim::Waiting,
    }
}

fn keep_greater(greatest: &mut Option<(Rank, PolicyRef)>, rank: &Rank, policy: &PolicyRef) {
    if greatest.as_ref().is_none_or(|(other, _)| rank > other) {
        *greatest = Some((rank.clone(), policy.clone()));
    }
}

/// What decides between policies, most important first. The greatest wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_namespaced: bool,
    priority: i32,
    specificity: Specificity,
    name: std::cmp::Reverse<String>,
}

impl Rank {
    /// Whether it may preempt: neither how specific a selector is nor a name is reason enough to take something away.
    fn outranks(&self, other: &Self) -> bool {
        (self.is_namespaced, self.priority) > (other.is_namespaced, other.priority)
    }

    fn of(facts: &PolicyFacts<'_>, specificity: Specificity) -> Self {
        Self {
            is_namespaced: matches!(facts.policy, PolicyRef::Namespaced { .. }),
            priority: facts.priority,
            specificity,
            name: std::cmp::Reverse(facts.policy.name().to_owned()),
        }
    }
}

/// Why a template is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The template itself changed, or is new.
    Template,
    /// A policy, an override, a retry: anything of ours.
    Federation,
}

/// Whether a policy's content reaches the binding now. A Lazy policy waits until the template itself changes; it claims
/// the template all the same.
#[must_use]
pub fn applies_now(is_lazy: bool, cause: Cause) -> bool {
    !is_lazy || cause == Cause::Template
}

fn is_reserved(namespace: &str) -> bool {
    is_reserved_namespace(namespace)
}
