//! What went wrong with a call to a member, in the classes that decide what to do next.
//!
//! "Cannot log in", "slow down" and "not there" are different faults of different owners; folding them into "unreachable"
//! is how outages become evictions. Texts never carry the body of a request, and for Secrets not the server's message either.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use kube::core::Status;
use pando_api::names::ClusterName;
use pando_context::Stop;
use thiserror::Error;

use crate::target::Target;

/// Longest wait that a member may ask for by Retry-After. A hostile or broken member must not park work for a day.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);
/// Server messages are cut here (characters): they end in conditions and events.
const LONGEST_MESSAGE: usize = 400;

/// A call to a member that did not succeed: who, what, where and why, in one line.
#[derive(Clone, Debug, Error)]
#[error("cannot {verb} {what} in cluster {cluster}: {fault}")]
pub struct Error {
    /// The member.
    pub cluster: ClusterName,
    /// What was tried, e.g. `create`.
    pub verb: &'static str,
    /// On which object, or a path for probes.
    pub what: String,
    /// Why not.
    pub fault: Fault,
}

/// The classes of failure.
#[derive(Clone, Debug, Error)]
pub enum Fault {
    /// The caller or the cluster's context ended: not a failure, nothing to report.
    #[error("stopped: {0}")]
    Stopped(Stop),
    /// Nothing was sent: the member is known to be lost.
    #[error("the cluster is lost: {0}")]
    Lost(String),
    /// Our own deadline passed. A write may or may not have taken effect: read before repeating it.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// There was no connection to send it over: nothing happened.
    #[error("not reachable: {0}")]
    NotSent(String),
    /// The connection broke half-way: the outcome of a write is unknown.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// 401: the token is missing, expired or of another cluster.
    #[error("the token was not accepted (401): renew the token in the cluster's secret")]
    Unauthorized,
    /// 403 by RBAC: names the rule that is missing.
    #[error("forbidden: {rule}")]
    Forbidden {
        /// The missing rule, e.g. `grant "patch" on deployments.apps in namespace "shop"`.
        rule: String,
    },
    /// 404 of the object itself.
    #[error("not found")]
    NotFound,
    /// 404 of the namespace the object should be created in.
    #[error("namespace {0:?} does not exist there")]
    NamespaceMissing(String),
    /// 404 of the kind: its CustomResourceDefinition or API group is not served there. The answer may be a proxy's: it
    /// counts as absence only where discovery says the same.
    #[error("the kind is not served there: install its CustomResourceDefinition in the member")]
    KindMissing,
    /// The namespace is being deleted; nothing can be created in it.
    #[error("it is being deleted there: namespace {0}")]
    NamespaceTerminating(String),
    /// 409 AlreadyExists.
    #[error("already exists")]
    AlreadyExists,
    /// A precondition (uid, resourceVersion) no longer holds: what was known about the object is stale.
    #[error("changed meanwhile: {0}")]
    Conflict(String),
    /// 422, or 400: the object is refused as it is; sending it again will not help.
    #[error("refused as invalid: {0}")]
    Invalid(String),
    /// An admission webhook or policy of the member said no.
    #[error("denied by the member's admission: {0}")]
    Denied(String),
    /// A ResourceQuota of the member is used up.
    #[error("over quota: {0}")]
    QuotaExceeded(String),
    /// Server-side apply cannot merge this object (duplicate keys in a list): a full replace is needed.
    #[error("server-side apply cannot merge the object: {0}")]
    NotMergeable(String),
    /// 429, or 503 with Retry-After.
    #[error("asked to slow down for {asked:?}, tried again after {wait:?}")]
    Throttled {
        /// What the member asked for.
        asked: Duration,
        /// What it gets: at most [`LONGEST_RETRY_AFTER`].
        wait: Duration,
    },
    /// 413, or a reply above our limit.
    #[error("too large: {0}")]
    TooLarge(String),
    /// Other 5xx. A write may have taken effect.
    #[error("server error {code}: {message}")]
    Server {
        /// HTTP status.
        code: u16,
        /// The server's text, cut.
        message: String,
    },
    /// What answers there is no Kubernetes API (a login page, a redirect).
    #[error("what answers is not a Kubernetes API server: {0}")]
    NotKubernetes(String),
}

impl Fault {
    /// A stable word for metrics and logs.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::Stopped(_) => "stopped",
            Self::Lost(_) => "lost",
            Self::Deadline(_) => "deadline",
            Self::NotSent(_) | Self::Unreachable(_) => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::NotFound => "not_found",
            Self::NamespaceMissing(_) => "namespace_missing",
            Self::KindMissing => "kind_missing",
            Self::NamespaceTerminating(_) => "namespace_terminating",
            Self::AlreadyExists => "already_exists",
            Self::Conflict(_) => "conflict",
            Self::Invalid(_) => "invalid",
            Self::Denied(_) => "denied",
            Self::QuotaExceeded(_) => "quota_exceeded",
            Self::NotMergeable(_) => "not_mergeable",
            Self::Throttled { .. } => "throttled",
            Self::TooLarge(_) => "too_large",
            Self::Server { .. } => "server_error",
            Self::NotKubernetes(_) => "not_kubernetes",
        }
    }

    /// Does the fault concern the whole cluster rather than this object? Then the queue waits, not the object.
    #[must_use]
    pub fn is_cluster_wide(&self) -> bool {
        matches!(
            self,
            Self::Lost(_)
                | Self::Deadline(_)
                | Self::NotSent(_)
                | Self::Unreachable(_)
                | Self::Unauthorized
                | Self::Throttled { .. }
                | Self::NotKubernetes(_)
        )
    }

    /// Is it certain that a write which ended so changed nothing?
    #[must_use]
    pub fn is_certain(&self) -> bool {
        !matches!(
            self,
            Self::Stopped(_)
                | Self::Deadline(_)
                | Self::Unreachable(_)
                | Self::Server { .. }
                | Self::TooLarge(_)
                | Self::NotKubernetes(_)
        )
    }

    /// Classifies an HTTP answer that is not a success.
    pub(crate) fn of_reply(
        verb: &'static str,
        target: Option<&Target>,
        code: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        if code.is_redirection() {
            return Self::NotKubernetes(format!("it redirects ({code}); redirects are not followed"));
        }
        let Ok(status) = serde_json::from_slice::<Status>(body) else {
            return Self::without_status(code, headers, target, body);
        };
        // A gateway's own JSON reads as a Status, too. What is absent here is deleted or made again somewhere: be sure.
        if code == StatusCode::NOT_FOUND && status.reason != "NotFound" {
            return Self::without_status(code, headers, target, body);
        }
        let secret = target.is_some_and(Target::is_secret);
        match code {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::of_forbidden(verb, target, &status, secret),
            StatusCode::NOT_FOUND => Self::of_not_found(target, &status),
            StatusCode::CONFLICT if status.reason == "AlreadyExists" => Self::AlreadyExists,
            StatusCode::CONFLICT => Self::Conflict(text(&status, secret)),
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => Self::of_invalid(verb, &status, secret),
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge(text(&status, secret)),
            StatusCode::TOO_MANY_REQUESTS => Self::throttled(retry_after(headers, Some(&status))),
            StatusCode::SERVICE_UNAVAILABLE if retry_after(headers, Some(&status)).is_some() => {
                Self::throttled(retry_after(headers, Some(&status)))
            }
            StatusCode::INTERNAL_SERVER_ERROR if status.message.contains("failed to create typed patch object") => {
                Self::NotMergeable(text(&status, secret))
            }
            StatusCode::INTERNAL_SERVER_ERROR if status.message.contains("failed calling webhook") => {
                Self::Denied(text(&status, secret))
            }
            _ => Self::Server { code: code.as_u16(), message: text(&status, secret) },
        }
    }

    fn without_status(code: StatusCode, headers: &HeaderMap, target: Option<&Target>, body: &[u8]) -> Self {
        match code {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::NOT_FOUND if target.is_none() => Self::NotFound,
            // An API server answers unknown paths with this text. So do many other servers: it proves nothing by itself.
            StatusCode::NOT_FOUND if body.trim_ascii() == b"404 page not found" => Self::KindMissing,
            StatusCode::TOO_MANY_REQUESTS => Self::throttled(retry_after(headers, None)),
            code if code.is_server_error() => Self::Server { code: code.as_u16(), message: "no details given".into() },
            code => Self::NotKubernetes(format!("status {code} with a body that is not a Kubernetes Status")),
        }
    }

    /// Without a word about when, a second is asked for.
    fn throttled(asked: Option<Duration>) -> Self {
        let asked = asked.unwrap_or(Duration::from_secs(1));
        Self::Throttled { asked, wait: asked.min(LONGEST_RETRY_AFTER) }
    }

    /// What a body that should have been an object was instead.
    pub(crate) fn of_body(body: &[u8], why: &str) -> Self {
        let is_page = body.trim_ascii_start().first() == Some(&b'<');
        Self::NotKubernetes(if is_page { "it answers with a web page".to_owned() } else { one_line(why) })
    }

    fn of_forbidden(verb: &'static str, target: Option<&Target>, status: &Status, secret: bool) -> Self {
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        if causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
            || status.message.contains("because it is being terminated")
        {
            return Self::NamespaceTerminating(
                target.and_then(|target| target.namespace.as_deref()).unwrap_or_default().to_owned(),
            );
        }
        if status.message.contains("exceeded quota") {
            return Self::QuotaExceeded(text(status, secret));
        }
        if status.message.contains("admission webhook") || status.message.contains("ValidatingAdmissionPolicy") {
            return Self::Denied(text(status, secret));
        }
        let rule = match target {
            Some(target) => {
                let group = if target.resource.group.is_empty() {
                    String::new()
                } else {
                    format!(".{}", target.resource.group)
                };
                let place = target
                    .namespace
                    .as_ref()
                    .map(|namespace| format!(" in namespace {namespace:?}"))
                    .unwrap_or_default();
                format!(
                    "grant {:?} on {}{group}{place} to the member's service account",
                    rbac_verb(verb),
                    target.resource.plural
                )
            }
            None => one_line(&status.message),
        };
        Self::Forbidden { rule }
    }

    fn of_not_found(target: Option<&Target>, status: &Status) -> Self {
        let (kind, name) =
            status.details.as_ref().map(|details| (details.kind.as_str(), details.name.as_str())).unwrap_or_default();
        match target {
            Some(target)
                if kind == "namespaces"
                    && target.namespace.as_deref() == Some(name)
                    && target.resource.plural != "namespaces" =>
            {
                Self::NamespaceMissing(name.to_owned())
            }
            // The generic text of a resource (not an object) that is unknown.
            Some(_) if status.message.contains("could not find the requested resource") => Self::KindMissing,
            _ => Self::NotFound,
        }
    }

    fn of_invalid(verb: &'static str, status: &Status, secret: bool) -> Self {
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        // An apply that carries the uid of an object that was replaced: `metadata.uid: field is immutable`.
        let other_uid = causes.iter().any(|cause| cause.field == "metadata.uid")
            || status.message.contains("metadata.uid: Invalid value");
        // A JSON patch whose `test` of the resourceVersion failed.
        if other_uid || verb == "convert" {
            return Self::Conflict(text(status, secret));
        }
        if status.message.contains("admission webhook") || status.message.contains("ValidatingAdmissionPolicy") {
            return Self::Denied(text(status, secret));
        }
        Self::Invalid(text(status, secret))
    }
}

/// The verb that RBAC knows for one of ours.
fn rbac_verb(verb: &'static str) -> &'static str {
    match verb {
        "convert" | "apply" | "strip" => "patch",
        "replace" => "update",
        other => other,
    }
}

/// Retry-After by header (seconds) or by `details.retryAfterSeconds`. Garbage counts as absent.
fn retry_after(headers: &HeaderMap, status: Option<&Status>) -> Option<Duration> {
    let header = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let details = || {
        status?.details.as_ref().map(|details| u64::from(details.retry_after_seconds)).filter(|seconds| *seconds > 0)
    };
    header.or_else(details).map(Duration::from_secs)
}

/// The server's message, one line, cut; for Secrets only the names of the refused fields, as messages quote values.
fn text(status: &Status, secret: bool) -> String {
    if !secret {
        return one_line(&status.message);
    }
    let fields: Vec<&str> = status
        .details
        .as_ref()
        .map(|details| {
            details.causes.iter().map(|cause| cause.field.as_str()).filter(|field| !field.is_empty()).collect()
        })
        .unwrap_or_default();
    format!("{} (text withheld: the object is a Secret; fields: [{}])", status.reason, fields.join(", "))
}

pub(crate) fn one_line(message: &str) -> String {
    let mut line: String =
        message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_MESSAGE).collect();
    if message.chars().count() > LONGEST_MESSAGE {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
