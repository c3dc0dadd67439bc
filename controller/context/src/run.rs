//! Futures and streams that end with a context.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use crate::node::{For, Handle, Waiter};
use crate::reason::Reason;
use crate::scope::JoinInside;
use crate::{Ctx, Scope, Stop};

thread_local! {
    /// The context whose future this thread is polling right now.
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// The context of the innermost [`Ctx::run`] or task that is being polled, if any.
pub(crate) fn current() -> Option<Handle> {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes a node the current one and, when dropped, gives it back and restores the one before, also
/// when the poll between panics.
struct Enter<'a> {
    node: &'a mut Option<Handle>,
}

impl<'a> Enter<'a> {
    fn new(node: &'a mut Option<Handle>) -> Self {
        if let Some(node) = node {
            node.enter();
        }
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, node));
        Self { node }
    }
}

impl Drop for Enter<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.node));
        if let Some(node) = self.node {
            node.leave();
        }
    }
}

/// Waits for one node's cancel or deadline on behalf of one future, and keeps the node from having
/// ended while that future exists.
struct Wait {
    waiter: Waiter,
    timer: Option<Pin<Box<Sleep>>>,
    holds: bool,
}

impl Wait {
    /// For a future that only looks on.
    fn observing(node: Handle) -> Self {
        Self { waiter: Waiter::new(node, For::Cancel), timer: None, holds: false }
    }

    /// For a future that is a part of the node.
    fn holding(node: &Handle) -> Self {
        let mut wait = Self::observing(node.clone());
        wait.holds = node.hold();
        wait
    }

    fn node(&self) -> &Handle {
        self.waiter.node()
    }

    fn release(&mut self) {
        if std::mem::take(&mut self.holds) {
            self.node().release();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Reason>> {
        if let Some(reason) = self.node().marked() {
            return Poll::Ready(Arc::clone(reason));
        }
        if let Some(at) = self.node().deadline() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.as_mut().poll(cx).is_ready() {
                self.node().expire();
            }
        }
        if self.waiter.wait(cx.waker()) {
            return Poll::Pending;
        }
        match self.node().marked() {
            Some(reason) => Poll::Ready(Arc::clone(reason)),
            None => Poll::Pending, // not reached: `wait` refuses only once there is a reason
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.release();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one timer that everything else goes through")]
fn sleep_until(at: crate::Instant) -> Sleep {
    tokio::time::sleep_until(at)
}

pin_project! {
    /// A future in a context: see [`Ctx::run`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Run<F> {
        #[pin]
        future: Option<F>,
        // After the future, so that a dropped `Run` drops its future before it gives its hold back.
        wait: Wait,
        // The same node again, in the shape in which it changes places with the current one.
        current: Option<Handle>,
    }
}

impl<F> Run<F> {
    pub(crate) fn new(node: &Handle, future: F) -> Self {
        Self { future: Some(future), wait: Wait::holding(node), current: Some(node.clone()) }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, Stop>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let stop = match (this.wait.node().stop(), this.future.as_mut().as_pin_mut()) {
            (Some(stop), _) => stop,
            (None, None) => return Poll::Pending, // polled after its end
            (None, Some(future)) => {
                let entered = Enter::new(this.current);
                let polled = future.poll(cx);
                drop(entered);
                if let Poll::Ready(output) = polled {
                    this.future.set(None);
                    this.wait.release();
                    return Poll::Ready(Ok(output));
                }
                match this.wait.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(reason) => Stop::from(reason),
                }
            }
        };
        // The work is gone before anybody can learn that it is. Its destructor is a part of it: it
        // runs in the context, and shows as running if it takes its time.
        let entered = Enter::new(this.current);
        this.future.set(None);
        drop(entered);
        this.wait.release();
        Poll::Ready(Err(stop))
    }
}

pin_project! {
    /// A stream that ends with a context: see [`Ctx::bind`].
    #[must_use = "streams do nothing unless polled"]
    pub struct Bound<S> {
        #[pin]
        stream: Option<S>,
        wait: Wait,
        current: Option<Handle>,
    }
}

impl<S> Bound<S> {
    pub(crate) fn new(node: &Handle, stream: S) -> Self {
        Self { stream: Some(stream), wait: Wait::holding(node), current: Some(node.clone()) }
    }
}

impl<S: Stream> Stream for Bound<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if this.wait.node().stop().is_none()
            && let Some(stream) = this.stream.as_mut().as_pin_mut()
        {
            let entered = Enter::new(this.current);
            let polled = stream.poll_next(cx);
            drop(entered);
            match polled {
                Poll::Ready(Some(item)) => return Poll::Ready(Some(item)),
                Poll::Ready(None) => {}
                Poll::Pending if this.wait.poll(cx).is_pending() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        let entered = Enter::new(this.current);
        this.stream.set(None);
        drop(entered);
        this.wait.release();
        Poll::Ready(None)
    }
}

/// Ends when a context is cancelled: see [`Ctx::cancelled`].
#[must_use = "futures do nothing unless awaited"]
pub struct Cancelled(Wait);

impl Cancelled {
    pub(crate) fn new(node: Handle) -> Self {
        Self(Wait::observing(node))
    }
}

impl Future for Cancelled {
    type Output = Arc<Reason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

/// Ends when nothing is left below a scope: see [`crate::Scope::join`].
///
/// It borrows the scope: the scope itself is the one hold that does not count, so it must still be there.
/// Dropping it waits no longer and changes nothing.
#[must_use = "futures do nothing unless awaited"]
pub struct Join<'s> {
    waiter: Waiter,
    scope: PhantomData<&'s Scope>,
}

impl Join<'_> {
    pub(crate) fn new(scope: &Scope) -> Join<'_> {
        Join { waiter: Waiter::new(scope.ctx().node().clone(), For::Empty), scope: PhantomData }
    }
}

impl Future for Join<'_> {
    type Output = Result<(), JoinInside>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let node = self.waiter.node();
        // Somebody in the tree who waits for it is a part of what it waits for.
        if !node.is_empty()
            && let Some(by) = current().filter(|by| node.contains(by))
        {
            return Poll::Ready(Err(JoinInside { scope: node.label().clone(), by: by.label().clone() }));
        }
        match self.waiter.wait(cx.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }
}

impl Ctx {
    /// Runs a future in this context: until it is ready, or until the context is cancelled or its
    /// deadline passes, whichever is first.
    ///
    /// When the context ends first, the future is dropped *in place, before* the caller hears of it,
    /// whatever it was waiting for. In a context that has ended already it is not polled at all.
    /// While the `Run` exists, [`crate::Scope::join`] of this context and of those above waits for it.
    pub fn run<F: Future>(&self, future: F) -> Run<F> {
        Run::new(self.node(), future)
    }

    /// Ties a stream to this context: when the context ends, the stream is dropped and ends
    /// (`None`), which consumers take for its end and not for a failure to retry.
    pub fn bind<S: Stream>(&self, stream: S) -> Bound<S> {
        Bound::new(self.node(), stream)
    }

    /// Waits for the cancel of this context (or its deadline) and says why. Only observes: it keeps
    /// nobody from ending.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled::new(self.node().clone())
    }
}
