//! One call and its two parents: who makes it, and the API server that receives it.
//!
//! A call is linked under the receiving side, whose detach must wait for it, and ends when either side does. Where the caller
//! itself lives inside the receiving side (a reconcile under `cluster/<name>` that writes to that cluster), the call is the
//! caller's child, and both follow from that one link.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pando_context::{Cancelled, Ctx, Kind, Scope, Stop};

use super::error::{RequestError, Sent};
use super::request::{Target, Verb};

/// The kind of a call's context. Its name is verb and resource: `call/patch works/status`.
pub const CALL: Kind = Kind::new("call");

/// A request under way, from before it is sent until its answer was read.
pub(super) struct Call {
    scope: Scope,
    receiver: Ctx,
    caller: Option<Ctx>,
    /// The caller is not above the call: it is observed.
    is_apart: bool,
    target: Arc<Target>,
    within: Duration,
}

impl Call {
    /// The deadline is the earliest of `within`, the receiver's and the caller's. A watch has none of its own.
    pub(super) fn begin(receiver: &Ctx, caller: Option<Ctx>, target: Arc<Target>, within: Duration) -> Self {
        let is_apart = caller.as_ref().is_some_and(|caller| !caller.is_within(receiver));
        let parent = caller.as_ref().filter(|_| !is_apart).unwrap_or(receiver);
        let mut child = parent.derive(&CALL).named_shared(Arc::clone(&target.name));
        if target.verb != Verb::Watch {
            child = child.timeout(within);
        }
        if let Some(caller) = caller.as_ref().filter(|_| is_apart) {
            child = child.trace(caller.trace_id());
            if let Some(at) = caller.deadline() {
                child = child.deadline(at);
            }
        }
        let scope = child.scope();
        Self { scope, receiver: receiver.clone(), caller, is_apart, target, within }
    }

    pub(super) fn ctx(&self) -> &Ctx {
        self.scope.ctx()
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The caller, where it does not stand above the call.
    fn observed(&self) -> Option<&Ctx> {
        self.caller.as_ref().filter(|_| self.is_apart)
    }

    /// An error once either side has ended: nothing is sent any more.
    pub(super) fn check(&self) -> Result<(), RequestError> {
        self.stop().map_or(Ok(()), |stop| Err(self.ended(stop, Sent::NotSent)))
    }

    /// Why either side has ended. A connection of the receiving side may break before the call hears of the end itself.
    pub(super) fn stop(&self) -> Option<Stop> {
        self.ctx().check().and_then(|()| self.observed().map_or(Ok(()), Ctx::check)).err()
    }

    /// Runs a part of the call until either side ends.
    pub(super) async fn run<F: Future>(&self, part: F) -> Result<F::Output, Stop> {
        match self.observed() {
            Some(caller) => self.ctx().run(caller.run(part)).await.flatten(),
            None => self.ctx().run(part).await,
        }
    }

    /// Tells which side has ended, or that it took too long.
    pub(super) fn ended(&self, stop: Stop, sent: Sent) -> RequestError {
        if let Err(stop) = self.receiver.check() {
            return RequestError::Closed { stop, sent };
        }
        if self.caller.as_ref().is_some_and(Ctx::is_cancelled) {
            return RequestError::Stopped { stop, sent };
        }
        let Target { verb, resource, .. } = &*self.target;
        RequestError::Deadline { verb: *verb, resource: resource.clone(), within: self.within, sent }
    }

    /// For a part that is polled and not awaited.
    pub(super) fn end(&self) -> End {
        End { call: self.ctx().cancelled(), caller: self.observed().map(Ctx::cancelled) }
    }
}

/// Ready when either side of a call has ended, or its time is over.
pub(super) struct End {
    call: Cancelled,
    caller: Option<Cancelled>,
}

impl End {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        for side in std::iter::once(&mut self.call).chain(&mut self.caller) {
            if let Poll::Ready(reason) = std::pin::Pin::new(side).poll(cx) {
                return Poll::Ready(Stop::from(reason));
            }
        }
        Poll::Pending
    }
}
