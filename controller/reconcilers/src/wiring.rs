//! Who wakes whom: every store change on the left, the queues that it fills on the right. Nothing else fills them.
//!
//! ```text
//! template   content, deletion          → detector, which wakes its Works      status → binding status
//! policy     any                        → permanent ids, the templates of the kinds that it selects or selected
//! override   any                        → Works of the bindings that it may select, every namespace (cluster-wide)
//! binding    spec, metadata, deletion   → detector, Works, scheduler, status   gone   → templates of its name
//! Work       spec, metadata, gone       → Works of its binding or namespace    status → binding status
//! cluster    labels, spec, APIs, going  → scheduler and Works of every binding, every namespace
//! ```

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pando_api::annotations;
use pando_api::cluster::Cluster;
use pando_api::conditions::SCHEDULED;
use pando_api::policy::PropagationSpec;
use pando_api::work::{ResourceBinding, Work};
use pando_core::conditions;
use pando_runtime::queue::Priority;
use pando_runtime::store::{Change, Key, Record, Store};

use crate::binding_status;
use crate::env::{Env, SETTLE};
use crate::template::{Template, TemplateKey};

/// Subscribes every queue to the changes that concern it. Called once, before the watches start.
pub fn connect(env: &Env) {
    templates(env);
    policies(env);
    overrides(env);
    bindings(env);
    works(env);
    clusters(env);
}

fn templates(env: &Env) {
    for (kind, store) in env.stores.templates.iter() {
        let (queues, namespaced) = (env.queues.clone(), kind.namespaced);
        store.subscribe(move |change: &Change<Template>| {
            let Some(template) = change.new.as_ref().or(change.old.as_ref()) else { return };
            if !namespaced {
                queues.namespaces.add(change.key.clone());
                return;
            }
            let binding = template.binding_key();
            if differs(change, |template| (&template.content_hash, &template.meta.uid, deleting(&template.meta))) {
                queues.templates.add(template.key()); // which hands over to Works when the template is not held
            } else if differs(change, |template| &template.status) {
                queues.status.add(binding);
            }
        });
    }
}

fn policies(env: &Env) {
    policies_of(env, &env.stores.policies, |policy| &policy.spec);
    policies_of(env, &env.stores.cluster_policies, |policy| &policy.spec);
}

fn policies_of<P: Record>(env: &Env, store: &Store<P>, spec: fn(&P) -> &PropagationSpec) {
    let (queues, templates) = (env.queues.clone(), env.stores.templates.clone());
    store.subscribe(move |change: &Change<P>| {
        queues.policies.add(change.key.clone());
        let sides = [change.old.as_deref(), change.new.as_deref()];
        for (kind, store) in templates.iter().filter(|(kind, _)| kind.namespaced) {
            let selects =
                sides.into_iter().flatten().flat_map(|policy| &spec(policy).resource_selectors).any(|selector| {
                    selector.api_version == kind.resource.api_version && selector.kind == kind.resource.kind
                });
            if selects {
                for template in store.list(change.key.namespace.as_deref()) {
                    queues.templates.add_with(template.key(), Priority::Background);
                }
            }
        }
    });
}

fn overrides(env: &Env) {
    let rerender = |namespace: Option<&str>, env: &Env| {
        for binding in env.stores.bindings.list(namespace) {
            env.queues.works.add_with(Key::of(&binding.metadata), Priority::Background);
            env.queues.templates.add_with(TemplateKey::of(&binding.spec.resource), Priority::Background);
        }
    };
    let of_namespace = env.clone();
    env.stores.overrides.subscribe(move |change| rerender(change.key.namespace.as_deref(), &of_namespace));
    let of_all = env.clone();
    env.stores.cluster_overrides.subscribe(move |_| {
        rerender(None, &of_all);
        every_namespace(&of_all);
    });
}

fn bindings(env: &Env) {
    let (queues, outcomes, templates) = (env.queues.clone(), env.outcomes.clone(), env.stores.templates.clone());
    env.stores.bindings.subscribe(move |change: &Change<ResourceBinding>| {
        if change.new.is_none() {
            outcomes.forget(&change.key);
            // Its own template, and any other that waits for the name.
            let namespaced = templates.iter().filter(|(kind, _)| kind.namespaced);
            for template in namespaced.flat_map(|(_, store)| store.list(change.key.namespace())) {
                if template.binding_key() == change.key {
                    queues.templates.add(template.key());
                }
            }
        }
        if differs(change, scheduled) {
            queues.works.add(change.key.clone());
        }
        if differs(change, |binding| (&binding.spec, authored(&binding.metadata))) {
            if let Some(binding) = &change.new {
                queues.templates.add(TemplateKey::of(&binding.spec.resource)); // an edit by hand is set right
            }
            queues.works.add(change.key.clone());
            queues.schedule.add(change.key.clone());
            queues.status.add_after(change.key.clone(), SETTLE);
        }
    });
}

/// What releasing Works waits for when a binding has no clusters: that the scheduler has said so for this generation.
fn scheduled(binding: &ResourceBinding) -> (i64, Option<&str>) {
    let Some(status) = &binding.status else { return (0, None) };
    let condition = conditions::find(&status.conditions, SCHEDULED);
    (status.scheduler_observed_generation, condition.map(|condition| condition.status.as_str()))
}

fn works(env: &Env) {
    let (queues, stores) = (env.queues.clone(), env.stores.clone());
    env.stores.works.subscribe(move |change: &Change<Work>| {
        let sides = [&change.new, &change.old];
        let edited = differs(change, |work| (&work.spec, authored(&work.metadata)));
        let Some(binding) = sides.iter().find_map(|side| binding_of(&side.as_ref()?.metadata)) else {
            let namespace = sides.iter().find_map(|side| namespace_of(&side.as_ref()?.metadata));
            if let Some(namespace) = namespace.filter(|_| edited) {
                queues.namespaces.add_with(namespace, Priority::Background);
            }
            return;
        };
        if edited {
            queues.works.add(binding.clone());
        }
        if differs(change, |work| &work.status) {
            let delay = binding_status::delay(&stores, &binding);
            queues.status.add_after(binding, delay);
        }
    });
}

/// The binding that a Work was rendered for; `None` for the Work of a namespace.
fn binding_of(work: &ObjectMeta) -> Option<Key> {
    let marks = work.annotations.as_ref()?;
    let name = marks.get(annotations::RESOURCE_BINDING_NAME)?;
    let namespace = marks.get(annotations::RESOURCE_BINDING_NAMESPACE)?;
    Some(Key::namespaced(namespace, name))
}

/// The namespace that a Work was rendered for.
fn namespace_of(work: &ObjectMeta) -> Option<Key> {
    let owner = work.owner_references.iter().flatten().find(|owner| owner.kind == "Namespace")?;
    Some(Key::cluster(&owner.name))
}

fn clusters(env: &Env) {
    let env = env.clone();
    env.stores.clusters.clone().subscribe(move |change: &Change<Cluster>| {
        let joined_or_left = change.new.is_none() || change.old.is_none();
        let moves = differs(change, |cluster| {
            let apis = cluster.status.as_ref().map(|status| &status.api_enablements);
            (&cluster.spec, &cluster.metadata.labels, deleting(&cluster.metadata), apis)
        });
        // Overrides look at the same facts as affinities, but for what runs already.
        let looks_different = differs(change, |cluster| {
            let spec = &cluster.spec;
            (&cluster.metadata.labels, &spec.provider, &spec.region, &spec.zone, &spec.zones)
        });
        if joined_or_left || moves {
            for binding in env.stores.bindings.list(None) {
                let key = Key::of(&binding.metadata);
                env.queues.schedule.add_with(key.clone(), Priority::Background);
                if joined_or_left || looks_different {
                    env.queues.works.add_with(key, Priority::Background);
                }
            }
            every_namespace(&env);
        }
    });
}

fn every_namespace(env: &Env) {
    for namespace in env.stores.templates.kind("v1", "Namespace").iter().flat_map(|(_, store)| store.list(None)) {
        env.queues.namespaces.add_with(Key::of(&namespace.meta), Priority::Background);
    }
}

/// The parts of metadata that somebody decides; not what every write moves.
fn authored(meta: &ObjectMeta) -> impl PartialEq + '_ {
    (&meta.labels, &meta.annotations, &meta.finalizers, &meta.owner_references, deleting(meta))
}

const fn deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// Whether the two sides of a change differ in what `part` looks at. Appearing and vanishing always differ.
fn differs<'a, T, P: PartialEq>(change: &'a Change<T>, part: impl Fn(&'a T) -> P) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => part(Arc::as_ref(old)) != part(Arc::as_ref(new)),
        (None, None) => false,
        _ => true,
    }
}
