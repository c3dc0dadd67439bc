//! Asking a member how it is: one probe, no hysteresis (that is `pando_core::health`'s decision).
//!
//! Karmada 1.19 takes any error for "not reachable". Here a rejected token, a missing right, an unhealthy API server and a
//! dead link are different answers, because only the last two may ever lead to moving workloads away.

mod discovery;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use kube::client::Body;
use pando_context::Ctx;
use serde::Deserialize;

use crate::fault::{Fault, one_line};
use crate::gateway::exchange;
use crate::link::Member;
use crate::object::Live;

pub use discovery::{Discovered, GroupVersion, Kind};

/// Time for each request of a probe. Below the period (10 s), so that probes of one member never overlap.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Time for the first request of a probe of a member that is suspected or lost: a call has failed already, and its return
/// shall not be noticed a deadline late. Enough for a new connection over a long distance.
pub const SHORT_DEADLINE: Duration = Duration::from_secs(3);
/// Discovery documents of clusters with hundreds of CRDs reach a few MiB.
const LARGEST_ANSWER: u64 = 32 << 20;

/// What one look at a member found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// `/readyz` (or `/healthz`) answered 200.
    Healthy,
    /// It answers, but says that it is not healthy.
    Unhealthy(String),
    /// No connection, no answer in time, or a broken one.
    Unreachable(String),
    /// It answers, but does not accept the token: a fault of the credentials, not of the cluster.
    Unauthorized,
    /// It answers and knows us, but lets us not read its health.
    Forbidden(String),
    /// Something answers that is not a Kubernetes API server.
    NotKubernetes(String),
}

impl Health {
    /// Can the member be worked with, as far as its health goes? Who may not read its health may still write objects.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Healthy | Self::Forbidden(_))
    }
}

/// Which cluster answered: the uid of its kube-system namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It was not asked.
    Unasked,
    /// Its uid.
    Uid(String),
    /// It was asked, and nobody can say at present: never to be taken for the right cluster. Why, in one line.
    Unread(String),
    /// It was asked, and does not tell us: as [`Identity::Unread`], until somebody grants it.
    Untold(String),
}

/// One look at a member.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// How it is.
    pub health: Health,
    /// `gitVersion` of its API server; `None` when it was not asked or did not say.
    pub kubernetes_version: Option<String>,
    /// Which cluster this really is.
    pub identity: Identity,
    /// The kinds it serves; `None` when it was not asked.
    pub discovered: Option<Discovered>,
}

/// Looks at a member's health (within `patience`), and, when that is usable and `thorough`, at its version, identity and
/// kinds. It passes the gate by: somebody has to ask when everybody waits.
pub async fn probe(ctx: &Ctx, member: &Member, thorough: bool, patience: Duration) -> ProbeResult {
    let health = health(ctx, member, patience).await;
    let mut result = ProbeResult { health, kubernetes_version: None, identity: Identity::Unasked, discovered: None };
    if thorough && result.health.is_usable() {
        result.kubernetes_version = version(ctx, member).await;
        match identity(ctx, member).await {
            Ok(uid) => result.identity = Identity::Uid(uid),
            Err(fault @ Fault::Forbidden { .. }) => result.identity = Identity::Untold(fault.to_string()),
            Err(fault) => {
                result.identity = Identity::Unread(fault.to_string());
                // Health endpoints answer strangers, too, and proxies answer for anybody.
                if matches!(fault, Fault::Unauthorized | Fault::NotKubernetes(_)) {
                    result.health = health_of(Err(fault));
                }
                return result; // its kinds are asked for when it answers
            }
        }
        result.discovered = Some(discovery::discover(ctx, member).await);
    }
    result
}

async fn health(ctx: &Ctx, member: &Member, patience: Duration) -> Health {
    let ask = |path: &'static str| async move {
        let body = get_within(ctx, member, path, "*/*", patience).await?;
        // An API server says "ok" here; what says a page is something else.
        if body.trim_ascii_start().first() == Some(&b'<') { Err(Fault::of_body(&body, "")) } else { Ok(body) }
    };
    health_of(match ask("/readyz").await {
        // Servers before 1.16 and some gateways have no /readyz.
        Err(Fault::NotFound) => ask("/healthz").await,
        other => other,
    })
}

fn health_of(answer: Result<Bytes, Fault>) -> Health {
    match answer {
        Ok(_) => Health::Healthy,
        // It answers and throttles: slow is not dead.
        Err(Fault::Throttled { .. }) => Health::Healthy,
        Err(Fault::Unauthorized) => Health::Unauthorized,
        Err(Fault::Forbidden { rule }) => Health::Forbidden(rule),
        Err(Fault::NotKubernetes(text)) => Health::NotKubernetes(text),
        Err(Fault::NotSent(cause) | Fault::Unreachable(cause)) => Health::Unreachable(cause),
        Err(fault @ (Fault::Deadline(_) | Fault::Stopped(_))) => Health::Unreachable(fault.to_string()),
        Err(fault) => Health::Unhealthy(fault.to_string()),
    }
}

async fn version(ctx: &Ctx, member: &Member) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        git_version: String,
    }
    let body = get(ctx, member, "/version", "application/json").await.ok()?;
    serde_json::from_slice::<Version>(&body).ok().map(|version| one_line(&version.git_version))
}

async fn identity(ctx: &Ctx, member: &Member) -> Result<String, Fault> {
    let body = get(ctx, member, "/api/v1/namespaces/kube-system", "application/json").await?;
    let namespace = serde_json::from_slice(&body).map_err(|_| "the answer is not JSON".to_owned()).and_then(Live::read);
    namespace.map(|namespace| namespace.uid().to_owned()).map_err(|text| Fault::of_body(&body, &text))
}

pub(crate) async fn get(ctx: &Ctx, member: &Member, path: &str, accept: &str) -> Result<Bytes, Fault> {
    get_within(ctx, member, path, accept, DEADLINE).await
}

async fn get_within(ctx: &Ctx, member: &Member, path: &str, accept: &str, deadline: Duration) -> Result<Bytes, Fault> {
    let request = Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(|error| Fault::Invalid(format!("{path} is no path: {error}")))?;
    let (parts, body) = exchange(member, ctx, deadline, LARGEST_ANSWER, request).await?;
    match parts.status {
        status if status.is_success() => Ok(body),
        // Health endpoints answer in plain text: which checks failed.
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE if path.ends_with('z') => {
            let failed: Vec<String> =
                String::from_utf8_lossy(&body).lines().filter(|line| line.starts_with("[-]")).map(one_line).collect();
            Err(Fault::Server { code: parts.status.as_u16(), message: failed.join("; ") })
        }
        status => Err(Fault::of_reply("get", None, status, &parts.headers, &body)),
    }
}

#[cfg(test)]
mod tests;
