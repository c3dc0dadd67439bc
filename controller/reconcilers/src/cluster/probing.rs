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

use futures::future::{Either, select};
use pando_context::{Ctx, Instant, Kind, Stop};
use pando_member::probe::{self, Health, Identity, ProbeResult};
use pando_member::registry::{Entry, State, Why};
use pando_runtime::backoff;
use pando_runtime::store::{Key, Read};

use super::Env;
use super::memory::Look;

static PROBE: Kind = Kind::new("probe");

/// Least time from one probe to the next, however often the member is suspected.
const PAUSE: Duration = Duration::from_millis(500);
/// Part of a period that is left to chance, so that a hundred lost members are not asked at the same moment.
const JITTER: f64 = 0.2;

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
    let mut suspected = false;
    loop {
        let id = joined_id(env, &key);
        let began = Instant::now();
        let discovery = discovery_period(env, entry);
        let due = thorough_at.is_none_or(|at| at.elapsed() + PAUSE >= discovery);
        let (outages, is_lost) = (entry.outages(), matches!(entry.state(), State::Lost { .. }));
        if is_lost {
            // A member that comes back may have come back as another version, or as another cluster.
            confirmed = Confirmed::default();
        }
        let thorough = due || !entry.is_connected() || !confirmed.is(id.as_deref());
        let doubted = suspected || is_lost;
        let patience = if doubted { probe::SHORT_DEADLINE } else { probe::DEADLINE };
        let mut result = probe::probe(ctx, member, thorough, patience).await;
        ctx.check()?;
        if result.discovered.is_some() {
            // From its beginning: what appeared meanwhile may have been missed.
            thorough_at = Some(began);
        }
        let (state, doubt) = confirmed.judge(id.as_deref(), &result);
        if let Some(discovered) = result.discovered.take() {
            entry.set_discovered(discovered);
            result.discovered = Some((*entry.discovered()).clone());
        }
        // What was lost while the probe was under way stays so until the next one, which asks again who answers.
        let changed = entry.probed(state, outages);
        let lost = matches!(entry.state(), State::Lost { .. });
        if changed {
            tracing::info!(cluster = %member.name(), state = entry.state().as_str(), "the link changed");
        }
        // A stranger, or one that keeps its name from us, comes right by somebody's hand, not by being asked each second.
        let by_hand = doubt.is_some() && !matches!(result.identity, Identity::Unread(_));
        let period = if lost && !by_hand { env.settings.lost_period } else { env.settings.probe_period };
        env.memory.of(member.name(), |facts| {
            facts.credentials_suspect |= lost;
            facts.lost_since = lost.then(|| facts.lost_since.unwrap_or_else(Instant::now));
            // What an earlier look learned counts until somebody has taken it in.
            if let Some(before) = facts.probe.take() {
                result.discovered = result.discovered.or(before.result.discovered);
                result.kubernetes_version = result.kubernetes_version.or(before.result.kubernetes_version);
            }
            facts.probe = Some(Look { result, doubt });
        });
        env.queue.add(key.clone());
        let period = entry.rediscovery().filter(|_| !lost).map_or(period, |missed| missed.min(period));
        suspected = pause(ctx, entry, began, spread(period)).await?;
    }
}

/// Time between two looks at the kinds: short while somebody misses one, every probe while groups did not answer.
fn discovery_period(env: &Env, entry: &Entry) -> Duration {
    let usual =
        if entry.discovered().is_complete() { env.settings.discovery_period } else { env.settings.probe_period };
    entry.rediscovery().map_or(usual, |missed| missed.min(usual))
}

/// Waits until the period that `began` with the last probe is over, or until somebody suspects the member: then true.
async fn pause(ctx: &Ctx, entry: &Entry, began: Instant, period: Duration) -> Result<bool, Stop> {
    ctx.sleep(PAUSE.saturating_sub(began.elapsed())).await?;
    let wait = pin!(ctx.sleep(period.saturating_sub(began.elapsed())));
    let suspected = matches!(select(wait, pin!(entry.suspected())).await, Either::Right(_));
    ctx.check()?;
    Ok(suspected)
}

/// The period, a little longer or shorter.
fn spread(period: Duration) -> Duration {
    period.mul_f64(1.0 - JITTER / 2.0 + JITTER * backoff::fraction())
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
            Health::Healthy | Health::Forbidden(_) => doubt.clone().map(|doubt| (Why::Doubted, doubt)),
            Health::Unhealthy(text) => Some((Why::Unhealthy, format!("its API server is not healthy: {text}"))),
            Health::Unreachable(text) => Some((Why::Unreachable, format!("it is not reachable: {text}"))),
            Health::NotKubernetes(text) => {
                Some((Why::NotKubernetes, format!("what answers is not a Kubernetes API server: {text}")))
            }
            Health::Unauthorized => Some((
                Why::Unauthorized,
                "the token is not accepted (401): renew the token in the cluster's secret".into(),
            )),
        };
        match lost {
            Some((why, cause)) => {
                self.0 = None;
                (State::Lost { why, cause }, doubt)
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
            Identity::Unasked | Identity::Unread(_) | Identity::Untold(_) if self.is(Some(id)) => None,
            Identity::Unasked => Some("its identity was not read".into()),
            Identity::Unread(cause) | Identity::Untold(cause) => Some(format!(
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
            State::Lost { cause, .. } => cause,
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
        assert_eq!((cause(&state), doubt), ("it is not reachable: no route", None));
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
