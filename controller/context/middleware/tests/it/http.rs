//! The layer around axum and hyper, on real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use pando_context::{Ctx, Kind, Reason, ReasonKind};
use pando_context_middleware::{ContextLayer, RequestCtx, TraceParent, matched_path};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::Layer as _;

use crate::server::{DEADLINES, Version, Witness, connect, serve, until};

const GRACE: Duration = Duration::from_secs(5);
const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

/// Sends the head of a request and keeps the connection.
async fn ask(address: SocketAddr, path: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Everything that comes back until the connection ends.
async fn answer(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut text = String::new();
    ask(address, path, headers).await.read_to_string(&mut text).await.unwrap();
    text
}

/// Says where it is and how long it may take, in whole seconds, rounded up.
async fn whoami(RequestCtx(ctx): RequestCtx) -> String {
    let current = Ctx::current().unwrap();
    assert_eq!(current.label(), ctx.label());
    let left = ctx.remaining().map(|left| left.as_secs_f64().ceil());
    let parent = ctx.get::<TraceParent>().map(ToString::to_string);
    format!("{} {left:?} {} {parent:?}", ctx.label(), ctx.trace_id())
}

#[pando_context::test]
async fn a_handler_finds_its_context_in_two_ways(ctx: Ctx) {
    let router = Router::new().route("/who/{name}", get(whoami)).layer(ContextLayer::new(&ctx));
    let address = serve(&ctx, Version::Http1, router).await;
    let text = answer(address, "/who/ann?x=1", "").await;
    assert!(text.contains("\r\n\r\nrequest/GET /who/ann None "), "{text}");
    assert!(text.ends_with(" None"), "{text}");
}

#[pando_context::test]
async fn a_route_can_name_its_requests(ctx: Ctx) {
    let layer = ContextLayer::new(&ctx).named(matched_path);
    let router = Router::new().route("/who/{name}", get(whoami)).route_layer(layer);
    let address = serve(&ctx, Version::Http1, router).await;
    let text = answer(address, "/who/ann", "").await;
    assert!(text.contains("\r\n\r\nrequest/GET /who/{name} None "), "{text}");
}

#[pando_context::test]
async fn a_handler_without_the_layer_says_so(ctx: Ctx) {
    let address = serve(&ctx, Version::Http1, Router::new().route("/", get(whoami))).await;
    let text = answer(address, "/", "").await;
    assert!(text.starts_with("HTTP/1.1 500") && text.contains("add a ContextLayer"), "{text}");
}

#[pando_context::test]
async fn the_deadline_is_what_the_caller_asks_for(ctx: Ctx) {
    let router = || Router::new().route("/", get(whoami));
    let plain = serve(&ctx, Version::Http1, router().layer(ContextLayer::new(&ctx))).await;
    let early = serve(&ctx, Version::Http1, router().layer(ContextLayer::new(&ctx).answering_early())).await;
    let capped = serve(&ctx, Version::Http1, router().layer(ContextLayer::new(&ctx).at_most(GRACE))).await;
    let expected = [
        (plain, "/?timeout=100s", "", "Some(100.0)"),
        (plain, "/", "x-request-timeout: 200\r\n", "Some(200.0)"),
        (plain, "/", "grpc-timeout: 5M\r\n", "Some(300.0)"),
        (plain, "/?timeout=100s", "x-request-timeout: 1h\r\n", "Some(100.0)"),
        (early, "/?timeout=100s", "", "Some(90.0)"),
        (early, "/", "", "None"),
        (capped, "/", "", "Some(5.0)"),
        (capped, "/?timeout=1h", "", "Some(5.0)"),
    ];
    for (address, path, headers, left) in expected {
        let text = answer(address, path, headers).await;
        assert!(text.contains(&format!("request/GET / {left} ")), "{path} {headers}: {text}");
    }
}

#[pando_context::test]
async fn a_bound_that_cannot_be_read_is_the_callers_error(ctx: Ctx) {
    let router = Router::new().route("/", get(whoami)).layer(ContextLayer::new(&ctx));
    let address = serve(&ctx, Version::Http1, router).await;
    let text = answer(address, "/?timeout=soon", "").await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert!(
        text.ends_with("the parameter timeout \"soon\" is not a duration: send one such as 10s or 1m30s\n"),
        "{text}"
    );
}

#[pando_context::test]
async fn the_trace_is_the_callers_or_a_new_one(ctx: Ctx) {
    let router = Router::new().route("/", get(whoami)).layer(ContextLayer::new(&ctx));
    let address = serve(&ctx, Version::Http1, router).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let text = answer(address, "/", &format!("traceparent: {parent}\r\n")).await;
    assert!(text.contains(&format!(" 4bf92f3577b34da6a3ce929d0e0e4736 Some({parent:?})")), "{text}");

    // A header that cannot be read is as good as none, and two requests are two traces.
    let first = answer(address, "/", &format!("traceparent: {}\r\n", parent.to_uppercase())).await;
    let second = answer(address, "/", "").await;
    let trace = |text: &str| text.split(' ').rev().nth(1).unwrap().to_owned();
    assert!(first.ends_with(" None") && !first.contains("4bf92f"), "{first}");
    assert_ne!(trace(&first), trace(&second));
    assert_ne!(trace(&first), ctx.trace_id().to_string());
}

/// A handler that never answers, and a task that it started.
fn never(witness: &Witness) -> Router {
    let witness = witness.clone();
    Router::new().route(
        "/never",
        get(|RequestCtx(ctx): RequestCtx| async move {
            let watched = witness.of(&ctx);
            ctx.spawn(&Kind::new("task"), |ctx| async move {
                let _watched = witness.of(&ctx);
                std::future::pending::<()>().await;
            })
            .detach();
            // Far below, in code that knows nothing of contexts.
            std::future::pending::<()>().await;
            drop(watched);
        }),
    )
}

#[pando_context::test]
async fn work_ends_when_its_client_goes_away(ctx: Ctx) {
    for version in BOTH {
        let (witness, mut testimony) = Witness::new();
        let handling = ctx.child(&Kind::new("handling"));
        let router = never(&witness).layer(ContextLayer::new(handling.ctx()));
        let address = serve(&ctx, version, router).await;

        match version {
            Version::Http1 => {
                let stream = ask(address, "/never", "").await;
                until(&ctx, || witness.begun() == 2).await;
                drop(stream);
            }
            Version::Http2 => {
                let mut client = connect::<Empty<Bytes>>(&ctx, address).await;
                let request = Request::get(format!("http://{address}/never")).body(Empty::new()).unwrap();
                let asked = Box::pin(client.send_request(request));
                let begun = Box::pin(until(&ctx, || witness.begun() == 2));
                // Only this stream is reset; the connection goes on.
                let futures::future::Either::Left(_) = futures::future::select(begun, asked).await else {
                    panic!("there is no answer");
                };
            }
        }
        // The handler and its task, with the one true reason, before anybody stops anything.
        for _ in 0..2 {
            let (kind, text) = testimony.recv().await.unwrap().expect("cancelled before it was dropped");
            assert_eq!(kind, ReasonKind::ClientGone, "{version:?}: {text}");
        }
        handling.join().await.unwrap();
    }
}

#[pando_context::test]
async fn at_the_deadline_the_caller_hears_the_reason(ctx: Ctx) {
    let (witness, mut testimony) = Witness::new();
    let router = never(&witness).layer(ContextLayer::new(&ctx));
    let address = serve(&ctx, Version::Http1, router).await;
    for deadline in DEADLINES {
        let text = answer(address, &format!("/never?timeout={}ms", deadline.as_millis()), "").await;
        assert!(text.starts_with("HTTP/1.1 504"), "{text}");
        assert!(text.ends_with("stopped: deadline at request/GET /never: its deadline passed\n"), "{text}");
        // The handler and its task: each says one thing.
        if witness.begun() >= 2 {
            break;
        }
    }
    assert!(witness.begun() >= 2, "there was time enough to begin");
    // The handler is gone before the answer is sent; its task a moment later.
    assert_eq!(testimony.try_recv().unwrap().unwrap().0, ReasonKind::Deadline);
    assert_eq!(testimony.recv().await.unwrap().unwrap().0, ReasonKind::Deadline);
}

#[pando_context::test]
async fn a_deadline_that_is_past_costs_no_work(ctx: Ctx) {
    async fn work() -> &'static str {
        panic!("nobody waits for this")
    }
    let router: Router = Router::new().route("/", get(work)).layer(ContextLayer::new(&ctx));
    let address = serve(&ctx, Version::Http1, router).await;
    assert!(answer(address, "/?timeout=0s", "").await.starts_with("HTTP/1.1 504"));
}

#[pando_context::test]
async fn while_it_stops_a_server_sends_its_callers_elsewhere(ctx: Ctx) {
    let (witness, mut testimony) = Witness::new();
    let handling = ctx.child_named(&Kind::new("handling"), "webhook");
    let router = never(&witness).route("/", get(whoami)).layer(ContextLayer::new(handling.ctx()));
    // The listener outlives the work, as it does where a load balancer must first be told.
    let address = serve(&ctx, Version::Http1, router).await;
    let mut waiting = ask(address, "/never", "").await;
    until(&ctx, || witness.begun() == 2).await;
    handling.stop(Reason::shutdown("an upgrade"), GRACE).await.unwrap();
    assert_eq!(testimony.recv().await.unwrap().unwrap().0, ReasonKind::Shutdown);

    let mut text = String::new();
    waiting.read_to_string(&mut text).await.unwrap();
    for text in [text, answer(address, "/", "").await] {
        assert!(text.starts_with("HTTP/1.1 503"), "{text}");
        assert!(text.contains("retry-after: 1\r\n") && text.contains("connection: close\r\n"), "{text}");
        assert!(text.ends_with("stopped: shutdown at handling/webhook: an upgrade\n"), "{text}");
    }
}

/// Sends one chunk and then nothing, for ever; the work for it is behind the answer's head.
fn endless(witness: &Witness) -> Router {
    let witness = witness.clone();
    Router::new().route(
        "/stream",
        get(|RequestCtx(ctx): RequestCtx| async move {
            let watched = witness.of(&ctx);
            let chunks = stream::unfold((watched, false), |(watched, sent)| async move {
                if sent {
                    Ctx::current().expect("a body is polled in its context").cancelled().await;
                    std::future::pending::<()>().await;
                }
                Some((Ok::<_, Infallible>(Bytes::from_static(b"first")), (watched, true)))
            });
            Body::from_stream(chunks).into_response()
        }),
    )
}

/// Reads until something has been seen.
async fn read_until(stream: &mut TcpStream, seen: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(seen) {
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "it ended after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

#[pando_context::test]
async fn a_streaming_answer_ends_with_its_client(ctx: Ctx) {
    let (witness, mut testimony) = Witness::new();
    let handling = ctx.child(&Kind::new("handling"));
    let address = serve(&ctx, Version::Http1, endless(&witness).layer(ContextLayer::new(handling.ctx()))).await;
    let mut stream = ask(address, "/stream", "").await;
    read_until(&mut stream, "first").await;
    assert_eq!(handling.ctx().dump().len(), 2, "the body keeps the request in the tree");
    drop(stream);
    assert_eq!(testimony.recv().await.unwrap().unwrap().0, ReasonKind::ClientGone);
    handling.join().await.unwrap();
}

#[pando_context::test]
async fn an_answer_that_was_cut_off_does_not_look_complete(ctx: Ctx) {
    let (witness, mut testimony) = Witness::new();
    let router = endless(&witness).layer(ContextLayer::new(&ctx));
    let address = serve(&ctx, Version::Http1, router.clone()).await;
    for deadline in DEADLINES {
        let text = answer(address, &format!("/stream?timeout={}ms", deadline.as_millis()), "").await;
        if witness.begun() == 0 {
            continue;
        }
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("first"), "{text}");
        assert!(!text.ends_with("0\r\n\r\n"), "the last chunk would make it complete: {text:?}");
        break;
    }
    assert_eq!(testimony.recv().await.unwrap().unwrap().0, ReasonKind::Deadline);

    let address = serve(&ctx, Version::Http2, router).await;
    let mut client = connect::<Empty<Bytes>>(&ctx, address).await;
    for deadline in DEADLINES {
        let uri = format!("http://{address}/stream?timeout={}ms", deadline.as_millis());
        let answer = client.send_request(Request::get(uri).body(Empty::new()).unwrap()).await.unwrap();
        if witness.begun() == 1 {
            continue;
        }
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.into_body().collect().await.is_err(), "the stream was reset");
        break;
    }
    assert_eq!(testimony.recv().await.unwrap().unwrap().0, ReasonKind::Deadline);
}

#[pando_context::test]
async fn a_complete_answer_ends_its_request_without_a_reason_of_the_clients(ctx: Ctx) {
    let (witness, mut testimony) = Witness::new();
    let handling = ctx.child(&Kind::new("handling"));
    let handler = |RequestCtx(ctx): RequestCtx| async move {
        // What the handler leaves behind ends with the request.
        ctx.spawn(&Kind::new("leftover"), |ctx| async move {
            let _watched = witness.of(&ctx);
            std::future::pending::<()>().await;
        })
        .detach();
        tokio::task::yield_now().await;
        "done"
    };
    let router = Router::new().route("/", get(handler)).layer(ContextLayer::new(handling.ctx()));
    let address = serve(&ctx, Version::Http1, router).await;
    let text = answer(address, "/", "").await;
    assert!(text.contains("content-length: 4\r\n") && text.ends_with("done"), "{text}");
    assert_eq!(testimony.recv().await.unwrap().unwrap().0, ReasonKind::OwnerDropped);
    handling.join().await.unwrap();
}

#[pando_context::test]
async fn a_service_below_sees_the_context_when_it_is_called(ctx: Ctx) {
    let service = tower::service_fn(|_: Request<hyper::body::Incoming>| {
        let label = Ctx::current().map(|ctx| ctx.label().to_string());
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(label.unwrap_or_default())))) }
    });
    let address = serve(&ctx, Version::Http1, ContextLayer::new(&ctx).layer(service)).await;
    assert!(answer(address, "/a", "").await.ends_with("request/GET /a"));
    let long = answer(address, &format!("/{}", "x".repeat(4000)), "").await;
    let name = long.rsplit("\r\n").next().unwrap();
    assert_eq!((name.chars().count(), name.chars().last()), ("request/".len() + 121, Some('…')));
}

#[pando_context::test]
async fn stopping_a_server_leaves_no_request_no_stream_and_no_socket(ctx: Ctx) {
    const CLIENTS: usize = 50;
    for version in BOTH {
        let (witness, mut testimony) = Witness::new();
        let server = ctx.child(&Kind::new("process"));
        let router = never(&witness).layer(ContextLayer::new(server.ctx()));
        let address = serve(server.ctx(), version, router).await;
        let clients = ctx.child(&Kind::new("clients"));
        let mut sockets = Vec::new();
        for _ in 0..CLIENTS {
            match version {
                Version::Http1 => sockets.push(ask(address, "/never", "").await),
                Version::Http2 => {
                    let mut client = connect::<Empty<Bytes>>(clients.ctx(), address).await;
                    let request = Request::get(format!("http://{address}/never")).body(Empty::new()).unwrap();
                    let asked = client.send_request(request);
                    clients.ctx().spawn(&Kind::new("client"), |_| async move { asked.await.is_err() }).detach();
                }
            }
        }
        until(&ctx, || witness.begun() == 2 * CLIENTS).await;
        let stopped = server.stop(Reason::shutdown("the test"), GRACE).await.unwrap();
        println!("{version:?}: {CLIENTS} requests and their connections gone after {:?}", stopped.after);
        let mut seen = Vec::new();
        while let Ok(reason) = testimony.try_recv() {
            seen.push(reason.unwrap().0);
        }
        assert_eq!(seen, vec![ReasonKind::Shutdown; 2 * CLIENTS]);
        for mut socket in sockets {
            assert_eq!(socket.read(&mut [0; 16]).await.unwrap_or(0), 0, "the connection is closed");
        }
        assert!(TcpStream::connect(address).await.is_err());
        clients.stop(Reason::requested("the end"), GRACE).await.unwrap();
    }
}
