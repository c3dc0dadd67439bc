//! What is in the member: from the watch where that is enough, by a quorum read where something is about to be written.

use pando_api::annotations;
use pando_context::Ctx;
use pando_core::drift::Desired;
use pando_core::seen::{ReadFailure, Seen};
use pando_member::fault::{self, Fault};
use pando_member::object::{Live, MemberObject, Verdict};
use pando_member::target::Target;
use pando_runtime::store::{Key, Read, Store};
use serde_json::Value;

use crate::member_agent::Agent;

/// What the watch says about one object, without a request.
pub(super) enum Known {
    /// It is there with everything that is wanted, or with a difference that stayed after our last write.
    Settled,
    /// It is not there.
    Absent,
    /// It differs, or the watch cannot tell: read it.
    Unsure,
}

/// The hash that identifies what is wanted.
pub(super) fn wanted(desired: &Desired) -> &str {
    desired.manifest.annotation(annotations::MANIFEST_HASH).unwrap_or_default()
}

pub(super) fn known(
    agent: &Agent,
    work: &Key,
    desired: &Desired,
    store: &Store<MemberObject>,
    target: &Target,
) -> Known {
    let key = Key { namespace: target.namespace.clone(), name: target.name.clone() };
    let object = match store.read(&key) {
        Read::Found(object) => object,
        Read::Absent => return Known::Absent,
        Read::Unreadable(_) => return Known::Unsure,
    };
    match object.known().map(|reading| &reading.verdict) {
        Some(Verdict::Matches(hash)) if **hash == *wanted(desired) => Known::Settled,
        Some(Verdict::Differs { desired: hash, live })
            if **hash == *wanted(desired) && agent.memory().is_accepted(work, hash, live) =>
        {
            Known::Settled
        }
        _ => Known::Unsure,
    }
}

/// The object as the member's quorum has it.
///
/// # Errors
/// The fault, where it says more than "unreadable": stopped, cluster-wide, or a kind that is not there.
pub(super) async fn live(ctx: &Ctx, agent: &Agent, target: &Target) -> Result<Seen<(Live, Value)>, fault::Error> {
    Ok(match agent.gateway().get(ctx, target).await? {
        None => Seen::Absent,
        Some(live) => match live.value() {
            Ok(value) => Seen::Found((live, value)),
            Err(cause) => Seen::Unreadable(ReadFailure::new(format!("{target} in cluster {}", agent.name()), cause)),
        },
    })
}

/// Does a read that failed so prove that the object is not there? A kind that is not served has no objects.
pub(super) fn proves_absence(fault: &Fault) -> bool {
    matches!(fault, Fault::NotFound | Fault::KindMissing)
}
