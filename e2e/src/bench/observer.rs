//! The neutral observer: its own watches of hub and members, its own clock.
//!
//! It knows the API and nothing of the controller. An object exists in a member when that member's API server says
//! so. Statuses are complete when every binding says that all members have applied it and, for a Deployment,
//! that it is healthy there with its replica ready, and every template shows the sum.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::AsyncBufReadExt as _;
use http::Request;
use kube::Client;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::load;
use super::objects::{EVERYWHERE, Kind, Shape};
use super::rig::Rig;
use crate::progress::Progress;

/// How often a long wait says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Watches one namespace until it is dropped.
#[derive(Debug)]
pub struct Observer {
    board: Arc<Board>,
    members: usize,
    /// Ends the watches.
    _watches: JoinSet<()>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// When an object was first seen in a member, by the number of the member, kind and name.
    exist: HashMap<(usize, Kind, String), Instant>,
    /// Since when a binding or template is complete; none while it is not.
    complete: HashMap<(Kind, String), Option<Instant>>,
    /// Entries of `complete` with a time.
    completed: usize,
    /// Why a watch has ended, if one has.
    lost: Option<String>,
}

#[derive(Debug, Default)]
struct Board {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
}

/// What a watch is for.
#[derive(Clone, Copy, Debug)]
enum Duty {
    /// Objects in the member of this number.
    Exist(usize),
    /// Statuses on the hub; this many members are to report.
    Complete(usize),
}

impl Observer {
    /// Begins to watch what an application of this shape leaves in a namespace.
    ///
    /// # Errors
    /// When a watch cannot be opened.
    pub async fn start(rig: &Rig, namespace: &str, shape: Shape) -> Result<Self> {
        let board = Arc::<Board>::default();
        let mut wanted = Vec::new();
        for (number, member) in rig.members.iter().enumerate() {
            wanted.extend(shape.kinds().iter().map(|kind| (&member.client, *kind, Duty::Exist(number))));
        }
        let report = Duty::Complete(rig.members.len());
        wanted.push((&rig.hub.client, Kind::Binding, report));
        if shape.kinds().contains(&Kind::Deployment) {
            wanted.push((&rig.hub.client, Kind::Deployment, report));
        }
        let mut watches = JoinSet::new();
        for (client, kind, duty) in wanted {
            follow(&mut watches, client, kind, namespace, duty, &board).await?;
        }
        Ok(Self { board, members: rig.members.len(), _watches: watches })
    }

    /// Waits until `look` gives something, but not longer than `within`; then none.
    ///
    /// # Errors
    /// When a watch was lost: then nothing that was not seen may be called absent.
    pub async fn until<T>(
        &self,
        within: Duration,
        progress: &Progress,
        look: impl Fn(&Seen) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let mut changed = self.board.changed.subscribe();
        let (start, mut said) = (Instant::now(), Instant::now());
        loop {
            changed.borrow_and_update();
            let far = {
                let seen = self.board.lock();
                if let Some(lost) = &seen.lost {
                    bail!("the observer lost a watch: {lost}");
                }
                match look(&seen) {
                    Ok(value) => return Ok(Some(value)),
                    Err(far) => far,
                }
            };
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() {
                progress.say(format_args!("gave up after {within:?}: {far}"));
                return Ok(None);
            }
            if said.elapsed() >= SAY_EVERY {
                progress.say(far);
                said = Instant::now();
            }
            // Nothing may change for a while; then it is time to say how far it is.
            drop(tokio::time::timeout(left.min(SAY_EVERY), changed.changed()).await);
        }
    }

    /// When the last of `count` objects came into existence in every member.
    ///
    /// # Errors
    /// When a watch was lost.
    pub async fn exist(&self, count: usize, within: Duration, progress: &Progress) -> Result<Option<Instant>> {
        let wanted = count * self.members;
        self.until(within, progress, |seen| {
            if seen.exist.len() < wanted {
                return Err(format!("{} of {wanted} objects exist", seen.exist.len()));
            }
            seen.exist.values().max().copied().ok_or_else(|| "nothing was wanted".to_owned())
        })
        .await
    }

    /// When this object came into existence in the last member.
    ///
    /// # Errors
    /// When a watch was lost.
    pub async fn exists(
        &self,
        kind: Kind,
        name: &str,
        within: Duration,
        progress: &Progress,
    ) -> Result<Option<Instant>> {
        let keys: Vec<_> = (0..self.members).map(|member| (member, kind, name.to_owned())).collect();
        self.until(within, progress, |seen| {
            let times: Vec<Instant> = keys.iter().filter_map(|key| seen.exist.get(key).copied()).collect();
            let last = times.iter().max().filter(|_| times.len() == keys.len());
            last.copied().ok_or_else(|| format!("{name} exists in {} of {} members", times.len(), keys.len()))
        })
        .await
    }

    /// When the last of `count` bindings and templates became complete.
    ///
    /// # Errors
    /// When a watch was lost.
    pub async fn complete(&self, count: usize, within: Duration, progress: &Progress) -> Result<Option<Instant>> {
        self.until(within, progress, |seen| {
            if seen.completed < count {
                return Err(format!("{} of {count} statuses are complete", seen.completed));
            }
            seen.complete.values().flatten().max().copied().ok_or_else(|| "nothing was wanted".to_owned())
        })
        .await
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }
}

impl Seen {
    fn note(&mut self, kind: Kind, duty: Duty, line: Line, at: Instant) {
        let gone = line.event == "DELETED";
        let name = line.object.metadata.name.clone();
        match duty {
            Duty::Exist(member) => {
                if name == EVERYWHERE {
                    return;
                }
                match gone {
                    true => drop(self.exist.remove(&(member, kind, name))),
                    false => drop(self.exist.entry((member, kind, name)).or_insert(at)),
                }
            }
            Duty::Complete(members) => {
                let now = !gone && line.object.is_complete(kind, members);
                let entry = self.complete.entry((kind, name)).or_default();
                match (now, entry.is_some()) {
                    (true, false) => {
                        *entry = Some(at);
                        self.completed += 1;
                    }
                    (false, true) => {
                        *entry = None;
                        self.completed -= 1;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Opens a watch that begins now, and reads it in a task.
async fn follow(
    tasks: &mut JoinSet<()>,
    client: &Client,
    kind: Kind,
    namespace: &str,
    duty: Duty,
    board: &Arc<Board>,
) -> Result<()> {
    let path = kind.collection(Some(namespace));
    let list =
        load::read(client, &format!("{path}?limit=1")).await?.with_context(|| format!("{path} is not served"))?;
    let version = list["metadata"]["resourceVersion"].as_str().context("a list without resourceVersion")?;
    let watch = format!("{path}?watch=1&timeoutSeconds=36000&resourceVersion={version}");
    let request = Request::get(watch).header("accept-encoding", "identity").body(Vec::new())?;
    let stream = client.request_stream(request).await.with_context(|| format!("cannot watch {path}"))?;
    let (board, path) = (Arc::clone(board), path.clone());
    tasks.spawn(async move {
        let mut stream = std::pin::pin!(stream);
        let mut bytes = Vec::new();
        let lost = loop {
            bytes.clear();
            match stream.read_until(b'\n', &mut bytes).await {
                Ok(0) => break "it ended".to_owned(),
                Err(error) => break error.to_string(),
                Ok(_) => {}
            }
            let at = Instant::now();
            match serde_json::from_slice::<Line>(&bytes) {
                Ok(line) => board.change(|seen| seen.note(kind, duty, line, at)),
                Err(error) => break format!("{error} in {}", String::from_utf8_lossy(&bytes).trim()),
            }
        };
        board.change(|seen| seen.lost = Some(format!("{path}: {lost}")));
    });
    Ok(())
}

/// One event of a watch, without everything that is not asked for.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    event: String,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    generation: i64,
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    #[serde(default)]
    resource: Resource,
}

#[derive(Debug, Default, Deserialize)]
struct Resource {
    #[serde(default)]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<Condition>,
    aggregated_status: Vec<Item>,
    ready_replicas: usize,
    observed_generation: i64,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    name: String,
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    applied: bool,
    health: String,
    status: Option<ItemStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ItemStatus {
    ready_replicas: usize,
}

impl Object {
    /// Whether a binding or a template shows everything that `members` members have to say.
    fn is_complete(&self, kind: Kind, members: usize) -> bool {
        let status = &self.status;
        match kind {
            Kind::Binding => {
                let runs = self.spec.resource.kind == Kind::Deployment.name();
                let fully = status.conditions.iter().any(|one| one.name == "FullyApplied" && one.status == "True");
                let good = |item: &Item| {
                    let ready = item.status.as_ref().is_some_and(|status| status.ready_replicas == 1);
                    item.applied && (!runs || (ready && item.health == "Healthy"))
                };
                fully && status.aggregated_status.len() == members && status.aggregated_status.iter().all(good)
            }
            Kind::Deployment => {
                status.ready_replicas == members && status.observed_generation == self.metadata.generation
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn event(event: &str, object: Value) -> Line {
        serde_json::from_value(json!({ "type": event, "object": object })).unwrap()
    }

    fn binding(kind: &str, fully: &str, items: Value) -> Value {
        json!({
            "metadata": { "name": "x", "managedFields": [{ "manager": "anybody" }] },
            "spec": { "resource": { "kind": kind, "name": "x" } },
            "status": { "conditions": [{ "type": "FullyApplied", "status": fully }], "aggregatedStatus": items },
        })
    }

    fn ready(count: i32) -> Value {
        json!({ "clusterName": "a", "applied": true, "health": "Healthy", "status": { "readyReplicas": count } })
    }

    #[test]
    fn a_binding_is_complete_when_every_member_is_applied_and_a_workload_is_ready_there() {
        let complete = |object: Value| event("MODIFIED", object).object.is_complete(Kind::Binding, 2);
        assert!(complete(binding("Deployment", "True", json!([ready(1), ready(1)]))));
        assert!(!complete(binding("Deployment", "True", json!([ready(1), ready(0)]))));
        assert!(!complete(binding("Deployment", "True", json!([ready(1)]))));
        assert!(!complete(binding("Deployment", "False", json!([ready(1), ready(1)]))));
        let applied = json!({ "applied": true, "health": "Unknown" });
        assert!(complete(binding("ConfigMap", "True", json!([applied, applied]))));
        assert!(!complete(binding("ConfigMap", "True", json!([applied, { "applied": false }]))));
        assert!(!complete(json!({ "metadata": { "name": "x" } })));
    }

    #[test]
    fn a_template_is_complete_when_it_shows_the_sum_for_its_generation() {
        let template = |ready: i32, seen: i32| {
            let status = json!({ "readyReplicas": ready, "observedGeneration": seen, "conditions": [] });
            let object = json!({ "metadata": { "name": "x", "generation": 2 }, "status": status });
            event("MODIFIED", object).object.is_complete(Kind::Deployment, 3)
        };
        assert!(template(3, 2));
        assert!(!template(2, 2));
        assert!(!template(3, 1));
    }

    #[test]
    fn what_falls_back_is_not_complete_and_counts_from_its_last_time() {
        let mut seen = Seen::default();
        let start = Instant::now();
        let mut note = |fully: &str, at: u64| {
            let applied = json!({ "applied": true });
            let line = event("MODIFIED", binding("ConfigMap", fully, json!([applied])));
            seen.note(Kind::Binding, Duty::Complete(1), line, start + Duration::from_secs(at));
            (seen.completed, seen.complete.values().flatten().max().copied())
        };
        assert_eq!(note("True", 1), (1, Some(start + Duration::from_secs(1))));
        assert_eq!(note("True", 2), (1, Some(start + Duration::from_secs(1))));
        assert_eq!(note("False", 3), (0, None));
        assert_eq!(note("True", 4), (1, Some(start + Duration::from_secs(4))));
    }

    #[test]
    fn an_object_exists_from_its_first_event_until_it_is_deleted() {
        let mut seen = Seen::default();
        let start = Instant::now();
        let mut note = |what: &str, name: &str, at: u64| {
            let line = event(what, json!({ "metadata": { "name": name } }));
            seen.note(Kind::ConfigMap, Duty::Exist(0), line, start + Duration::from_secs(at));
            seen.exist.values().max().copied()
        };
        assert_eq!(note("ADDED", "kube-root-ca.crt", 0), None);
        assert_eq!(note("ADDED", "x", 1), Some(start + Duration::from_secs(1)));
        assert_eq!(note("MODIFIED", "x", 2), Some(start + Duration::from_secs(1)));
        assert_eq!(note("DELETED", "x", 3), None);
    }
}
