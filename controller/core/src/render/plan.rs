//! The steps of one binding.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use pando_api::{
    conditions,
    names::{ClusterName, ExecutionNamespace},
    policy::PurgeMode,
    work::{GracefulEvictionTask, ResourceBindingStatus, ResourceHealth, Work},
};

use super::{Action, Binding, Fault, MAX_WORK_BYTES, RenderInput, WorkStep, WorksPlan, completions, existing, work};
use crate::{
    next::Next,
    reconcile_set::{Pair, pair},
    scheduler::divide::Division,
};

/// How soon to look again while a directly evicted Work is on its way out (Karmada 1.19).
const DIRECT_EVICTION_RECHECK: Duration = Duration::from_secs(5);
/// How soon to look again while releases are held because the list of Works is not complete: nothing tells this binding
/// when the object that cannot be read is repaired or deleted.
const DOUBT_RECHECK: Duration = Duration::from_secs(30);

/// A target cluster and its replicas; `None` where the binding says nothing about them (clusters of dependents).
type Targets = BTreeMap<ClusterName, Option<i32>>;

/// Decides which Works to create, replace, keep and release.
pub fn plan(input: &RenderInput<'_>) -> WorksPlan {
    if input.binding.deleting {
        return release_all(input, "the binding is being deleted");
    }
    let mut faults = BTreeMap::new();
    let targets = targets(&input.binding, &mut faults);
    let place = Place::of(input, &targets);
    let mut plan = WorksPlan {
        template: input.template.manifest.name().to_owned(),
        steps: Vec::new(),
        faults,
        next: Next::await_change(),
    };
    let mut releases = Vec::new();
    let mut wanted = Vec::new();
    for (cluster, pair) in pair(targets.clone(), place.own.clone()) {
        match pair {
            Pair::Missing(replicas) => wanted.push((cluster, replicas, None)),
            Pair::Both(replicas, found) => wanted.push((cluster, replicas, Some(found))),
            Pair::Surplus(found) => surplus(input, &place, cluster, found, &mut plan.steps, &mut releases),
        }
    }
    let completions = completions::divided(input);
    for (cluster, replicas, found) in wanted {
        match target(input, &place, completions.as_ref(), &cluster, replicas, found.as_ref()) {
            Ok(step) => plan.steps.push(step),
            Err(fault) => {
                plan.steps.extend(found.map(|found| keep(&cluster, found, format!("unchanged: {}", fault.reason()))));
                plan.faults.insert(cluster.to_string(), fault);
            }
        }
    }
    if !place.leaving.is_empty() {
        plan.next = Next::after(DIRECT_EVICTION_RECHECK);
    }
    for (cluster, found) in &place.strays {
        let why = "it is not the template's Work".to_owned();
        releases.push(Leftover { cluster: cluster.clone(), found: Arc::clone(found), why });
    }
    if !releases.is_empty() {
        plan.next = plan.next.min(after_doubt(input));
    }
    let waits = make_before_break(&plan);
    let steps = releases.into_iter().map(|Leftover { cluster, found, why }| match waits {
        Some(waits) if !may_break(input, &place, &cluster) && found.metadata.deletion_timestamp.is_none() => {
            keep(&cluster, found, waits.to_owned())
        }
        _ => release(input, cluster, found, why),
    });
    plan.steps.extend(steps);
    plan
}

/// A Work in a cluster that is no target any more, on its way out.
struct Leftover {
    cluster: ClusterName,
    found: Arc<Work>,
    why: String,
}

/// Why the releases of a move wait, if they do: some target does not get its Work now.
fn make_before_break(plan: &WorksPlan) -> Option<&'static str> {
    let is_held = plan.steps.iter().any(|step| matches!(step.action, Action::Hold));
    (is_held || !plan.faults.is_empty()).then_some("another cluster has to get its Work first")
}

/// Whether a Work goes even though its replacement is not there: somebody asked for that in so many words.
fn may_break(input: &RenderInput<'_>, place: &Place, cluster: &ClusterName) -> bool {
    place.leaving.contains(cluster) || input.clusters.get(cluster).is_none_or(|facts| facts.is_deleting)
}

/// Releases every Work of a binding: it is being deleted, or its template is not propagated any more.
pub fn release_all(input: &RenderInput<'_>, why: &str) -> WorksPlan {
    let place = Place::of(input, &Targets::new());
    let own = place.own.iter().chain(place.strays.iter().map(|(cluster, found)| (cluster, found)));
    let steps = own.map(|(cluster, found)| release(input, cluster.clone(), Arc::clone(found), why.to_owned()));
    WorksPlan {
        template: input.template.manifest.name().to_owned(),
        steps: steps.collect(),
        faults: BTreeMap::new(),
        next: after_doubt(input),
    }
}

/// When to try again what was not released on doubt.
const fn after_doubt(input: &RenderInput<'_>) -> Next {
    if input.works_complete { Next::await_change() } else { Next::after(DOUBT_RECHECK) }
}

/// What is where, seen from the binding.
struct Place {
    /// Its Works, by cluster.
    own: BTreeMap<ClusterName, Arc<Work>>,
    /// Its Works under a name that is not the template's: leftovers of a binding that once was for something else.
    strays: Vec<(ClusterName, Arc<Work>)>,
    /// Works of others in the place of one of its own.
    taken: BTreeMap<ClusterName, Arc<Work>>,
    /// Clusters evicted directly whose Work is still there.
    leaving: BTreeSet<ClusterName>,
}

impl Place {
    fn of(input: &RenderInput<'_>, targets: &Targets) -> Self {
        let mut place =
            Self { own: BTreeMap::new(), strays: Vec::new(), taken: BTreeMap::new(), leaving: BTreeSet::new() };
        let name = work::name(input.template);
        for work in input.works {
            let namespace = work.metadata.namespace.as_deref().unwrap_or_default();
            let Some(cluster) = ExecutionNamespace::parse(namespace).map(|namespace| namespace.cluster()) else {
                continue;
            };
            let is_in_place = work.metadata.name.as_deref() == Some(name.as_str());
            match (existing::belongs_to(work, &input.binding), is_in_place) {
                (true, true) => drop(place.own.insert(cluster, Arc::clone(work))),
                (true, false) => place.strays.push((cluster, Arc::clone(work))),
                (false, true) => drop(place.taken.insert(cluster, Arc::clone(work))),
                (false, false) => {}
            }
        }
        for task in evictions(&input.binding).filter(|task| is_direct(task)) {
            if let Ok(cluster) = ClusterName::parse(&task.from_cluster)
                && place.own.contains_key(&cluster)
                && !targets.contains_key(&cluster)
            {
                place.leaving.insert(cluster);
            }
        }
        place
    }
}

/// The scheduler's clusters, and those where a dependent needs the object. A name that no cluster can have is a fault.
fn targets(binding: &Binding<'_>, faults: &mut BTreeMap<String, Fault>) -> Targets {
    let mut targets = Targets::new();
    let scheduled = binding.spec.clusters.iter().map(|target| (&target.name, Some(target.replicas)));
    let required = binding.spec.required_by.iter().flat_map(|snapshot| &snapshot.clusters);
    for (name, replicas) in scheduled.chain(required.map(|target| (&target.name, None))) {
        match ClusterName::parse(name) {
            Ok(cluster) => {
                targets.entry(cluster).or_insert(replicas);
            }
            Err(_) => {
                faults.insert(name.clone(), Fault::UnknownCluster { name: name.clone() });
            }
        }
    }
    targets
}

fn target(
    input: &RenderInput<'_>,
    place: &Place,
    completions: Option<&Division<&str>>,
    cluster: &ClusterName,
    replicas: Option<i32>,
    found: Option<&Arc<Work>>,
) -> Result<WorkStep, Fault> {
    let facts = input.clusters.get(cluster).ok_or_else(|| Fault::UnknownCluster { name: cluster.to_string() })?;
    if let Some(other) = place.taken.get(cluster) {
        return Err(existing::name_taken(other));
    }
    let step = |action, why| Ok(WorkStep { cluster: cluster.clone(), action, why });
    if found.is_some_and(|found| found.metadata.deletion_timestamp.is_some()) {
        return step(Action::Hold, "the old Work is still being deleted".to_owned());
    }
    let rendered = work::render(input, completions, facts, replicas)?;
    let bytes = work::size(&rendered);
    if bytes > MAX_WORK_BYTES {
        return Err(Fault::ManifestTooLarge { bytes });
    }
    let Some(found) = found else {
        if let Some(leaving) = place.leaving.first() {
            return step(Action::Hold, format!("direct eviction: the Work in {leaving} goes first"));
        }
        let why =
            existing::replicas(&rendered).map_or_else(|| "new target".to_owned(), |count| format!("replicas {count}"));
        return step(Action::Create(Box::new(rendered)), why);
    };
    match existing::difference(found, &rendered) {
        None => step(Action::Keep(Arc::clone(found)), "as desired".to_owned()),
        Some(why) => {
            let to = Box::new(existing::merged(found, rendered));
            step(Action::Replace { from: Arc::clone(found), to }, why)
        }
    }
}

/// A Work in a cluster that is no target: kept while an eviction waits or anything is in doubt, released otherwise.
fn surplus(
    input: &RenderInput<'_>,
    place: &Place,
    cluster: ClusterName,
    found: Arc<Work>,
    steps: &mut Vec<WorkStep>,
    releases: &mut Vec<Leftover>,
) {
    if place.leaving.contains(&cluster) {
        releases.push(Leftover { cluster, found, why: "evicted directly".to_owned() });
    } else if evictions(&input.binding).any(|task| task.from_cluster == cluster.as_ref()) {
        steps.push(keep(&cluster, found, eviction_waits(&input.binding)));
    } else if !is_scheduled(&input.binding) {
        let why = "the binding has no clusters and is not scheduled: nothing is released on doubt";
        steps.push(keep(&cluster, found, why.to_owned()));
    } else {
        releases.push(Leftover { cluster, found, why: "not a target any more".to_owned() });
    }
}

fn keep(cluster: &ClusterName, found: Arc<Work>, why: String) -> WorkStep {
    WorkStep { cluster: cluster.clone(), action: Action::Keep(found), why }
}

fn release(input: &RenderInput<'_>, cluster: ClusterName, found: Arc<Work>, why: String) -> WorkStep {
    if !input.works_complete {
        return keep(&cluster, found, "the list of Works is not complete: nothing is released on doubt".to_owned());
    }
    if found.metadata.deletion_timestamp.is_some() {
        return keep(&cluster, found, "it is being deleted".to_owned());
    }
    let (Some(uid), Some(resource_version)) = (found.metadata.uid.clone(), found.metadata.resource_version.clone())
    else {
        return keep(&cluster, found, "its uid and resourceVersion are not known".to_owned());
    };
    let namespace = cluster.execution_namespace().to_string();
    let name = found.metadata.name.clone().unwrap_or_default();
    WorkStep { cluster, action: Action::Release { namespace, name, uid, resource_version }, why }
}

fn evictions<'a>(binding: &Binding<'a>) -> impl Iterator<Item = &'a GracefulEvictionTask> {
    binding.spec.graceful_eviction_tasks.iter()
}

fn is_direct(task: &GracefulEvictionTask) -> bool {
    task.purge_mode == Some(PurgeMode::Directly)
}

/// Clusters, or a scheduler that says "none" in so many words of this very generation. An empty list alone may be a
/// binding that nobody has looked at yet, or one that fits no cluster: then what runs stays.
fn is_scheduled(binding: &Binding<'_>) -> bool {
    let says_so = |status: &ResourceBindingStatus| {
        status.scheduler_observed_generation == binding.generation && conditions_are_true(status)
    };
    !binding.spec.clusters.is_empty() || binding.status.is_some_and(says_so)
}

fn conditions_are_true(status: &ResourceBindingStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == conditions::SCHEDULED && condition.status == "True")
}

fn eviction_waits(binding: &Binding<'_>) -> String {
    let health = |name: &str| {
        let items = binding.status.iter().flat_map(|status| &status.aggregated_status);
        items.into_iter().find(|item| item.cluster_name == name).and_then(|item| item.health)
    };
    let unhealthy = binding.spec.clusters.iter().find(|target| health(&target.name) != Some(ResourceHealth::Healthy));
    match unhealthy {
        Some(target) => format!("eviction waits: {} is not healthy", target.name),
        None => "eviction waits: the task is not finished".to_owned(),
    }
}
