//! HTTP to API servers: our own stack under kube's `Client`.
//!
//! kube's own client speaks HTTP/1.1 only, waits for ever by default and retries any verb up to 15
//! times. This one:
//!
//! * speaks HTTP/2 where the server offers it (ALPN), so that all watches and requests of a
//!   [`Stack`] share one connection, and HTTP/1.1 elsewhere;
//! * gives every request a deadline by its kind ([`Limits`]), which covers the name lookup, the
//!   connection, the answer and its body; a watch has none, but its answer must begin in time and
//!   its body must not fall silent;
//! * notices a dead connection: TCP keepalive, and a PING every 5 s on HTTP/2;
//! * bounds what it takes in: a whole answer, or one line of a watch;
//! * opens no watch again at once that the server keeps closing;
//! * never retries: whoever asked decides. `Retry-After` arrives in the error ([`Stack`]);
//! * is one meaning of cancel: a call has two parents, the context that makes it and the [`Ctx`] of the client, which
//!   receives it ([`CALL`]). It ends when either does, and both joins wait for it and for the body of its answer;
//! * tells what is known of a request without an answer: [`Sent`];
//! * runs everything of its own in that [`Ctx`]: connections, name lookups, the worker behind kube's client. When it ends the
//!   sockets close, and when it is joined none is left;
//! * tells the server the trace (`traceparent`).

mod call;
mod credentials;
mod error;
mod guard;
mod pacing;
mod request;
mod requests;
mod resolve;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioTimer;
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use pando_context::{Ctx, Kind};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt};
use tower_http::decompression::DecompressionLayer;

pub use self::call::CALL;
pub use self::credentials::{Credentials, Token};
pub use self::error::{RequestError, Sent};
pub use self::guard::{Answer, Trouble};
use self::guard::{ConnectDeadline, Guard, Reports, Wire};
pub use self::request::{Exchange, Verb};
pub use self::requests::{Bounds, Requests};
use self::resolve::Resolver;

/// What this process calls itself to API servers.
pub const USER_AGENT: &str = concat!("pando/", env!("CARGO_PKG_VERSION"));

const CONNECTION: Kind = Kind::new("connection");

const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 flow control: one large list must not wait for a round trip per 64 KiB.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// Why a client cannot be built. Nothing has been sent.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is not a URL that can be called.
    #[error("endpoint {endpoint:?} cannot be used: {why}")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The CA bundle holds no readable certificate.
    #[error("the CA bundle cannot be used: {0}")]
    CaBundle(String),
    /// The token cannot be sent in a header.
    #[error("the bearer token cannot be used: it is empty or has characters that no HTTP header may carry")]
    Token,
    /// A proxy is configured.
    #[error("a connection through a proxy is not supported yet: remove the proxy from this cluster's configuration")]
    Proxy,
    /// Credentials, client certificate or headers of the configuration are not usable.
    #[error("the client configuration cannot be used: {0}")]
    Config(#[source] Box<kube::Error>),
    /// `tls_server_name` is not a host name.
    #[error("the TLS server name {0:?} is not a host name")]
    ServerName(String),
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Name lookup, TCP and TLS together.
    pub connect: Duration,
    /// From the request to the end of the answer, for POST, PUT, PATCH and DELETE.
    pub mutate: Duration,
    /// The same for a GET of one object; for a watch, to the begin of the answer.
    pub read: Duration,
    /// The same for lists and deletions of collections.
    pub list: Duration,
    /// How long a watch may be silent. API servers send a bookmark about once a minute.
    pub watch_silence: Duration,
    /// The largest answer in bytes, after decompression; for a watch, the largest event.
    pub answer_bytes: u64,
}

impl Limits {
    /// For the hub. A write that is given up has an unknown outcome, and a hub whose disk is slow answers late: rather
    /// fewer writes at the same time ([`crate::budget`]) than more of them in doubt.
    #[must_use]
    pub fn hub() -> Self {
        Self { mutate: Duration::from_secs(9), ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            mutate: Duration::from_secs(4),
            read: Duration::from_secs(10),
            list: Duration::from_secs(30),
            watch_silence: Duration::from_secs(120),
            answer_bytes: 64 << 20,
        }
    }
}

/// How clients for one API server are built.
///
/// Answers 429 and 503 with a `Retry-After` header become kube's `Api` error with
/// `details.retryAfterSeconds` filled in, also where the server's body has none (priority and
/// fairness answers in plain text).
#[derive(Clone)]
pub struct Stack {
    config: Config,
    token: Option<Token>,
    limits: Limits,
    gzip: bool,
    reports: Reports,
}

type Observer = Arc<dyn Fn(&Exchange<'_>) + Send + Sync>;
type Alert = Arc<dyn Fn(Trouble) + Send + Sync>;

/// A client for the hub, with the usual [`Limits`]; its connections live in `ctx`. `config` is the
/// operator's own and may use everything kube can (files, exec plugins).
pub fn hub_client(ctx: &Ctx, config: &Config) -> Result<Client, ClientError> {
    Stack::from_config(config).client(ctx)
}

impl Stack {
    /// For a trusted configuration.
    pub fn from_config(config: &Config) -> Self {
        Self {
            config: config.clone(),
            token: None,
            limits: Limits::default(),
            gzip: false,
            reports: Reports::default(),
        }
    }

    /// For a member: nothing but what `credentials` hold is used.
    pub fn for_member(credentials: &Credentials) -> Self {
        Self { token: Some(credentials.token().clone()), gzip: true, ..Self::from_config(&credentials.config()) }
    }

    /// Other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether answers may come compressed: worth it over long distances, a waste on a loopback.
    /// Watches never are.
    #[must_use]
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Calls `observer` once for every request, when its answer begins or it fails. It must not
    /// block.
    #[must_use]
    pub fn on_request(mut self, observer: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        self.reports.observer = Some(Arc::new(observer));
        self
    }

    /// Calls `alert` when a connection shows by itself that the server may be gone. It must not block.
    #[must_use]
    pub fn on_trouble(mut self, alert: impl Fn(Trouble) + Send + Sync + 'static) -> Self {
        self.reports.alert = Some(Arc::new(alert));
        self
    }

    /// Builds a client of kube's. Its connections live in `ctx`: each client has its own, so that, for
    /// example, lists cannot hold up writes. Must be called within a tokio runtime.
    pub fn client(&self, ctx: &Ctx) -> Result<Client, ClientError> {
        self.requests(ctx).map(|requests| requests.client())
    }

    /// Builds a client whose callers say in which context they ask. As [`Stack::client`] otherwise.
    pub fn requests(&self, ctx: &Ctx) -> Result<Requests, ClientError> {
        let Self { config, limits, .. } = self;
        let invalid = |error| ClientError::Config(Box::new(error));
        let auth = if self.token.is_some() { None } else { config.auth_layer().map_err(invalid)? };
        let token = self.token.clone();
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(auth)
            .layer(config.extra_headers_layer().map_err(invalid)?)
            .map_request(move |request| headers(request, token.as_ref()))
            .layer(DecompressionLayer::new().no_br().no_deflate().no_zstd().gzip(self.gzip))
            .map_err(BoxError::from)
            .service(self.transport(ctx)?);
        let service: BoxCloneSyncService<_, Response<Answer>, _> =
            BoxCloneSyncService::new(service.map_response(guard::boxed));
        let guard = Guard::new(ctx.clone(), *limits, self.reports.clone(), Wire::Seen, service);
        Ok(Requests::new(guard, config.default_namespace.clone()))
    }

    fn transport(&self, ctx: &Ctx) -> Result<Transport, ClientError> {
        let config = &self.config;
        if config.proxy_url.is_some() {
            return Err(ClientError::Proxy);
        }
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(ctx.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.limits.connect));
        tcp.set_keepalive(Some(KEEPALIVE_IDLE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_PROBES));

        install_crypto();
        let tls = config.rustls_client_config().map_err(|error| ClientError::Config(Box::new(error)))?;
        let mut https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        if let Some(name) = &config.tls_server_name {
            let name = rustls::pki_types::ServerName::try_from(name.clone())
                .map_err(|_| ClientError::ServerName(name.clone()))?;
            https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        let connector =
            ConnectDeadline::new(ctx.clone(), self.limits.connect, https.enable_all_versions().wrap_connector(tcp));

        let mut builder = legacy::Client::builder(InContext(ctx.clone()));
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_keep_alive_while_idle(true);
        Ok(builder.build(connector))
    }
}

type Transport = legacy::Client<ConnectDeadline<hyper_rustls::HttpsConnector<HttpConnector<Resolver>>>, Body>;

/// Headers that every request carries. A token of ours replaces whatever was there.
fn headers(mut request: Request<Body>, token: Option<&Token>) -> Request<Body> {
    let headers = request.headers_mut();
    headers.entry(http::header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
    if let Some(token) = token {
        headers.insert(http::header::AUTHORIZATION, token.header());
    }
    request
}

/// Picks ring once for the process. Whoever was faster has picked ring as well: there is no other
/// provider in the build.
fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _already = rustls::crypto::ring::default_provider().install_default().is_err();
    }
}

/// Runs hyper's connection tasks in the tree.
#[derive(Clone)]
struct InContext(Ctx);

impl<F> hyper::rt::Executor<F> for InContext
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, connection: F) {
        self.0.spawn(&CONNECTION, |_| connection).detach();
    }
}
