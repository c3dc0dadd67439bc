//! What rendering reads: stores only.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_api::names::{ClusterName, work_name};
use pando_api::policy::{ClusterOverridePolicy, OverridePolicy};
use pando_api::work::{Binding, ObjectReference, Work};
use pando_core::cluster_facts::ClusterFacts;
use pando_core::manifest::{InvalidManifest, Template};
use pando_core::overrides::{self, Selected};
use pando_core::render::{self, NotRenderable, RenderInput};
use pando_runtime::store::{Key, Read};
use serde_json::json;

use crate::env::{Env, WORKS_BY_BINDING, full_name};
use crate::error::Error;
use crate::reach::overrides_for;
use crate::template::TemplateKey;

/// One binding with everything that decides about its Works.
pub(super) struct Observed {
    pub(super) binding: Arc<Binding>,
    pub(super) works: Vec<Arc<Work>>,
    template: Template,
    policies: Vec<Arc<OverridePolicy>>,
    cluster_policies: Vec<Arc<ClusterOverridePolicy>>,
    clusters: BTreeMap<ClusterName, ClusterFacts>,
    works_complete: bool,
}

/// `None` when there is nothing to render: no such binding; or one that is not being deleted, and no template. One that
/// cannot be read because its kind is not followed now is like that, too: when it can be, it comes as a change.
pub(super) fn binding(env: &Env, key: &Key) -> Result<Option<Observed>, Error> {
    let stores = &env.stores;
    let Some(binding) = stores.bindings.get(key) else { return Ok(None) };
    let resource = &binding.spec.resource;
    let template = match stores.templates.read(&TemplateKey::of(resource)) {
        // The same name is not the same object: a template that was made again gets a binding of its own.
        Read::Found(template) if template.meta.uid.as_deref() == Some(resource.uid.as_str()) => template.parsed()?,
        _ if binding.metadata.deletion_timestamp.is_some() => gone(resource)?,
        _ => return Ok(None),
    };
    let mut works = stores.works.by_index(WORKS_BY_BINDING, &full_name(key));
    let id = binding.permanent_id();
    works.extend(id.map(|id| stores.works.by_index(WORKS_BY_BINDING, id)).unwrap_or_default());
    works.sort_by_key(|work| Key::of(&work.metadata));
    works.dedup_by_key(|work| Key::of(&work.metadata));
    let clusters: BTreeMap<_, _> = stores
        .clusters
        .complete(None)?
        .iter()
        .filter_map(|cluster| ClusterFacts::of(cluster).ok())
        .map(|facts| (facts.name.clone(), facts))
        .collect();
    let name = work_name(key.namespace(), &resource.kind, &resource.name);
    for target in &binding.spec.clusters {
        let Ok(cluster) = ClusterName::parse(&target.name) else { continue };
        let place = Key::namespaced(cluster.execution_namespace().as_str(), &name);
        if let Some(work) = stores.works.get(&place)
            && !works.iter().any(|known| Key::of(&known.metadata) == place)
        {
            works.push(work);
        }
    }
    let (api_version, kind) = (&resource.api_version, &resource.kind);
    Ok(Some(Observed {
        works,
        template,
        policies: match key.namespace() {
            Some(_) => overrides_for(&stores.overrides, api_version, kind, key.namespace())?,
            None => Vec::new(), // an OverridePolicy reaches its own namespace only
        },
        cluster_policies: overrides_for(&stores.cluster_overrides, api_version, kind, None)?,
        clusters,
        works_complete: stores.works.is_complete(None),
        binding,
    }))
}

/// What is left of a template whose binding is still being cleaned up: its identity, which names the Works.
fn gone(resource: &ObjectReference) -> Result<Template, InvalidManifest> {
    Template::from_value(json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"namespace": resource.namespace, "name": resource.name, "uid": resource.uid},
    }))
}

impl Observed {
    /// The overrides that select the template.
    pub(super) fn overrides(&self) -> Selected<'_> {
        let cluster_policies = self.cluster_policies.iter().map(Arc::as_ref);
        overrides::select(cluster_policies, self.policies.iter().map(Arc::as_ref), &self.template.manifest)
    }

    /// The decision's input.
    pub(super) fn input<'a>(
        &'a self,
        federation: &'a str,
        overrides: &'a Selected<'a>,
    ) -> Result<RenderInput<'a>, NotRenderable> {
        Ok(RenderInput {
            federation,
            binding: render::Binding::of(&self.binding)?,
            template: &self.template,
            overrides,
            clusters: &self.clusters,
            works: &self.works,
            works_complete: self.works_complete,
        })
    }
}
