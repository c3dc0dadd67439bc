//! What goes around every request and its answer: the call's two parents, deadlines, sizes, and what is reported of it.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use kube::client::Body;
use pando_context::{Ctx, Instant, Kind, Stop, TraceId};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use super::call::{Call, End};
use super::error::{RequestError, Sent};
use super::pacing::Pacing;
use super::request::{Exchange, Target, Targets, Verb};
use super::{Alert, Bounds, Limits, Observer};
use crate::failpoint;

const CONNECT: Kind = Kind::new("connect");
/// A watch that has not begun yet.
const BEGIN: Kind = Kind::new("begin");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// An answer that says "later" is small.
const STATUS_BYTES: u64 = 64 << 10;

/// The body of an answer.
pub type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// An exchange under way.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

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
    fn failed(&self, verb: Verb, error: &(dyn std::error::Error + 'static)) {
        let Some(alert) = &self.alert else { return };
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

/// Whether it can be seen that a request is given to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// Our own transport says so.
    Seen,
    /// Nobody says: from the moment on in which it is handed over, it may have been.
    Unseen,
}

impl Wire {
    fn follow(self, request: &mut Request<Body>) -> Progress {
        Progress((self == Self::Seen).then(|| capture_connection(request)))
    }
}

/// How far a request came.
struct Progress(Option<CaptureConnection>);

impl Progress {
    fn sent(&self) -> Sent {
        match &self.0 {
            Some(connection) if connection.connection_metadata().is_none() => Sent::NotSent,
            _ => Sent::InFlight,
        }
    }
}

/// The way of every request to one API server.
#[derive(Clone)]
pub(super) struct Guard {
    ctx: Ctx,
    limits: Limits,
    reports: Reports,
    wire: Wire,
    pacing: Pacing,
    targets: Targets,
    inner: BoxCloneSyncService<Request<Body>, Response<Answer>, BoxError>,
}

impl Guard {
    /// `ctx` is the receiving side of every call.
    pub(super) fn new(
        ctx: Ctx,
        limits: Limits,
        reports: Reports,
        wire: Wire,
        inner: BoxCloneSyncService<Request<Body>, Response<Answer>, BoxError>,
    ) -> Self {
        Self { ctx, limits, reports, wire, pacing: Pacing::default(), targets: Targets::default(), inner }
    }

    pub(super) fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Sends a request on behalf of `caller`, or else of the context that polls first. `bounds` replace the limits of its
    /// kind.
    pub(super) fn carry(self, caller: Option<Ctx>, bounds: Option<Bounds>, request: Request<Body>) -> Answering {
        Box::pin(async move { self.exchange(caller.or_else(Ctx::current), bounds, request).await })
    }

    async fn exchange(
        self,
        caller: Option<Ctx>,
        bounds: Option<Bounds>,
        mut request: Request<Body>,
    ) -> Result<Response<Answer>, BoxError> {
        let target = self.targets.of(request.method(), request.uri());
        let usual = || Bounds { within: self.limits.within(target.verb), bytes: self.limits.answer_bytes };
        let Bounds { within, bytes } = bounds.unwrap_or_else(usual);
        let call = Call::begin(&self.ctx, caller, target, within);
        call.check()?;
        let watched = (call.target().verb == Verb::Watch).then(|| request.uri().path().to_owned());
        if let Some(pause) = watched.as_deref().and_then(|path| self.pacing.pause(path, Instant::now())) {
            let paused = call.run(call.ctx().sleep(pause)).await.flatten();
            paused.map_err(|stop| call.ended(stop, Sent::NotSent))?;
        }
        if let Some(trace) = traceparent(call.ctx().trace_id()) {
            request.headers_mut().entry(TRACEPARENT).or_insert(trace);
        }
        let progress = self.wire.follow(&mut request);
        let began = Instant::now();
        let Target { verb, resource, .. } = call.target();
        failpoint::sending(*verb, resource);
        let answering = self.inner.clone().oneshot(request);
        let answer = match &watched {
            Some(_) => call.run(call.ctx().timeout(&BEGIN, within, answering)).await.flatten(),
            None => call.run(answering).await,
        };
        let is_open = matches!(&answer, Ok(Ok(answer)) if answer.status().is_success());
        if let Some(path) = watched.filter(|_| !is_open) {
            self.pacing.failed(&path);
        }
        if matches!(answer, Ok(Ok(_))) {
            failpoint::answered(*verb, resource);
        }
        if let Some(observer) = &self.reports.observer {
            let status = answer.as_ref().ok().and_then(|answer| answer.as_ref().ok());
            let status = status.map(|answer| answer.status().as_u16());
            observer(&Exchange { verb: *verb, resource, status, duration: began.elapsed() });
        }
        match answer {
            Ok(Ok(answer)) => Ok(self.bounded(call, answer, bytes).await),
            Ok(Err(error)) => Err(match call.stop() {
                Some(stop) => call.ended(stop, progress.sent()).into(),
                None => {
                    self.reports.failed(*verb, error.as_ref());
                    error
                }
            }),
            Err(stop) => Err(call.ended(stop, progress.sent()).into()),
        }
    }

    /// The answer, whose body belongs to the call.
    async fn bounded(&self, call: Call, answer: Response<Answer>, bytes: u64) -> Response<Answer> {
        let later = retry_after(&answer);
        let limits = Limits { answer_bytes: later.map_or(bytes, |_| bytes.min(STATUS_BYTES)), ..self.limits };
        let reports = self.reports.clone();
        let answer = answer.map(|body| GuardedBody::new(body, call, limits, reports).boxed_unsync());
        match later {
            Some(seconds) => busy(answer, seconds).await,
            None => answer,
        }
    }
}

/// The call in the W3C's trace context, level 1. Its parent is a number of ours: we keep no spans, so that nobody is told to
/// sample.
fn traceparent(trace: TraceId) -> Option<HeaderValue> {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    (trace.as_u128() != 0 && call != 0)
        .then(|| HeaderValue::try_from(format!("00-{trace}-{call:016x}-00")).ok())
        .flatten()
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

/// A body that must be complete in time, or (a watch) must not fall silent, that must not grow too large, and that ends when
/// its call does. With its end, of whatever kind, the call is over.
struct GuardedBody(Option<Reading>);

struct Reading {
    /// Before the call: what is read is gone before the call is.
    inner: Answer,
    end: End,
    /// When a watch has been silent for too long.
    alarm: Option<Alarm>,
    limits: Limits,
    reports: Reports,
    /// When the last event of a watch was complete: one that trickles in is no sign of life.
    heard: Instant,
    /// Bytes that may still come; for a watch, before the end of the line.
    room: u64,
    call: Call,
}

type Alarm = Pin<Box<dyn Future<Output = Result<(), Stop>> + Send>>;

impl GuardedBody {
    fn new(inner: Answer, call: Call, limits: Limits, reports: Reports) -> Self {
        let is_watch = call.target().verb == Verb::Watch;
        let alarm = is_watch.then(|| alarm(call.ctx().clone(), limits.watch_silence));
        let (heard, room) = (Instant::now(), limits.answer_bytes);
        Self(Some(Reading { inner, end: call.end(), alarm, limits, reports, heard, room, call }))
    }
}

impl Reading {
    /// Ready with the reason to give up, if there is one.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<RequestError> {
        if let Poll::Ready(stop) = self.end.poll(cx) {
            return Poll::Ready(self.call.ended(stop, Sent::InFlight));
        }
        while let Some(alarm) = &mut self.alarm {
            if let Err(stop) = ready!(alarm.as_mut().poll(cx)) {
                return Poll::Ready(self.call.ended(stop, Sent::InFlight));
            }
            // Set once per silence and not once per event: events are many.
            let silence = self.limits.watch_silence;
            let left = silence.saturating_sub(self.heard.elapsed());
            if left.is_zero() {
                return Poll::Ready(RequestError::Silent { resource: self.call.target().resource.clone(), silence });
            }
            self.alarm = Some(self::alarm(self.call.ctx().clone(), left));
        }
        Poll::Pending
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Asked on every turn, or a body that always has a little more would never be looked at the clock.
        if let Poll::Ready(error) = self.poll_end(cx) {
            return Poll::Ready(Some(Err(error.into())));
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let counted = frame.data_ref().map_or(Ok(()), |data| self.count(data));
                Poll::Ready(Some(counted.map(|()| frame).map_err(Into::into)))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(match self.call.stop() {
                Some(stop) => self.call.ended(stop, Sent::InFlight).into(),
                None => {
                    self.reports.failed(self.call.target().verb, error.as_ref());
                    error
                }
            }))),
            None => Poll::Ready(None),
        }
    }

    /// Counts the data; fails when it is too much.
    fn count(&mut self, data: &Bytes) -> Result<(), RequestError> {
        let limit = self.limits.answer_bytes;
        let Target { verb, resource, .. } = self.call.target();
        let mut since = data.remaining() as u64;
        if *verb == Verb::Watch
            && let Some(end) = data.iter().rposition(|byte| *byte == b'\n')
        {
            self.heard = Instant::now();
            self.room = limit;
            since = (data.remaining() - end - 1) as u64;
        }
        let left = self.room.checked_sub(since);
        self.room = left.ok_or_else(|| RequestError::TooLarge { verb: *verb, resource: resource.clone(), limit })?;
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
        let Some(reading) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(reading.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|reading| reading.inner.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.as_ref().map_or_else(|| http_body::SizeHint::with_exact(0), |reading| reading.inner.size_hint())
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
                Err(stop) if ctx.is_cancelled() => Err(RequestError::Closed { stop, sent: Sent::NotSent }.into()),
                Err(_) => Err(RequestError::Connect { endpoint: name, within }.into()),
            }
        })
    }
}
