//! Renewing the token of a member before it ends, by the member's own TokenRequest. It is swapped under the living
//! connections.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use pando_api::cluster::LocalSecretReference;
use pando_api::names::{ClusterName, KARMADA_CLUSTER};
use pando_api::{annotations, managers};
use pando_context::Ctx;
use pando_core::next::Next;
use pando_member::connect::TOKEN;
use pando_member::gateway::{Gateway, Issued};
use pando_member::target::Target;
use pando_runtime::store::Key;
use secrecy::ExposeSecret;
use serde_json::json;

use super::memory::Lifetime;
use super::namespace::call;
use super::{Env, Error, secret};

/// A token is renewed when less than this part of its life is left.
const LAST_PART: i32 = 5;
/// The life of a token of which only the end is known.
const USUAL_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Renews the member's tokens when they are due. A failure is logged and tried again: the present ones still live.
///
/// Both tokens of a member (its controller account's and its impersonator's) were issued together, and are renewed together.
pub(super) async fn renew(ctx: &Ctx, env: &Env, name: &ClusterName) -> Next {
    let Some(life) = env.memory.of(name, |facts| facts.token) else { return Next::await_change() };
    if let Some(wait) = due_in(life, env.clock.now()) {
        return Next::after(wait);
    }
    let Some(cluster) = env.clusters.get(&Key::cluster(name.as_str())) else { return Next::await_change() };
    let Some(entry) = env.registry.get(name).filter(|entry| entry.is_connected()) else { return Next::after(RETRY) };
    let gateway = Gateway::new(entry.member().clone());
    let accounts = [
        (&cluster.spec.impersonator_secret_ref, "karmada-impersonator".to_owned()),
        // The one that this process uses comes last: as long as it is not renewed, all are due.
        (&cluster.spec.secret_ref, format!("karmada-{name}")),
    ];
    for (place, account) in accounts {
        let Some(place) = place else { continue };
        if let Err(cause) = one(ctx, env, &gateway, place, &account, length(life)).await {
            tracing::warn!(cluster = %name, account, cause, "a token could not be renewed, trying again");
            return Next::after(RETRY);
        }
        tracing::info!(cluster = %name, account, "token renewed");
    }
    // The next reconcile reads the secret and swaps the token in place.
    env.memory.of(name, |facts| facts.secret_read = None);
    Next::after(Duration::ZERO)
}

/// Asks for one token and stores it.
async fn one(
    ctx: &Ctx,
    env: &Env,
    gateway: &Gateway,
    place: &LocalSecretReference,
    account: &str,
    life: SignedDuration,
) -> Result<(), String> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "ServiceAccount"), "serviceaccounts");
    let target = Target::new(resource, Some(KARMADA_CLUSTER), account);
    // Ten minutes is the least that API servers accept.
    let seconds = u64::try_from(life.min(USUAL_LIFE).as_secs()).unwrap_or_default().max(600);
    let issued = gateway.token(ctx, env.hub.term(), &target, seconds).await.map_err(|error| error.to_string())?;
    store(ctx, env, place, &issued).await.map_err(|error| error.to_string())
}

async fn store(ctx: &Ctx, env: &Env, place: &LocalSecretReference, issued: &Issued) -> Result<(), Error> {
    let Some(read) = secret::read(ctx, env, place).await? else { return Ok(()) };
    let patch = json!({
        "metadata": {
            "resourceVersion": read.metadata.resource_version,
            "annotations": {annotations::TOKEN_EXPIRES: issued.expires, secret::ISSUED: env.clock.now().to_string()},
        },
        "data": {TOKEN: ByteString(issued.token.expose_secret().as_bytes().to_vec())},
    });
    let api = Api::<Secret>::namespaced(env.client.clone(), &place.namespace);
    let parameters = PatchParams { field_manager: Some(managers::CLUSTER.into()), ..PatchParams::default() };
    let what = format!("write the renewed token into secret {}/{}", place.namespace, place.name);
    call(ctx, what, api.patch(&place.name, &parameters, &Patch::Merge(&patch))).await.map(drop)
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

    #[test]
    fn a_token_is_renewed_in_the_last_fifth_of_its_life() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let life = Lifetime { from: Some(at(0)), until: at(1000) };
        assert_eq!(due_in(life, at(0)), Some(Duration::from_secs(800)));
        assert_eq!(due_in(life, at(799)), Some(Duration::from_secs(1)));
        assert_eq!(due_in(life, at(800)), None);
        assert_eq!(due_in(life, at(2000)), None);
    }
}
