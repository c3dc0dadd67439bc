//! Which templates, and which policies, a change concerns: found by index, never by a walk over what it does not concern.
//!
//! ```text
//! policy, override   → templates   by name, by label            reached
//! binding gone       → templates   by the binding's name        waiting_for
//! template           → policies    by kind                      POLICIES_BY_KIND
//! override           → policies    by the names they wait for   POLICIES_BY_OVERRIDE
//! binding            → overrides   by kind                      overrides_for
//! ```
//!
//! A template that no policy has claimed is on no list: it is in its store without a mark, and found there like any other.

use std::collections::BTreeSet;
use std::sync::Arc;

use pando_api::names::binding_name;
use pando_api::policy::{
    ClusterOverridePolicy, ClusterPropagationPolicy, OverridePolicy, OverrideSpec, PropagationPolicy, PropagationSpec,
};
use pando_core::policy_match::reach::{By, Reach, Term, label_values, narrowest};
use pando_core::policy_match::wake::PolicySide;
use pando_runtime::store::{Key, Lookup, Record, Store, Unreadable, Values};

use crate::template::{Followed, Template, Templates};

#[cfg(test)]
mod tests;

/// Index of templates: each label as `key=value`.
const TEMPLATES_BY_LABEL: &str = "label";
/// Index of the templates whose name is not part of their binding's name as it stands, by that name.
const TEMPLATES_BY_BINDING_NAME: &str = "binding name";
/// Index of propagation policies: `apiVersion/kind` of what they select, as [`kind_value`].
pub const POLICIES_BY_KIND: &str = "kind";
/// Index of propagation policies: the override policies of their `dependentOverrides`.
pub const POLICIES_BY_OVERRIDE: &str = "override";

/// Index of override policies: as [`POLICIES_BY_KIND`], or [`ANY_KIND`].
const OVERRIDES_BY_KIND: &str = "kind";
/// The value of an override policy that may select every kind. No kind is called so.
const ANY_KIND: &str = "*";

/// The store with the indexes that [`reached`] and [`waiting_for`] use.
#[must_use]
pub fn indexed_templates(store: Store<Template>) -> Store<Template> {
    store.with_index(TEMPLATES_BY_LABEL, labels_of).with_index(TEMPLATES_BY_BINDING_NAME, unusual_name_of)
}

/// The value of [`POLICIES_BY_KIND`].
#[must_use]
pub fn kind_value(api_version: &str, kind: &str) -> String {
    format!("{api_version}/{kind}")
}

/// A policy of either kind that propagates templates.
pub trait Propagation: Record {
    /// What it says.
    fn spec(&self) -> &PropagationSpec;
    /// What a change of it means is decided by this.
    fn side(&self) -> PolicySide<'_>;
}

impl Propagation for PropagationPolicy {
    fn spec(&self) -> &PropagationSpec {
        &self.spec
    }

    fn side(&self) -> PolicySide<'_> {
        self.into()
    }
}

impl Propagation for ClusterPropagationPolicy {
    fn spec(&self) -> &PropagationSpec {
        &self.spec
    }

    fn side(&self) -> PolicySide<'_> {
        self.into()
    }
}

/// The store with the indexes [`POLICIES_BY_KIND`] and [`POLICIES_BY_OVERRIDE`].
#[must_use]
pub fn indexed_policies<P: Propagation>(store: Store<P>) -> Store<P> {
    store.with_index(POLICIES_BY_KIND, kinds_of).with_index(POLICIES_BY_OVERRIDE, overrides_of)
}

fn kinds_of<P: Propagation>(policy: &P, values: &mut Values) {
    for selector in &policy.spec().resource_selectors {
        values.add_joined(&[&selector.api_version, "/", &selector.kind]);
    }
}

fn overrides_of<P: Propagation>(policy: &P, values: &mut Values) {
    policy.spec().dependent_overrides.iter().for_each(|name| values.add(name));
}

/// A policy of either kind that overrides templates.
pub trait Overriding: Record {
    /// What it says.
    fn spec(&self) -> &OverrideSpec;
}

impl Overriding for OverridePolicy {
    fn spec(&self) -> &OverrideSpec {
        &self.spec
    }
}

impl Overriding for ClusterOverridePolicy {
    fn spec(&self) -> &OverrideSpec {
        &self.spec
    }
}

/// The store with the index that [`overrides_for`] uses.
#[must_use]
pub fn indexed_overrides<O: Overriding>(store: Store<O>) -> Store<O> {
    store.with_index(OVERRIDES_BY_KIND, overridden_kinds_of)
}

fn overridden_kinds_of<O: Overriding>(policy: &O, values: &mut Values) {
    let selectors = &policy.spec().resource_selectors;
    // Without selectors it selects everything; with half of a kind it is broken, and might mean any.
    if selectors.is_empty() || selectors.iter().any(|half| half.api_version.is_empty() || half.kind.is_empty()) {
        return values.add(ANY_KIND);
    }
    for selector in selectors {
        values.add_joined(&[&selector.api_version, "/", &selector.kind]);
    }
}

/// The override policies that may select an object of this kind; all others do not concern it. `namespace` is that of
/// OverridePolicies, `None` for ClusterOverridePolicies.
///
/// # Errors
/// Not all of the namespace can be read: one that cannot might select it.
pub fn overrides_for<O: Overriding>(
    store: &Store<O>,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
) -> Result<Vec<Arc<O>>, Unreadable> {
    // At one moment: a policy that changes from one to the other meanwhile must not be missed.
    store.complete_by_index(OVERRIDES_BY_KIND, &[&kind_value(api_version, kind), ANY_KIND], namespace)
}

/// Whether a template of the store has this label.
pub(crate) fn is_labelled(store: &Store<Template>, label: &str) -> bool {
    store.count(TEMPLATES_BY_LABEL, Lookup::Prefix(&format!("{label}="))) > 0
}

fn labels_of(template: &Template, values: &mut Values) {
    if let Some(labels) = &template.meta.labels {
        label_values(labels, |parts| values.add_joined(parts));
    }
}

/// Nearly every name can be read from the binding's; those with capitals or colons (RBAC) cannot.
fn unusual_name_of(template: &Template, values: &mut Values) {
    let name = template.meta.name.as_deref().unwrap_or_default();
    if name.contains(|letter: char| letter == ':' || letter.is_uppercase()) {
        values.add(&binding_name(&template.kind, name));
    }
}

/// The templates of the kinds that are followed now and that any of `reaches` finds, each once. Those of other kinds come
/// as changes when their kind is followed.
#[must_use]
pub fn reached(templates: &Templates, reaches: &BTreeSet<Reach>) -> Vec<Arc<Template>> {
    let mut found = Vec::new();
    for reach in reaches {
        let kinds = match &reach.kind {
            Some((api_version, kind)) => templates.kind(api_version, kind).into_iter().collect(),
            None => templates.all(),
        };
        found.extend(kinds.iter().flat_map(|followed| in_store(followed, reach)));
    }
    found.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
    found.dedup_by(|one, other| place(one) == place(other));
    found
}

/// What tells one template from all others.
fn place(template: &Template) -> impl Ord + '_ {
    (&template.api_version, &template.kind, &template.meta.namespace, &template.meta.name)
}

fn in_store(Followed { kind, store }: &Followed, reach: &Reach) -> Vec<Arc<Template>> {
    let namespace = reach.namespace.as_deref();
    if namespace.is_some() && !kind.namespaced {
        return Vec::new();
    }
    match &reach.by {
        By::Name(name) if namespace.is_some() || !kind.namespaced => {
            store.get(&Key::new(namespace, name)).into_iter().collect()
        }
        By::Name(name) => store.named(name),
        By::Labels(alternatives) => {
            let terms = narrowest(alternatives, |term| store.count(TEMPLATES_BY_LABEL, lookup(term)));
            terms.iter().flat_map(|term| store.find(TEMPLATES_BY_LABEL, lookup(term), namespace)).collect()
        }
        By::Everything => store.list(namespace),
    }
}

fn lookup(term: &Term) -> Lookup<'_> {
    match term {
        Term::Is(value) => Lookup::Value(value),
        Term::Has(prefix) => Lookup::Prefix(prefix),
    }
}

/// The templates that want the binding of this key: its own, and others whose kind and name differ only in spelling.
#[must_use]
pub fn waiting_for(templates: &Templates, binding: &Key) -> Vec<Arc<Template>> {
    let namespace = binding.namespace();
    let mut found = Vec::new();
    for Followed { kind, store } in templates.all() {
        let kind_name = kind.resource.kind.to_lowercase();
        let name = binding.name.strip_suffix(&kind_name).and_then(|name| name.strip_suffix('-'));
        let Some(name) = name.filter(|_| kind.namespaced == namespace.is_some()) else { continue };
        found.extend(store.get(&Key::new(namespace, name)));
        found.extend(store.find(TEMPLATES_BY_BINDING_NAME, Lookup::Value(&binding.name), namespace));
    }
    found
}
