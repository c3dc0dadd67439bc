//! Deadlines and size limits around a request and its answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use pando_context::{Ctx, Instant, Kind, Stop};
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceExt};

use super::pacing::Pacing;
use super::request::{Exchange, Target, Verb};
use super::{Alert, Limits, Observer};
use crate::failpoint;

const REQUEST: Kind = Kind::new("request");
const CONNECT: Kind = Kind::new("connect");
/// An answer that says "later" is small.
const STATUS_BYTES: u64 = 64 << 10;

/// The body of an answer.
pub(super) type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// Why a request of ours was given up here, not by the server. Found in kube's error with
/// [`RequestError::of`].
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No complete answer within the deadline. A mutating request may have been carried out all the
    /// same.
    #[error("{verb} {resource}: no complete answer within {within:?}")]
    Deadline {
        /// What was asked.
        verb: Verb,
        /// Of which resource.
        resource: String,
        /// The deadline that applied.
        within: Duration,
    },
    /// A watch said nothing for too long.
    #[error("watch {resource}: silent for {silence:?}, the connection is taken to be dead")]
    Silent {
        /// Of which resource.
        resource: String,
        /// For how long.
        silence: Duration,
    },
    /// The answer is larger than allowed.
    #[error("{verb} {resource}: the answer has more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        verb: Verb,
        /// Of which resource.
        resource: String,
        /// The limit that applied.
        limit: u64,
    },
    /// No connection within the deadline.
    #[error("no connection to {endpoint} within {within:?}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// The deadline that applied.
        within: Duration,
    },
    /// The context in which the client lives has ended.
    #[error("the client was closed: {0}")]
    Closed(#[source] Stop),
}

impl RequestError {
    /// Finds this error in what kube made of it.
    pub fn of(error: &kube::Error) -> Option<&Self> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            // An `io::Error` made of an error shows that one's source as its own, and skips the
            // error itself.
            let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            cause = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
        }
        None
    }
}

/// What a connection shows by itself about the server, whatever was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A PING was not answered: nobody is there.
    PingLost,
    /// A watch or list could not be started or broke off.
    WatchBroken,
}

/// Who is told what.
#[derive(Clone, Default)]
pub(super) struct Reports {
    pub(super) observer: Option<Observer>,
    pub(super) alert: Option<Alert>,
}

impl Reports {
    /// Reports a connection that failed.
    fn failed(&self, ctx: &Ctx, verb: Verb, error: &(dyn std::error::Error + 'static)) {
        let Some(alert) = self.alert.as_ref().filter(|_| !ctx.is_cancelled()) else { return };
        if is_ping_lost(error) {
            alert(Trouble::PingLost);
        } else if matches!(verb, Verb::Watch | Verb::List) {
            alert(Trouble::WatchBroken);
        }
    }
}

/// hyper's name for a connection whose PING was not answered; it uses the word for no other failure of a client.
fn is_ping_lost(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Bounds everything inside it by [`Limits`], and reports how it went.
#[derive(Clone)]
pub(super) struct Guard {
    ctx: Ctx,
    limits: Limits,
    reports: Reports,
    pacing: Pacing,
    inner: BoxCloneService<Request<Body>, Response<Answer>, BoxError>,
}

impl Guard {
    pub(super) fn new(
        ctx: Ctx,
        limits: Limits,
        reports: Reports,
        inner: BoxCloneService<Request<Body>, Response<Answer>, BoxError>,
    ) -> Self {
        Self { ctx, limits, reports, pacing: Pacing::default(), inner }
    }
}

impl Service<Request<Body>> for Guard {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(())) // the inner service is made ready in the call, within its deadline
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let target = Target::of(request.method(), request.uri().path(), request.uri().query());
        let Self { ctx, limits, reports, pacing, inner } = self.clone();
        Box::pin(async move {
            let watched = (target.verb == Verb::Watch).then(|| request.uri().path().to_owned());
            if let Some(path) = &watched
                && let Some(pause) = pacing.pause(path, Instant::now())
                && let Err(stop) = ctx.sleep(pause).await
            {
                return Err(RequestError::Closed(stop).into());
            }
            let began = Instant::now();
            let within = limits.within(target.verb);
            failpoint::sending(target.verb, &target.resource);
            let answer = ctx.timeout(&REQUEST, within, inner.oneshot(request)).await;
            let is_open = matches!(&answer, Ok(Ok(answer)) if answer.status().is_success());
            if let Some(path) = watched.filter(|_| !is_open) {
                pacing.failed(&path);
            }
            if matches!(answer, Ok(Ok(_))) {
                failpoint::answered(target.verb, &target.resource);
            }
            if let Some(observer) = &reports.observer {
                let status =
                    answer.as_ref().ok().and_then(|answer| answer.as_ref().ok()).map(|answer| answer.status().as_u16());
                observer(&Exchange {
                    verb: target.verb,
                    resource: &target.resource,
                    status,
                    duration: began.elapsed(),
                });
            }
            let answer = match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    reports.failed(&ctx, target.verb, error.as_ref());
                    return Err(error);
                }
                Err(stop) => return Err(Box::new(ended(&ctx, stop, &target, within)) as BoxError),
            };
            let left = within.saturating_sub(began.elapsed());
            let later = retry_after(&answer);
            let limits = Limits { answer_bytes: later.map_or(limits.answer_bytes, |_| STATUS_BYTES), ..limits };
            let answer = answer.map(|body| GuardedBody::new(body, ctx, target, limits, left, reports).boxed_unsync());
            match later {
                Some(seconds) => Ok(busy(answer, seconds).await),
                None => Ok(answer),
            }
        })
    }
}

impl Limits {
    fn within(&self, verb: Verb) -> Duration {
        match verb {
            Verb::Get | Verb::Watch => self.read,
            Verb::List | Verb::DeleteCollection => self.list,
            Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => self.mutate,
        }
    }
}

/// A stop of the call is its deadline, unless the client's own context has ended.
fn ended(ctx: &Ctx, stop: Stop, target: &Target, within: Duration) -> RequestError {
    if ctx.is_cancelled() {
        return RequestError::Closed(stop);
    }
    RequestError::Deadline { verb: target.verb, resource: target.resource.clone(), within }
}

/// Erases the type of a body.
pub(super) fn boxed<B>(answer: Response<B>) -> Response<Answer>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    answer.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// The seconds to wait, where the server says "later" and when.
fn retry_after<B>(answer: &Response<B>) -> Option<u32> {
    let later = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let seconds = answer.headers().get(header::RETRY_AFTER).filter(|_| later)?;
    seconds.to_str().ok()?.trim().parse().ok()
}

/// Puts the seconds where kube's callers find them: into `details.retryAfterSeconds` of the status
/// object.
async fn busy(answer: Response<Answer>, seconds: u32) -> Response<Answer> {
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut status = match serde_json::from_slice(&body) {
        Ok(status @ serde_json::Value::Object(_)) => status,
        _ => serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": parts.status.as_u16(),
            "reason": if parts.status == StatusCode::TOO_MANY_REQUESTS { "TooManyRequests" } else { "ServiceUnavailable" },
            "message": String::from_utf8_lossy(&body).trim(),
        }),
    };
    if !status["details"].is_object() {
        status["details"] = serde_json::json!({});
    }
    if status["details"]["retryAfterSeconds"].as_u64().unwrap_or_default() == 0 {
        status["details"]["retryAfterSeconds"] = seconds.into();
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {});
    Response::from_parts(parts, body.boxed_unsync())
}

/// A body that must be complete in time, or (a watch) must not fall silent, and must not grow too
/// large.
struct GuardedBody {
    inner: Answer,
    ctx: Ctx,
    target: Target,
    limits: Limits,
    reports: Reports,
    alarm: Alarm,
    /// When the last event of a watch was complete: one that trickles in is no sign of life.
    heard: Instant,
    /// Bytes that may still come; for a watch, before the end of the line.
    room: u64,
}

type Alarm = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send>>;

impl GuardedBody {
    fn new(inner: Answer, ctx: Ctx, target: Target, limits: Limits, left: Duration, reports: Reports) -> Self {
        let after = if target.verb == Verb::Watch { limits.watch_silence } else { left };
        let alarm = alarm(ctx.clone(), after);
        Self { inner, ctx, target, limits, reports, alarm, heard: Instant::now(), room: limits.answer_bytes }
    }

    /// Ready with the reason to give up, if there is one.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<RequestError> {
        let watch = self.target.verb == Verb::Watch;
        loop {
            if let Err(stop) = ready!(self.alarm.as_mut().poll(cx)) {
                return Poll::Ready(RequestError::Closed(stop));
            }
            if !watch {
                let within = self.limits.within(self.target.verb);
                return Poll::Ready(RequestError::Deadline {
                    verb: self.target.verb,
                    resource: self.target.resource.clone(),
                    within,
                });
            }
            // Set once per silence and not once per event: events are many.
            let silence = self.limits.watch_silence;
            let left = silence.saturating_sub(self.heard.elapsed());
            if left.is_zero() {
                return Poll::Ready(RequestError::Silent { resource: self.target.resource.clone(), silence });
            }
            self.alarm = alarm(self.ctx.clone(), left);
        }
    }

    /// Counts the data; fails when it is too much.
    fn count(&mut self, data: &Bytes) -> Result<(), RequestError> {
        let limit = self.limits.answer_bytes;
        let mut since = data.remaining() as u64;
        if self.target.verb == Verb::Watch
            && let Some(end) = data.iter().rposition(|byte| *byte == b'\n')
        {
            self.heard = Instant::now();
            self.room = limit;
            since = (data.remaining() - end - 1) as u64;
        }
        self.room = self.room.checked_sub(since).ok_or_else(|| RequestError::TooLarge {
            verb: self.target.verb,
            resource: self.target.resource.clone(),
            limit,
        })?;
        Ok(())
    }
}

fn alarm(ctx: Ctx, after: Duration) -> Alarm {
    Box::pin(async move { ctx.sleep(after).await })
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Asked on every turn, or a body that always has a little more would never be looked at the clock.
        if let Poll::Ready(error) = self.poll_alarm(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let counted = frame.data_ref().map_or(Ok(()), |data| self.count(data));
                Poll::Ready(Some(counted.map(|()| frame).map_err(Into::into)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.reports.failed(&self.ctx, self.target.verb, error.as_ref());
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

/// Bounds the making of a connection: name lookup, TCP and TLS together.
#[derive(Clone)]
pub(super) struct ConnectDeadline<C> {
    ctx: Ctx,
    within: Duration,
    inner: C,
}

impl<C> ConnectDeadline<C> {
    pub(super) fn new(ctx: Ctx, within: Duration, inner: C) -> Self {
        Self { ctx, within, inner }
    }
}

impl<C> fmt::Debug for ConnectDeadline<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectDeadline").field("within", &self.within).finish_non_exhaustive()
    }
}

impl<C> Service<Uri> for ConnectDeadline<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        let (ctx, within) = (self.ctx.clone(), self.within);
        let name = endpoint.authority().map(ToString::to_string).unwrap_or_default();
        let connecting = self.inner.call(endpoint);
        Box::pin(async move {
            match ctx.timeout(&CONNECT, within, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(stop) if ctx.is_cancelled() => Err(RequestError::Closed(stop).into()),
                Err(_) => Err(RequestError::Connect { endpoint: name, within }.into()),
            }
        })
    }
}
