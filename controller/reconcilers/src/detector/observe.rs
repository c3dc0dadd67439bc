//! What the detector reads: stores only.

use std::collections::BTreeSet;
use std::sync::Arc;

use pando_api::policy::{ClusterPropagationPolicy, PropagationPolicy};
use pando_api::work::Binding;
use pando_core::detect;
use pando_core::manifest::Manifest;
use pando_core::policy_match::Cause;
use pando_core::scheduler::Snapshot;
use pando_core::seen::{ReadFailure, Seen};
use pando_runtime::store::{Key, Read, Record, Store, Unreadable};
use uuid::Uuid;

use crate::env::{Env, Stores};
use crate::error::Error;
use crate::reach::{POLICIES_BY_KIND, Propagation, kind_value};
use crate::template::{Template, TemplateKey};

/// One template with everything that decides about its binding. Of the policies those that select its kind.
pub(super) struct Observed {
    pub(super) template: Arc<Template>,
    pub(super) binding_key: Key,
    pub(super) binding: Option<Arc<Binding>>,
    manifest: Manifest,
    policies: Policies,
    overrides: BTreeSet<String>,
    cluster_overrides: BTreeSet<String>,
    is_held: bool,
    clusters: Snapshot,
    cause: Cause,
    fresh_id: String,
}

pub(super) fn template(env: &Env, key: &TemplateKey) -> Result<Seen<Observed>, Error> {
    let template = match env.stores.templates.read(key) {
        Read::Found(template) => template,
        Read::Absent => {
            env.stores.templates.contents().forget(key);
            return Ok(Seen::Absent);
        }
        Read::Unreadable(why) => return Ok(Seen::Unreadable(ReadFailure::new(key.to_string(), why))),
    };
    let stores = &env.stores;
    let namespace = template.meta.namespace.as_deref();
    let binding_key = template.binding_key();
    let binding = match stores.bindings.read(&binding_key) {
        Read::Found(binding) => Some(binding),
        Read::Absent => None,
        Read::Unreadable(why) => return Err(Unreadable(why).into()),
    };
    let policies = policies_for(stores, &template)?;
    Ok(Seen::Found(Observed {
        manifest: template.manifest()?,
        overrides: existing(&policies.namespaced, &stores.overrides, namespace)?,
        cluster_overrides: existing(&policies.cluster_wide, &stores.cluster_overrides, None)?,
        policies,
        clusters: Snapshot::of_clusters(stores.clusters.complete(None)?),
        is_held: binding.as_ref().is_some_and(|binding| env.is_held(binding)),
        cause: stores.templates.contents().cause(key, &template.authored_hash),
        fresh_id: Uuid::new_v4().to_string(),
        binding,
        binding_key,
        template,
    }))
}

/// Policies of both kinds.
pub(crate) struct Policies {
    pub(crate) namespaced: Vec<Arc<PropagationPolicy>>,
    pub(crate) cluster_wide: Vec<Arc<ClusterPropagationPolicy>>,
}

/// The policies that select objects of the template's kind, of its namespace and of the federation; all others do not
/// concern it. One that cannot be read might, whatever it says.
pub(crate) fn policies_for(stores: &Stores, template: &Template) -> Result<Policies, Unreadable> {
    let kind = kind_value(&template.api_version, &template.kind);
    // Policies of a namespace reach into it and nowhere else.
    let namespaced = match template.meta.namespace.as_deref() {
        Some(namespace) => stores.policies.complete_by_index(POLICIES_BY_KIND, &[&kind], Some(namespace))?,
        None => Vec::new(),
    };
    let cluster_wide = stores.cluster_policies.complete_by_index(POLICIES_BY_KIND, &[&kind], None)?;
    Ok(Policies { namespaced, cluster_wide })
}

/// Those of the override policies that these policies wait for that exist.
fn existing<P: Propagation, O: Record>(
    policies: &[Arc<P>],
    overrides: &Store<O>,
    namespace: Option<&str>,
) -> Result<BTreeSet<String>, Unreadable> {
    let mut found = BTreeSet::new();
    for name in policies.iter().flat_map(|policy| &policy.spec().dependent_overrides) {
        match overrides.read(&Key::new(namespace, name)) {
            Read::Found(_) => drop(found.insert(name.clone())),
            Read::Absent => {}
            Read::Unreadable(why) => return Err(Unreadable(why)),
        }
    }
    Ok(found)
}

impl Observed {
    /// The decision's input.
    pub(super) fn plan(&self, env: &Env) -> detect::Plan {
        let policies: Vec<_> = self.policies.namespaced.iter().map(Arc::as_ref).collect();
        let cluster_policies: Vec<_> = self.policies.cluster_wide.iter().map(Arc::as_ref).collect();
        detect::plan(&detect::Observed {
            template: &self.manifest,
            meta: &self.template.meta,
            policies: &policies,
            cluster_policies: &cluster_policies,
            overrides: &self.overrides,
            cluster_overrides: &self.cluster_overrides,
            is_held: self.is_held,
            binding: self.binding.as_deref(),
            clusters: &self.clusters,
            skipped: &env.skipped,
            gates: env.gates,
            cause: self.cause,
            fresh_id: &self.fresh_id,
        })
    }
}
