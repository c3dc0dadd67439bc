//! Namespaces → Works: every namespace of the hub exists in every member, so that what is propagated has a place.
//!
//! ```text
//! observe   namespace, clusters, overrides, existing Works      reads only (stores)
//! plan      one step for each cluster                           pure, in core::render
//! apply     the steps                                           writes only
//! ```
//!
//! A namespace that goes takes its Works with it (owner reference); the members' namespaces stay.

use std::sync::Arc;

use pando_api::names::work_name;
use pando_api::{labels, names};
use pando_context::Ctx;
use pando_core::cluster_facts::ClusterFacts;
use pando_core::manifest::Template;
use pando_core::next::Next;
use pando_core::overrides;
use pando_core::policy_match::{Skipped, TemplateFacts};
use pando_core::render::{NamespaceInput, WorkStep, namespace_work};
use pando_runtime::store::{Key, Unreadable};

use crate::env::Env;
use crate::error::Error;
use crate::events::Level;
use crate::reach::overrides_for;
use crate::{events, template, work_steps};

/// Brings the Works of the namespace `key` to one for each cluster.
///
/// # Errors
/// A write failed; the other clusters have theirs.
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &Key) -> Result<Next, Error> {
    let Some(followed) = env.stores.templates.kind("v1", "Namespace") else { return Ok(Next::forget()) };
    let Some(namespace) = followed.store.get(key) else { return Ok(Next::forget()) };
    if !is_propagated(&namespace, &env.skipped) {
        return Ok(Next::await_change());
    }
    let steps = plan(env, &namespace, &namespace.parsed()?)?;
    work_steps::apply(ctx, env, &steps).await.into_result()?;
    Ok(Next::await_change())
}

/// Karmada's rule: all but the reserved, the skipped, `default`, and those labelled to stay.
fn is_propagated(namespace: &template::Template, skipped: &Skipped) -> bool {
    let name = namespace.meta.name.clone().unwrap_or_default();
    let labels = namespace.meta.labels.as_ref();
    let stays =
        labels.and_then(|labels| labels.get(labels::NAMESPACE_SKIP_AUTO_PROPAGATION)).is_some_and(|v| v == "true");
    let inside = TemplateFacts { namespace: Some(name.clone()), ..TemplateFacts::default() };
    namespace.meta.deletion_timestamp.is_none()
        && name != "default"
        && !stays
        && !names::is_reserved_namespace(&name)
        && skipped.check(&inside).is_ok()
}

/// One step for each cluster that is not leaving; a cluster whose Work cannot be rendered is reported and left alone.
fn plan(env: &Env, namespace: &template::Template, parsed: &Template) -> Result<Vec<WorkStep>, Unreadable> {
    let cluster_policies = overrides_for(&env.stores.cluster_overrides, "v1", "Namespace", None)?;
    let selected = overrides::select(cluster_policies.iter().map(Arc::as_ref), [], &parsed.manifest);
    let name = work_name(None, "Namespace", parsed.manifest.name());
    let mut steps = Vec::new();
    for cluster in env.stores.clusters.list(None) {
        let Ok(facts) = ClusterFacts::of(&cluster) else { continue };
        if facts.is_deleting {
            continue;
        }
        let place = Key::namespaced(facts.name.execution_namespace().as_str(), &name);
        let existing = env.stores.works.get(&place);
        let input = NamespaceInput {
            federation: &env.federation,
            namespace: parsed,
            overrides: &selected,
            cluster: &facts,
            existing: existing.as_ref(),
        };
        match namespace_work(&input) {
            Ok(step) => steps.push(step),
            Err(fault) => {
                let about = events::of_template(namespace);
                env.events.record(&about, Level::Warning, fault.reason(), &format!("{}: {fault}", facts.name));
            }
        }
    }
    Ok(steps)
}
