//! Writing to the hub: create, merge patch with resourceVersion, delete with preconditions. Nothing else.
//!
//! Every write takes the [`Term`] that allows it and the context it belongs to, names its object in its error, and
//! its reply goes into the store at once, so that the next arrow starts without waiting for the watch.
//!
//! Writes share one [`Budget`]. Releasing goes first (deletes, and finalizers that are taken off), then what the
//! reconcile's own [`Priority`] says, statuses after that. A write whose object has changed while it waited is not
//! sent: the server would refuse it.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use kube::api::{
    DeleteParams, DynamicObject, GetParams, PartialObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::{ApiResource, Request, Status};
use kube::{Client, Resource};
use pando_context::{Ctx, Kind, Stop};
use pando_runtime::budget::{self, Budget, Outcome, Permit};
use pando_runtime::controller::{Class, ReconcileError};
use pando_runtime::metrics::Metrics;
use pando_runtime::priority::Priority;
use pando_runtime::store::{Key, Record, Revision, Store};
use pando_runtime::term::Term;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// In the context tree, a write waits for its turn, and then is under way: above the client's call.
static TURN: Kind = Kind::new("turn");
static UNDER_WAY: Kind = Kind::new("write");
static READ: Kind = Kind::new("read");
/// How long one write may take, from its turn in the budget. The client has a shorter limit on its side.
const WRITE: Duration = Duration::from_secs(10);

/// A write to the hub that did not happen, or whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The context ended first. For a write in flight the outcome is unknown; the next reconcile reads again.
    #[error("{verb} {what}: {stop}")]
    Stopped {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind, namespace and name.
        what: String,
        /// Why the context ended.
        #[source]
        stop: Stop,
    },
    /// The object is known to be another one by now; nothing was sent.
    #[error("{verb} {what}: it has changed since the decision")]
    Superseded {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind, namespace and name.
        what: String,
    },
    /// The hub takes no more writes for the moment; nothing was sent.
    #[error("{verb} {what}: the hub is away or busy, and the time of this reconcile is up")]
    Waiting {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind, namespace and name.
        what: String,
    },
    /// No answer in time, as to all writes of late. Whether anything was written is unknown.
    #[error("{verb} {what}: the hub has not answered in time, nor any other write of late")]
    Silent {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind, namespace and name.
        what: String,
    },
    /// Something answered, but not as an API server does. Whether anything was written is unknown.
    #[error("{verb} {what}: the answer is not the object but {got}")]
    Strange {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind, namespace and name.
        what: String,
        /// What it is.
        got: &'static str,
    },
    /// The API server refused, or could not be reached.
    #[error("{verb} {what}: {}", cause(source))]
    Api {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind, namespace and name.
        what: String,
        /// What the client says.
        #[source]
        source: Box<kube::Error>,
    },
}

/// The cause in one line: of an answer its message only, not the whole status object.
fn cause(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

impl Error {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Stopped { .. }
            | Self::Superseded { .. }
            | Self::Waiting { .. }
            | Self::Silent { .. }
            | Self::Strange { .. } => None,
        }
    }

    /// The hub could not be reached, or wants to be left alone for a while.
    fn is_away(&self) -> bool {
        let says = |source| matches!(Outcome::of_error(source), Outcome::Unreachable | Outcome::Later(_));
        matches!(self, Self::Api { source, .. } if says(source))
    }

    /// The object is not there (any more).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Somebody else wrote first, or the object exists already: read again, then decide again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Superseded { .. }) || self.status().is_some_and(|status| status.code == 409)
    }
}

impl ReconcileError for Error {
    fn class(&self) -> Class {
        match self {
            Self::Stopped { stop, .. } => Class::of_stop(stop),
            Self::Superseded { .. } => Class::Superseded,
            Self::Waiting { .. } | Self::Silent { .. } => Class::Unavailable,
            Self::Strange { .. } => Class::Transient,
            Self::Api { source, .. } => match (Outcome::of_error(source), self.status().map(|status| status.code)) {
                (Outcome::Unreachable, _) => Class::Unavailable,
                (Outcome::Later(asked), _) => Class::Later(asked),
                (_, Some(409)) => Class::Superseded,
                (_, Some(400 | 413 | 422)) => Class::Invalid,
                // A namespace on its way out forbids new objects; an execution namespace comes back.
                (_, Some(403)) if self.status().is_some_and(is_terminating) => Class::Transient,
                (_, Some(403)) => Class::NotOurs,
                _ => Class::Transient,
            },
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "HubWriteStopped",
            Self::Superseded { .. } => "HubConflict",
            Self::Waiting { .. } | Self::Silent { .. } => "HubAway",
            Self::Strange { .. } => "HubStrange",
            Self::Api { .. } if self.is_away() => "HubAway",
            Self::Api { .. } if self.is_conflict() => "HubConflict",
            Self::Api { .. } if self.is_not_found() => "HubNotFound",
            Self::Api { .. } => "HubWriteFailed",
        }
    }
}

/// The hub as the reconcilers may write to it.
///
/// The store says which kind is written and receives the server's reply, decoded as the watch would decode it.
#[derive(Clone)]
pub struct Hub {
    client: Client,
    term: Term,
    budget: Budget,
}

impl Hub {
    /// Writes through `client` while `term` lasts, within a budget of its own.
    #[must_use]
    pub fn new(client: Client, term: Term) -> Self {
        let budget = Budget::new(budget::MOST, Metrics::new());
        Self { client, term, budget }
    }

    /// Writes within this budget.
    #[must_use]
    pub fn within(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// The term under which this process writes.
    #[must_use]
    pub const fn term(&self) -> &Term {
        &self.term
    }

    /// Creates `object` under `key`.
    ///
    /// # Errors
    /// See [`Error`]; `is_conflict` when the object exists.
    pub async fn create<T: Record>(
        &self,
        ctx: &Ctx,
        store: &Store<T>,
        key: &Key,
        object: &impl Serialize,
    ) -> Result<(), Error> {
        let call = Call { ctx, verb: "create", priority: inherited(ctx), resource: store.resource(), key };
        let body = serde_json::to_vec(object).map_err(|error| call.refused(kube::Error::SerdeError(error)))?;
        let request = call.path().create(&PostParams::default(), body).map_err(|error| call.invalid(error))?;
        self.send(call, store, None, request).await
    }

    /// Merge-patches the object. `patch` carries `metadata.resourceVersion`, so it loses against a newer version.
    ///
    /// # Errors
    /// See [`Error`]; `is_conflict` when the resourceVersion is stale.
    pub async fn patch<T: Record>(&self, ctx: &Ctx, store: &Store<T>, key: &Key, patch: &Value) -> Result<(), Error> {
        // Somebody waits for an object that is held by a finalizer of ours.
        let releases = patch["metadata"].get("finalizers").is_some();
        let priority = if releases { Priority::Removal } else { inherited(ctx) };
        let call = Call { ctx, verb: "patch", priority, resource: store.resource(), key };
        let request = call.path().patch(&key.name, &PatchParams::default(), &Patch::Merge(patch));
        self.send(call, store, version(patch), request.map_err(|error| call.invalid(error))?).await
    }

    /// Merge-patches the status sub-resource.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn patch_status<T: Record>(
        &self,
        ctx: &Ctx,
        store: &Store<T>,
        key: &Key,
        patch: &Value,
    ) -> Result<(), Error> {
        let priority = inherited(ctx).min(Priority::Status);
        let call = Call { ctx, verb: "patch status of", priority, resource: store.resource(), key };
        let body = Patch::Merge(patch);
        let request = call.path().patch_subresource("status", &key.name, &PatchParams::default(), &body);
        self.send(call, store, version(patch), request.map_err(|error| call.invalid(error))?).await
    }

    /// Deletes exactly the object that was read: its uid and resourceVersion are preconditions.
    /// An object that is gone already is fine. The store learns of the end from the watch.
    ///
    /// # Errors
    /// See [`Error`]; `is_conflict` when it is not that object any more.
    pub async fn delete<T: Record>(
        &self,
        ctx: &Ctx,
        store: &Store<T>,
        key: &Key,
        uid: &str,
        resource_version: &str,
    ) -> Result<(), Error> {
        let call = Call { ctx, verb: "delete", priority: Priority::Removal, resource: store.resource(), key };
        let preconditions =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let request = call.path().delete(&key.name, &params).map_err(|error| call.invalid(error))?;
        let is_current = || is_current(store, key, Some(resource_version));
        match call.run(&self.budget, is_current, self.client.request_text(request)).await {
            Err(error) if error.is_not_found() => Ok(()),
            // The object where finalizers hold it, else a status; never something else.
            Ok(reply) => serde_json::from_str::<&RawValue>(&reply).map(drop).map_err(|_| call.strange(NO_JSON)),
            Err(error) => Err(error),
        }
    }

    /// Asks the hub whether the object of this uid is gone. Only an answer about this very object counts: a kind that is
    /// not served (any more) is no answer.
    ///
    /// # Errors
    /// See [`Error`]: nobody can say.
    pub async fn is_gone<T: Record>(&self, ctx: &Ctx, store: &Store<T>, key: &Key, uid: &str) -> Result<bool, Error> {
        let call = Call { ctx, verb: "read", priority: inherited(ctx), resource: store.resource(), key };
        let request = call.path().get(&key.name, &GetParams::default()).map_err(|error| call.invalid(error))?;
        let reply = ctx.timeout(&READ, WRITE, self.client.request::<PartialObjectMeta<DynamicObject>>(request)).await;
        match reply.map_err(|stop| call.stopped(stop))? {
            Ok(found) => Ok(found.metadata.uid.as_deref() != Some(uid)),
            Err(kube::Error::Api(status)) if is_about(&status, key) => Ok(true),
            Err(error) => Err(call.refused(error)),
        }
    }

    async fn send<T: Record>(
        &self,
        call: Call<'_>,
        store: &Store<T>,
        version: Option<&str>,
        request: http::Request<Vec<u8>>,
    ) -> Result<(), Error> {
        let creates = request.method() == http::Method::POST;
        let is_current = || if creates { store.get(call.key).is_none() } else { is_current(store, call.key, version) };
        let reply = call.run(&self.budget, is_current, self.client.request_text(request)).await?;
        let raw: Box<RawValue> = serde_json::from_str(&reply).map_err(|_| call.strange(NO_JSON))?;
        match T::decode(call.resource, &raw) {
            Ok(object) if Key::of(object.meta()) == *call.key => store.written(object),
            // It was written all the same; the watch reports it as a fault of the object.
            Err(error) if names(&raw, call.key) => {
                tracing::warn!(kind = %call.resource.kind, key = %call.key, error, "undecodable reply");
            }
            _ => return Err(call.strange("something else")),
        }
        Ok(())
    }
}

/// Whether this is the answer that the very object is not there. Where the kind is not served, the answer names no object.
fn is_about(status: &Status, key: &Key) -> bool {
    status.code == 404 && status.details.as_ref().is_some_and(|details| *details.name == *key.name)
}

const NO_JSON: &str = "no JSON, or a part of it";

/// Whether this is an object of this name, whatever else it says.
fn names(raw: &RawValue, key: &Key) -> bool {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        metadata: Metadata<'a>,
    }
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    serde_json::from_str(raw.get()).is_ok_and(|head: Head<'_>| *head.metadata.name == *key.name)
}

/// As urgent as the reconcile that asks.
fn inherited(ctx: &Ctx) -> Priority {
    ctx.get().copied().unwrap_or_default()
}

/// The version that a patch was made for.
fn version(patch: &Value) -> Option<&str> {
    patch["metadata"]["resourceVersion"].as_str()
}

/// False when the store has a newer version than the one that was decided on: the server has it as well, and refuses.
fn is_current<T: Record>(store: &Store<T>, key: &Key, version: Option<&str>) -> bool {
    let Some(Ok(decided)) = version.map(Revision::parse) else { return true };
    let known = store.get(key).map(|object| Revision::of(object.meta()));
    !matches!(known, Some(Ok(known)) if known > decided)
}

/// One request: where it goes, how urgent it is, and what its errors say.
#[derive(Clone, Copy)]
struct Call<'a> {
    ctx: &'a Ctx,
    verb: &'static str,
    priority: Priority,
    resource: &'a ApiResource,
    key: &'a Key,
}

impl Call<'_> {
    fn path(&self) -> Request {
        Request::new(DynamicObject::url_path(self.resource, self.key.namespace.as_deref()))
    }

    fn what(&self) -> String {
        format!("{} {}", self.resource.kind, self.key)
    }

    fn refused(&self, source: kube::Error) -> Error {
        Error::Api { verb: self.verb, what: self.what(), source: Box::new(source) }
    }

    fn invalid(&self, error: kube::core::request::Error) -> Error {
        self.refused(kube::Error::BuildRequest(error))
    }

    fn stopped(&self, stop: Stop) -> Error {
        Error::Stopped { verb: self.verb, what: self.what(), stop }
    }

    fn silent(&self) -> Error {
        Error::Silent { verb: self.verb, what: self.what() }
    }

    fn strange(&self, got: &'static str) -> Error {
        Error::Strange { verb: self.verb, what: self.what(), got }
    }

    /// Waits for the turn of the request, then sends it if it still makes sense. Its deadline begins there.
    async fn run<T>(
        &self,
        budget: &Budget,
        is_current: impl Fn() -> bool,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        let permit = self.turn(budget).await?;
        if !is_current() {
            return Err(Error::Superseded { verb: self.verb, what: self.what() });
        }
        match self.ctx.timeout(&UNDER_WAY, WRITE, request).await {
            Ok(reply) => {
                let outcome = Outcome::of(&reply);
                permit.ended(outcome);
                match reply {
                    // A fault of the hub and not of this object, which gathers no back-off for it.
                    Err(_) if outcome == Outcome::Late && budget.is_away() => Err(self.silent()),
                    reply => reply.map_err(|source| self.refused(source)),
                }
            }
            Err(stop) if self.ctx.is_cancelled() => {
                permit.ended(Outcome::Abandoned);
                Err(self.stopped(stop))
            }
            Err(stop) => {
                permit.ended(Outcome::Late);
                Err(if budget.is_away() { self.silent() } else { self.stopped(stop) })
            }
        }
    }

    /// Waits for as long as the reconcile has time, less what the write itself needs: that the hub is away must not
    /// look like a reconcile that hangs.
    async fn turn(&self, budget: &Budget) -> Result<Permit, Error> {
        let Some(left) = self.ctx.remaining() else {
            return budget.enter(self.ctx, self.priority).await.map_err(|stop| self.stopped(stop));
        };
        let call = self.ctx.call(&TURN, left.saturating_sub(WRITE).max(left / 2));
        let waiting = call.ctx().clone();
        match call.run(budget.enter(&waiting, self.priority)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(stop)) | Err(stop) if self.ctx.is_cancelled() => Err(self.stopped(stop)),
            _ => Err(Error::Waiting { verb: self.verb, what: self.what() }),
        }
    }
}
