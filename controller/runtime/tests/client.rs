//! The HTTP stack against real sockets on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams, WatchParams};
use kube::{Client, Error};
use pando_context::{Ctx, Instant, Kind, Reason, Scope};
use pando_runtime::client::{ClientError, Credentials, Limits, RequestError, Stack, hub_client};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

const SERVER: Kind = Kind::new("server");
const OWNER: Kind = Kind::new("owner");

type Body = UnsyncBoxBody<Bytes, std::io::Error>;
type Handled = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A server on a port of its own, with what it has seen.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<(Version, http::HeaderMap)>>>,
    ca: Option<String>,
}

/// What a server speaks.
enum Speaks {
    Plain,
    Tls(&'static [&'static [u8]]),
}

impl Server {
    async fn start(ctx: &Ctx, speaks: Speaks, handler: fn(Request<Incoming>) -> Handled) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (acceptor, ca) = match speaks {
            Speaks::Plain => (None, None),
            Speaks::Tls(protocols) => {
                let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
                let key = certified.signing_key.serialize_der().try_into().unwrap();
                let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
                let config =
                    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
                let mut config =
                    config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
                config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
                (Some(TlsAcceptor::from(Arc::new(config))), Some(certified.cert.pem()))
            }
        };
        let server =
            Self { address: listener.local_addr().unwrap(), connections: Arc::default(), seen: Arc::default(), ca };
        let accepting = server.clone();
        ctx.spawn(&SERVER, |ctx| async move {
            while let Ok((socket, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&accepting.seen));
                ctx.spawn(&SERVER, |ctx| async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        seen.lock().unwrap().push((request.version(), request.headers().clone()));
                        let answer = handler(request);
                        async move { Ok::<_, std::convert::Infallible>(answer.await) }
                    });
                    let Some(acceptor) = acceptor else {
                        let _ended = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(socket), service)
                            .await;
                        return;
                    };
                    let Ok(socket) = acceptor.accept(socket).await else { return };
                    let h2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                    let io = TokioIo::new(socket);
                    if h2 {
                        let builder = hyper::server::conn::http2::Builder::new(InTest(ctx.clone()));
                        let _ended = builder.serve_connection(io, service).await;
                    } else {
                        let _ended = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                    }
                })
                .detach();
            }
        })
        .detach();
        server
    }

    fn credentials(&self) -> Credentials {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        Credentials::new(&format!("{scheme}://{}", self.address), self.ca.as_deref().map(str::as_bytes), "first", false)
            .unwrap()
    }

    fn client(&self, ctx: &Ctx, limits: Limits) -> Client {
        Stack::for_member(&self.credentials()).limits(limits).client(ctx).unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[derive(Clone)]
struct InTest(Ctx);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for InTest {
    fn execute(&self, future: F) {
        self.0.spawn(&SERVER, |_| future).detach();
    }
}

fn short() -> Limits {
    Limits {
        connect: Duration::from_millis(300),
        mutate: Duration::from_millis(100),
        read: Duration::from_millis(200),
        list: Duration::from_millis(300),
        watch_silence: Duration::from_millis(400),
        answer_bytes: 4096,
    }
}

fn json_body(body: &Value) -> Body {
    Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync()
}

fn config_map() -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "resourceVersion": "1"}})
}

fn one_object(_: Request<Incoming>) -> Handled {
    Box::pin(async { Response::new(json_body(&config_map())) })
}

fn never(_: Request<Incoming>) -> Handled {
    Box::pin(std::future::pending())
}

fn endless_body(_: Request<Incoming>) -> Handled {
    Box::pin(async {
        let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{\"kind\":")))]);
        Response::new(StreamBody::new(first.chain(stream::pending())).boxed_unsync())
    })
}

fn large(request: Request<Incoming>) -> Handled {
    let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    Box::pin(async move {
        let line = if watch {
            // Many events that fit, then one that does not.
            let event = json!({"type": "BOOKMARK", "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}});
            format!("{}{}", format!("{event}\n").repeat(200), "x".repeat(5000))
        } else {
            format!("{{\"items\":[],\"pad\":\"{}\"}}", "x".repeat(5000))
        };
        let frames: Vec<_> =
            line.as_bytes().chunks(512).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
        Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync())
    })
}

/// Three bookmarks, 150 ms apart: longer than any deadline, never silent. Then silence.
fn slow_watch(_: Request<Incoming>) -> Handled {
    Box::pin(async {
        let frames = stream::unfold(0, |number| async move {
            if number == 3 {
                return std::future::pending().await;
            }
            let ctx = Ctx::current().expect("the server runs in the tree");
            ctx.sleep(Duration::from_millis(150)).await.ok()?;
            let event = json!({"type": "ADDED", "object": config_map()});
            Some((Ok(Frame::data(Bytes::from(format!("{event}\n")))), number + 1))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    })
}

fn busy(request: Request<Incoming>) -> Handled {
    let plain = request.uri().path().ends_with("plain");
    Box::pin(async move {
        let body = if plain {
            Full::new(Bytes::from_static(b"Too many requests, please try again later.\n"))
                .map_err(|never| match never {})
                .boxed_unsync()
        } else {
            json_body(
                &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "TooManyRequests",
                "message": "slow down", "code": 429, "details": {"retryAfterSeconds": 3}}),
            )
        };
        Response::builder().status(429).header("Retry-After", "7").body(body).unwrap()
    })
}

fn config_maps(client: Client) -> Api<ConfigMap> {
    Api::namespaced(client, "n")
}

fn given_up(error: &Error) -> &RequestError {
    RequestError::of(error).unwrap_or_else(|| panic!("not given up by the client: {error:?}"))
}

#[pando_context::test(foreign_tasks)]
async fn all_requests_share_one_connection_where_the_server_speaks_http2(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2", b"http/1.1"]), one_object).await;
    let api = config_maps(server.client(root.ctx(), Limits::default()));
    api.get("a").await.unwrap();
    futures::future::try_join_all((0..50).map(|_| api.get("a"))).await.unwrap();
    assert_eq!(server.connections(), 1);
    assert!(server.seen.lock().unwrap().iter().all(|(version, _)| *version == Version::HTTP_2));
}

#[pando_context::test(foreign_tasks)]
async fn a_server_without_http2_is_spoken_to_in_http1(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"http/1.1"]), one_object).await;
    let api = config_maps(server.client(root.ctx(), Limits::default()));
    api.get("a").await.unwrap();
    assert_eq!(server.seen.lock().unwrap()[0].0, Version::HTTP_11);
}

#[pando_context::test(foreign_tasks)]
async fn a_request_that_is_not_answered_ends_at_the_deadline_of_its_kind(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, never).await;
    let api = config_maps(server.client(root.ctx(), short()));
    let object = serde_json::from_value(config_map()).unwrap();
    let began = Instant::now();
    let error = api.create(&PostParams::default(), &object).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_millis(190), "{:?}", began.elapsed());
    assert_eq!(given_up(&error).to_string(), "create configmaps: no complete answer within 100ms");
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Deadline { within, .. } if *within == short().read));
    let error = api.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Deadline { within, .. } if *within == short().list));
    let error = api.watch(&WatchParams::default(), "1").await.err().expect("a watch must begin in time");
    assert!(matches!(given_up(&error), RequestError::Deadline { within, .. } if *within == short().read));
}

#[pando_context::test(foreign_tasks)]
async fn the_deadline_covers_the_body_too(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, endless_body).await;
    let api = config_maps(server.client(root.ctx(), short()));
    let began = Instant::now();
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Deadline { .. }));
    assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
}

#[pando_context::test(foreign_tasks)]
async fn a_watch_may_last_but_not_fall_silent(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, slow_watch).await;
    let api = config_maps(server.client(root.ctx(), short()));
    let mut events = api.watch(&WatchParams::default(), "1").await.unwrap().boxed();
    for _ in 0..3 {
        events.try_next().await.unwrap().unwrap();
    }
    let error = events.try_next().await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Silent { .. }), "{error:?}");
}

#[pando_context::test(foreign_tasks)]
async fn answers_and_events_that_are_too_large_are_given_up(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, large).await;
    let api = config_maps(server.client(root.ctx(), short()));
    let error = api.list(&ListParams::default()).await.unwrap_err();
    assert_eq!(given_up(&error).to_string(), "list configmaps: the answer has more than 4096 bytes");
    let mut events = api.watch(&WatchParams::default(), "1").await.unwrap().boxed();
    let mut bookmarks = 0;
    let error = loop {
        match events.try_next().await {
            Ok(event) => bookmarks += usize::from(event.is_some()),
            Err(error) => break error,
        }
    };
    assert!(bookmarks > 150, "many small events are fine, {bookmarks} came");
    assert!(matches!(given_up(&error), RequestError::TooLarge { limit: 4096, .. }));
}

#[pando_context::test(foreign_tasks)]
async fn later_says_when(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, busy).await;
    let api = config_maps(server.client(root.ctx(), short()));
    for (name, seconds, message) in [("plain", 7, "Too many requests"), ("status", 3, "slow down")] {
        let Error::Api(status) = api.get(name).await.unwrap_err() else { panic!("not an answer of the server") };
        assert_eq!((status.code, status.details.unwrap().retry_after_seconds), (429, seconds));
        assert!(status.message.contains(message), "{}", status.message);
    }
    assert_eq!(server.seen.lock().unwrap().len(), 2, "nothing is tried twice");
}

#[pando_context::test(foreign_tasks)]
async fn a_replaced_token_is_used_by_the_next_request(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, one_object).await;
    let credentials = server.credentials();
    let observed = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&observed);
    let stack = Stack::for_member(&credentials).on_request(move |exchange| {
        log.lock().unwrap().push(format!("{} {} {:?}", exchange.verb, exchange.resource, exchange.status))
    });
    let api = config_maps(stack.client(root.ctx()).unwrap());
    api.get("a").await.unwrap();
    credentials.token().replace("second").unwrap();
    api.get("a").await.unwrap();
    let seen = server.seen.lock().unwrap();
    let header = |index: usize, name: &str| seen[index].1[name].to_str().unwrap().to_owned();
    assert_eq!([header(0, "authorization"), header(1, "authorization")], ["Bearer first", "Bearer second"]);
    assert_eq!(header(0, "user-agent"), concat!("pando/", env!("CARGO_PKG_VERSION")));
    assert_eq!(*observed.lock().unwrap(), ["get configmaps Some(200)", "get configmaps Some(200)"]);
}

#[pando_context::test(foreign_tasks)]
async fn connections_end_with_their_context(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), one_object).await;
    let owner = root.ctx().child(&OWNER);
    let api = config_maps(server.client(owner.ctx(), short()));
    api.get("a").await.unwrap();
    owner.stop(Reason::requested("detached"), Duration::from_secs(1)).await.unwrap();
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Closed(_)), "{error:?}");
    assert_eq!(server.connections(), 1);
}

#[pando_context::test(foreign_tasks)]
async fn a_host_that_takes_the_connection_and_says_nothing_is_given_up_soon(root: &Scope) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", silent.local_addr().unwrap());
    let credentials = Credentials::new(&endpoint, None, "t", true).unwrap();
    let limits = Limits { connect: Duration::from_millis(100), ..Limits::default() };
    let api = config_maps(Stack::for_member(&credentials).limits(limits).client(root.ctx()).unwrap());
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Connect { .. }), "{error:?}");
}

#[pando_context::test(foreign_tasks)]
async fn a_certificate_of_somebody_else_is_refused(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), one_object).await;
    let other = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), one_object).await;
    let stranger = Server { address: server.address, ..other };
    let api = config_maps(stranger.client(root.ctx(), Limits::default()));
    assert!(api.get("a").await.is_err());
    assert!(server.seen.lock().unwrap().is_empty(), "the token was not sent");
}

#[pando_context::test(foreign_tasks)]
async fn a_proxy_is_refused_and_not_passed_by(root: &Scope) {
    let mut config = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
    config.proxy_url = Some("http://127.0.0.1:2".parse().unwrap());
    assert!(matches!(hub_client(root.ctx(), &config), Err(ClientError::Proxy)));
}
