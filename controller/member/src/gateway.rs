//! The verbs that Pando uses on members, and no others.
//!
//! | verb | request | guard |
//! |---|---|---|
//! | [`get`](Gateway::get) | GET | reads only |
//! | [`create`](Gateway::create) | POST `fieldManager=pando` | 409 when anything of that name exists: this is what makes Abort true |
//! | [`convert`](Gateway::convert) | JSON patch of our `managedFields` entries | `test` of the resourceVersion |
//! | [`apply`](Gateway::apply) | server-side apply, force | `metadata.uid`: can neither hit a stranger nor resurrect |
//! | [`replace`](Gateway::replace) | PUT | uid and resourceVersion |
//! | [`strip`](Gateway::strip) | merge patch | uid and resourceVersion |
//! | [`delete`](Gateway::delete) | DELETE, Background | uid and resourceVersion preconditions |
//!
//! Flow: the member's [`Gate`](crate::gate::Gate), one request, one answer, no retry. Guarantees: no more calls at a time than the
//! gate lets in, none while the member is lost; every call ends at the earliest of its own deadline, its caller's
//! context and the cluster's; a mutating call needs a [`Term`]. Caveat: a write that ended without an
//! answer (stopped, deadline, unreachable, server error) may have happened; its object is among the member's
//! [`Doubts`](crate::doubts::Doubts) until it was read.

mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use pando_context::Ctx;
use pando_runtime::client::{Bounds, RequestError, Sent};
use pando_runtime::term::Term;
use secrecy::SecretString;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::fault::{Error, Fault, one_line};
use crate::limit::Class;
use crate::link::Member;
use crate::object::Live;
use crate::target::Target;

/// Time for one write or single read, connection included.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer about one object. etcd itself stops at 1.5 MiB; managed fields and a wide margin on top.
const LARGEST_ANSWER: u64 = 8 << 20;

/// Told about every finished call: cluster, verb, outcome (`ok` or a [`Fault::category`]) and how long it took.
pub type OnCall = Arc<dyn Fn(&Member, &'static str, &'static str, Duration) + Send + Sync>;

/// The way into one member.
#[derive(Clone)]
pub struct Gateway {
    member: Member,
    deadline: Duration,
    on_call: Option<OnCall>,
}

/// How a delete ended.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The server confirmed that the object is gone (or was gone before).
    Gone,
    /// It waits for its finalizers or grace period.
    Terminating(Box<Live>),
}

/// A token that a member issued.
pub struct Issued {
    /// The token itself.
    pub token: SecretString,
    /// When it ends, as the member says (RFC 3339).
    pub expires: String,
}

impl Issued {
    fn read(body: &[u8]) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Reply {
            status: Status,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            token: String,
            expiration_timestamp: String,
        }
        // The error of the parser is dropped: it could quote the token.
        let reply: Reply = serde_json::from_slice(body).map_err(|_| "the answer holds no token".to_owned())?;
        Ok(Self { token: SecretString::from(reply.status.token), expires: reply.status.expiration_timestamp })
    }
}

impl Gateway {
    /// A gateway over the member's request connection with the default deadline.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member, deadline: DEADLINE, on_call: None }
    }

    /// Another deadline for each call.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Reports every finished call, for metrics.
    #[must_use]
    pub fn counted_by(mut self, on_call: OnCall) -> Self {
        self.on_call = Some(on_call);
        self
    }

    /// The member behind it.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Reads one object, from the member's quorum (no `resourceVersion` parameter). `None` is a proven absence.
    ///
    /// # Errors
    /// Every [`Fault`] but [`Fault::NotFound`].
    pub async fn get(&self, ctx: &Ctx, target: &Target) -> Result<Option<Live>, Error> {
        match self.object(ctx, "get", target, request::get(target)).await {
            Ok(live) => Ok(Some(live)),
            Err(Error { fault: Fault::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object.
    ///
    /// # Errors
    /// [`Fault::AlreadyExists`] when anything of that name is there, whoever made it; [`Fault::NamespaceMissing`],
    /// [`Fault::NamespaceTerminating`] and the general ones.
    pub async fn create(&self, ctx: &Ctx, _: &Term, target: &Target, body: &Value) -> Result<Live, Error> {
        self.object(ctx, "create", target, request::create(target, body)).await
    }

    /// Changes whose our fields are: a JSON patch of our `managedFields` entries that first tests the resourceVersion.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when the object changed since the patch was made.
    pub async fn convert(&self, ctx: &Ctx, _: &Term, target: &Target, patch: &Value) -> Result<Live, Error> {
        self.object(ctx, "convert", target, request::convert(target, patch)).await
    }

    /// Applies `body`, with force, to exactly the object whose `metadata.uid` it carries.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when that object is gone or was replaced (or, where `body` carries a resourceVersion, changed);
    /// [`Fault::NotMergeable`] when apply cannot work on it; [`Fault::Invalid`] without a uid: nothing is sent.
    pub async fn apply(&self, ctx: &Ctx, _: &Term, target: &Target, body: &Value) -> Result<Live, Error> {
        self.object(ctx, "apply", target, request::apply(target, body)).await
    }

    /// Writes a whole object over exactly the version whose uid and resourceVersion `body` carries.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when it changed since; [`Fault::Invalid`] without both: nothing is sent.
    pub async fn replace(&self, ctx: &Ctx, _: &Term, target: &Target, body: &Value) -> Result<Live, Error> {
        self.object(ctx, "replace", target, request::replace(target, body)).await
    }

    /// Merge-patches exactly the version whose uid and resourceVersion `patch` carries: takes our labels and annotations
    /// off an object that stays.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when it changed since; [`Fault::Invalid`] without both: nothing is sent.
    pub async fn strip(&self, ctx: &Ctx, _: &Term, target: &Target, patch: &Value) -> Result<Live, Error> {
        self.object(ctx, "strip", target, request::strip(target, patch)).await
    }

    /// Deletes exactly the version that was read, its dependents in the background. Gone already counts as gone.
    ///
    /// # Errors
    /// [`Fault::Conflict`] when it is another object, or changed since; [`Fault::Invalid`] without both preconditions:
    /// nothing is sent.
    pub async fn delete(
        &self,
        ctx: &Ctx,
        _: &Term,
        target: &Target,
        uid: &str,
        resource_version: &str,
    ) -> Result<Deleted, Error> {
        let request = request::delete(target, uid, resource_version);
        let body = match self.call(ctx, "delete", target, request, Ok).await {
            Ok(body) => body,
            Err(Error { fault: Fault::NotFound, .. }) => return Ok(Deleted::Gone),
            Err(error) => return Err(error),
        };
        // The answer is a Status when the object is gone, the object itself when it waits for something.
        let waiting = serde_json::from_slice(&body).ok().and_then(|raw: Box<RawValue>| Live::read(raw).ok());
        Ok(match waiting.filter(|live| live.uid() == uid && live.is_terminating()) {
            Some(live) => Deleted::Terminating(Box::new(live)),
            None => Deleted::Gone,
        })
    }

    /// Asks the member for a new token of one of its service accounts (TokenRequest).
    ///
    /// # Errors
    /// The general ones; [`Fault::NotKubernetes`] when the answer holds no token.
    pub async fn token(&self, ctx: &Ctx, _: &Term, account: &Target, seconds: u64) -> Result<Issued, Error> {
        let request = request::token(account, seconds);
        self.call(ctx, "create token", account, request, |body| Issued::read(&body).map_err(Fault::NotKubernetes)).await
    }

    async fn object(&self, ctx: &Ctx, verb: &'static str, target: &Target, request: Prepared) -> Result<Live, Error> {
        let read = |body: Bytes| {
            let raw: Result<Box<RawValue>, _> = serde_json::from_slice(&body);
            let live = raw.map_err(|error| format!("the answer is no whole object: {error}")).and_then(Live::read);
            live.map_err(|text| Fault::of_body(&body, &text))
        };
        self.call(ctx, verb, target, request, read).await
    }

    async fn call<T>(
        &self,
        ctx: &Ctx,
        verb: &'static str,
        target: &Target,
        request: Prepared,
        read: impl FnOnce(Bytes) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let outcome = self.pass(ctx, verb, target, request, read).await;
        outcome.map_err(|fault| self.error(verb, &target.to_string(), fault))
    }

    async fn pass<T>(
        &self,
        ctx: &Ctx,
        verb: &'static str,
        target: &Target,
        request: Prepared,
        read: impl FnOnce(Bytes) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let request = request?;
        let member = &self.member;
        let pass = member.ctx().run(member.gate().enter(ctx)).await.map_err(Fault::Stopped)??;
        let class = if verb == "get" { Class::Read } else { Class::Write };
        let write = (class == Class::Write).then(|| member.doubts().write(target));
        let started = Instant::now();
        let answer = exchange(member, ctx, self.deadline, LARGEST_ANSWER, request).await;
        let is_unsent = matches!(&answer, Err(none) if none.sent == Sent::NotSent);
        let outcome = answer.map_err(Fault::from).and_then(|(parts, body)| {
            if parts.status.is_success() {
                read(body)
            } else {
                Err(Fault::of_reply(verb, Some(target), parts.status, &parts.headers, &body))
            }
        });
        let fault = outcome.as_ref().err();
        if let Some(write) = write.filter(|_| is_unsent || fault.is_none_or(Fault::is_certain)) {
            write.settle();
        }
        if matches!(fault, None | Some(Fault::NotFound)) {
            member.doubts().clear(target);
        }
        pass.ended(class, fault);
        if let Some(on_call) = &self.on_call {
            on_call(member, verb, fault.map_or("ok", Fault::category), started.elapsed());
        }
        outcome
    }

    fn error(&self, verb: &'static str, what: &str, fault: Fault) -> Error {
        Error { cluster: self.member.name().clone(), verb, what: what.to_owned(), fault }
    }
}

/// A request, or why it cannot be one.
type Prepared = Result<Request<Body>, Fault>;

/// No answer came, or not all of it.
pub(crate) struct NoAnswer {
    pub(crate) fault: Fault,
    /// What the member may have made of the request.
    pub(crate) sent: Sent,
}

impl From<NoAnswer> for Fault {
    fn from(none: NoAnswer) -> Self {
        none.fault
    }
}

/// One request and its whole answer.
///
/// A call has two parents: the cluster that receives it, whose detach waits for it, and the caller. Either ends it.
pub(crate) async fn exchange(
    member: &Member,
    caller: &Ctx,
    deadline: Duration,
    limit: u64,
    request: Request<Body>,
) -> Result<(http::response::Parts, Bytes), NoAnswer> {
    let answer = member.requests().send(caller, Bounds { within: deadline, bytes: limit }, request).await;
    let (parts, body) = answer.map_err(|error| given_up(&error))?.into_parts();
    match body.collect().await {
        Ok(body) => Ok((parts, body.to_bytes())),
        Err(error) => Err(match error.downcast_ref() {
            Some(error) => given_up(error),
            None => {
                let fault = Fault::Unreachable(format!("the answer broke off: {}", cause(error.as_ref())));
                NoAnswer { fault, sent: Sent::InFlight }
            }
        }),
    }
}

/// Why no answer came.
fn given_up(error: &RequestError) -> NoAnswer {
    let sent = error.sent();
    let fault = match error {
        RequestError::Stopped { stop, .. } | RequestError::Closed { stop, .. } => Fault::Stopped(stop.clone()),
        RequestError::Deadline { within, sent: Sent::InFlight, .. } => Fault::Deadline(*within),
        RequestError::TooLarge { limit, .. } => Fault::TooLarge(format!("the answer exceeds {limit} bytes")),
        error if sent == Sent::NotSent => Fault::NotSent(cause(error)),
        error => Fault::Unreachable(cause(error)),
    };
    NoAnswer { fault, sent }
}

/// The innermost causes of a connection error, where the useful words are ("connection refused", "invalid peer certificate").
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        texts.push(source.to_string());
        next = source.source();
    }
    texts.dedup();
    let keep = texts.len().saturating_sub(2);
    one_line(&texts.split_off(keep).join(": "))
}

#[cfg(test)]
mod tests;
