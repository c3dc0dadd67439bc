//! Work → member: what a Work wants is in its member, and stays there.
//!
//! ```text
//! observe   the Work, what the member's watch knows; one quorum read where that differs     reads only
//! plan      create, apply, adopt, keep, refuse, wait (`core::drift`)                        pure, in core
//! apply     the step, with its own deadline; a stale precondition plans again               writes only
//! report    outcome for the one writer of the Work's status, events on transitions          in memory
//! ```
//!
//! One queue and one set of workers per member: a member that is dead, slow or hostile costs the others nothing. While it is
//! lost its Works wait in a set, without timers, and start when it is back: releases first, then what somebody changed.

mod apply;
mod error;
mod held;
mod observe;
mod release;

use std::time::Duration;

use pando_api::conditions::{APPLIED, FALSE};
use pando_api::work::Work;
use pando_context::Ctx;
use pando_core::drift::Desired;
use pando_core::next::Next;
use pando_runtime::store::{Key, Read};

use crate::agent::Agent;
use crate::agent::outcome::{Dispatch, Outcome, Result};

pub use error::Error;

/// How soon an object that waits for something in the member is looked at again, if no watch event comes before.
const WAIT_RETRY: Duration = Duration::from_secs(5);
/// How soon work that a fault of the whole cluster stopped is tried again, unless the probe finds the cluster lost first.
const CLUSTER_RETRY: Duration = Duration::from_secs(1);

/// Carries out one Work in its member.
///
/// # Errors
/// [`Error`]: the read or write that failed, by class. Faults of the whole cluster are no error of the Work.
pub async fn reconcile(ctx: &Ctx, agent: &Agent, key: &Key) -> std::result::Result<Next, Error> {
    let work = match agent.works().read(key) {
        Read::Found(work) => work,
        Read::Absent => {
            agent.forget(key);
            return Ok(Next::forget());
        }
        Read::Unreadable(why) => {
            return Err(Error::Unreadable { work: key.clone(), why });
        }
    };
    if agent.outcome(key).is_some_and(|last| !last.is_of(work.metadata.uid.as_deref())) {
        agent.memory().forget(key); // what is remembered is about an earlier Work of that name
    }
    if !agent.entry().is_connected() {
        agent.park(key); // all parked Works start when the member is back
        return Ok(Next::await_change());
    }
    if work.metadata.deletion_timestamp.is_some() {
        return release::work(ctx, agent, key, &work).await;
    }
    if work.spec.suspend_dispatching == Some(true) {
        agent.report(key, outcome(&work, Dispatch::Suspended));
        return Ok(Next::await_change());
    }
    dispatch(ctx, agent, key, &work).await
}

async fn dispatch(ctx: &Ctx, agent: &Agent, key: &Key, work: &Work) -> std::result::Result<Next, Error> {
    let desired = match Desired::of_work(agent.federation(), work) {
        Ok(desired) => desired,
        Err(unfit) => {
            let result = Result::Failed { message: unfit.to_string(), retry: None };
            agent.report(key, outcome(work, Dispatch::Done(vec![result])));
            return Ok(Next::await_change());
        }
    };
    let mut results = Vec::with_capacity(desired.len());
    let suspect = failed_before(agent, key, work);
    for (ordinal, desired) in desired.iter().enumerate() {
        results.push(apply::object(ctx, agent, key, work, ordinal, desired, suspect).await?);
    }
    let next = results.iter().map(Result::next).min().unwrap_or_else(Next::await_change);
    let is_postponed = results.iter().any(Result::is_postponed);
    agent.report(key, outcome(work, Dispatch::Done(results)));
    if is_postponed && !agent.entry().is_connected() {
        agent.park(key); // a fault of the member is the member's: no timer for each of its Works
        return Ok(Next::await_change());
    }
    Ok(next)
}

fn outcome(work: &Work, dispatch: Dispatch) -> Outcome {
    Outcome { uid: work.metadata.uid.clone(), generation: work.metadata.generation, dispatch }
}

/// Did the Work not get through the last time, as this process or its status remembers? Then something may be in the way that
/// no watch of ours shows (an object without our label), or a write may have taken effect whose answer was lost: looking
/// is better than a POST that is refused.
fn failed_before(agent: &Agent, key: &Key, work: &Work) -> bool {
    if let Some(outcome) = agent.outcome(key) {
        return outcome.is_postponed() || outcome.applied().is_some_and(|(_, _, cause)| cause.is_some());
    }
    let conditions = work.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == APPLIED && condition.status == FALSE)
}
