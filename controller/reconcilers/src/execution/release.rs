//! A Work goes: its objects leave the member, or are left there on purpose; then the Work's finalizer goes.
//!
//! Every object is read from the member's quorum before it is decided on, and the Work is let go only when each of them is
//! proven to be gone or not to be ours. A Work that its binding still wants was deleted by hand: its objects stay for the next.
//! One object that does not go holds its Work, and nothing else; after a moment the Work says what holds it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pando_api::conditions::{APPLIED, DELETION_BLOCKED, OBJECT_REMAINS};
use pando_api::work::Work;
use pando_api::{annotations, events, finalizers, names};
use pando_context::Ctx;
use pando_core::conditions::{self, Verdict};
use pando_core::drift::{self, Desired, ReleaseStep};
use pando_core::next::Next;
use pando_core::seen::{ReadFailure, Seen};
use pando_member::fault::{self, Fault};
use pando_member::gateway::Deleted;
use pando_member::object::Live;
use pando_member::target::Target;
use pando_runtime::events::Level;
use pando_runtime::store::{Key, Read, Record, Store};
use serde_json::{Value, json};

use super::{CLUSTER_RETRY, Error, WAIT_RETRY, held, observe};
use crate::agent::Agent;

/// How soon an object is looked at again that was deleted and is still shown.
const RECHECK: Duration = Duration::from_millis(200);
/// How long something may hold a Work that goes before it is said why.
const HELD_PATIENCE: Duration = Duration::from_secs(3);
/// Longest time between two attempts at something that the member refuses.
const SLOWEST: Duration = Duration::from_secs(30);

pub(super) async fn work(ctx: &Ctx, agent: &Agent, key: &Key, work: &Work) -> Result<Next, Error> {
    if !work.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == finalizers::EXECUTION) {
        agent.forget(key);
        return Ok(Next::forget());
    }
    let preserve = work.spec.preserve_resources_on_deletion == Some(true);
    match Desired::of_work(agent.federation(), work) {
        Ok(objects) => {
            let mut left = Vec::new();
            for desired in objects.iter().rev() {
                left.extend(object(ctx, agent, key, work, desired, preserve).await?);
            }
            if !left.is_empty() {
                return stays(ctx, agent, key, work, left).await;
            }
        }
        Err(unfit) if was_never_applied(work) => {
            tracing::warn!(work = %key, %unfit, "releasing a Work that could never be applied")
        }
        // What it wrote before it was edited is still there, and nobody knows where.
        Err(unfit) => {
            let message = format!(
                "{unfit}; what was applied from it before is still in cluster {}: put its manifest right, or delete the \
                 object there and then remove finalizer {} from the Work",
                agent.name(),
                finalizers::EXECUTION,
            );
            agent.event(work, Level::Warning, events::CLEANUP_WORK_FAILED, &message);
            return Ok(Next::await_change());
        }
    }
    let_go(ctx, agent, key, work).await?;
    Ok(Next::forget())
}

/// Does its status say that no object of it was ever seen in the member?
fn was_never_applied(work: &Work) -> bool {
    work.status
        .as_ref()
        .is_none_or(|status| status.manifest_statuses.is_empty() && !conditions::is_true(&status.conditions, APPLIED))
}

/// Does the binding of a Work that goes still want it? Then somebody deleted the Work, or its namespace, by hand. The next
/// Work for the binding has the same ownership record: the object needs neither an end nor a new start.
///
/// # Errors
/// The binding or the cluster cannot be read: nothing can be decided.
fn is_still_wanted(agent: &Agent, key: &Key, desired: &Desired) -> Result<bool, ReadFailure> {
    let mark = |mark| desired.manifest.annotation(mark);
    let namespaced = mark(annotations::RESOURCE_BINDING_NAMESPACE).zip(mark(annotations::RESOURCE_BINDING_NAME));
    let place = namespaced
        .map(|(namespace, name)| Key::namespaced(namespace, name))
        .or_else(|| mark(annotations::CLUSTER_RESOURCE_BINDING_NAME).map(Key::cluster));
    let (Some(place), Some(id)) = (place, desired.record.binding.as_deref()) else {
        return Ok(false);
    };
    let Some(binding) = read(agent.bindings().of(&place), &place, "binding")? else {
        return Ok(false);
    };
    let Some(cluster) = read(agent.clusters(), &Key::cluster(agent.name().as_str()), "Cluster")? else {
        return Ok(false);
    };
    let template = &binding.spec.resource;
    let template_namespace = Some(template.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let required = binding.spec.required_by.iter().flat_map(|snapshot| &snapshot.clusters);
    let mut targets = binding.spec.clusters.iter().chain(required);
    Ok(binding.permanent_id() == Some(id)
        && binding.metadata.deletion_timestamp.is_none()
        && cluster.metadata.deletion_timestamp.is_none()
        && *key.name == *names::work_name(template_namespace, &template.kind, &template.name)
        && targets.any(|target| target.name == agent.name().as_str()))
}

/// The object, or that it does not exist. What is not known is neither.
fn read<T: Record>(store: &Store<T>, key: &Key, kind: &str) -> Result<Option<Arc<T>>, ReadFailure> {
    let unknown = |why: String| ReadFailure::new(format!("{kind} {key}"), why);
    if !store.is_synced() {
        return Err(unknown("it was not listed yet".to_owned()));
    }
    match store.read(key) {
        Read::Found(object) => Ok(Some(object)),
        Read::Absent => Ok(None),
        Read::Unreadable(why) => Err(unknown(why)),
    }
}

/// An object that is not gone yet.
struct Left {
    /// When to look again.
    next: Next,
    /// What it waits for, where that is a matter of this object.
    why: Option<String>,
}

impl Left {
    /// It goes as such things go.
    fn for_now(after: Duration) -> Self {
        Self { next: Next::after(after), why: None }
    }
}

/// Something of the Work is left in the member. When that lasts, a condition of the Work says what and why.
async fn stays(ctx: &Ctx, agent: &Agent, key: &Key, work: &Work, left: Vec<Left>) -> Result<Next, Error> {
    if !agent.entry().is_connected() {
        agent.park(key);
        return Ok(Next::await_change());
    }
    let next = left.iter().map(|left| left.next).min().unwrap_or_else(Next::await_change);
    let why: Vec<&str> = left.iter().filter_map(|left| left.why.as_deref()).collect();
    let patience = HELD_PATIENCE.saturating_sub(agent.memory().held_for(key));
    if why.is_empty() {
        return Ok(next);
    }
    if !patience.is_zero() {
        return Ok(next.min(Next::after(patience)));
    }
    let mut status = work.status.clone().unwrap_or_default();
    let verdict = Verdict::holds(DELETION_BLOCKED, OBJECT_REMAINS, why.join("; "));
    if !conditions::set(&mut status.conditions, verdict, &Time(agent.clock().now())) {
        return Ok(next);
    }
    let patch = json!({
        "metadata": {"uid": work.metadata.uid, "resourceVersion": work.metadata.resource_version},
        "status": status,
    });
    match agent.hub().patch_status(ctx, agent.works(), key, &patch).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error.into()),
        _ => {
            agent.event(work, Level::Warning, events::CLEANUP_WORK_FAILED, &why.join("; "));
            Ok(next)
        }
    }
}

/// Takes one step with one object. `None`: nothing is left to be done with it.
async fn object(
    ctx: &Ctx,
    agent: &Agent,
    key: &Key,
    work: &Work,
    desired: &Desired,
    preserve: bool,
) -> Result<Option<Left>, Error> {
    let target = agent.target(desired);
    let seen = match observe::live(ctx, agent, &target).await {
        Ok(seen) => seen,
        Err(error) if observe::proves_absence(agent, desired, &error.fault) => Seen::Absent,
        Err(error) => return postponed(agent, key, desired, error).map(Some),
    };
    let step = drift::release(desired, seen.as_ref().map(|(_, value): &(Live, Value)| value), preserve);
    tracing::debug!(cluster = %agent.name(), work = %key, object = %target, %step, "release step");
    let ends = matches!(step, ReleaseStep::Delete { .. } | ReleaseStep::Strip { .. });
    if ends && is_still_wanted(agent, key, desired)? {
        let message =
            format!("its binding still wants it in cluster {}: {target} stays there for the next Work", agent.name());
        tracing::warn!(cluster = %agent.name(), work = %key, object = %target, "a Work was deleted that its binding still wants; the object stays");
        agent.event(work, Level::Warning, events::OBJECT_KEPT, &message);
        return Ok(None);
    }
    let (gateway, term) = (agent.gateway(), agent.term());
    let outcome = match step {
        ReleaseStep::Gone => return Ok(None),
        ReleaseStep::Leave { why } => {
            tracing::info!(cluster = %agent.name(), work = %key, object = %target, why, "left in the member");
            return Ok(None);
        }
        ReleaseStep::Await { why } => {
            tracing::debug!(cluster = %agent.name(), work = %key, object = %target, why, "waiting for the member");
            let why = format!("{target} in cluster {} is being deleted{}", agent.name(), held::by(&seen));
            return Ok(Some(Left { next: Next::after(WAIT_RETRY), why: Some(why) }));
        }
        ReleaseStep::Wait(failure) => {
            return Ok(Some(Left { next: Next::after(WAIT_RETRY), why: Some(failure.to_string()) }));
        }
        ReleaseStep::Strip { patch, why, .. } => {
            tracing::info!(cluster = %agent.name(), work = %key, object = %target, why, "marks taken off, object stays");
            gateway.strip(ctx, term, &target, &patch).await.map(|_| None)
        }
        ReleaseStep::Delete { uid, resource_version } => {
            match gateway.delete(ctx, term, &target, &uid, &resource_version).await {
                // An answer without the object is no proof yet: some servers accept a delete and finish it later.
                Ok(Deleted::Gone) => gateway.get(ctx, &target).await.map(|left| match left {
                    None => {
                        forget_object(agent, desired, &target, &uid);
                        None
                    }
                    Some(_) => Some(Left::for_now(RECHECK)),
                }),
                // Looked at soon, to find out what holds it.
                Ok(Deleted::Terminating(_)) => Ok(Some(Left::for_now(CLUSTER_RETRY))),
                Err(error) => Err(error),
            }
        }
    };
    match outcome {
        Ok(left) => Ok(left),
        Err(error) => postponed(agent, key, desired, error).map(Some),
    }
}

/// The watch's store learns of the end at once, instead of from the watch.
fn forget_object(agent: &Agent, desired: &Desired, target: &Target, uid: &str) {
    if let Some(store) = agent.watches().store(desired.manifest.api_version(), desired.manifest.kind()) {
        store.removed(&Key { namespace: target.namespace.clone(), name: target.name.clone() }, uid);
    }
}

/// What a fault means for a release. It never lets the Work go.
fn postponed(agent: &Agent, key: &Key, desired: &Desired, error: fault::Error) -> Result<Left, Error> {
    let manifest = &desired.manifest;
    Ok(match &error.fault {
        Fault::Stopped(_) | Fault::Conflict(_) => return Err(error.into()),
        Fault::Throttled { wait, .. } => Left { next: Next::after(*wait), why: Some(error.to_string()) },
        fault if fault.is_cluster_wide() && !matches!(fault, Fault::Deadline(_)) => {
            Left { next: Next::after(CLUSTER_RETRY), why: Some(error.to_string()) }
        }
        fault => {
            if matches!(fault, Fault::KindMissing) {
                agent.entry().misses(manifest.api_version(), manifest.kind());
            }
            // The longer it has been so, the longer it will be.
            let next = Next::after((agent.memory().held_for(key) / 2).clamp(CLUSTER_RETRY, SLOWEST));
            Left { next, why: Some(error.to_string()) }
        }
    })
}

/// Takes our finalizer off the Work.
async fn let_go(ctx: &Ctx, agent: &Agent, key: &Key, work: &Work) -> Result<(), Error> {
    let left: Vec<&String> =
        work.metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != finalizers::EXECUTION).collect();
    let patch = json!({"metadata": {"uid": work.metadata.uid, "resourceVersion": work.metadata.resource_version, "finalizers": left}});
    match agent.hub().patch(ctx, agent.works(), key, &patch).await {
        Err(error) if !error.is_not_found() => return Err(error.into()),
        _ => {}
    }
    agent.forget(key);
    Ok(())
}
