//! Renewing the tokens of a member before they end, by the member's own TokenRequest. The one that this process uses is
//! swapped under the living connections.
//!
//! A member has two: its controller account's, which this process works with, and its impersonator's. Each has a secret and
//! a life of its own, and is renewed for itself: that one cannot be renewed says nothing about the other.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use pando_api::cluster::{Cluster, LocalSecretReference};
use pando_api::names::{ClusterName, KARMADA_CLUSTER};
use pando_api::{annotations, managers};
use pando_context::{Ctx, Instant};
use pando_core::next::Next;
use pando_member::connect::TOKEN;
use pando_member::gateway::Gateway;
use pando_member::target::Target;
use pando_runtime::store::Key;
use secrecy::ExposeSecret;
use serde_json::json;

use super::memory::{Facts, Lifetime, Renewal};
use super::namespace::call;
use super::secret::{self, Credentials};
use super::{Env, Error};

/// A token is renewed when less than this part of its life is left.
const LAST_PART: i32 = 5;
/// The life of a token of which only the end is known.
const USUAL_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// How soon a token is asked for again after one was asked for, whatever came of it. A member whose clock is behind issues
/// tokens that have ended already; it must not be asked for them in a loop.
const PAUSE: Duration = Duration::from_secs(60);
/// How soon a renewed token is read from its secret and swapped in.
const SWAP: Duration = Duration::from_secs(1);
/// How old what is known of the impersonator's secret may be. This process does not use it.
const IMPERSONATOR_AGE: Duration = Duration::from_secs(600);

/// One of a member's accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    /// The one that this process works with.
    Own,
    /// The one that may impersonate users.
    Impersonator,
}

impl Account {
    fn name(self, cluster: &ClusterName) -> String {
        match self {
            Self::Own => format!("karmada-{cluster}"),
            Self::Impersonator => "karmada-impersonator".to_owned(),
        }
    }

    fn place(self, cluster: &Cluster) -> Option<&LocalSecretReference> {
        match self {
            Self::Own => cluster.spec.secret_ref.as_ref(),
            Self::Impersonator => cluster.spec.impersonator_secret_ref.as_ref(),
        }
    }

    fn renewal(self, facts: &mut Facts) -> &mut Renewal {
        match self {
            Self::Own => &mut facts.own,
            Self::Impersonator => &mut facts.impersonator,
        }
    }
}

/// Renews the member's tokens when they are due. A failure is logged and tried again: the present ones still live.
pub(super) async fn renew(ctx: &Ctx, env: &Env, name: &ClusterName) -> Next {
    let Some(cluster) = env.clusters.get(&Key::cluster(name.as_str())) else { return Next::await_change() };
    // Ours first: without it the impersonator's cannot be renewed either.
    let own = keep(ctx, env, name, &cluster, Account::Own).await;
    look_at_impersonator(ctx, env, name, &cluster).await;
    let impersonator = keep(ctx, env, name, &cluster, Account::Impersonator).await;
    own.min(impersonator)
}

/// Keeps the token of one account alive.
async fn keep(ctx: &Ctx, env: &Env, name: &ClusterName, cluster: &Cluster, account: Account) -> Next {
    let Some(place) = account.place(cluster) else { return Next::await_change() };
    let renewal = env.memory.of(name, |facts| *account.renewal(facts));
    let life = match renewal.wish(env.clock.now()) {
        Wish::Nothing => return Next::await_change(),
        Wish::Wait(wait) => return Next::after(wait),
        Wish::Renew(life) => life,
    };
    let Some(entry) = env.registry.get(name).filter(|entry| entry.is_connected()) else { return Next::after(PAUSE) };
    let gateway = Gateway::new(entry.member().clone());
    let account_name = account.name(name);
    env.memory.of(name, |facts| account.renewal(facts).not_before = Some(Instant::now() + PAUSE));
    match one(ctx, env, &gateway, cluster, place, &account_name, length(life)).await {
        Ok(life) => {
            tracing::info!(cluster = %name, account = account_name, "token renewed");
            env.memory.of(name, |facts| {
                account.renewal(facts).life = life;
                if account == Account::Own {
                    facts.secret_read = None;
                }
            });
            // The next reconcile reads the secret and swaps the token in place.
            Next::after(if account == Account::Own { SWAP } else { PAUSE })
        }
        Err(cause) => {
            tracing::warn!(cluster = %name, account = account_name, cause, "a token could not be renewed, trying again");
            Next::after(PAUSE)
        }
    }
}

/// Learns now and then how long the impersonator's token lives. Ours is learned with every connection.
async fn look_at_impersonator(ctx: &Ctx, env: &Env, name: &ClusterName, cluster: &Cluster) {
    let Some(place) = Account::Impersonator.place(cluster) else { return };
    let known =
        env.memory.of(name, |facts| facts.impersonator_read.is_some_and(|read| read.elapsed() < IMPERSONATOR_AGE));
    if known || !env.registry.get(name).is_some_and(|entry| entry.is_connected()) {
        return;
    }
    let life = match secret::read(ctx, env, cluster, place).await {
        Ok(Credentials::Found(secret)) => secret::lifetime(&secret),
        Ok(Credentials::Refused(cause)) => {
            tracing::warn!(cluster = %name, cause, "the impersonator's token is not renewed");
            None
        }
        // The next reconcile tries again; what was known stays.
        Err(error) => return tracing::warn!(cluster = %name, %error, "cannot look at the impersonator's token"),
    };
    env.memory.of(name, |facts| {
        facts.impersonator.life = life;
        facts.impersonator_read = Some(Instant::now());
    });
}

/// Asks for one token and stores it. Returns how long it lives, as far as the member said so.
async fn one(
    ctx: &Ctx,
    env: &Env,
    gateway: &Gateway,
    cluster: &Cluster,
    place: &LocalSecretReference,
    account: &str,
    life: SignedDuration,
) -> Result<Option<Lifetime>, String> {
    // Before a token is issued it must be known where it goes.
    let secret = match secret::read(ctx, env, cluster, place).await.map_err(|error| error.to_string())? {
        Credentials::Found(secret) => secret,
        Credentials::Refused(cause) => return Err(cause),
    };
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "ServiceAccount"), "serviceaccounts");
    let target = Target::new(resource, Some(KARMADA_CLUSTER), account);
    // Ten minutes is the least that API servers accept.
    let seconds = u64::try_from(life.min(USUAL_LIFE).as_secs()).unwrap_or_default().max(600);
    let issued = gateway.token(ctx, env.hub.term(), &target, seconds).await.map_err(|error| error.to_string())?;
    let now = env.clock.now();
    let patch = json!({
        "metadata": {
            "uid": secret.metadata.uid,
            "resourceVersion": secret.metadata.resource_version,
            "annotations": {annotations::TOKEN_EXPIRES: issued.expires, secret::ISSUED: now.to_string()},
        },
        "data": {TOKEN: ByteString(issued.token.expose_secret().as_bytes().to_vec())},
    });
    write(ctx, env, place, &patch).await.map_err(|error| error.to_string())?;
    Ok(issued.expires.parse().ok().map(|until| Lifetime { from: Some(now), until }))
}

async fn write(ctx: &Ctx, env: &Env, place: &LocalSecretReference, patch: &serde_json::Value) -> Result<(), Error> {
    let api = Api::<Secret>::namespaced(env.client.clone(), &place.namespace);
    let parameters = PatchParams { field_manager: Some(managers::CLUSTER.into()), ..PatchParams::default() };
    let what = format!("write the renewed token into secret {}/{}", place.namespace, place.name);
    call(ctx, what, api.patch(&place.name, &parameters, &Patch::Merge(patch))).await.map(drop)
}

/// What a token needs now.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wish {
    /// It has no end, or none that is known.
    Nothing,
    /// A look after this time.
    Wait(Duration),
    /// To be renewed; the life of the present one.
    Renew(Lifetime),
}

impl Renewal {
    fn wish(&self, now: Timestamp) -> Wish {
        let Some(life) = self.life else { return Wish::Nothing };
        let pause = self.not_before.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
        match due_in(life, now) {
            Some(wait) => Wish::Wait(wait.max(pause)),
            None if !pause.is_zero() => Wish::Wait(pause),
            None => Wish::Renew(life),
        }
    }
}

fn length(life: Lifetime) -> SignedDuration {
    life.from.map_or(USUAL_LIFE, |from| life.until.duration_since(from))
}

/// How long until the token is to be renewed; `None`: now.
fn due_in(life: Lifetime, now: Timestamp) -> Option<Duration> {
    let last = length(life) / LAST_PART;
    let wait = life.until.duration_since(now).checked_sub(last).unwrap_or(SignedDuration::ZERO);
    Duration::try_from(wait).ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_token_is_renewed_in_the_last_fifth_of_its_life() {
        let life = Lifetime { from: Some(at(0)), until: at(1000) };
        assert_eq!(due_in(life, at(0)), Some(Duration::from_secs(800)));
        assert_eq!(due_in(life, at(799)), Some(Duration::from_secs(1)));
        assert_eq!(due_in(life, at(800)), None);
        assert_eq!(due_in(life, at(2000)), None);
    }

    #[pando_context::test(paused)]
    async fn no_token_is_asked_for_twice_within_a_minute() {
        let life = Lifetime { from: Some(at(0)), until: at(1000) };
        let mut renewal = Renewal { life: Some(life), not_before: None };
        assert_eq!(renewal.wish(at(900)), Wish::Renew(life));
        renewal.not_before = Some(Instant::now() + PAUSE);
        assert_eq!(renewal.wish(at(900)), Wish::Wait(PAUSE));
        assert_eq!(renewal.wish(at(0)), Wish::Wait(Duration::from_secs(800)));
        assert_eq!(Renewal { life: None, ..renewal }.wish(at(900)), Wish::Nothing);
    }
}
