//! The layer around a service of tonic's, over HTTP/2 on a real socket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use futures::future::{Either, select};
use futures::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use pando_context::{Ctx, Kind, Reason, ReasonKind};
use pando_context_middleware::{ContextLayer, request_ctx};
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc as Server, ServerStreamingService, UnaryService};
use tonic::{Code, Request, Response, Status};
use tower::{Layer as _, Service};

use crate::server::{DEADLINES, Testimony, Version, Witness, connect, serve, until};

const GRACE: Duration = Duration::from_secs(5);

/// `message Text { string text = 1; }`, without its tag: what the frames of gRPC carry is none of the layer's business.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

/// A service by hand, as a generator would write it: `Say` echoes what it is sent, or waits for ever if that is
/// `wait`; `Repeat` streams it twice and then waits for ever.
#[derive(Clone)]
struct Echo(Witness);

impl UnaryService<String> for Echo {
    type Response = String;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Status>> + Send>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let witness = self.0.clone();
        Box::pin(async move {
            let ctx = request_ctx(&request)?;
            let _watched = witness.of(&ctx);
            if request.get_ref() == "wait" {
                std::future::pending::<()>().await;
            }
            let left = ctx.remaining().map(|left| left.as_secs_f64().ceil());
            Ok(Response::new(format!("{} to {} with {left:?}", request.get_ref(), ctx.label())))
        })
    }
}

impl ServerStreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let witness = self.0.clone();
        Box::pin(async move {
            let watched = witness.of(&request_ctx(&request)?);
            let text = request.into_inner();
            let twice = stream::iter([Ok(text.clone()), Ok(text)]);
            let forever = stream::once(async move {
                let _watched = watched;
                std::future::pending().await
            });
            Ok(Response::new(Box::pin(twice.chain(forever)) as Self::ResponseStream))
        })
    }
}

impl Service<http::Request<Incoming>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/test.Echo/Say" => Server::new(Text).unary(service, request).await,
                "/test.Echo/Repeat" => Server::new(Text).server_streaming(service, request).await,
                path => Status::unimplemented(path.to_owned()).into_http(),
            })
        })
    }
}

/// What tonic calls a channel, over one connection.
#[derive(Clone)]
struct Channel(hyper::client::conn::http2::SendRequest<tonic::body::Body>);

impl Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

struct Rig {
    client: Client<Channel>,
    witness: Witness,
    testimony: Testimony,
}

impl Rig {
    /// Work belongs to `handling`, sockets to `ctx`.
    async fn new(ctx: &Ctx, handling: &Ctx) -> Self {
        let (witness, testimony) = Witness::new();
        let address = serve(ctx, Version::Http2, ContextLayer::grpc(handling).layer(Echo(witness.clone()))).await;
        Self { client: client(ctx, address).await, witness, testimony }
    }

    async fn say(&mut self, request: Request<String>) -> Result<String, Status> {
        self.client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let path = PathAndQuery::from_static("/test.Echo/Say");
        self.client.unary(request, path, Text).await.map(Response::into_inner)
    }

    async fn why(&mut self) -> Option<ReasonKind> {
        self.testimony.recv().await.unwrap().map(|(kind, _)| kind)
    }
}

async fn client(ctx: &Ctx, address: SocketAddr) -> Client<Channel> {
    let origin = format!("http://{address}").parse().unwrap();
    Client::with_origin(Channel(connect(ctx, address).await), origin)
}

fn request(text: &str, timeout: Option<&str>) -> Request<String> {
    let mut request = Request::new(text.to_owned());
    if let Some(timeout) = timeout {
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
    }
    request
}

#[pando_context::test]
async fn a_call_has_the_deadline_of_its_caller_in_any_unit(ctx: Ctx) {
    let mut rig = Rig::new(&ctx, &ctx).await;
    // Nanoseconds reach no further than 0.1 s, which a busy machine may need: `deadline.rs` tests them.
    let units = [("1H", 3600), ("2M", 120), ("300S", 300), ("400000m", 400), ("50000000u", 50)];
    for (timeout, seconds) in units {
        let said = rig.say(request("hello", Some(timeout))).await.unwrap();
        assert_eq!(said, format!("hello to request/test.Echo/Say with Some({seconds}.0)"));
        assert_eq!(rig.why().await, None, "nobody stopped it");
    }
    assert_eq!(rig.say(request("hi", None)).await.unwrap(), "hi to request/test.Echo/Say with None");
}

#[pando_context::test]
async fn a_deadline_that_passes_is_called_by_its_name(ctx: Ctx) {
    let mut rig = Rig::new(&ctx, &ctx).await;
    for deadline in DEADLINES {
        let timeout = format!("{}m", deadline.as_millis());
        let status = rig.say(request("wait", Some(&timeout))).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(status.message(), "stopped: deadline at request/test.Echo/Say: its deadline passed");
        if rig.witness.begun() > 0 {
            break;
        }
    }
    assert_eq!(rig.why().await, Some(ReasonKind::Deadline));
    // The connection is as good as before.
    assert!(rig.say(request("hello", None)).await.is_ok());
}

#[pando_context::test]
async fn a_timeout_that_cannot_be_read_is_the_callers_error(ctx: Ctx) {
    let mut rig = Rig::new(&ctx, &ctx).await;
    let status = rig.say(request("hello", Some("1s"))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("the header grpc-timeout \"1s\" is not a duration"), "{status}");
}

#[pando_context::test]
async fn a_caller_that_gives_up_ends_the_work(ctx: Ctx) {
    let handling = ctx.child(&Kind::new("handling"));
    let mut rig = Rig::new(&ctx, handling.ctx()).await;
    let witness = rig.witness.clone();
    let begun = {
        let (calling, begins) = (rig.say(request("wait", None)), until(&ctx, || witness.begun() == 1));
        matches!(select(Box::pin(begins), Box::pin(calling)).await, Either::Left(_))
    };
    assert!(begun);
    assert_eq!(rig.why().await, Some(ReasonKind::ClientGone));
    handling.join().await.unwrap();
}

#[pando_context::test]
async fn a_server_that_stops_is_unavailable(ctx: Ctx) {
    let handling = ctx.child_named(&Kind::new("handling"), "echo");
    let mut rig = Rig::new(&ctx, handling.ctx()).await;
    let witness = rig.witness.clone();
    let mut calling = Box::pin(rig.say(request("wait", None)));
    let begun = Box::pin(until(&ctx, || witness.begun() == 1));
    assert!(matches!(select(begun, &mut calling).await, Either::Left(_)));
    handling.stop(Reason::shutdown("an upgrade"), GRACE).await.unwrap();
    let status = calling.await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "stopped: shutdown at handling/echo: an upgrade")
    );
    assert_eq!(rig.why().await, Some(ReasonKind::Shutdown));
    // Nothing is begun any more.
    assert_eq!(rig.say(request("hello", None)).await.unwrap_err().code(), Code::Unavailable);
    assert!(rig.testimony.try_recv().is_err());
}

#[pando_context::test]
async fn a_stream_that_is_cut_off_ends_with_a_status(ctx: Ctx) {
    let handling = ctx.child(&Kind::new("handling"));
    let mut rig = Rig::new(&ctx, handling.ctx()).await;
    rig.client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Echo/Repeat");
    let answer = rig.client.server_streaming(request("again", None), path, Text).await.unwrap();
    let mut messages = answer.into_inner();
    for _ in 0..2 {
        assert_eq!(messages.message().await.unwrap().as_deref(), Some("again"));
    }
    handling.stop(Reason::detached("the source of this stream"), GRACE).await.unwrap();
    let status = messages.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "stopped: detached at handling: the source of this stream");
    assert_eq!(rig.why().await, Some(ReasonKind::Detached));
}

#[pando_context::test]
async fn a_stream_that_nobody_reads_ends(ctx: Ctx) {
    let handling = ctx.child(&Kind::new("handling"));
    let mut rig = Rig::new(&ctx, handling.ctx()).await;
    rig.client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/test.Echo/Repeat");
    let answer = rig.client.server_streaming(request("again", None), path, Text).await.unwrap();
    drop(answer);
    assert_eq!(rig.why().await, Some(ReasonKind::ClientGone));
    handling.join().await.unwrap();
}
