//! Asking a member how it is: one probe, no hysteresis (that is `pando_core::health`'s decision).
//!
//! Karmada 1.19 takes any error for "not reachable". Here a rejected token, a missing right, an unhealthy API server and a
//! dead link are different answers, because only the last two may ever lead to moving workloads away.

mod discovery;

use std::time::Duration;

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
/// Discovery documents of clusters with hundreds of CRDs reach a few MiB.
const LARGEST_ANSWER: usize = 32 << 20;

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
    /// It was asked, and nobody can say: never to be taken for the right cluster. Why, in one line.
    Unread(String),
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

/// Looks at a member's health, and, when that is usable and `thorough`, at its version, identity and kinds.
pub async fn probe(ctx: &Ctx, member: &Member, thorough: bool) -> ProbeResult {
    let health = health(ctx, member).await;
    let mut result = ProbeResult { health, kubernetes_version: None, identity: Identity::Unasked, discovered: None };
    if thorough && result.health.is_usable() {
        result.kubernetes_version = version(ctx, member).await;
        result.identity = identity(ctx, member).await;
        result.discovered = Some(discovery::discover(ctx, member).await);
    }
    result
}

async fn health(ctx: &Ctx, member: &Member) -> Health {
    let answer = match get(ctx, member, "/readyz", "*/*").await {
        // Servers before 1.16 and some gateways have no /readyz.
        Err(Fault::NotFound) => get(ctx, member, "/healthz", "*/*").await,
        other => other,
    };
    match answer {
        Ok(_) => Health::Healthy,
        // It answers and throttles: slow is not dead.
        Err(Fault::Throttled(_)) => Health::Healthy,
        Err(Fault::Unauthorized) => Health::Unauthorized,
        Err(Fault::Forbidden { rule }) => Health::Forbidden(rule),
        Err(Fault::NotKubernetes(text)) => Health::NotKubernetes(text),
        Err(Fault::Unreachable(cause)) => Health::Unreachable(cause),
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

async fn identity(ctx: &Ctx, member: &Member) -> Identity {
    let body = match get(ctx, member, "/api/v1/namespaces/kube-system", "application/json").await {
        Ok(body) => body,
        Err(fault) => return Identity::Unread(fault.to_string()),
    };
    let namespace = serde_json::from_slice(&body).map_err(|_| "the answer is not JSON".to_owned()).and_then(Live::read);
    match namespace {
        Ok(namespace) => Identity::Uid(namespace.uid().to_owned()),
        Err(text) => Identity::Unread(text),
    }
}

pub(crate) async fn get(ctx: &Ctx, member: &Member, path: &str, accept: &str) -> Result<bytes::Bytes, Fault> {
    let request = Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .map_err(|error| Fault::Invalid(format!("{path} is no path: {error}")))?;
    let (parts, body) = exchange(member, ctx, DEADLINE, LARGEST_ANSWER, request).await?;
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
