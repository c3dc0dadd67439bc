//! Who wakes whom: every store change on the left, the queues that it fills on the right. Nothing else fills them.
//!
//! ```text
//! template   content, deletion          → detector, which wakes its Works      status → binding status
//! kind       first list complete        → the templates of its bindings
//! policy     spec, id, deletion         → the templates that it reaches or reached      any  → permanent ids
//! override   spec                       → Works of the bindings and namespaces that it reaches or reached
//!            coming, going              → the templates of the policies that wait for it
//! binding    spec, metadata, deletion   → detector, Works, scheduler, status   gone   → templates of its name
//!            status                     → binding status
//! Work       spec, metadata, gone       → Works of its binding or namespace    status → binding status
//! cluster    labels, spec, APIs, going  → scheduler and Works of every binding, every namespace
//!            ready or not               → binding status of the bindings that target it
//! ```

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pando_api::cluster::Cluster;
use pando_api::conditions::SCHEDULED;
use pando_api::policy::{ClusterOverridePolicy, OverridePolicy, OverrideSpec};
use pando_api::work::{Binding, Work};
use pando_context::Ctx;
use pando_core::aggregate::Reading;
use pando_core::aggregate::pacing::SETTLE;
use pando_core::conditions;
use pando_core::policy_match::wake::{woken_by_override, woken_by_policy};
use pando_runtime::queue::Priority;
use pando_runtime::store::{Change, Key, Lookup, Store};

use crate::binding_status;
use crate::bindings::{BINDINGS_BY_CLUSTER, BINDINGS_BY_KIND};
use crate::env::{Env, Queues, Stores, binding_of};
use crate::reach::{POLICIES_BY_OVERRIDE, Propagation, kind_value, reached, waiting_for};
use crate::template::{Template, TemplateKey, TemplateKind};

/// Subscribes every queue to the changes that concern it. Called once, before the watches start.
pub fn connect(env: &Env) {
    templates(env);
    policy_parts(&env.stores, &env.queues);
    bindings(env);
    works(env);
    clusters(env);
}

fn templates(env: &Env) {
    let (queues, bindings, told) = (env.queues.clone(), env.stores.bindings.clone(), env.clone());
    env.stores.templates.subscribe(move |kind: &TemplateKind, change: &Change<Template>| {
        let Some(template) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let followed = told.stores.templates.kind(&template.api_version, &template.kind);
        let is_synced = followed.is_some_and(|followed| followed.store.is_synced());
        let urgency = urgency(is_synced, change.new.as_ref().map(|template| &template.meta));
        if kind.is_namespace() {
            queues.namespaces.add_with(change.key.clone(), urgency);
            return;
        }
        let binding = template.binding_key();
        if differs(change, |template| (&template.content_hash, &template.meta.uid, deleting(&template.meta))) {
            queues.templates.add_with(template.key(), urgency); // which hands over to Works when it is not held
            if change.old.is_none() && bindings.get(&binding).is_some() {
                queues.status.add_after(binding, SETTLE); // its kind is followed (again): its status could not be written before
            }
        } else if differs(change, |template| &template.status) {
            let delay = binding_status::delay(&told, &binding); // mostly our own write
            queues.status.add_after(binding, delay);
        }
    });
}

/// A kind has become readable. A template that is there has come as a change; that one is not there is known from now on.
pub(crate) fn kind_is_listed(stores: &Stores, queues: &Queues, kind: &TemplateKind) {
    let shipped = kind_value(&kind.resource.api_version, &kind.resource.kind);
    for binding in stores.bindings.by_index(BINDINGS_BY_KIND, &shipped) {
        queues.templates.add_with(TemplateKey::of(&binding.spec.resource), Priority::Background);
    }
}

/// What changes of policies and overrides wake.
pub(crate) fn policy_parts(stores: &Stores, queues: &Queues) {
    policies(stores, queues);
    overrides(stores, queues);
}

fn policies(stores: &Stores, queues: &Queues) {
    policies_of(&stores.policies, stores, queues);
    policies_of(&stores.cluster_policies, stores, queues);
}

fn policies_of<P: Propagation>(store: &Store<P>, stores: &Stores, queues: &Queues) {
    let (queues, templates) = (queues.clone(), stores.templates.clone());
    store.subscribe(move |change: &Change<P>| {
        queues.policies.add(change.key.clone());
        let woken = woken_by_policy(change.old.as_deref().map(P::side), change.new.as_deref().map(P::side));
        look_again(&queues, reached(&templates, &woken));
    });
}

fn look_again(queues: &Queues, templates: Vec<Arc<Template>>) {
    for template in templates.into_iter().filter(|template| !template.is_namespace()) {
        queues.templates.add_with(template.key(), Priority::Reaction);
    }
}

fn overrides(stores: &Stores, queues: &Queues) {
    let (all, queues_of_all) = (stores.clone(), queues.clone());
    stores.cluster_overrides.subscribe(move |change: &Change<ClusterOverridePolicy>| {
        override_changed(&all, &queues_of_all, change, |policy| &policy.spec, &all.cluster_policies);
    });
    let (own, queues) = (stores.clone(), queues.clone());
    stores.overrides.subscribe(move |change: &Change<OverridePolicy>| {
        override_changed(&own, &queues, change, |policy| &policy.spec, &own.policies);
    });
}

/// What it overrides or did is rendered again; when it comes or goes, so does what the policies that wait for it by name hold
/// back.
fn override_changed<O, P: Propagation>(
    stores: &Stores,
    queues: &Queues,
    change: &Change<O>,
    spec: fn(&O) -> &OverrideSpec,
    policies: &Store<P>,
) {
    let namespace = change.key.namespace();
    let woken = woken_by_override(change.old.as_deref().map(spec), change.new.as_deref().map(spec), namespace);
    for template in reached(&stores.templates, &woken) {
        if template.is_namespace() {
            queues.namespaces.add_with(Key::of(&template.meta), Priority::Reaction);
        } else if stores.bindings.get(&template.binding_key()).is_some() {
            queues.works.add_with(template.binding_key(), Priority::Reaction);
        }
    }
    if change.old.is_none() || change.new.is_none() {
        let waiting = policies.find(POLICIES_BY_OVERRIDE, Lookup::Value(&change.key.name), namespace);
        let reaches = waiting.iter().flat_map(|policy| policy.side().reaches()).collect();
        look_again(queues, reached(&stores.templates, &reaches));
    }
}

fn bindings(env: &Env) {
    let (queues, outcomes, templates) = (env.queues.clone(), env.outcomes.clone(), env.stores.templates.clone());
    let told = env.clone();
    env.stores.bindings.subscribe(move |change: &Change<Binding>| {
        let is_synced = told.stores.bindings.of(&change.key).is_synced();
        let urgency = urgency(is_synced, change.new.as_ref().map(|binding| &binding.metadata));
        if change.new.is_none() {
            outcomes.forget(&change.key);
            told.reports.forget(&change.key);
            waiting_for(&templates, &change.key).iter().for_each(|template| queues.templates.add(template.key()));
        }
        if differs(change, scheduled) {
            queues.works.add_with(change.key.clone(), urgency);
        }
        if differs(change, |binding| (&binding.spec, authored(&binding.metadata))) {
            // An edit by hand is set right, by the template that it was for even where that is what was edited.
            let templates = [&change.new, &change.old].into_iter().filter(|_| change.new.is_some()).flatten();
            for binding in templates {
                queues.templates.add_with(TemplateKey::of(&binding.spec.resource), urgency);
            }
            queues.works.add_with(change.key.clone(), urgency);
            queues.schedule.add_with(change.key.clone(), urgency);
            queues.status.add_after(change.key.clone(), SETTLE);
        } else if differs(change, |binding| &binding.status) {
            let delay = binding_status::delay(&told, &change.key); // mostly our own write; what others put there is set right
            queues.status.add_after(change.key.clone(), delay);
        }
    });
}

/// What releasing Works waits for when a binding has no clusters: that the scheduler has said so for this generation.
fn scheduled(binding: &Binding) -> (i64, Option<&str>) {
    let Some(status) = &binding.status else { return (0, None) };
    let condition = conditions::find(&status.conditions, SCHEDULED);
    (status.scheduler_observed_generation, condition.map(|condition| condition.status.as_str()))
}

fn works(env: &Env) {
    let (queues, told) = (env.queues.clone(), env.clone());
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
            let is_synced = told.stores.works.is_synced();
            let urgency = urgency(is_synced, change.new.as_ref().map(|work| &work.metadata));
            queues.works.add_with(binding.clone(), urgency);
        }
        if differs(change, |work| &work.status) {
            let delay = binding_status::delay(&told, &binding);
            queues.status.add_after(binding, delay);
        }
    });
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
            for key in env.stores.bindings.keys() {
                env.queues.schedule.add_with(key.clone(), Priority::Reaction);
                if joined_or_left || looks_different {
                    env.queues.works.add_with(key, Priority::Reaction);
                }
            }
            every_namespace(&env);
        }
        // An outage and its end concern what runs there: since when its status is not what the member says, or is again.
        if change.old.is_some() && differs(change, |cluster| Reading::of(Some(cluster))) {
            for binding in env.stores.bindings.by_index(BINDINGS_BY_CLUSTER, &change.key.name) {
                env.queues.status.add_with(Key::of(&binding.metadata), Priority::Background);
            }
        }
    });
}

fn every_namespace(env: &Env) {
    let namespaces = env.stores.templates.kind("v1", "Namespace");
    for namespace in namespaces.iter().flat_map(|followed| followed.store.keys()) {
        env.queues.namespaces.add_with(namespace, Priority::Background);
    }
}

/// The parts of metadata that somebody decides; not what every write moves.
fn authored(meta: &ObjectMeta) -> impl PartialEq + '_ {
    (&meta.labels, &meta.annotations, &meta.finalizers, &meta.owner_references, deleting(meta))
}

/// How urgent a change is. What the first list shows may have been so for long: an edit must not wait behind it. What a
/// reconcile of ours has written is as urgent as that was.
fn urgency(is_synced: bool, now: Option<&ObjectMeta>) -> Priority {
    let inherited = || Ctx::current().and_then(|ctx| ctx.get().copied());
    match now {
        _ if !is_synced => Priority::Background,
        Some(meta) if !deleting(meta) => inherited().unwrap_or_default(),
        _ => Priority::Removal,
    }
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
