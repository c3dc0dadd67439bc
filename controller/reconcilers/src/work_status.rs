//! Member → Work.status, and the one writer of it.
//!
//! Arrows 4 and 5 both have something to say in a Work's status: whether it was applied, and how its objects are. They meet
//! here, in memory: whichever comes first waits a moment for the other (`settle`, leading edge), and one merge patch with
//! the Work's resourceVersion writes both. A ConfigMap costs exactly one such write in its life, a steady state none.
//!
//! ```text
//! observe   the Work, execution's last outcome, what the member's watches know     no requests
//! plan      the next status; equal but for times: nothing to write                 pure, in core
//! report    one patch of the status sub-resource; events where Applied changed     writes only
//! ```

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use pando_api::conditions::{APPLIED, FALSE, TRUE};
use pando_api::events;
use pando_api::work::{Work, WorkStatus};
use pando_context::{Ctx, Instant};
use pando_core::aggregate::{self, Dispatch, LiveManifest};
use pando_core::conditions;
use pando_core::drift::Desired;
use pando_core::next::Next;
use pando_runtime::events::Level;
use pando_runtime::store::{Key, Read};
use serde_json::json;

use crate::execution::{Error, outcome};
use crate::member_agent::Agent;

/// Brings the status of one Work to what execution and the member say.
///
/// # Errors
/// The Work cannot be read, or the write to the hub failed.
pub async fn reconcile(ctx: &Ctx, agent: &Agent, key: &Key) -> Result<Next, Error> {
    let work = match agent.works().read(key) {
        Read::Found(work) => work,
        Read::Absent => return Ok(Next::forget()),
        Read::Unreadable(why) => {
            return Err(Error::Unreadable { work: key.clone(), why });
        }
    };
    if work.metadata.deletion_timestamp.is_some() {
        return Ok(Next::await_change()); // Karmada ignores Works that go; their bindings do, too
    }
    if let Some(written) = agent.memory().status_written(key) {
        let interval = agent.settings().status_interval;
        if let Some(wait) = interval.checked_sub(written.elapsed()).filter(|wait| !wait.is_zero()) {
            return Ok(Next::after(wait));
        }
    }
    let now = Time(agent.clock().now());
    let status =
        aggregate::work_status(work.status.as_ref(), &dispatch(agent, key), live(agent, &work).as_deref(), &now);
    if work.status.as_ref() == Some(&status) || (work.status.is_none() && status == WorkStatus::default()) {
        return Ok(Next::await_change());
    }
    write(ctx, agent, key, &work, &status).await
}

async fn write(ctx: &Ctx, agent: &Agent, key: &Key, work: &Work, status: &WorkStatus) -> Result<Next, Error> {
    let patch = json!({
        "metadata": {"uid": work.metadata.uid, "resourceVersion": work.metadata.resource_version},
        "status": status,
    });
    match agent.hub().patch_status(ctx, agent.works(), key, &patch).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(Next::await_change()),
        // Somebody wrote the Work meanwhile: its new version is on its way to the store.
        Err(error) if error.is_conflict() => return Ok(Next::after(agent.settings().settle)),
        Err(error) => return Err(error.into()),
    }
    agent.memory().note_status_written(key, Instant::now());
    announce(agent, work, status);
    Ok(Next::await_change())
}

/// An event when Applied turned false (or false for another reason), or true after it was false.
fn announce(agent: &Agent, work: &Work, status: &WorkStatus) {
    let Some(now) = conditions::find(&status.conditions, APPLIED) else {
        return;
    };
    let before = work.status.as_ref().and_then(|status| conditions::find(&status.conditions, APPLIED));
    let is = |condition: &Condition, status: &str| condition.status == status;
    if is(now, FALSE) && before.is_none_or(|before| !is(before, FALSE) || before.message != now.message) {
        agent.event(work, Level::Warning, events::SYNC_FAILED, &now.message);
    } else if is(now, TRUE) && before.is_some_and(|before| is(before, FALSE)) {
        agent.event(work, Level::Normal, events::SYNC_SUCCEED, &now.message);
    }
}

fn dispatch(agent: &Agent, key: &Key) -> Dispatch {
    let Some(outcome) = agent.outcome(key) else {
        return Dispatch::Unchanged;
    };
    match &outcome.dispatch {
        outcome::Dispatch::Suspended => Dispatch::Suspended,
        outcome::Dispatch::Done(results) => {
            let results = results
                .iter()
                .map(|result| result.settled().map(|cause| cause.map_or(Ok(()), |cause| Err(cause.to_owned()))));
            results.collect::<Option<Vec<_>>>().map_or(Dispatch::Unchanged, Dispatch::Tried)
        }
    }
}

/// The Work's objects as the watches know them. `None` when one of them is not known at present (it is being put back, or
/// its watch starts): then what was reported before stays.
fn live(agent: &Agent, work: &Work) -> Option<Vec<LiveManifest>> {
    let desired = Desired::of_work(agent.federation(), work).ok()?;
    let key = Key::of(&work.metadata);
    let live = desired.iter().enumerate().map(|(ordinal, desired)| {
        let manifest = &desired.manifest;
        let target = agent.target(desired);
        let place = Key { namespace: target.namespace.clone(), name: target.name.clone() };
        let Read::Found(object) = agent.watches().read(manifest.api_version(), manifest.kind(), &place) else {
            return None;
        };
        let reading = object.known().filter(|reading| reading.work.as_ref() == Some(&key))?;
        let status = reading.status.as_ref().and_then(|status| status.parse().ok());
        Some(LiveManifest { ordinal, identity: manifest.identity(), status, health: reading.health })
    });
    live.collect()
}
