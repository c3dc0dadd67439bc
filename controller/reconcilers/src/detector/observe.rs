//! What the detector reads: stores only.

use std::collections::BTreeSet;
use std::sync::Arc;

use pando_api::policy::{ClusterPropagationPolicy, PropagationPolicy};
use pando_api::work::ResourceBinding;
use pando_core::detect;
use pando_core::manifest::Manifest;
use pando_core::policy_match::Cause;
use pando_core::scheduler::Snapshot;
use pando_runtime::store::{Key, Read, Unreadable};
use uuid::Uuid;

use crate::env::Env;
use crate::error::Error;
use crate::template::{Template, TemplateKey};

/// One template with everything that decides about its binding.
pub(super) struct Observed {
    pub(super) template: Arc<Template>,
    pub(super) binding_key: Key,
    pub(super) binding: Option<Arc<ResourceBinding>>,
    manifest: Manifest,
    policies: Vec<Arc<PropagationPolicy>>,
    cluster_policies: Vec<Arc<ClusterPropagationPolicy>>,
    overrides: BTreeSet<String>,
    cluster_overrides: BTreeSet<String>,
    is_held: bool,
    clusters: Snapshot,
    cause: Cause,
    fresh_id: String,
}

pub(super) fn template(env: &Env, key: &TemplateKey) -> Result<Option<Observed>, Error> {
    let Some(template) = env.stores.templates.get(key) else {
        env.contents.forget(key);
        return Ok(None);
    };
    let stores = &env.stores;
    let namespace = template.meta.namespace.as_deref();
    let binding_key = template.binding_key();
    let binding = match stores.bindings.read(&binding_key) {
        Read::Found(binding) => Some(binding),
        Read::Absent => None,
        Read::Unreadable(why) => return Err(Unreadable(why).into()),
    };
    let overrides = stores.overrides.complete(namespace)?;
    let cluster_overrides = stores.cluster_overrides.complete(None)?;
    Ok(Some(Observed {
        manifest: template.manifest()?,
        policies: stores.policies.complete(namespace)?,
        cluster_policies: stores.cluster_policies.complete(None)?,
        overrides: overrides.iter().filter_map(|found| found.metadata.name.clone()).collect(),
        cluster_overrides: cluster_overrides.iter().filter_map(|found| found.metadata.name.clone()).collect(),
        clusters: Snapshot::of_clusters(stores.clusters.complete(None)?),
        is_held: binding.as_ref().is_some_and(|binding| env.is_held(binding)),
        cause: env.contents.cause(key, &template.authored_hash),
        fresh_id: Uuid::new_v4().to_string(),
        binding,
        binding_key,
        template,
    }))
}

impl Observed {
    /// The decision's input.
    pub(super) fn plan(&self, env: &Env) -> detect::Plan {
        let policies: Vec<_> = self.policies.iter().map(Arc::as_ref).collect();
        let cluster_policies: Vec<_> = self.cluster_policies.iter().map(Arc::as_ref).collect();
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
            cause: self.cause,
            fresh_id: &self.fresh_id,
        })
    }
}
