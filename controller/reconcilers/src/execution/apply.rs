//! Carries out the plan for one object.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::ApiResource;
use pando_api::work::Work;
use pando_api::{annotations, events, labels, managers};
use pando_context::Ctx;
use pando_core::drift::{self, Conversion, Desired, MemberStep};
use pando_core::seen::Seen;
use pando_member::fault::{self, Fault};
use pando_member::object::{Live, MemberObject, Verdict};
use pando_member::target::Target;
use pando_runtime::events::Level;
use pando_runtime::store::{Key, Store};
use serde_json::Value;

use super::observe::{self, Known};
use super::{CLUSTER_RETRY, Error, held};
use crate::agent::Agent;
use crate::agent::memory::FIRST_SLOW_REPAIR;
use crate::agent::outcome::{self, Result};

/// From so many waits in a row on it is found out what an object waits for: soon it will be said.
const EXPLAINED_WAITS: u32 = 3;
/// How often a stale precondition is answered by reading and planning again at once. A rival that still wins then is
/// left to the queue's backoff.
const ATTEMPTS: u32 = 4;

/// Brings one object of a Work to what is wanted.
///
/// # Errors
/// Stopped. Everything else is a [`Result`].
pub(super) async fn object(
    ctx: &Ctx,
    agent: &Agent,
    work: &Key,
    of: &Work,
    ordinal: usize,
    desired: &Desired,
    suspect: bool,
) -> std::result::Result<Result, Error> {
    let one = One { ctx, agent, work, of, ordinal, desired, target: agent.target(desired) };
    let store = agent.watches().acquire(&one.target.resource, work);
    let known = observe::known(agent, work, desired, &store, &one.target);
    if !matches!(known, Known::Settled)
        && let Some(retry) = agent.memory().repair_due(work, ordinal, observe::wanted(desired))
    {
        return Ok(Result::Postponed { retry, cause: None, times: 0 });
    }
    // A write of ours may be on its way still: the watch does not know of it.
    let suspect = suspect || agent.gateway().member().doubts().contains(&one.target);
    let mut seen = match known {
        Known::Settled => return Ok(Result::Applied("kept")),
        // Namespaces are often there without our label, which the watch selects by.
        Known::Absent if !suspect && one.target.resource.kind != "Namespace" => Seen::Absent,
        Known::Absent | Known::Unsure => match observe::live(ctx, agent, &one.target).await {
            Ok(seen) => seen,
            Err(error) => return one.failed(one.explained(error).await),
        },
    };
    let mut attempt = 1;
    loop {
        let error = match one.step(&store, seen).await? {
            Ok(result) => return Ok(result),
            Err(error) if is_stale(&error.fault) && attempt < ATTEMPTS => error,
            Err(error) => return one.failed(one.explained(error).await),
        };
        tracing::debug!(cluster = %agent.name(), %work, %error, attempt, "the member moved on, planning again");
        attempt += 1;
        seen = match observe::live(ctx, agent, &one.target).await {
            Ok(seen) => seen,
            Err(error) => return one.failed(one.explained(error).await),
        };
    }
}

/// What was read is not what is there any more: reading again and deciding again is the answer.
fn is_stale(fault: &Fault) -> bool {
    matches!(fault, Fault::Conflict(_) | Fault::AlreadyExists | Fault::NotFound)
}

/// One object on its way.
struct One<'a> {
    ctx: &'a Ctx,
    agent: &'a Agent,
    work: &'a Key,
    of: &'a Work,
    ordinal: usize,
    desired: &'a Desired,
    target: Target,
}

type Attempt = std::result::Result<Result, fault::Error>;

impl One<'_> {
    async fn step(
        &self,
        store: &Store<MemberObject>,
        seen: Seen<(Live, Value)>,
    ) -> std::result::Result<Attempt, Error> {
        let (gateway, term, target) = (self.agent.gateway(), self.agent.term(), &self.target);
        let plan = drift::plan(self.desired, seen.as_ref().map(|(_, value)| value));
        let step = plan.to_string();
        tracing::debug!(cluster = %self.agent.name(), work = %self.work, object = %target, step, "member step");
        let written = match plan {
            MemberStep::Create { body } => {
                gateway.create(self.ctx, term, target, &body).await.map(|live| (live, "created"))
            }
            MemberStep::Apply { body, convert, .. } => self.apply(body, convert, &seen).await,
            MemberStep::Adopt { body, why } => {
                let adopted = gateway.apply(self.ctx, term, target, &body).await;
                adopted.inspect(|_| self.adopted(&why)).map(|live| (live, "adopted"))
            }
            MemberStep::Keep => match seen {
                // What was read may be newer than the watch: with it the next look needs no request. Without our label the
                // watch would never tell how it goes on.
                Seen::Found((live, _)) if is_labelled(&live) => {
                    self.remember(store, &live);
                    return Ok(Ok(Result::Applied("kept")));
                }
                _ => return Ok(Ok(Result::Applied("kept"))),
            },
            MemberStep::Conflict { message } => return Ok(Ok(Result::conflict(message))),
            MemberStep::Await { why } => return Ok(Ok(self.waiting(why + &held::by(&seen)))),
            MemberStep::Wait(failure) => return Ok(Ok(self.fails(failure.to_string()))),
        };
        Ok(written.map(|(live, verb)| {
            self.written(store, &live);
            self.count(&step, &seen);
            if verb == "created" && target.resource.kind == "Namespace" {
                self.agent.namespace_made(&target.name);
            }
            self.expect_kinds();
            Result::Applied(verb)
        }))
    }

    /// Server-side apply; our first one on an object is preceded by the conversion of our POST's entry.
    async fn apply(
        &self,
        mut body: Value,
        convert: Option<Conversion>,
        seen: &Seen<(Live, Value)>,
    ) -> std::result::Result<(Live, &'static str), fault::Error> {
        let (gateway, term, target) = (self.agent.gateway(), self.agent.term(), &self.target);
        let mut converted = None;
        if let Some(convert) = convert {
            let live = gateway.convert(self.ctx, term, target, &convert.patch).await?;
            // The conversion itself made a new version; a guard on the old one would always fail.
            let version = Value::from(live.meta().resource_version.clone().unwrap_or_default());
            if let Some(guard) = body.pointer_mut("/metadata/resourceVersion") {
                guard.clone_from(&version);
            }
            converted = Some(version);
        }
        match gateway.apply(self.ctx, term, target, &body).await {
            Ok(live) => Ok((live, "applied")),
            Err(fault::Error { fault: Fault::NotMergeable(why), .. }) => {
                tracing::info!(cluster = %self.agent.name(), object = %target, why, "replacing the whole object");
                let Seen::Found((_, live)) = seen else {
                    return Err(self.gone());
                };
                let mut whole = replacement(body, live);
                if let Some(version) = converted {
                    whole["metadata"]["resourceVersion"] = version;
                }
                gateway.replace(self.ctx, term, target, &whole).await.map(|live| (live, "replaced"))
            }
            Err(error) => Err(error),
        }
    }

    /// Puts what the member showed into the store: the next look needs no request.
    fn remember(&self, store: &Store<MemberObject>, live: &Live) {
        store.written(live.record());
    }

    /// Puts the reply to a write of ours into the store, and notes a difference that the write left (a mutating webhook
    /// of the member): writing again would not change it, so only another difference counts as drift.
    fn written(&self, store: &Store<MemberObject>, live: &Live) {
        let record = live.record();
        let reading = record.reading(&self.target.resource, self.agent.decode());
        // The Work may have changed meanwhile; then the reply was compared with something that was not written.
        if let Verdict::Differs { desired, live } = &reading.verdict
            && **desired == *observe::wanted(self.desired)
        {
            tracing::info!(cluster = %self.agent.name(), object = %self.target, "the member changes what is written; accepted as it is");
            self.agent.memory().accept(self.work, desired.clone(), live.clone());
        }
        store.written(record);
    }

    fn adopted(&self, why: &str) {
        let (cluster, object) = (self.agent.name(), &self.target);
        tracing::info!(%cluster, %object, "took over an object of somebody else, as its conflict resolution says");
        // Even a hash may give the content of a Secret away.
        let why = if object.is_secret() { String::new() } else { format!(" ({why})") };
        let message = format!(
            "took over {object} in cluster {cluster}{why}, as conflict resolution {} says; it stays there when the Work goes",
            annotations::CONFLICT_RESOLUTION_OVERWRITE,
        );
        self.agent.event(self.of, Level::Normal, events::OBJECT_ADOPTED, &message);
    }

    /// Counts the write. Where repairs begin to be slowed down, an event says who is at the object and where.
    fn count(&self, step: &str, seen: &Seen<(Live, Value)>) {
        let repairs = self.agent.memory().note_write(self.work, self.ordinal, observe::wanted(self.desired));
        if repairs != FIRST_SLOW_REPAIR {
            return;
        }
        let rival = match seen {
            Seen::Found((_, live)) => last_writer(live).map(|name| format!(" (last writer: {name})")),
            _ => None,
        };
        let step = if self.target.is_secret() { "its content" } else { step };
        let message = format!(
            "somebody in cluster {} keeps changing {}{}, and it is put back more and more slowly: stop the other writer, or \
             give it the field by an override or a retain label; last repair: {}",
            self.agent.name(),
            self.target,
            rival.unwrap_or_default(),
            step.split_whitespace().collect::<Vec<_>>().join(" "),
        );
        self.agent.event(self.of, Level::Warning, events::OBJECT_CONTESTED, &message);
    }

    fn waiting(&self, why: String) -> Result {
        let before = self.agent.outcome(self.work).map_or(0, |last| last.waits(self.ordinal));
        let namespace = self.target.namespace.as_deref().map(Box::from);
        Result::Waiting { why, namespace, times: before.saturating_add(1) }
    }

    fn gone(&self) -> fault::Error {
        let fault = Fault::Conflict("it was not read".into());
        fault::Error { cluster: self.agent.name().clone(), verb: "replace", what: self.target.to_string(), fault }
    }

    /// A CustomResourceDefinition was written: the kinds that it promises are looked for until they are served.
    fn expect_kinds(&self) {
        if (self.target.resource.group.as_str(), self.target.resource.kind.as_str())
            != ("apiextensions.k8s.io", "CustomResourceDefinition")
        {
            return;
        }
        let spec = &self.desired.manifest.value()["spec"];
        let (group, kind) = (spec["group"].as_str().unwrap_or_default(), spec["names"]["kind"].as_str());
        let versions = spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true);
        for (version, kind) in versions.filter_map(|version| version["name"].as_str().zip(kind)) {
            let api_version = format!("{group}/{version}");
            self.agent.entry().expects(&api_version, kind);
        }
    }

    /// A namespace that does not go for a while is asked what holds it.
    async fn explained(&self, error: fault::Error) -> fault::Error {
        let Fault::NamespaceTerminating(namespace) = &error.fault else { return error };
        if self.agent.outcome(self.work).is_none_or(|last| last.waits(self.ordinal) < EXPLAINED_WAITS) {
            return error;
        }
        let resource = ApiResource::erase::<Namespace>(&());
        let seen = observe::live(self.ctx, self.agent, &Target::new(resource, None, namespace)).await;
        let why = seen.as_ref().map(held::by).unwrap_or_default();
        let fault = Fault::NamespaceTerminating(format!("{namespace}{why}"));
        fault::Error { fault, ..error }
    }

    /// What a fault means for the object.
    fn failed(&self, error: fault::Error) -> std::result::Result<Result, Error> {
        let manifest = &self.desired.manifest;
        Ok(match &error.fault {
            Fault::Stopped(_) => return Err(error.into()),
            Fault::Lost(_) => Result::Postponed { retry: CLUSTER_RETRY, cause: None, times: self.postponements() },
            Fault::NamespaceMissing(namespace) => {
                self.agent.namespace_missing(namespace);
                self.waiting(error.to_string())
            }
            Fault::NamespaceTerminating(_) => self.waiting(error.to_string()),
            Fault::KindMissing => {
                self.agent.entry().misses(manifest.api_version(), manifest.kind());
                self.waiting(error.to_string())
            }
            Fault::Throttled { wait, .. } => self.postponed(*wait, &error),
            // It changed again and again between reading and writing; or whether the write took effect is not known. Either
            // way it is read before it is written again.
            // A call without an answer may be this object's (an admission webhook that hangs).
            Fault::Conflict(_) | Fault::AlreadyExists | Fault::NotFound | Fault::Server { .. } | Fault::Deadline(_) => {
                self.postponed(outcome::pause(self.postponements()), &error)
            }
            fault if fault.is_cluster_wide() => self.postponed(CLUSTER_RETRY, &error),
            _ => self.fails(error.to_string()),
        })
    }

    fn fails(&self, message: String) -> Result {
        let retry = self.agent.outcome(self.work).map_or(CLUSTER_RETRY, |last| last.backoff(self.ordinal));
        Result::Failed { message, retry: Some(retry) }
    }

    fn postponed(&self, retry: Duration, error: &fault::Error) -> Result {
        let times = self.postponements().saturating_add(1);
        tracing::debug!(cluster = %self.agent.name(), work = %self.work, %error, times, ?retry, "postponed");
        Result::Postponed { retry, cause: Some(error.to_string()), times }
    }

    fn postponements(&self) -> u32 {
        self.agent.outcome(self.work).map_or(0, |last| last.postponements(self.ordinal))
    }
}

fn is_labelled(live: &Live) -> bool {
    live.meta().labels.as_ref().is_some_and(|labels| labels.contains_key(labels::MANAGED))
}

/// The manager of the last change that was not ours, as the member's API server noted it.
fn last_writer(live: &Value) -> Option<&str> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?.iter();
    let others = entries.filter(|entry| entry["manager"] != managers::MEMBER && entry["subresource"] != "status");
    others.max_by_key(|entry| entry["time"].as_str())?["manager"].as_str()
}

/// A whole object for what apply refuses: what is wanted, and of the live object what belongs to others: its owners,
/// finalizers, and labels and annotations that are not ours.
fn replacement(mut body: Value, live: &Value) -> Value {
    let Some(theirs) = live.get("metadata").and_then(Value::as_object) else {
        return body;
    };
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else {
        return body;
    };
    for field in ["uid", "resourceVersion", "finalizers", "ownerReferences"] {
        if let Some(value) = theirs.get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    for map in ["labels", "annotations"] {
        let mut merged = theirs.get(map).and_then(Value::as_object).cloned().unwrap_or_default();
        merged.extend(metadata.get(map).and_then(Value::as_object).cloned().unwrap_or_default());
        if !merged.is_empty() {
            metadata.insert(map.to_owned(), Value::Object(merged));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_writer_is_the_one_before_us() {
        let entry = |manager: &str, time: &str| json!({"manager": manager, "operation": "Update", "time": time});
        let mut live = json!({"metadata": {"managedFields": [entry("kubectl-edit", "2026-01-01T00:00:01Z"), entry("tuner", "2026-01-01T00:00:02Z"), entry("pando", "2026-01-01T00:00:03Z")]}});
        assert_eq!(last_writer(&live), Some("tuner"));
        live["metadata"]["managedFields"][1]["subresource"] = json!("status");
        assert_eq!(last_writer(&live), Some("kubectl-edit"));
        assert_eq!(last_writer(&json!({})), None);
    }

    #[test]
    fn a_replacement_keeps_what_belongs_to_others() {
        let live = json!({"metadata": {"uid": "u1", "resourceVersion": "7", "finalizers": ["x/y"], "labels": {"team": "a", "app": "old"}}, "spec": {"other": 1}});
        let body = json!({"metadata": {"name": "web", "uid": "u1", "labels": {"app": "new"}}, "spec": {"wanted": 2}});
        assert_eq!(
            replacement(body, &live),
            json!({"metadata": {"name": "web", "uid": "u1", "resourceVersion": "7", "finalizers": ["x/y"], "labels": {"team": "a", "app": "new"}}, "spec": {"wanted": 2}})
        );
    }
}
