//! What is in the member: from the watch where that is enough, by a quorum read where something is about to be written.

use pando_api::annotations;
use pando_context::Ctx;
use pando_core::drift::Desired;
use pando_core::seen::{ReadFailure, Seen};
use pando_member::fault::{self, Fault};
use pando_member::object::{Live, MemberObject, Verdict};
use pando_member::probe::Discovered;
use pando_member::target::Target;
use pando_runtime::store::{Key, Read, Store};
use serde_json::Value;

use crate::agent::Agent;

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

/// Does a read that failed so prove that the object is not there? A kind that is not served has no objects; but that the
/// kind is not served takes two witnesses: a path may be guessed wrong, and a proxy answers like an API server.
pub(super) fn proves_absence(agent: &Agent, desired: &Desired, fault: &Fault) -> bool {
    match fault {
        Fault::NotFound => true,
        Fault::KindMissing => lacks(&agent.entry().discovered(), desired),
        _ => false,
    }
}

/// Has discovery read the object's group, and is the kind not in it?
fn lacks(discovered: &Discovered, desired: &Desired) -> bool {
    let (api_version, kind) = (desired.manifest.api_version(), desired.manifest.kind());
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let is_read = !discovered
        .missing
        .iter()
        .any(|missing| missing == api_version || missing == group || missing.starts_with('/'));
    // Without namespaces it is not the discovery of a cluster: nothing was read yet.
    is_read && discovered.resource("v1", "Namespace").is_some() && discovered.resource(api_version, kind).is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use pando_api::raw::EmbeddedObject;
    use pando_api::work::Work;
    use pando_member::probe::{GroupVersion, Kind};
    use serde_json::json;

    use super::*;

    fn serving(kinds: &[(&str, &str)]) -> Discovered {
        let group_versions = kinds.iter().map(|(version, kind)| GroupVersion {
            group_version: (*version).into(),
            kinds: vec![Kind { name: kind.to_lowercase(), kind: (*kind).into(), namespaced: true, ..Kind::default() }],
            ..GroupVersion::default()
        });
        Discovered { group_versions: group_versions.collect(), missing: Vec::new() }
    }

    #[test]
    fn a_kind_is_missing_only_where_discovery_has_looked_for_it() {
        let manifest =
            json!({"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "n"}});
        let mut work = Work::default();
        work.metadata.namespace = Some("karmada-es-bj".into());
        work.spec.workload.manifests = vec![EmbeddedObject::from_value(&manifest).unwrap()];
        let thing = Desired::of_work("f", &work).unwrap().remove(0);
        assert!(lacks(&serving(&[("v1", "Namespace")]), &thing));
        assert!(!lacks(&serving(&[("v1", "Namespace"), ("x.example/v1", "Thing")]), &thing), "somebody is wrong");
        assert!(!lacks(&Discovered::default(), &thing), "nothing was read yet");
        for (missing, lacking) in [("/apis", false), ("x.example/v1", false), ("x.example", false), ("other/v1", true)]
        {
            let partial = Discovered { missing: vec![missing.into()], ..serving(&[("v1", "Namespace")]) };
            assert_eq!(lacks(&partial, &thing), lacking, "{missing}");
        }
    }
}
