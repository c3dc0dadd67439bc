//! Bodies: as they come, or made worse.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use serde_json::json;

use super::record::Flight;

/// Whatever goes wrong on the way.
pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;
/// Any body.
pub(super) type Body = UnsyncBoxBody<Bytes, Error>;

/// Items in one page of a list that has endlessly many.
const PAGE: usize = 100;
/// Bytes of one piece of a list that does not end.
const PIECE: usize = 64 * 1024;

/// A whole body at once.
pub(super) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// As it comes.
pub(super) fn passed<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Error>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// The first `left` bytes, then an orderly end.
pub(super) fn truncated(body: Body, left: usize) -> Body {
    streamed(stream::unfold((data(body), left), |(mut data, left)| async move {
        if left == 0 {
            return None;
        }
        let piece = data.next().await?;
        let piece = piece.map(|mut piece| piece.split_to(piece.len().min(left)));
        let taken = piece.as_ref().map_or(left, Bytes::len);
        Some((piece, (data, left - taken)))
    }))
}

/// One byte a second.
pub(super) fn trickled(body: Body) -> Body {
    streamed(stream::unfold((data(body), Bytes::new()), |(mut data, mut rest)| async move {
        while rest.is_empty() {
            match data.next().await? {
                Ok(piece) => rest = piece,
                Err(error) => return Some((Err(error), (data, rest))),
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let one = rest.split_to(1);
        Some((Ok(one), (data, rest)))
    }))
}

/// As it comes, for `life`; then an orderly end.
pub(super) fn closed_after(body: Body, life: Duration) -> Body {
    let end = tokio::time::sleep(life);
    streamed(data(body).take_until(Box::pin(end)))
}

/// A list that goes on for as long as somebody reads.
pub(super) fn endless() -> Body {
    let head = Bytes::from(r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":["#);
    let item = format!("{},", item(0));
    let piece = Bytes::from(item.repeat(PIECE / item.len()));
    streamed(stream::iter([head]).chain(stream::repeat(piece)).map(Ok))
}

/// One page of a list that has endlessly many. `number` grows, so that no two items share a name.
pub(super) fn page(number: usize) -> Body {
    let items: Vec<_> = (number * PAGE..(number + 1) * PAGE).map(item).collect();
    let metadata = json!({ "resourceVersion": "1", "continue": format!("page-{number}") });
    let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items });
    full(list.to_string())
}

fn item(number: usize) -> serde_json::Value {
    json!({ "metadata": {
        "name": format!("endless-{number}"), "namespace": "default", "uid": format!("endless-{number}"),
        "resourceVersion": "1", "labels": { "karmada.io/managed": "true" },
    }})
}

fn data(body: Body) -> Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>> {
    let frames = BodyStream::new(body);
    Box::pin(frames.filter_map(|frame| async move { frame.map(|frame| frame.into_data().ok()).transpose() }))
}

fn streamed(data: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> Body {
    StreamBody::new(data.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// A body whose end is the end of its request.
pub(super) struct Tracked {
    body: Body,
    flight: Option<Flight>,
}

impl Tracked {
    pub(super) fn new(body: Body, flight: Flight) -> Self {
        Self { body, flight: Some(flight) }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.flight = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(std::io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
