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

use crate::node::{For, Node, Ticket};
use crate::reason::Reason;
use crate::{Ctx, Scope, Stop};

thread_local! {
    /// The context whose future this thread is polling right now.
    static CURRENT: RefCell<Option<Arc<Node>>> = const { RefCell::new(None) };
}

/// The context of the innermost [`Ctx::run`] or task that is being polled, if any.
pub(crate) fn current() -> Option<Arc<Node>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes a node the current one and, when dropped, gives it back and restores the one before, also
/// when the poll between panics.
struct Enter<'a> {
    node: &'a mut Option<Arc<Node>>,
}

impl<'a> Enter<'a> {
    fn new(node: &'a mut Option<Arc<Node>>) -> Self {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, node));
        Self { node }
    }
}

impl Drop for Enter<'_> {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| std::mem::swap(current, self.node));
    }
}

/// What keeps a node from having ended while a future of it exists.
pub(crate) struct Hold(Arc<Node>);

impl Hold {
    pub(crate) fn take(node: &Arc<Node>) -> Option<Self> {
        node.hold().then(|| Self(Arc::clone(node)))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Waits for one node's cancel or deadline on behalf of one future.
struct Wait {
    node: Arc<Node>,
    ticket: Option<Ticket>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    fn new(node: Arc<Node>) -> Self {
        Self { node, ticket: None, timer: None }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Arc<Reason>> {
        if let Some(reason) = self.node.reason() {
            return Poll::Ready(reason);
        }
        if let Some(at) = self.node.deadline() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.as_mut().poll(cx).is_ready() {
                self.node.expire();
            }
        }
        if self.node.wait(For::Cancel, &mut self.ticket, cx.waker()) {
            return Poll::Pending;
        }
        match self.node.reason() {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending, // not reached: `wait` refuses only once there is a reason
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.node.unwait(For::Cancel, ticket);
        }
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
        wait: Wait,
        // The same node again, in the shape in which it changes places with the current one.
        current: Option<Arc<Node>>,
        // Last, so that a dropped `Run` drops its future before it stops counting.
        hold: Option<Hold>,
    }
}

impl<F> Run<F> {
    pub(crate) fn new(node: &Arc<Node>, future: F) -> Self {
        Self {
            future: Some(future),
            wait: Wait::new(Arc::clone(node)),
            current: Some(Arc::clone(node)),
            hold: Hold::take(node),
        }
    }
}

impl<F: Future> Future for Run<F> {
    type Output = Result<F::Output, Stop>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let stop = match (this.wait.node.stop(), this.future.as_mut().as_pin_mut()) {
            (Some(stop), _) => stop,
            (None, None) => return Poll::Pending, // polled after its end
            (None, Some(future)) => {
                let entered = Enter::new(this.current);
                let polled = future.poll(cx);
                drop(entered);
                if let Poll::Ready(output) = polled {
                    this.future.set(None);
                    *this.hold = None;
                    return Poll::Ready(Ok(output));
                }
                match this.wait.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(reason) => Stop::from(reason),
                }
            }
        };
        // The work is gone before anybody can learn that it is.
        this.future.set(None);
        *this.hold = None;
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
        current: Option<Arc<Node>>,
        hold: Option<Hold>,
    }
}

impl<S> Bound<S> {
    pub(crate) fn new(node: &Arc<Node>, stream: S) -> Self {
        Self {
            stream: Some(stream),
            wait: Wait::new(Arc::clone(node)),
            current: Some(Arc::clone(node)),
            hold: Hold::take(node),
        }
    }
}

impl<S: Stream> Stream for Bound<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if this.wait.node.stop().is_none()
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
        this.stream.set(None);
        *this.hold = None;
        Poll::Ready(None)
    }
}

/// Ends when a context is cancelled: see [`Ctx::cancelled`].
#[must_use = "futures do nothing unless awaited"]
pub struct Cancelled(Wait);

impl Cancelled {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self(Wait::new(node))
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
#[must_use = "futures do nothing unless awaited"]
pub struct Join<'s> {
    node: Arc<Node>,
    ticket: Option<Ticket>,
    scope: PhantomData<&'s Scope>,
}

impl Join<'_> {
    pub(crate) fn new(scope: &Scope) -> Join<'_> {
        Join { node: Arc::clone(scope.ctx().node()), ticket: None, scope: PhantomData }
    }
}

impl Future for Join<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match this.node.wait(For::Empty, &mut this.ticket, cx.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

impl Drop for Join<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.node.unwait(For::Empty, ticket);
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
        Cancelled::new(Arc::clone(self.node()))
    }
}
