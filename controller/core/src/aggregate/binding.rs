//! Status of a binding, from the Works (Karmada 1.19, `AggregateResourceBindingWorkStatus`), and how fresh it is.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::{
    conditions::{
        FULLY_APPLIED, FULLY_APPLIED_FAILED, FULLY_APPLIED_FAILED_MESSAGE, FULLY_APPLIED_SUCCESS,
        FULLY_APPLIED_SUCCESS_MESSAGE, STATUS_FRESH,
    },
    names::EXECUTION_NAMESPACE_PREFIX,
    work::{AggregatedStatusItem, Binding, ResourceBindingSpec, ResourceBindingStatus, Work},
};
use serde_json::{Value, json};

use super::{
    freshness::{self, Reading},
    item,
    memory::{Memory, Part},
};
use crate::{
    conditions::{self, Verdict},
    merge_patch,
};

/// What a binding's status follows from.
pub struct Sources<'a> {
    /// The binding with the status that it shows now.
    pub binding: &'a Binding,
    /// Its Works, in any order. Those that are being deleted or belong to no target are left out.
    pub works: &'a [Arc<Work>],
    /// Whether a member, by name, is read at present.
    pub reading: &'a dyn Fn(&str) -> Reading,
    /// Whether a member, by name, may have a Work that cannot be read: then a missing one is unknown, not absent.
    pub in_doubt: &'a dyn Fn(&str) -> bool,
}

/// The next status of a binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// All of it but the items. What this module does not own (the scheduler's part) is passed through.
    pub head: ResourceBindingStatus,
    /// One item for each target cluster whose Work is there, sorted by cluster; `None` when the binding shows them
    /// already.
    pub items: Option<Vec<AggregatedStatusItem>>,
}

/// The next status of a binding: its items, and the conditions FullyApplied and StatusFresh.
///
/// Only items whose source changed are made again: the Work, or whether its member is read. An item that means the same as
/// the one that is shown keeps its bytes.
pub fn fold(memory: &mut Memory, sources: &Sources<'_>, now: &Time) -> Folded {
    let binding = sources.binding;
    let shown = shown(binding);
    let targets = targets(&binding.spec);
    let (items, lost) = items(memory, sources, &targets);
    let is_fully_applied = !targets.is_empty() && items.len() == targets.len() && items.iter().all(|item| item.applied);
    let mut head = head_of(binding.status.as_ref());
    conditions::set(&mut head.conditions, fully_applied(is_fully_applied), now);
    match freshness::verdict(&lost, conditions::find(&head.conditions, STATUS_FRESH)) {
        Some(verdict) => drop(conditions::set(&mut head.conditions, verdict, now)),
        None => conditions::remove(&mut head.conditions, STATUS_FRESH),
    }
    // The very items that are shown, in their places: not only equal ones.
    let is_shown =
        |(item, known): (&Cow<'_, AggregatedStatusItem>, &AggregatedStatusItem)| std::ptr::eq(&**item, known);
    let changed = items.len() != shown.len() || !items.iter().zip(shown).all(is_shown);
    if changed {
        memory.template = None;
    }
    Folded { head, items: changed.then(|| items.into_iter().map(Cow::into_owned).collect()) }
}

fn shown(binding: &Binding) -> &[AggregatedStatusItem] {
    binding.status.as_ref().map(|status| status.aggregated_status.as_slice()).unwrap_or_default()
}

/// Members that are not read, and since when.
type Lost<'a> = Vec<(&'a str, Option<Time>)>;

/// The items, those that are shown already as such, and the members that are not read.
fn items<'a>(
    memory: &mut Memory,
    sources: &Sources<'a>,
    targets: &[&'a str],
) -> (Vec<Cow<'a, AggregatedStatusItem>>, Lost<'a>) {
    let (shown, resource) = (shown(sources.binding), &sources.binding.spec.resource);
    let works = by_cluster(targets, sources.works);
    let mut before = std::mem::take(&mut memory.parts).into_iter().peekable();
    let (mut items, mut lost) = (Vec::with_capacity(targets.len()), Vec::new());
    let found: Vec<_> = targets.iter().map(|cluster| found(cluster, shown, &works)).collect();
    let room = item::room(found.iter().map(|(work, known)| item::size(*work, *known, resource)));
    for (cluster, (work, known)) in targets.iter().copied().zip(found) {
        while before.next_if(|part| *part.cluster < *cluster).is_some() {}
        let part = before.next_if(|part| *part.cluster == *cluster);
        let reading = (sources.reading)(cluster);
        let reading = match (work, known) {
            (Some(work), _) => reading.of_work(work),
            (None, Some(_)) if (sources.in_doubt)(cluster) => reading.doubted(),
            (None, _) => continue,
        };
        let is_read = reading == Reading::Current;
        let fits = item::size(work, known, resource) <= room;
        let source = item::source(work, resource, is_read, fits);
        let (part, item) = match (part, known) {
            (Some(part), Some(known)) if part.stands(source, known) => (part, Cow::Borrowed(known)),
            (part, known) => {
                memory.tally.built += 1;
                let built = match (work, known) {
                    (None, Some(known)) => item::doubted(known),
                    (work, _) => item::build(cluster, work.and_then(|work| work.status.as_ref()), resource, is_read),
                };
                let built = if fits { built } else { item::without_status(built) };
                let item = match known.filter(|known| item::same(known, &built)) {
                    Some(known) => Cow::Borrowed(known),
                    None => Cow::Owned(built),
                };
                (Part::new(cluster, source, &item, part), item)
            }
        };
        if let Reading::Lost { since } = reading {
            lost.push((cluster, since));
        }
        memory.parts.push(part);
        items.push(item);
    }
    (items, lost)
}

/// The Work of a cluster, and the item that is shown of it.
fn found<'a>(
    cluster: &str,
    shown: &'a [AggregatedStatusItem],
    works: &[(&str, &'a Work)],
) -> (Option<&'a Work>, Option<&'a AggregatedStatusItem>) {
    let known = shown.binary_search_by(|known| known.cluster_name.as_str().cmp(cluster)).ok();
    let work = works.binary_search_by_key(&cluster, |(cluster, _)| *cluster).ok();
    (work.and_then(|at| works.get(at)).map(|(_, work)| *work), known.and_then(|at| shown.get(at)))
}

/// Clusters that have, or are to have, the object: chosen ones, and those of the bindings that need it. Sorted.
#[must_use]
pub fn targets(spec: &ResourceBindingSpec) -> Vec<&str> {
    let required = spec.required_by.iter().flat_map(|snapshot| &snapshot.clusters);
    let mut targets: Vec<_> = spec.clusters.iter().chain(required).map(|target| target.name.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// The Works that count, each with its cluster, sorted by cluster: one for each.
fn by_cluster<'a>(targets: &[&'a str], works: &'a [Arc<Work>]) -> Vec<(&'a str, &'a Work)> {
    let of_target = |work: &'a Arc<Work>| {
        let cluster = work.metadata.namespace.as_deref()?.strip_prefix(EXECUTION_NAMESPACE_PREFIX)?;
        let position = targets.binary_search(&cluster).ok()?;
        Some((*targets.get(position)?, Arc::as_ref(work)))
    };
    let staying = works.iter().filter(|work| work.metadata.deletion_timestamp.is_none());
    let mut found: Vec<_> = staying.filter_map(of_target).collect();
    found.sort_by_key(|(cluster, _)| *cluster);
    found.dedup_by_key(|(cluster, _)| *cluster);
    found
}

fn head_of(status: Option<&ResourceBindingStatus>) -> ResourceBindingStatus {
    let Some(status) = status else { return ResourceBindingStatus::default() };
    ResourceBindingStatus {
        scheduler_observed_generation: status.scheduler_observed_generation,
        scheduler_observed_affinity_name: status.scheduler_observed_affinity_name.clone(),
        last_scheduled_time: status.last_scheduled_time.clone(),
        conditions: status.conditions.clone(),
        aggregated_status: Vec::new(),
    }
}

fn fully_applied(is_fully_applied: bool) -> Verdict {
    match is_fully_applied {
        true => Verdict::holds(FULLY_APPLIED, FULLY_APPLIED_SUCCESS, FULLY_APPLIED_SUCCESS_MESSAGE),
        false => Verdict::fails(FULLY_APPLIED, FULLY_APPLIED_FAILED, FULLY_APPLIED_FAILED_MESSAGE),
    }
}

impl Folded {
    /// The merge patch that brings the binding's status here, and loses against a newer version of the binding; `None` when
    /// it is here.
    #[must_use]
    pub fn patch(&self, binding: &Binding) -> Option<Value> {
        // Plain data: it always serialises.
        let from = serde_json::to_value(head_of(binding.status.as_ref())).ok()?;
        let mut change = merge_patch::between(&from, &serde_json::to_value(&self.head).ok()?);
        if let Some(items) = &self.items {
            let change = change.get_or_insert_with(|| Value::Object(serde_json::Map::new()));
            change["aggregatedStatus"] = serde_json::to_value(items).ok()?;
        }
        let change = change?;
        Some(json!({"metadata": {"resourceVersion": binding.metadata.resource_version}, "status": change}))
    }

    /// The items, changed or not.
    #[must_use]
    pub fn items<'a>(&'a self, binding: &'a Binding) -> &'a [AggregatedStatusItem] {
        self.items.as_deref().unwrap_or_else(|| shown(binding))
    }
}
