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
use kube::client::Body as Sending;
use kube::{Client, Error};
use pando_context::{Ctx, Instant, Kind, Reason, Scope};
use pando_runtime::client::{
    Bounds, CALL, ClientError, Credentials, Limits, RequestError, Requests, Sent, Stack, hub_client,
};
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

    fn requests(&self, ctx: &Ctx) -> Requests {
        Stack::for_member(&self.credentials()).requests(ctx).unwrap()
    }

    /// Waits until so many requests have come.
    async fn has_seen(&self, ctx: &Ctx, requests: usize) {
        while self.seen.lock().unwrap().len() < requests {
            ctx.sleep(Duration::from_millis(2)).await.unwrap();
        }
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

#[pando_context::test]
async fn all_requests_share_one_connection_where_the_server_speaks_http2(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2", b"http/1.1"]), one_object).await;
    let api = config_maps(server.client(root.ctx(), Limits::default()));
    api.get("a").await.unwrap();
    futures::future::try_join_all((0..50).map(|_| api.get("a"))).await.unwrap();
    assert_eq!(server.connections(), 1);
    assert!(server.seen.lock().unwrap().iter().all(|(version, _)| *version == Version::HTTP_2));
}

#[pando_context::test]
async fn a_server_without_http2_is_spoken_to_in_http1(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"http/1.1"]), one_object).await;
    let api = config_maps(server.client(root.ctx(), Limits::default()));
    api.get("a").await.unwrap();
    assert_eq!(server.seen.lock().unwrap()[0].0, Version::HTTP_11);
}

#[pando_context::test]
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

#[pando_context::test]
async fn the_deadline_covers_the_body_too(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, endless_body).await;
    let api = config_maps(server.client(root.ctx(), short()));
    let began = Instant::now();
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Deadline { .. }));
    assert!(began.elapsed() < Duration::from_millis(300), "{:?}", began.elapsed());
}

#[pando_context::test]
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

#[pando_context::test]
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

#[pando_context::test]
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

#[pando_context::test]
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

#[pando_context::test]
async fn connections_end_with_their_context(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), one_object).await;
    let owner = root.ctx().child(&OWNER);
    let api = config_maps(server.client(owner.ctx(), short()));
    api.get("a").await.unwrap();
    owner.stop(Reason::requested("detached"), Duration::from_secs(1)).await.unwrap();
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Closed { .. }), "{error:?}");
    assert_eq!(server.connections(), 1);
}

#[pando_context::test]
async fn a_host_that_takes_the_connection_and_says_nothing_is_given_up_soon(root: &Scope) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", silent.local_addr().unwrap());
    let credentials = Credentials::new(&endpoint, None, "t", true).unwrap();
    let limits = Limits { connect: Duration::from_millis(100), ..Limits::default() };
    let api = config_maps(Stack::for_member(&credentials).limits(limits).client(root.ctx()).unwrap());
    let error = api.get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Connect { .. }), "{error:?}");
}

#[pando_context::test]
async fn a_certificate_of_somebody_else_is_refused(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), one_object).await;
    let other = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), one_object).await;
    let stranger = Server { address: server.address, ..other };
    let api = config_maps(stranger.client(root.ctx(), Limits::default()));
    assert!(api.get("a").await.is_err());
    assert!(server.seen.lock().unwrap().is_empty(), "the token was not sent");
}

#[pando_context::test]
async fn a_proxy_is_refused_and_not_passed_by(root: &Scope) {
    let mut config = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
    config.proxy_url = Some("http://127.0.0.1:2".parse().unwrap());
    assert!(matches!(hub_client(root.ctx(), &config), Err(ClientError::Proxy)));
}

const PATIENCE: Duration = Duration::from_secs(60);
const BOUNDS: Bounds = Bounds { within: PATIENCE, bytes: 1 << 20 };

fn get() -> Request<Sending> {
    Request::get("/api/v1/namespaces/n/configmaps/a").body(Sending::empty()).unwrap()
}

fn watch() -> Request<Sending> {
    Request::get("/api/v1/namespaces/n/configmaps?watch=true").body(Sending::empty()).unwrap()
}

/// Contexts of calls at and below this one.
fn calls(ctx: &Ctx) -> Vec<String> {
    let labels = ctx.dump().nodes().iter().map(|node| node.label.clone()).collect::<Vec<_>>();
    labels.iter().filter(|label| label.kind() == CALL).map(ToString::to_string).collect()
}

/// This process's connections to a server, as the system knows them.
fn sockets_to(server: SocketAddr) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let there = format!(":{:04X}", server.port());
    let ours = |row: &Vec<&str>| open.iter().any(|link| link.to_str() == Some(&format!("socket:[{}]", row[9])));
    rows.filter(|row| row[2].ends_with(&there) && ours(row)).count()
}

#[pando_context::test]
async fn a_call_ends_with_its_caller_and_with_its_receiver(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), never).await;
    for (number, caller_goes) in [true, false].into_iter().enumerate() {
        let (caller, receiver) = (root.ctx().child(&OWNER), root.ctx().child(&OWNER));
        let requests = server.requests(receiver.ctx());
        let call = caller.ctx().spawn(&OWNER, |ctx| async move { requests.send(&ctx, BOUNDS, get()).await.map(drop) });
        server.has_seen(root.ctx(), number + 1).await;
        assert_eq!(calls(receiver.ctx()), ["call/get configmaps"], "it is linked under the receiver");
        assert_eq!(calls(caller.ctx()), [""; 0]);
        let (goes, stays) = if caller_goes { (caller, receiver) } else { (receiver, caller) };
        goes.stop(Reason::detached("test"), PATIENCE).await.unwrap();
        match call.await {
            Ok(ended) => {
                let error = ended.unwrap_err();
                assert!(matches!(error, RequestError::Closed { sent: Sent::InFlight, .. }), "{error:?}");
                assert!(error.to_string().contains("detached at owner: test"), "{error}");
            }
            Err(stopped) => assert!(caller_goes, "{stopped:?}"),
        }
        assert_eq!(calls(stays.ctx()), [""; 0]);
    }
}

#[pando_context::test]
async fn the_join_of_either_side_waits_for_the_call(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, never).await;
    let (caller, receiver) = (root.ctx().child(&OWNER), root.ctx().child(&OWNER));
    let requests = server.requests(receiver.ctx());
    let ctx = caller.ctx().clone();
    let mut call = Box::pin(requests.send(&ctx, BOUNDS, get()));
    while server.seen.lock().unwrap().is_empty() {
        assert!(futures::poll!(&mut call).is_pending());
        root.ctx().sleep(Duration::from_millis(2)).await.unwrap();
    }
    // Nobody polls the call: it cannot end yet.
    let moment = Duration::from_millis(50);
    let Err(running) = receiver.stop(Reason::detached("test"), moment).await else { panic!("the call was forgotten") };
    assert!(running.to_string().contains("call/get configmaps"), "{running}");
    let Err(waiting) = caller.stop(Reason::detached("test"), moment).await else { panic!("the call was forgotten") };
    let error = call.await.unwrap_err();
    assert!(matches!(error, RequestError::Closed { sent: Sent::InFlight, .. }), "{error:?}");
    for scope in [running.into_scope(), waiting.into_scope()] {
        scope.stop(Reason::detached("again"), PATIENCE).await.unwrap();
    }
}

#[pando_context::test]
async fn a_call_of_a_reconcile_in_the_cluster_is_shown_there_and_carries_its_trace(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), one_object).await;
    let cluster = root.ctx().child_named(&OWNER, "bj-prod");
    let reconcile = cluster.ctx().derive(&OWNER).new_trace().scope();
    let api = config_maps(server.client(cluster.ctx(), Limits::default()));
    reconcile.ctx().run(api.get("a")).await.unwrap().unwrap();
    let trace = server.seen.lock().unwrap()[0].1["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(trace.split('-').nth(1), Some(&*reconcile.ctx().trace_id().to_string()));
    assert_eq!((trace.len(), &trace[..3], &trace[52..]), (55, "00-", "-00"));

    let server = Server::start(root.ctx(), Speaks::Plain, never).await;
    let api = config_maps(server.client(cluster.ctx(), Limits::default()));
    let mut call = Box::pin(reconcile.ctx().run(api.get("a")));
    while server.seen.lock().unwrap().is_empty() {
        assert!(futures::poll!(&mut call).is_pending());
        root.ctx().sleep(Duration::from_millis(2)).await.unwrap();
    }
    assert_eq!(calls(reconcile.ctx()), ["call/get configmaps"]);
    reconcile.cancel(Reason::requested("test"));
    assert!(call.await.is_err());
    assert_eq!(calls(cluster.ctx()), [""; 0]);
}

/// A server that reads a request and closes the connection.
async fn hangs_up(ctx: &Ctx) -> SocketAddr {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    ctx.spawn(&SERVER, |_| async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(socket.read(&mut [0; 16]).await);
        }
    })
    .detach();
    address
}

#[pando_context::test]
async fn a_request_without_an_answer_says_whether_it_was_sent(root: &Scope) {
    let ctx = root.ctx();
    let at = |address: SocketAddr, limits: Limits, receiver: &Ctx| {
        let credentials = Credentials::new(&format!("http://{address}"), None, "t", false).unwrap();
        Stack::for_member(&credentials).limits(limits).requests(receiver).unwrap()
    };
    let server = Server::start(ctx, Speaks::Plain, never).await;

    // The caller's time is over.
    let late = ctx.with_timeout(&OWNER, Duration::ZERO);
    let error = server.requests(ctx).send(late.ctx(), BOUNDS, get()).await.unwrap_err();
    assert!(matches!(error, RequestError::Stopped { sent: Sent::NotSent, .. }), "{error:?}");
    // The cluster is gone.
    let gone = ctx.child(&OWNER);
    gone.cancel(Reason::detached("test"));
    let error = server.requests(gone.ctx()).send(ctx, BOUNDS, get()).await.unwrap_err();
    assert!(matches!(error, RequestError::Closed { sent: Sent::NotSent, .. }), "{error:?}");
    assert_eq!(server.connections(), 0);
    // Nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = at(free, Limits::default(), ctx).send(ctx, BOUNDS, get()).await.unwrap_err();
    assert!(matches!(error, RequestError::Failed { sent: Sent::NotSent, .. }), "{error:?}");
    // No connection in time.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let credentials = Credentials::new(&format!("https://{}", silent.local_addr().unwrap()), None, "t", true).unwrap();
    let requests = Stack::for_member(&credentials).requests(ctx).unwrap();
    let error = requests.send(ctx, Bounds { within: Duration::from_millis(50), ..BOUNDS }, get()).await.unwrap_err();
    assert!(matches!(error, RequestError::Deadline { sent: Sent::NotSent, .. }), "{error:?}");
    assert_eq!(error.to_string(), "get configmaps: not sent within 50ms");
    // No answer in time.
    let error = server
        .requests(ctx)
        .send(ctx, Bounds { within: Duration::from_millis(200), ..BOUNDS }, get())
        .await
        .unwrap_err();
    assert!(matches!(error, RequestError::Deadline { sent: Sent::InFlight, .. }), "{error:?}");
    // The connection breaks.
    let error = at(hangs_up(ctx).await, Limits::default(), ctx).send(ctx, BOUNDS, get()).await.unwrap_err();
    assert!(matches!(error, RequestError::Failed { sent: Sent::InFlight, .. }), "{error:?}");
    // kube's errors say it, too.
    let error = config_maps(server.client(ctx, short())).get("a").await.unwrap_err();
    assert_eq!(Sent::of(&error), Some(Sent::InFlight));
    let error = config_maps(server.client(gone.ctx(), short())).get("a").await.unwrap_err();
    assert_eq!(Sent::of(&error), Some(Sent::NotSent));
}

#[pando_context::test]
async fn a_body_ends_with_the_cluster_though_somebody_keeps_it(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"h2"]), slow_watch).await;
    let cluster = root.ctx().child(&OWNER);
    let requests = server.requests(cluster.ctx());
    let mut body = requests.send(root.ctx(), BOUNDS, watch()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(calls(cluster.ctx()), ["call/watch configmaps"], "as long as it is open");
    cluster.cancel(Reason::detached("test"));
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(RequestError::Closed { sent: Sent::InFlight, .. })), "{error:?}");
    cluster.stop(Reason::detached("test"), PATIENCE).await.unwrap();
    assert!(body.frame().await.is_none(), "and it stays so");
}

#[pando_context::test]
async fn a_body_ends_with_its_caller_wherever_it_is_read(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, endless_body).await;
    let (caller, cluster) = (root.ctx().child(&OWNER), root.ctx().child(&OWNER));
    let mut body = server.requests(cluster.ctx()).send(caller.ctx(), BOUNDS, get()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    caller.cancel(Reason::requested("test"));
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(RequestError::Stopped { sent: Sent::InFlight, .. })), "{error:?}");
}

#[pando_context::test]
async fn an_answer_that_was_read_is_a_call_no_more(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Plain, one_object).await;
    let mut answer = server.requests(root.ctx()).send(root.ctx(), BOUNDS, get()).await.unwrap();
    assert_eq!(calls(root.ctx()), ["call/get configmaps"], "until its body was read");
    answer.body_mut().collect().await.unwrap();
    assert_eq!(calls(root.ctx()), [""; 0]);
}

#[pando_context::test]
async fn after_a_join_no_socket_and_no_task_is_left(root: &Scope) {
    let server = Server::start(root.ctx(), Speaks::Tls(&[b"http/1.1"]), never).await;
    let handle = tokio::runtime::Handle::current();
    let before = handle.metrics().num_alive_tasks();
    let cluster = root.ctx().child(&OWNER);
    let (requests, client) = (server.requests(cluster.ctx()), server.client(cluster.ctx(), Limits::default()));
    for _ in 0..20 {
        let (requests, api) = (requests.clone(), config_maps(client.clone()));
        cluster.ctx().spawn(&OWNER, |ctx| async move { requests.send(&ctx, BOUNDS, get()).await.map(drop) }).detach();
        cluster.ctx().spawn(&OWNER, |_| async move { api.get("a").await.map(drop) }).detach();
    }
    server.has_seen(root.ctx(), 40).await;
    assert_eq!(sockets_to(server.address), 40);
    cluster.stop(Reason::detached("test"), PATIENCE).await.unwrap();
    assert_eq!(sockets_to(server.address), 0);
    // The server's side of each connection, which is not the cluster's, ends when it hears of it.
    while handle.metrics().num_alive_tasks() > before {
        root.ctx().sleep(Duration::from_millis(2)).await.unwrap();
    }
    let error = config_maps(client).get("a").await.unwrap_err();
    assert!(matches!(given_up(&error), RequestError::Closed { sent: Sent::NotSent, .. }), "{error:?}");
}
