//! Writing to the hub: create, merge patch with resourceVersion, delete with preconditions. Nothing else.
//!
//! Every write takes the [`Term`] that allows it and the context it belongs to, names its object in its error, and
//! its reply goes into the store at once, so that the next arrow starts without waiting for the watch.

use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{ApiResource, Request, Status};
use kube::{Client, Resource};
use pando_context::{Ctx, Kind, Stop};
use pando_runtime::controller::{Class, ReconcileError};
use pando_runtime::store::{Key, Record, Store, decode_error};
use pando_runtime::term::Term;
use serde::Serialize;
use serde_json::Value;

/// Every call to the hub appears in the context tree under this kind.
static CALL: Kind = Kind::new("call");
/// How long one write may take. The client has the same limit on its side; this one also covers waiting for a
/// connection.
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
            Self::Stopped { .. } => None,
        }
    }

    /// The object is not there (any more).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Somebody else wrote first, or the object exists already: read again, then decide again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }
}

impl ReconcileError for Error {
    fn class(&self) -> Class {
        match self {
            Self::Stopped { stop: Stop::Cancelled(_), .. } => Class::Stopped,
            Self::Stopped { .. } => Class::Transient,
            Self::Api { .. } => match self.status().map(|status| status.code) {
                Some(409) => Class::Superseded,
                Some(400 | 413 | 422) => Class::Invalid,
                // A namespace on its way out forbids new objects; an execution namespace comes back.
                Some(403) if self.status().is_some_and(is_terminating) => Class::Transient,
                Some(403) => Class::NotOurs,
                _ => Class::Transient,
            },
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "HubWriteStopped",
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
}

impl Hub {
    /// Writes through `client` while `term` lasts.
    #[must_use]
    pub const fn new(client: Client, term: Term) -> Self {
        Self { client, term }
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
        let call = Call { ctx, verb: "create", resource: store.resource(), key };
        let body = serde_json::to_vec(object).map_err(|error| call.refused(kube::Error::SerdeError(error)))?;
        let request = call.path().create(&PostParams::default(), body).map_err(|error| call.invalid(error))?;
        self.send(call, store, request).await
    }

    /// Merge-patches the object. `patch` carries `metadata.resourceVersion`, so it loses against a newer version.
    ///
    /// # Errors
    /// See [`Error`]; `is_conflict` when the resourceVersion is stale.
    pub async fn patch<T: Record>(&self, ctx: &Ctx, store: &Store<T>, key: &Key, patch: &Value) -> Result<(), Error> {
        let call = Call { ctx, verb: "patch", resource: store.resource(), key };
        let request = call.path().patch(&key.name, &PatchParams::default(), &Patch::Merge(patch));
        self.send(call, store, request.map_err(|error| call.invalid(error))?).await
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
        let call = Call { ctx, verb: "patch status of", resource: store.resource(), key };
        let patch = Patch::Merge(patch);
        let request = call.path().patch_subresource("status", &key.name, &PatchParams::default(), &patch);
        self.send(call, store, request.map_err(|error| call.invalid(error))?).await
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
        let call = Call { ctx, verb: "delete", resource: store.resource(), key };
        let preconditions =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let request = call.path().delete(&key.name, &params).map_err(|error| call.invalid(error))?;
        match call.run(self.client.request_text(request)).await {
            Err(error) if error.is_not_found() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    async fn send<T: Record>(
        &self,
        call: Call<'_>,
        store: &Store<T>,
        request: http::Request<Vec<u8>>,
    ) -> Result<(), Error> {
        let reply = call.run(self.client.request_text(request)).await?;
        // A reply that cannot be decoded was written all the same; the watch reports it as a fault of the object.
        let decoded = serde_json::from_str(&reply).map_err(|error| decode_error(&error));
        match decoded.and_then(|raw| T::decode(call.resource, raw)) {
            Ok(object) => store.written(object),
            Err(error) => tracing::warn!(kind = %call.resource.kind, key = %call.key, error, "undecodable reply"),
        }
        Ok(())
    }
}

/// One request: where it goes and what its errors say.
#[derive(Clone, Copy)]
struct Call<'a> {
    ctx: &'a Ctx,
    verb: &'static str,
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

    async fn run<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
        match self.ctx.timeout(&CALL, WRITE, request).await {
            Ok(reply) => reply.map_err(|source| self.refused(source)),
            Err(stop) => Err(Error::Stopped { verb: self.verb, what: self.what(), stop }),
        }
    }
}
