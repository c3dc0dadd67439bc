//! Only what changed is looked at again, and a memory changes no result.

use super::*;

const TWELVE: [&str; 12] = ["m01", "m02", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12"];

fn versioned(cluster: &str, version: u32, ready: i64) -> Arc<Work> {
    let mut work = (*working(cluster, ready)).clone();
    work.metadata.resource_version = Some(version.to_string());
    work.status = work.status.as_ref().map(stored);
    Arc::new(work)
}

/// A binding on a hub that stores what is written to it.
struct Rig {
    binding: Binding,
    works: Vec<Arc<Work>>,
    template: Value,
    memory: Memory,
}

impl Rig {
    fn new() -> Self {
        let template = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "prod", "generation": 3},
            "spec": {"replicas": 60}, "status": {},
        });
        let works = TWELVE.iter().map(|cluster| versioned(cluster, 1, 5)).collect();
        Self { binding: bound(&TWELVE), works, template, memory: Memory::default() }
    }

    /// One tick: what was written (binding, template), and what it took.
    fn tick(&mut self) -> ((bool, bool), Tally) {
        let before = self.memory.tally();
        let sources = Sources {
            binding: &self.binding,
            works: &self.works,
            reading: &|_| Reading::Current,
            in_doubt: &|_| false,
        };
        let folded = fold(&mut self.memory, &sources, &at(9));
        let patch = folded.patch(&self.binding);
        let next =
            next_template(&mut self.memory, &self.template, folded.items(&self.binding), &targets(&self.binding.spec));
        let written = (patch.is_some(), next.is_some());
        if let Some(patch) = patch {
            // As the hub: other bytes in, its own bytes out.
            let mut binding = serde_json::to_value(&self.binding).unwrap();
            json_patch::merge(&mut binding, &patch);
            self.binding = serde_json::from_str(&binding.to_string()).unwrap();
        }
        if let Some(next) = next {
            self.template["status"] = next;
        }
        let after = self.memory.tally();
        let took = Tally {
            built: after.built - before.built,
            parsed: after.parsed - before.parsed,
            templates: after.templates - before.templates,
        };
        (written, took)
    }
}

#[test]
fn one_change_among_twelve_builds_and_parses_one_item() {
    let mut rig = Rig::new();
    assert_eq!(rig.tick(), ((true, true), Tally { built: 12, parsed: 12, templates: 1 }));
    // The hub's bytes differ from ours, so each is looked at once more; then they are known.
    rig.tick();
    assert_eq!(rig.tick(), ((false, false), Tally::default()), "nothing changed, nothing is looked at");

    rig.works[6] = versioned("m07", 2, 4);
    assert_eq!(rig.tick(), ((true, true), Tally { built: 1, parsed: 1, templates: 1 }));
    assert_eq!(rig.binding.status.as_ref().unwrap().aggregated_status[6].health, Some(ResourceHealth::Unhealthy));
    assert_eq!(rig.template["status"]["readyReplicas"], 59);
}

#[test]
fn a_new_version_of_a_work_that_says_the_same_is_not_written() {
    let mut rig = Rig::new();
    rig.tick();
    rig.tick();
    rig.works[0] = versioned("m01", 2, 5);
    assert_eq!(rig.tick(), ((false, false), Tally { built: 1, parsed: 0, templates: 0 }));
}

#[test]
fn a_new_generation_of_the_template_needs_no_item_to_be_looked_at() {
    let mut rig = Rig::new();
    rig.tick();
    rig.tick();
    rig.template["metadata"]["generation"] = json!(4);
    assert_eq!(rig.tick().1, Tally { built: 0, parsed: 0, templates: 1 });
}

#[test]
fn what_somebody_else_writes_into_a_status_is_put_right() {
    let mut rig = Rig::new();
    rig.tick();
    rig.tick();
    let right = (rig.binding.clone(), rig.template.clone());
    rig.binding.status.as_mut().unwrap().aggregated_status[3].applied = false;
    rig.binding.status.as_mut().unwrap().aggregated_status.swap(0, 1);
    rig.template["status"]["readyReplicas"] = json!(1);
    assert_eq!(rig.tick().0, (true, true));
    assert_eq!((rig.binding, rig.template), right);
}

#[test]
fn a_cluster_that_leaves_takes_its_item_along_and_no_other_is_looked_at() {
    let mut rig = Rig::new();
    rig.tick();
    rig.tick();
    rig.binding.spec.clusters.remove(4);
    assert_eq!(rig.tick(), ((true, true), Tally { built: 0, parsed: 0, templates: 1 }));
    assert_eq!(rig.binding.status.as_ref().unwrap().aggregated_status.len(), 11);
    assert_eq!(rig.template["status"]["readyReplicas"], 55);
}

#[test]
fn a_patch_carries_the_version_and_only_what_changed() {
    let mut rig = Rig::new();
    rig.tick();
    rig.binding.metadata.resource_version = Some("17".to_owned());
    rig.works.truncate(1);
    rig.binding.spec.clusters.truncate(1);
    let sources =
        Sources { binding: &rig.binding, works: &rig.works, reading: &|_| Reading::Current, in_doubt: &|_| false };
    let folded = fold(&mut Memory::default(), &sources, &at(50));
    let patch = folded.patch(&rig.binding).unwrap();
    assert_eq!(patch["metadata"], json!({"resourceVersion": "17"}));
    let fields: Vec<_> = patch["status"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["aggregatedStatus"]);
}

proptest! {
    /// Any series of changes, with the memory kept, dropped now and then, or never there: the same statuses.
    #[test]
    fn a_memory_changes_no_result(
        steps in proptest::collection::vec((0..3_usize, 0..6_i64, 0..4_u8), 1..12),
    ) {
        let names = ["bj", "sh", "sz"];
        let mut with = (bound(&names), Memory::default());
        let mut without = with.0.clone();
        let mut works: Vec<_> = names.iter().map(|name| work(name, None)).collect();
        let mut lost = [false; 3];
        for (version, (which, ready, what)) in steps.into_iter().enumerate() {
            match what {
                0 => lost[which] = !lost[which],
                1 => works[which] = failing(names[which]),
                _ => works[which] = working(names[which], ready),
            }
            Arc::make_mut(&mut works[which]).metadata.resource_version = Some((version + 2).to_string());
            let reading = |cluster: &str| match names.iter().position(|name| *name == cluster) {
                Some(position) if lost[position] => Reading::Lost { since: Some(at(60)) },
                _ => Reading::Current,
            };
            let second = i64::try_from(version).unwrap() + 100;
            let remembered = folded(&mut with.1, &with.0, &works, &reading, second);
            let anew = folded(&mut Memory::default(), &without, &works, &reading, second);
            prop_assert_eq!(&remembered, &anew);
            with.0.status = Some(remembered);
            without.status = Some(anew);
        }
    }
}
