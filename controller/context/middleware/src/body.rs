//! The body of an answer, in the context of its request.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pando_context::{Bound, Reason, ReasonKind, Scope, Stop};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of an answer. It keeps the request's context until its last byte has been taken, and ends with it.
    ///
    /// Cut off by its context, it fails with a [`Stop`] (plain HTTP: the client sees a broken answer, not a short
    /// one) or ends with trailers that say so (gRPC). Dropped before its end, it cancels the context: the client is gone.
    #[must_use = "a body does nothing unless it is polled"]
    pub struct ContextBody<B> {
        #[pin]
        frames: Option<Bound<Frames<B>>>,
        // A text of ours in place of a body.
        text: Option<Bytes>,
        scope: Option<Scope>,
        // Bytes that are still to come, where that is known.
        left: Option<u64>,
        trailers: fn(&Stop) -> Option<HeaderMap>,
    }

    impl<B> PinnedDrop for ContextBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Who knows the length takes the last byte and not the end.
            if let Some(scope) = this.scope.as_ref().filter(|_| *this.left != Some(0)) {
                scope.cancel(client_gone());
            }
        }
    }
}

/// The reason of a request whose answer nobody waits for any more.
pub(crate) fn client_gone() -> Reason {
    Reason::new(ReasonKind::ClientGone, "the client went away before the answer was complete")
}

impl<B: Body<Data = Bytes>> ContextBody<B> {
    /// A body in the context that the scope owns.
    pub(crate) fn new(scope: Scope, body: B, trailers: fn(&Stop) -> Option<HeaderMap>) -> Self {
        if body.is_end_stream() {
            return Self { frames: None, text: None, scope: None, left: None, trailers };
        }
        let left = body.size_hint().exact();
        let frames = scope.ctx().bind(Frames { body });
        Self { frames: Some(frames), text: None, scope: Some(scope), left, trailers }
    }
}

impl<B> ContextBody<B> {
    /// A text and no context.
    pub(crate) fn text(text: Bytes) -> Self {
        let text = (!text.is_empty()).then_some(text);
        Self { frames: None, text, scope: None, left: None, trailers: |_| None }
    }
}

impl<B> Body for ContextBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        if let Some(text) = this.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let Some(frames) = this.frames.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let piece = ready!(frames.poll_next(cx));
        let answer = match piece {
            Some(Piece::Frame { frame, last: false }) => {
                count(this.left, &frame);
                return Poll::Ready(Some(Ok(frame)));
            }
            Some(Piece::Frame { frame, last: true }) => Some(Ok(frame)),
            Some(Piece::Failed(error)) => Some(Err(error.into())),
            Some(Piece::End) => None,
            // The stream was taken away before it said that it was over.
            None => this.scope.as_ref().and_then(|scope| scope.ctx().check().err()).map(|stop| {
                match (this.trailers)(&stop) {
                    Some(trailers) => Ok(Frame::trailers(trailers)),
                    None => Err(stop.into()),
                }
            }),
        };
        this.frames.set(None);
        *this.scope = None;
        Poll::Ready(answer)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_none() && self.text.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let text = || self.text.as_ref().map_or(0, |text| text.len() as u64);
        match (&self.frames, self.left) {
            (None, _) => SizeHint::with_exact(text()),
            (Some(_), Some(left)) => SizeHint::with_exact(left),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

fn count(left: &mut Option<u64>, frame: &Frame<Bytes>) {
    if let (Some(left), Some(data)) = (left, frame.data_ref()) {
        *left = left.saturating_sub(data.len() as u64);
    }
}

/// What a body gives, with its end as a word of its own: a stream that merely stops was cut off.
enum Piece<E> {
    Frame { frame: Frame<Bytes>, last: bool },
    Failed(E),
    End,
}

pin_project! {
    /// A body as a stream, which is what a context can bind.
    struct Frames<B> {
        #[pin]
        body: B,
    }
}

impl<B: Body<Data = Bytes>> Stream for Frames<B> {
    type Item = Piece<B::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let piece = match ready!(this.body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => Piece::Frame { frame, last: this.body.is_end_stream() },
            Some(Err(error)) => Piece::Failed(error),
            None => Piece::End,
        };
        Poll::Ready(Some(piece))
    }
}
