//! One task per member that asks how it is, and tells.
//!
//! The state of the link follows every probe at once: it decides whether Works wait. The Ready condition follows with
//! hysteresis: it decides where workloads run.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select;
use pando_context::{Ctx, Instant, Kind, Stop};
use pando_member::probe::{self, Health, ProbeResult};
use pando_member::registry::{Entry, State};
use pando_runtime::store::{Key, Read};

use super::Env;

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
    loop {
        let due = thorough_at.is_none_or(|at| at.elapsed() >= env.settings.discovery_period);
        // A member that comes back may have come back as another version, or as another cluster.
        let thorough = due || !entry.is_connected();
        let mut result = probe::probe(ctx, member, thorough).await;
        ctx.check()?;
        if result.discovered.is_some() {
            thorough_at = Some(Instant::now());
        }
        let state = state(env, &key, &result);
        let lost = matches!(state, State::Lost { .. });
        if let Some(discovered) = result.discovered.take() {
            entry.set_discovered(discovered);
            result.discovered = Some((*entry.discovered()).clone());
        }
        entry.set_state(state);
        env.memory.of(member.name(), |facts| {
            facts.credentials_suspect |= lost;
            // What an earlier look learned counts until somebody has taken it in.
            if let Some(before) = facts.probe.take() {
                result.discovered = result.discovered.or(before.discovered);
                result.kubernetes_version = result.kubernetes_version.or(before.kubernetes_version);
                result.identity = result.identity.or(before.identity);
            }
            facts.probe = Some(result);
        });
        env.queue.add(key.clone());
        ctx.sleep(PAUSE).await?;
        let period = if lost { env.settings.lost_period } else { env.settings.probe_period };
        let wait = pin!(ctx.sleep(period.saturating_sub(PAUSE)));
        select(wait, pin!(entry.suspected())).await;
        ctx.check()?;
    }
}

/// Whether the member can be worked with, from one probe.
fn state(env: &Env, key: &Key, result: &ProbeResult) -> State {
    let lost = |cause: String| State::Lost { cause };
    match &result.health {
        Health::Healthy | Health::Forbidden(_) => match env.clusters.read(key) {
            Read::Found(cluster) => other_cluster(&cluster.spec.id, result).map_or(State::Connected, lost),
            Read::Absent | Read::Unreadable(_) => lost("its Cluster object is not known".into()),
        },
        Health::Unhealthy(text) | Health::Unreachable(text) | Health::NotKubernetes(text) => lost(text.clone()),
        Health::Unauthorized => lost("the token is not accepted (401)".into()),
    }
}

/// Says so when what answers is another cluster than the one that joined: nothing is written there.
pub(super) fn other_cluster(id: &str, result: &ProbeResult) -> Option<String> {
    let found = result.identity.as_deref()?;
    (!id.is_empty() && id != found)
        .then(|| format!("the endpoint leads to another cluster (kube-system uid {found}, spec.id {id}): correct spec.apiEndpoint, or spec.id if the member was rebuilt"))
}
