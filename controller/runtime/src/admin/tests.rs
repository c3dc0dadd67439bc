#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::SocketAddr;

use pando_context::{Ctx, Kind, Reason, Scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::queue::Queue;

/// Sends one request and returns status line, headers and body as they came.
async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    let request = format!("{head}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn any_port(purpose: Purpose) -> (TcpListener, SocketAddr) {
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), purpose).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[pando_context::test]
async fn ready_means_that_every_gate_is_open(ctx: Ctx) {
    let (listener, address) = any_port(Purpose::Health).await;
    let readiness = Readiness::new();
    let (caches, webhook) = (readiness.gate("caches"), readiness.gate("webhook"));
    serve_health(&ctx, listener, readiness).detach();

    assert!(request(address, "GET", "/livez", "").await.starts_with("HTTP/1.1 200"));
    caches.open();
    webhook.close("no certificate");
    let answer = request(address, "GET", "/readyz", "").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("[+]caches ok\n[-]webhook failed: no certificate\nreadyz check failed\n"));
    webhook.open();
    assert!(request(address, "GET", "/readyz", "").await.ends_with("\r\n\r\nok\n"));
    let verbose = request(address, "GET", "/readyz?verbose", "").await;
    assert!(verbose.ends_with("[+]caches ok\n[+]webhook ok\nreadyz check passed\n"));
}

#[pando_context::test]
async fn metrics_come_in_the_open_metrics_format(ctx: Ctx) {
    let (listener, address) = any_port(Purpose::Metrics).await;
    let metrics = Metrics::new();
    metrics.hub_request("list", "2xx");
    serve_metrics(&ctx, listener, metrics).detach();
    let answer = request(address, "GET", "/metrics", "").await;
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    assert!(answer.contains("pando_hub_requests_total{verb=\"list\",result=\"2xx\"} 1"));
    assert!(answer.ends_with("# EOF\n"));
}

#[pando_context::test]
async fn the_debug_server_shows_contexts_and_queues(root: &Scope) {
    let (listener, address) = any_port(Purpose::Debug).await;
    let metrics = Metrics::new();
    let queue = Queue::new("binding_works");
    metrics.watch_queue(&queue);
    queue.add(1);
    let cluster = root.ctx().child_named(&Kind::new("cluster"), "bj-prod");
    let call = cluster.ctx().child(&Kind::new("call"));
    let other = root.ctx().child_named(&Kind::new("cluster"), "sh-prod");
    cluster.cancel(Reason::detached("by alice"));
    let debug = Debug { contexts: root.ctx().clone(), metrics, log: None };
    serve_debug(root.ctx(), listener, debug).detach();

    let text = request(address, "GET", "/debug/contexts", "").await;
    assert!(text.contains("\n  cluster/bj-prod") && text.contains("detached at cluster/bj-prod: by alice"));
    let below = request(address, "GET", "/debug/contexts?cluster=bj-prod", "").await;
    assert!(below.contains("call") && !below.contains("sh-prod") && !below.contains("server"));
    let json = request(address, "GET", "/debug/contexts?format=json&state=stopping", "").await;
    let rows: serde_json::Value = serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["cancelled"]["kind"], "detached");
    let queues = request(address, "GET", "/debug/queues", "").await;
    assert!(
        queues.contains("\nbinding_works                          0           1           0           0           0"),
        "{queues}"
    );
    assert!(request(address, "PUT", "/loglevel", "debug").await.starts_with("HTTP/1.1 404"));
    drop((call, other));
}

#[pando_context::test]
async fn an_open_connection_ends_with_the_server(root: &Scope) {
    let (listener, address) = any_port(Purpose::Health).await;
    let server = root.ctx().child(&Kind::new("admin"));
    serve_health(server.ctx(), listener, Readiness::new()).detach();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut answer = [0; 256];
    assert!(idle.read(&mut answer).await.unwrap() > 0);
    server.stop(Reason::shutdown("test"), std::time::Duration::from_secs(1)).await.unwrap();
    assert_eq!(idle.read(&mut answer).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(address).await.is_err());
}

#[pando_context::test]
async fn a_taken_address_is_named_with_the_flag_to_change() {
    let (_listener, address) = any_port(Purpose::Metrics).await;
    let error = listen(address, Purpose::Metrics).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} for metrics: ")), "{error}");
    assert!(error.ends_with(
        "; end the process that uses it, or set --metrics-bind-address to another port (:0 takes a free one)"
    ));
}
