//! A policy changed: which templates have to be looked at again.
//!
//! ```text
//! propagation policy   spec, permanent id, deletion   → what its selectors reach or reached, what it claims
//! override policy      spec, existence                → what its selectors reach or reached, or might
//! ```
//!
//! Nothing else of a policy decides anything: its status, other labels and annotations wake nobody.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pando_api::labels;
use pando_api::policy::{ClusterPropagationPolicy, OverrideSpec, PropagationPolicy, PropagationSpec, ResourceSelector};

use super::reach::{By, Reach, Term};
use crate::policy_check;

/// One side of a policy's change, of either kind: as it was, or as it is.
#[derive(Clone, Copy, Debug)]
pub struct PolicySide<'a> {
    namespace: Option<&'a str>,
    spec: &'a PropagationSpec,
    meta: &'a ObjectMeta,
}

impl<'a> From<&'a PropagationPolicy> for PolicySide<'a> {
    fn from(policy: &'a PropagationPolicy) -> Self {
        let PropagationPolicy { metadata: meta, spec, .. } = policy;
        Self { namespace: Some(meta.namespace.as_deref().unwrap_or_default()), spec, meta }
    }
}

impl<'a> From<&'a ClusterPropagationPolicy> for PolicySide<'a> {
    fn from(policy: &'a ClusterPropagationPolicy) -> Self {
        Self { namespace: None, spec: &policy.spec, meta: &policy.metadata }
    }
}

impl PolicySide<'_> {
    /// What its selectors reach.
    pub fn reaches(self) -> impl Iterator<Item = Reach> {
        let Self { namespace, spec, .. } = self;
        spec.resource_selectors.iter().filter_map(move |selector| Reach::of(selector, namespace))
    }

    fn permanent_id(self) -> Option<(&'static str, String)> {
        let label = match self.namespace {
            Some(_) => labels::PROPAGATION_POLICY_PERMANENT_ID,
            None => labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID,
        };
        let id = self.meta.labels.as_ref()?.get(label).filter(|id| !id.is_empty())?;
        Some((label, id.clone()))
    }

    /// What carries its mark, of whatever kind: its selectors may have reached it long ago.
    fn claimed(self) -> Option<Reach> {
        let (label, id) = self.permanent_id()?;
        let by = By::Labels(vec![vec![Term::Is(format!("{label}={id}"))]]);
        Some(Reach { by, ..Reach::everything(self.namespace) })
    }

    fn is_same(self, other: Self) -> bool {
        self.spec == other.spec
            && self.permanent_id() == other.permanent_id()
            && self.meta.deletion_timestamp.is_some() == other.meta.deletion_timestamp.is_some()
    }
}

/// What to look at again after a propagation policy came (`old` is `None`), changed, or went (`new` is `None`).
///
/// A template that another policy holds is woken, too, when a policy of lower priority could be preempted by it: the
/// template decides for itself among all policies of its kind, so that lowering a priority needs no search for those that
/// are now above it.
#[must_use]
pub fn woken_by_policy(old: Option<PolicySide<'_>>, new: Option<PolicySide<'_>>) -> BTreeSet<Reach> {
    match (old, new) {
        (Some(old), Some(new)) if old.is_same(new) => BTreeSet::new(),
        _ => {
            let sides = [old, new].into_iter().flatten();
            sides.flat_map(|side| side.reaches().chain(side.claimed())).collect()
        }
    }
}

/// What to look at again after an override policy came, changed, or went. `namespace` is that of an OverridePolicy, `None`
/// for a ClusterOverridePolicy.
///
/// A selector that breaks a rule holds back whatever it might mean, so it reaches that.
#[must_use]
pub fn woken_by_override(
    old: Option<&OverrideSpec>,
    new: Option<&OverrideSpec>,
    namespace: Option<&str>,
) -> BTreeSet<Reach> {
    if old == new {
        return BTreeSet::new();
    }
    let sides = [old, new].into_iter().flatten();
    sides.flat_map(|spec| override_reaches(&spec.resource_selectors, namespace)).collect()
}

fn override_reaches(selectors: &[ResourceSelector], namespace: Option<&str>) -> Vec<Reach> {
    if selectors.is_empty() {
        return vec![Reach::everything(namespace)]; // no selectors select everything
    }
    let reach = |selector| match policy_check::is_sound_selector(selector, namespace) {
        true => Reach::of(selector, namespace),
        false => Some(possible(selector, namespace)),
    };
    selectors.iter().filter_map(reach).collect()
}

/// What a broken selector might mean: the parts that are not broken still hold.
fn possible(selector: &ResourceSelector, own: Option<&str>) -> Reach {
    let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Reach {
        kind: said(&selector.api_version).zip(said(&selector.kind)),
        namespace: own.map(str::to_owned).or_else(|| said(&selector.namespace)),
        by: said(&selector.name).map_or(By::Everything, By::Name),
    }
}
