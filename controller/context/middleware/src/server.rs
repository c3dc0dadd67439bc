//! One context for each request.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, Version};
use http_body::Body;
use pando_context::{Ctx, Kind, Run, Scope};
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower::{Layer, Service};

use crate::body::{ContextBody, client_gone};
use crate::deadline::Malformed;
use crate::protocol::{Http, Protocol};
use crate::trace::TraceParent;

/// The kind of a request's context.
pub const REQUEST: Kind = Kind::new("request");

/// A name longer than this many characters is cut: it comes from outside.
const NAME: usize = 120;

type Name = Arc<dyn Fn(&Parts) -> String + Send + Sync>;

/// Gives each request of a server a context of its own. See the crate's documentation for what that means.
pub struct ContextLayer<P = Http> {
    settings: Settings,
    protocol: PhantomData<fn() -> P>,
}

#[derive(Clone)]
struct Settings {
    parent: Ctx,
    name: Option<Name>,
    most: Option<Duration>,
    /// The caller's bound is shortened by one part in so many.
    reserve: Option<u32>,
}

impl ContextLayer<Http> {
    /// For HTTP servers: contexts of requests are children of `parent`.
    pub fn new(parent: &Ctx) -> Self {
        Self::of(parent)
    }
}

impl<P: Protocol> ContextLayer<P> {
    pub(crate) fn of(parent: &Ctx) -> Self {
        let settings = Settings { parent: parent.clone(), name: None, most: None, reserve: None };
        Self { settings, protocol: PhantomData }
    }

    /// Names the contexts of requests. Without this an HTTP request is called by method and path, without the query
    /// (`request/GET /users/7`), and a gRPC request by its path.
    #[must_use]
    pub fn named(mut self, name: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.settings.name = Some(Arc::new(name));
        self
    }

    /// The longest time that any request gets, also one whose caller did not say how long it will wait.
    #[must_use]
    pub fn at_most(mut self, time: Duration) -> Self {
        self.settings.most = Some(time);
        self
    }

    /// Uses only nine tenths of the time that the caller gives. For callers that treat silence worse than a refusal: an
    /// API server whose admission webhook does not answer in time tells its user no more than that, and the answer
    /// itself takes time on the way back.
    #[must_use]
    pub fn answering_early(mut self) -> Self {
        self.settings.reserve = Some(10);
        self
    }
}

impl<P> Clone for ContextLayer<P> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone(), protocol: PhantomData }
    }
}

impl<P> fmt::Debug for ContextLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextLayer").field("parent", &self.settings.parent).finish_non_exhaustive()
    }
}

impl<P, S> Layer<S> for ContextLayer<P> {
    type Service = ContextService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ContextService { inner, layer: self.clone() }
    }
}

/// A service whose requests have contexts. Made by [`ContextLayer`].
pub struct ContextService<S, P = Http> {
    inner: S,
    layer: ContextLayer<P>,
}

impl<S: Clone, P> Clone for ContextService<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for ContextService<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextService").field("inner", &self.inner).field("layer", &self.layer).finish()
    }
}

impl<S, P, A, B> Service<Request<A>> for ContextService<S, P>
where
    P: Protocol,
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ContextBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request<A>, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let version = head.version;
        let scope = match P::asked(&head) {
            Ok(asked) => self.layer.settings.scope::<P>(&head, asked),
            Err(error) => return ResponseFuture::refused(version, error),
        };
        head.extensions.insert(scope.ctx().clone());
        // The one that was asked for its readiness is the one that is called.
        let fresh = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, fresh);
        // Called in the first poll, so that `call` of a layer below sees the context, too.
        let run = scope.ctx().run(Oneshot::new(ready, Request::from_parts(head, body)));
        ResponseFuture { run: Some(run), scope: Some(scope), refused: None, version, protocol: PhantomData }
    }
}

impl Settings {
    fn scope<P: Protocol>(&self, head: &Parts, asked: Option<Duration>) -> Scope {
        let name = self.name.as_ref().map_or_else(|| P::name(head), |name| name(head));
        let name = match name.char_indices().nth(NAME) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name,
        };
        let asked = asked.map(|time| self.reserve.map_or(time, |part| time - time / part));
        let child = self.parent.derive(&REQUEST).named(name);
        let child = match TraceParent::of(&head.headers) {
            Some(parent) => child.trace(parent.trace()).value(parent),
            None => child.new_trace(),
        };
        match [asked, self.most].into_iter().flatten().min() {
            Some(time) => child.timeout(time).scope(),
            None => child.scope(),
        }
    }
}

pin_project! {
    /// The answer to come. Dropped before it is there, it cancels the request's context: the client is gone.
    #[must_use = "futures do nothing unless awaited"]
    pub struct ResponseFuture<S, R, P = Http>
    where
        S: Service<R>,
    {
        #[pin]
        run: Option<Run<Oneshot<S, R>>>,
        scope: Option<Scope>,
        refused: Option<Malformed>,
        version: Version,
        protocol: PhantomData<fn() -> P>,
    }

    impl<S, R, P> PinnedDrop for ResponseFuture<S, R, P>
    where
        S: Service<R>,
    {
        fn drop(this: Pin<&mut Self>) {
            // Before the handler is dropped: its destructors and its tasks learn the reason.
            if let Some(scope) = this.project().scope {
                scope.cancel(client_gone());
            }
        }
    }
}

impl<S: Service<R>, R, P> ResponseFuture<S, R, P> {
    fn refused(version: Version, error: Malformed) -> Self {
        Self { run: None, scope: None, refused: Some(error), version, protocol: PhantomData }
    }
}

impl<S, R, P, B> Future for ResponseFuture<S, R, P>
where
    P: Protocol,
    S: Service<R, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<ContextBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(error) = this.refused.take() {
            return Poll::Ready(Ok(P::malformed(&error).map(ContextBody::text)));
        }
        let Some(run) = this.run.as_mut().as_pin_mut() else {
            return Poll::Pending; // polled after its end
        };
        let ended = ready!(run.poll(cx));
        this.run.set(None);
        let scope = this.scope.take();
        Poll::Ready(match (ended, scope) {
            (Ok(Ok(answer)), Some(scope)) => Ok(answer.map(|body| ContextBody::new(scope, body, P::trailers))),
            (Ok(Err(error)), _) => Err(error),
            (Err(stop), _) => Ok(P::stopped(*this.version, &stop).map(ContextBody::text)),
            (Ok(Ok(_)), None) => return Poll::Pending, // not reached: the scope leaves with the run
        })
    }
}
