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

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use pando_api::conditions::{APPLIED, FALSE, STATUS_FRESH, TRUE};
use pando_api::events;
use pando_api::work::{Work, WorkStatus};
use pando_context::{Ctx, Instant};
use pando_core::aggregate::{self, Dispatch, LiveManifest, Sight};
use pando_core::conditions;
use pando_core::drift::Desired;
use pando_core::next::Next;
use pando_runtime::events::Level;
use pando_runtime::store::{Key, Read};
use pando_runtime::watch::Phase;
use serde_json::json;

use crate::agent::{Agent, outcome};
use crate::execution::Error;

/// How soon a Work is looked at again of which nobody can say whether its objects can be followed.
const UNSURE_RETRY: Duration = Duration::from_secs(10);
/// An object that is not there and cannot be put back counts no longer after this time.
const MISSING_GRACE: Duration = Duration::from_secs(2);

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
    let desired = Desired::of_work(agent.federation(), &work).ok();
    let sight = desired.as_deref().map_or(Sight::Unsure, |desired| sight(agent, desired, &now));
    let (live, again) = match desired.as_deref() {
        Some(desired) => live(agent, key, desired, &sight),
        None => (None, Next::await_change()),
    };
    let mut status = aggregate::work_status(work.status.as_ref(), &dispatch(agent, key, &work), live.as_deref(), &now);
    sight.show(&mut status);
    let is_blind = conditions::find(&status.conditions, STATUS_FRESH).is_some();
    let again = if is_blind && sight == Sight::Unsure { again.min(Next::after(UNSURE_RETRY)) } else { again };
    if work.status.as_ref() == Some(&status) || (work.status.is_none() && status == WorkStatus::default()) {
        return Ok(again);
    }
    write(ctx, agent, key, &work, &status).await.map(|next| next.min(again))
}

/// Whether the watches show what the member says of these objects. A watch that is not well knows nothing for sure, and one
/// that has been in trouble for long knows nothing at all.
fn sight(agent: &Agent, desired: &[Desired], now: &Time) -> Sight {
    let mut sight = Sight::Clear;
    for manifest in desired.iter().map(|desired| &desired.manifest) {
        let (api_version, kind) = (manifest.api_version(), manifest.kind());
        let trouble = agent.trouble(api_version, kind);
        let store = agent.watches().store(api_version, kind);
        let lives = store.is_some_and(|store| store.is_synced() && store.health().phase == Phase::Watching);
        match trouble {
            Some(trouble) if trouble.is_blind => {
                let since = now.0.checked_sub(trouble.since.elapsed()).unwrap_or(now.0);
                let why = &trouble.why;
                let why = format!("objects of kind {kind} cannot be followed in cluster {}: {why}", agent.name());
                return Sight::Blind { since: Time(since), why };
            }
            None if lives && agent.entry().is_connected() => {}
            _ => sight = Sight::Unsure,
        }
    }
    sight
}

async fn write(ctx: &Ctx, agent: &Agent, key: &Key, work: &Work, status: &WorkStatus) -> Result<Next, Error> {
    let patch = json!({
        "metadata": {"uid": work.metadata.uid, "resourceVersion": work.metadata.resource_version},
        "status": status,
    });
    match agent.hub().patch_status(ctx, agent.works(), key, &patch).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(Next::await_change()),
        // After a conflict, too: the new version is on its way to the store, and may be so for long.
        Err(error) => return Err(error.into()),
    }
    agent.memory().note_status_written(key, Instant::now());
    announce(agent, work, status);
    Ok(Next::await_change())
}

/// An event when Applied turned false (or false for another reason), or true after it was false, and when the objects cannot
/// be followed any more.
fn announce(agent: &Agent, work: &Work, status: &WorkStatus) {
    let stale = |status: &WorkStatus| conditions::find(&status.conditions, STATUS_FRESH).cloned();
    if let (Some(stale), None) = (stale(status), work.status.as_ref().and_then(stale)) {
        agent.event(work, Level::Warning, events::REFLECT_STATUS_FAILED, &stale.message);
    }
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

fn dispatch(agent: &Agent, key: &Key, work: &Work) -> Dispatch {
    let Some(outcome) = agent.outcome(key).filter(|last| last.is_of(work.metadata.uid.as_deref())) else {
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

/// The Work's objects as the watches know them, and when to look again. `None` when one of them is not known at present (it
/// is being put back, or its watch starts): then what was reported before stays. One that is certainly not there and cannot
/// be put back is left out: a template must not go on counting what is gone.
fn live(agent: &Agent, key: &Key, desired: &[Desired], sight: &Sight) -> (Option<Vec<LiveManifest>>, Next) {
    let outcome = agent.outcome(key);
    let mut live = Vec::with_capacity(desired.len());
    let (mut is_unknown, mut is_missing, mut again) = (false, false, Next::await_change());
    for (ordinal, desired) in desired.iter().enumerate() {
        match look(agent, key, ordinal, desired) {
            Look::Found(manifest) => live.push(manifest),
            Look::Absent if outcome.as_ref().is_some_and(|outcome| outcome.has_failed(ordinal)) => match sight {
                Sight::Clear => is_missing = true,
                Sight::Unsure | Sight::Blind { .. } => (is_unknown, again) = (true, Next::after(UNSURE_RETRY)),
            },
            Look::Absent | Look::Unknown => is_unknown = true,
        }
    }
    if let Some(missing_for) = agent.memory().missing_for(key, is_missing) {
        let grace = MISSING_GRACE.saturating_sub(missing_for);
        if !grace.is_zero() {
            return (None, again.min(Next::after(grace)));
        }
    }
    ((!is_unknown).then_some(live), again)
}

/// What a watch knows of one object.
enum Look {
    Found(LiveManifest),
    Absent,
    /// Its watch does not know, or it belongs to another Work.
    Unknown,
}

fn look(agent: &Agent, key: &Key, ordinal: usize, desired: &Desired) -> Look {
    let manifest = &desired.manifest;
    let target = agent.target(desired);
    let place = Key { namespace: target.namespace.clone(), name: target.name.clone() };
    let object = match agent.watches().read(manifest.api_version(), manifest.kind(), &place) {
        Read::Found(object) => object,
        Read::Absent => return Look::Absent,
        Read::Unreadable(_) => return Look::Unknown,
    };
    let Some(reading) = object.known().filter(|reading| reading.work.as_ref() == Some(key)) else {
        return Look::Unknown;
    };
    let status = reading.status.as_ref().and_then(|status| status.parse().ok());
    Look::Found(LiveManifest { ordinal, identity: manifest.identity(), status, health: reading.health })
}
