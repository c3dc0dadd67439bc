//! One reconcile as a future: in its span, which says why it was cancelled once it was.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pando_context::{Ctx, Instant};
use tracing::Span;
use tracing::field::display;

use super::Spec;

/// The span of one reconcile. `reason` is empty until the work is cancelled.
pub(super) fn span(controller: &'static str, key: &dyn Display, ctx: &Ctx) -> Span {
    tracing::info_span!(
        "reconcile",
        controller,
        %key,
        trace = %ctx.trace_id(),
        reason = tracing::field::Empty
    )
}

/// The work of one reconcile. Dropped before its end it first puts the reason into its span, so that what the work's
/// destructors log carries it, too.
///
/// It counts itself as cancelled when the controller was: the controller does not live to do so.
pub(super) struct Work<F> {
    ctx: Ctx,
    controller: Ctx,
    spec: Spec,
    span: Span,
    started: Instant,
    /// `None` once it has ended. Boxed, so that this needs no projection of pins: a reconcile does more than allocate once.
    work: Option<Pin<Box<F>>>,
}

impl<F> Work<F> {
    pub(super) fn new(ctx: Ctx, controller: Ctx, spec: Spec, span: Span, work: F) -> Self {
        Self { ctx, controller, spec, span, started: Instant::now(), work: Some(Box::pin(work)) }
    }

    /// Drops the work inside its span.
    fn end(&mut self) {
        if let Some(reason) = self.ctx.reason() {
            self.span.record("reason", display(&reason));
        }
        let _entered = self.span.enter();
        self.work = None;
    }
}

impl<F: Future> Future for Work<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let Some(work) = &mut this.work else { return Poll::Pending };
        let entered = this.span.enter();
        let polled = work.as_mut().poll(cx);
        drop(entered);
        if polled.is_ready() {
            this.end();
        }
        polled
    }
}

impl<F> Drop for Work<F> {
    fn drop(&mut self) {
        if self.work.is_none() {
            return;
        }
        self.end();
        if self.controller.is_cancelled() {
            self.span.in_scope(|| tracing::debug!("reconcile cancelled"));
            self.spec.metrics.reconciled(self.spec.name, "cancelled", self.started.elapsed());
        }
    }
}
