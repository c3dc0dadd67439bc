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
async fn the_debug_server_shows_queues(root: &Scope) {
    let (listener, address) = any_port(Purpose::Debug).await;
    let metrics = Metrics::new();
    let queue = Queue::new("binding_works");
    metrics.watch_queue(&queue);
    queue.add(1);
    let debug = Debug { contexts: root.ctx().clone(), metrics, log: None };
    serve_debug(root.ctx(), listener, debug).detach();

    let queues = request(address, "GET", "/debug/queues", "").await;
    assert!(
        queues.contains("\nbinding_works                          0           1           0           0           0"),
        "{queues}"
    );
    assert!(request(address, "PUT", "/loglevel", "debug").await.starts_with("HTTP/1.1 404"));
}

/// The debug server over this tree.
async fn debug_server(root: &Scope) -> SocketAddr {
    let (listener, address) = any_port(Purpose::Debug).await;
    let debug = Debug { contexts: root.ctx().clone(), metrics: Metrics::new(), log: None };
    serve_debug(root.ctx(), listener, debug).detach();
    address
}

/// `/debug/contexts` as `pando debug contexts` gets it.
async fn page(ctx: &Ctx, address: SocketAddr, parameters: &[(&str, &str)]) -> Result<String, AskError> {
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    ask(ctx, address, "/debug/contexts", &parameters).await
}

/// The labels of the rows that match, and the whole answer.
async fn matches(ctx: &Ctx, address: SocketAddr, parameters: &[(&str, &str)]) -> (Vec<String>, serde_json::Value) {
    let parameters: Vec<_> = parameters.iter().copied().chain([("format", "json")]).collect();
    let answer: serde_json::Value = serde_json::from_str(&page(ctx, address, &parameters).await.unwrap()).unwrap();
    let rows = answer["rows"].as_array().unwrap().iter().filter(|row| row["matched"] == true);
    let labels = rows.map(|row| match row["name"].as_str() {
        Some(name) => format!("{}/{name}", row["kind"].as_str().unwrap()),
        None => row["kind"].as_str().unwrap().to_owned(),
    });
    (labels.collect(), answer)
}

#[pando_context::test]
async fn a_detached_member_is_shown_stopping_with_its_reason_and_then_gone(root: &Scope) {
    let address = debug_server(root).await;
    let (ctx, apart) = (root.ctx().clone(), root.ctx().child(&Kind::new("operator")));
    let cluster = ctx.child_named(&Kind::new("cluster"), "bj-prod");
    let trace = cluster.ctx().trace_id().to_string();
    let (finish, finished) = tokio::sync::oneshot::channel::<()>();
    // Clean-up that a cancel does not cut short.
    let clean = |_| async move { finished.await.ok() };
    cluster.ctx().shield(&Kind::new("clean-up"), std::time::Duration::from_secs(60), clean).detach();
    let other = ctx.child_named(&Kind::new("cluster"), "sh-prod");
    let stop = apart.ctx().spawn(&Kind::new("detach"), |_| async move {
        cluster.stop(Reason::detached("asked for by alice"), std::time::Duration::from_secs(60)).await.is_ok()
    });
    while matches(&ctx, address, &[("state", "stopping")]).await.0.is_empty() {
        tokio::task::yield_now().await;
    }

    let (labels, answer) = matches(&ctx, address, &[("cluster", "bj-prod")]).await;
    assert_eq!(labels, ["cluster/bj-prod", "clean-up"], "{answer:#}");
    let row = answer["rows"].as_array().unwrap().iter().find(|row| row["name"] == "bj-prod").unwrap();
    assert_eq!((&row["state"], &row["cancelled"]["kind"]), (&"stopping".into(), &"detached".into()));
    assert_eq!(row["cancelled"]["text"], "asked for by alice");
    assert_eq!(row["trace"], trace);
    assert!(row["place"].as_str().unwrap().contains("admin/tests.rs"), "{row}");
    let text = page(&ctx, address, &[("cluster", "bj-prod")]).await.unwrap();
    for part in ["cluster/bj-prod", "cancelled", "asked for by alice", &trace, "clean-up", "admin/tests.rs"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("sh-prod"), "{text}");

    finish.send(()).unwrap();
    assert!(stop.await.unwrap());
    assert_eq!(page(&ctx, address, &[("cluster", "bj-prod")]).await.unwrap(), "");
    assert_eq!(matches(&ctx, address, &[("kind", "cluster")]).await.0, ["cluster/sh-prod"]);
    drop(other);
}

#[pando_context::test]
async fn filters_add_up_and_show_what_stands_above(root: &Scope) {
    let address = debug_server(root).await;
    let ctx = root.ctx().clone();
    let cluster = ctx.child_named(&Kind::new("cluster"), "bj-prod");
    let watch = cluster.ctx().child_named(&Kind::new("watch"), "pods");
    let elsewhere = ctx.child_named(&Kind::new("watch"), "works");
    let (labels, answer) = matches(&ctx, address, &[("cluster", "bj-prod"), ("kind", "watch")]).await;
    assert_eq!(labels, ["watch/pods"]);
    assert_eq!(answer["rows"][1]["name"], "bj-prod", "{answer:#}");
    assert!(matches(&ctx, address, &[("older", "1h")]).await.0.is_empty());
    let shallow = page(&ctx, address, &[("depth", "1")]).await.unwrap();
    assert!(shallow.contains("cluster/bj-prod") && !shallow.contains("watch/pods"), "{shallow}");
    drop((watch, elsewhere));
}

#[pando_context::test]
async fn many_equal_contexts_are_shown_as_a_count(root: &Scope) {
    let address = debug_server(root).await;
    let calls: Vec<Scope> = (0..300).map(|_| root.ctx().child(&Kind::new("call"))).collect();
    let text = page(root.ctx(), address, &[("kind", "call")]).await.unwrap();
    assert!(text.lines().count() < 60 && text.contains("call"), "{text}");
    drop(calls);
}

#[pando_context::test]
async fn what_is_not_a_filter_is_refused_in_one_line_that_names_it(ctx: Ctx) {
    let root = ctx.child(&Kind::new("tree"));
    let address = debug_server(&root).await;
    for (name, value) in
        [("clutser", "bj-prod"), ("older", "soon"), ("state", "gone"), ("depth", "-1"), ("format", "xml")]
    {
        let refused = page(&ctx, address, &[(name, value)]).await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, AskError::Refused { .. }) && text.contains(name), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let nobody = ask(&ctx, "127.0.0.1:1".parse().unwrap(), "/debug/contexts", &[]).await.unwrap_err().to_string();
    assert!(nobody.starts_with("no controller answers at 127.0.0.1:1: "), "{nobody}");
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
async fn a_slow_request_ends_with_its_client_or_in_its_time(root: &Scope) {
    let (listener, address) = any_port(Purpose::Debug).await;
    let slow = || async { std::future::pending::<&'static str>().await };
    server::serve(root.ctx(), "debug", listener, Router::new().route("/debug/slow", get(slow))).detach();
    let requests = || {
        let tree = root.ctx().dump();
        tree.nodes().iter().filter(|node| node.label.to_string() == "request/GET /debug/slow").count()
    };
    let becomes = async |count| {
        while requests() != count {
            tokio::task::yield_now().await;
        }
    };
    let watch = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /debug/slow HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        becomes(1).await;
        drop(stream);
        becomes(0).await;
    };
    root.ctx().timeout(&Kind::new("watch"), std::time::Duration::from_secs(10), watch).await.unwrap();
    let answer = request(address, "GET", "/debug/slow?timeout=50ms", "").await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("deadline at request/GET /debug/slow"), "{answer}");
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
