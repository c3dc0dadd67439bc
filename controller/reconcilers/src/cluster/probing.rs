//! One task per member that asks how it is, and tells.
//!
//! The state of the link follows every probe at once: it decides whether Works wait. The Ready condition follows with
//! hysteresis: it decides where workloads run.
//!
//! Nothing is written into a member before it has said that it is the cluster which joined. Once it has, a probe that asks
//! for its health only is enough until it is lost.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select;
use pando_context::{Ctx, Instant, Kind, Stop};
use pando_member::probe::{self, Health, Identity, ProbeResult};
use pando_member::registry::{Entry, State};
use pando_runtime::store::{Key, Read};

use super::Env;
use super::memory::Look;

static PROBE: Kind = Kind::new("probe");

/// Least time between two probes, however often the member is suspected.
const PAUSE: Duration = Duration::from_millis(500);

/// Starts probing a member that was just attached. The task ends with the member's context.
pub(super) fn start(env: &Env, entry: &Arc<Entry>) {
    let (env, entry) = (env.clone(), Arc::clone(entry));
    let ctx = entry.member().ctx().clone();
    ctx.spawn(&PROBE, move |ctx| async move { run(&ctx, &env, &entry).await }).detach();
}

async fn run(ctx: &Ctx, env: &Env, entry: &Entry) -> Result<(), Stop> {
    let member = entry.member();
    let key = Key::cluster(member.name().as_str());
    let mut thorough_at: Option<Instant> = None;
    let mut confirmed = Confirmed::default();
    loop {
        let id = joined_id(env, &key);
        let due = thorough_at.is_none_or(|at| at.elapsed() >= env.settings.discovery_period);
        // A member that comes back may have come back as another version, or as another cluster.
        let thorough = due || !entry.is_connected() || !confirmed.is(id.as_deref());
        let mut result = probe::probe(ctx, member, thorough).await;
        ctx.check()?;
        if result.discovered.is_some() {
            thorough_at = Some(Instant::now());
        }
        let (state, doubt) = confirmed.judge(id.as_deref(), &result);
        let lost = matches!(state, State::Lost { .. });
        // Who is doubted comes right by somebody's hand, not by being asked each second for everything.
        let period = if lost && doubt.is_none() { env.settings.lost_period } else { env.settings.probe_period };
        if let Some(discovered) = result.discovered.take() {
            entry.set_discovered(discovered);
            result.discovered = Some((*entry.discovered()).clone());
        }
        entry.set_state(state);
        env.memory.of(member.name(), |facts| {
            facts.credentials_suspect |= lost;
            // What an earlier look learned counts until somebody has taken it in.
            if let Some(before) = facts.probe.take() {
                result.discovered = result.discovered.or(before.result.discovered);
                result.kubernetes_version = result.kubernetes_version.or(before.result.kubernetes_version);
            }
            facts.probe = Some(Look { result, doubt });
        });
        env.queue.add(key.clone());
        ctx.sleep(PAUSE).await?;
        let wait = pin!(ctx.sleep(period.saturating_sub(PAUSE)));
        select(wait, pin!(entry.suspected())).await;
        ctx.check()?;
    }
}

/// `spec.id` of the Cluster, which may be empty; `None` when the Cluster is not known.
fn joined_id(env: &Env, key: &Key) -> Option<String> {
    match env.clusters.read(key) {
        Read::Found(cluster) => Some(cluster.spec.id.clone()),
        Read::Absent | Read::Unreadable(_) => None,
    }
}

/// As which cluster the member has shown itself since it was last lost.
#[derive(Debug, Default)]
struct Confirmed(Option<String>);

impl Confirmed {
    /// Is the member known to be the cluster with this `spec.id`? Without one, any cluster is the right one.
    fn is(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| id.is_empty() || self.0.as_deref() == Some(id))
    }

    /// Whether the member can be worked with, from one probe; and, when its health would allow that, what speaks against it
    /// all the same.
    fn judge(&mut self, id: Option<&str>, result: &ProbeResult) -> (State, Option<String>) {
        let doubt = if result.health.is_usable() { self.doubt(id, &result.identity) } else { None };
        let lost = match &result.health {
            Health::Healthy | Health::Forbidden(_) => doubt.clone(),
            Health::Unhealthy(text) | Health::Unreachable(text) | Health::NotKubernetes(text) => Some(text.clone()),
            Health::Unauthorized => Some("the token is not accepted (401)".into()),
        };
        match lost {
            Some(cause) => {
                self.0 = None;
                (State::Lost { cause }, doubt)
            }
            None => {
                if let Identity::Uid(found) = &result.identity {
                    self.0 = Some(found.clone());
                }
                (State::Connected, None)
            }
        }
    }

    fn doubt(&self, id: Option<&str>, identity: &Identity) -> Option<String> {
        let Some(id) = id else { return Some("its Cluster object is not known".into()) };
        match identity {
            _ if id.is_empty() => None,
            Identity::Uid(found) if found == id => None,
            Identity::Uid(found) => Some(format!(
                "the endpoint leads to another cluster (kube-system uid {found}, spec.id {id}): correct spec.apiEndpoint, or spec.id if the member was rebuilt"
            )),
            // It has shown itself before, and was not lost since.
            Identity::Unasked | Identity::Unread(_) if self.is(Some(id)) => None,
            Identity::Unasked => Some("its identity was not read".into()),
            Identity::Unread(cause) => Some(format!(
                "its identity could not be read ({cause}): let the member's service account get namespace kube-system"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    fn found(health: Health, identity: Identity) -> ProbeResult {
        ProbeResult { health, kubernetes_version: None, identity, discovered: None }
    }

    fn uid(uid: &str) -> Identity {
        Identity::Uid(uid.into())
    }

    fn unread() -> Identity {
        Identity::Unread("no answer within 5s".into())
    }

    fn cause(state: &State) -> &str {
        match state {
            State::Lost { cause } => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_member_that_does_not_say_who_it_is_is_not_the_right_one() {
        for health in [Health::Healthy, Health::Forbidden("no".into())] {
            let mut confirmed = Confirmed::default();
            for identity in [unread(), Identity::Unasked] {
                let (state, doubt) = confirmed.judge(Some("a"), &found(health.clone(), identity));
                assert!(cause(&state).contains("identity"), "{state:?}");
                assert_eq!(doubt.as_deref(), Some(cause(&state)));
            }
            assert!(!confirmed.is(Some("a")));
            assert_eq!(confirmed.judge(Some("a"), &found(health, uid("a"))), (State::Connected, None));
            assert!(confirmed.is(Some("a")));
        }
    }

    #[test]
    fn a_member_that_showed_itself_need_not_until_it_was_lost() {
        let mut confirmed = Confirmed::default();
        confirmed.judge(Some("a"), &found(Health::Healthy, uid("a")));
        for identity in [Identity::Unasked, unread()] {
            assert_eq!(confirmed.judge(Some("a"), &found(Health::Healthy, identity)), (State::Connected, None));
        }
        let (state, doubt) = confirmed.judge(Some("a"), &found(Health::Unreachable("no route".into()), unread()));
        assert_eq!((cause(&state), doubt), ("no route", None));
        let (state, _) = confirmed.judge(Some("a"), &found(Health::Healthy, unread()));
        assert!(cause(&state).contains("could not be read"), "{state:?}");
    }

    #[test]
    fn another_id_has_to_be_confirmed_anew() {
        let mut confirmed = Confirmed::default();
        confirmed.judge(Some("a"), &found(Health::Healthy, uid("a")));
        assert!(!confirmed.is(Some("b")));
        let (state, _) = confirmed.judge(Some("b"), &found(Health::Healthy, unread()));
        assert!(cause(&state).contains("could not be read"), "{state:?}");
        let (state, doubt) = confirmed.judge(Some("b"), &found(Health::Healthy, uid("a")));
        assert!(cause(&state).contains("another cluster"), "{state:?}");
        assert!(doubt.is_some());
    }

    #[test]
    fn without_an_id_every_cluster_is_the_right_one_as_long_as_it_is_known() {
        let mut confirmed = Confirmed::default();
        assert_eq!(confirmed.judge(Some(""), &found(Health::Healthy, unread())), (State::Connected, None));
        let (state, _) = confirmed.judge(None, &found(Health::Healthy, uid("a")));
        assert!(cause(&state).contains("not known"), "{state:?}");
    }
}
