//! A relay in front of an API server that understands HTTP, and can answer wrongly.
//!
//! ```text
//! controller ──► relay (TCP: black hole, cut, reset, slow) ──► HTTP relay (rules) ──► kube-apiserver
//!                  └── until a test asks for more: straight to ─────────────────────►
//! ```
//!
//! It ends TLS with a certificate of the cluster's own authority, so a client that trusts the API server trusts it, too.
//! Requests go on over TLS with their bearer token as it is; whoever shows a client certificate instead is spoken for with
//! the relay's own. Bodies are streamed both ways, one upstream connection belongs to one of the client's, and without rules
//! nothing is changed. Every request is in the [`Record`].

mod body;
mod call;
mod record;
mod rule;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::pending;
use http::header::{self, HeaderMap, HeaderName};
use http::{Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use self::body::{Body, Error, Tracked};
pub use self::call::{Call, Verb};
use self::record::Flight;
pub use self::record::{Exchange, Mark, Record};
pub use self::rule::{Answer, Fault, Rule, When};
use crate::pki::Identity;

/// Streams of one HTTP/2 connection, as an API server allows them.
const STREAMS: u32 = 250;
/// What a page of a list takes that has endlessly many.
const PAGE_TIME: Duration = Duration::from_millis(20);
/// Headers that belong to one connection and not to the request.
const OF_THE_CONNECTION: [HeaderName; 5] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE, header::HOST];

/// Where requests go on to, and as whom.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The API server.
    pub server: SocketAddr,
    /// The authority of both sides' certificates, PEM.
    pub authority: String,
    /// What the relay shows to clients: a certificate for 127.0.0.1.
    pub shown: Identity,
    /// As whom it speaks for clients that show a certificate.
    pub speaker: Identity,
}

/// A running relay. Stops when it is dropped, with all its connections.
#[derive(Debug)]
pub struct HttpRelay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// Puts the rules away when it is dropped: the API server is itself again.
#[derive(Debug)]
pub struct Faulty<'a>(&'a HttpRelay);

#[derive(Debug)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    record: Record,
    pages: std::sync::atomic::AtomicUsize,
}

impl HttpRelay {
    /// Starts a relay on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port is free or a certificate is not usable.
    pub async fn start(upstream: &Upstream) -> Result<Self> {
        // Both TLS backends of the dependency tree are `ring`; a second call finds it installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let acceptor = acceptor(upstream)?;
        let onward = Onward::new(upstream)?;
        let shared = Arc::new(Shared { rules: Mutex::default(), record: Record::default(), pages: 0.into() });
        let accepting = tokio::spawn(accept(listener, acceptor, onward, shared.clone())).abort_handle();
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request that came through.
    pub fn record(&self) -> &Record {
        &self.shared.record
    }

    /// Answers by these rules from now on, the first that fits counts, until the guard is dropped. Requests that are under
    /// way stay as they are.
    #[must_use]
    pub fn answer_by(&self, rules: Vec<Rule>) -> Faulty<'_> {
        self.set(rules);
        Faulty(self)
    }

    fn set(&self, rules: Vec<Rule>) {
        *self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }
}

impl Drop for HttpRelay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Drop for Faulty<'_> {
    fn drop(&mut self) {
        self.0.set(Vec::new());
    }
}

fn roots(authority: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

fn chain(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
    Ok((certificates?, PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?))
}

fn acceptor(upstream: &Upstream) -> Result<TlsAcceptor> {
    let clients = WebPkiClientVerifier::builder(Arc::new(roots(&upstream.authority)?));
    let (certificates, key) = chain(&upstream.shown)?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(clients.allow_unauthenticated().build()?)
        .with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How to connect to the API server: with or without a certificate of our own.
#[derive(Clone)]
struct Onward {
    server: SocketAddr,
    bare: ClientConfig,
    as_speaker: ClientConfig,
}

impl Onward {
    fn new(upstream: &Upstream) -> Result<Self> {
        let roots = roots(&upstream.authority)?;
        let bare = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        let (certificates, key) = chain(&upstream.speaker)?;
        let as_speaker =
            ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(certificates, key)?;
        Ok(Self { server: upstream.server, bare, as_speaker })
    }

    fn client(&self, shows_certificate: bool) -> Client<HttpsConnector<HttpConnector>, Body> {
        let config = if shows_certificate { &self.as_speaker } else { &self.bare };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.clone())
            .https_only()
            .enable_all_versions()
            .wrap_connector(tcp);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
        // A request is sent once: whoever sent it to us decides about another attempt.
        builder.retry_canceled_requests(false);
        builder.http2_initial_stream_window_size(2 << 20).http2_initial_connection_window_size(8 << 20);
        builder.build(connector)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, onward: Onward, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, acceptor.clone(), onward.clone(), shared.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, onward: Onward, shared: Arc<Shared>) {
    drop(stream.set_nodelay(true));
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let client = onward.client(stream.get_ref().1.peer_certificates().is_some());
    let exchange = Arc::new(Exchanger { client, server: onward.server, shared });
    let service = service_fn(move |request| {
        let exchange = exchange.clone();
        async move { exchange.answer(request).await.map_err(std::io::Error::other) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    // However it ends, both sides notice by themselves.
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

/// What answers the requests of one connection.
struct Exchanger {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    server: SocketAddr,
    shared: Arc<Shared>,
}

impl Exchanger {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Tracked>, Error> {
        let call = Call::of(&request);
        let fault = rule::judge(&mut self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner), &call);
        let flight = self.shared.record.begin(call, fault.is_some());
        let response = match fault {
            None => self.forward(request).await?,
            Some(fault) => self.spoiled(request, fault).await?,
        };
        Ok(tracked(response, flight))
    }

    async fn spoiled(&self, request: Request<Incoming>, fault: Fault) -> Result<Response<Body>, Error> {
        match fault {
            Fault::Answer(answer) => answered(&answer),
            Fault::AnswerAfter(answer) => {
                self.forward(request).await?.into_body().collect().await?;
                answered(&answer)
            }
            Fault::Truncate(bytes) => Ok(self.forward(request).await?.map(|body| body::truncated(body, bytes))),
            Fault::Trickle => Ok(self.forward(request).await?.map(body::trickled)),
            Fault::CloseAfter(life) => Ok(self.forward(request).await?.map(|body| body::closed_after(body, life))),
            Fault::Endless => json(body::endless()),
            Fault::EndlessPages => {
                tokio::time::sleep(PAGE_TIME).await;
                let number = self.shared.pages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                json(body::page(number))
            }
            Fault::Delay(delay) => {
                tokio::time::sleep(delay).await;
                self.forward(request).await
            }
            Fault::Silence => pending().await,
            Fault::WithoutGroup(group) => {
                let (parts, body) = self.forward(request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok(Response::from_parts(parts, body::full(without_group(&body, &group)?)))
            }
        }
        .map(without_length)
    }

    /// The API server's own answer.
    async fn forward(&self, request: Request<Incoming>) -> Result<Response<Body>, Error> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = Uri::builder().scheme("https").authority(self.server.to_string()).path_and_query(path).build()?;
        parts.version = Version::HTTP_11;
        ends_here(&mut parts.headers);
        let response = self.client.request(Request::from_parts(parts, body::passed(body))).await?;
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        ends_here(&mut parts.headers);
        Ok(Response::from_parts(parts, body::passed(body)))
    }
}

fn ends_here(headers: &mut HeaderMap) {
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

fn tracked(response: Response<Body>, flight: Flight) -> Response<Tracked> {
    flight.answered(response.status().as_u16());
    response.map(|body| Tracked::new(body, flight))
}

/// A body that was tampered with has another length.
fn without_length(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

fn answered(answer: &Answer) -> Result<Response<Body>, Error> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    Ok(response.body(body::full(answer.body.clone()))?)
}

fn json(body: Body) -> Result<Response<Body>, Error> {
    Ok(Response::builder().header(header::CONTENT_TYPE, "application/json").body(body)?)
}

/// Aggregated discovery lists groups in `items`, the older form in `groups`.
fn without_group(body: &[u8], group: &str) -> Result<Vec<u8>, Error> {
    let mut list: serde_json::Value = serde_json::from_slice(body)?;
    for (field, name) in [("items", "/metadata/name"), ("groups", "/name")] {
        if let Some(groups) = list.get_mut(field).and_then(serde_json::Value::as_array_mut) {
            groups.retain(|item| item.pointer(name).and_then(serde_json::Value::as_str) != Some(group));
        }
    }
    Ok(serde_json::to_vec(&list)?)
}
