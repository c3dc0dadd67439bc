#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use pando_context::Scope;
use tower::service_fn;

use super::*;
use crate::clock::ManualClock;

type Written = Arc<Mutex<Vec<(String, Event)>>>;

/// A client of an API server that takes every event and remembers it, or refuses all.
fn api_server(refuse: bool) -> (Client, Written) {
    let written = Written::default();
    let log = Arc::clone(&written);
    let service = service_fn(move |request: Request<Body>| {
        let log = Arc::clone(&log);
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            log.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
            let status = if refuse { StatusCode::FORBIDDEN } else { StatusCode::CREATED };
            let response = Response::builder().status(status).body(Body::from(body.to_vec()));
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    (Client::new(service, "default"), written)
}

fn recorder(ctx: &Ctx, refuse: bool) -> (Recorder, Metrics, Written) {
    let (client, written) = api_server(refuse);
    let metrics = Metrics::new();
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let (recorder, task) = Recorder::start(ctx, client, clock, metrics.clone());
    task.detach();
    (recorder, metrics, written)
}

fn object(uid: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("ResourceBinding".into()),
        name: Some("web-deployment".into()),
        namespace: Some("shop".into()),
        uid: Some(uid.into()),
        ..ObjectReference::default()
    }
}

#[pando_context::test(paused)]
async fn a_decision_is_written_once(ctx: Ctx) {
    let (recorder, metrics, written) = recorder(&ctx, false);
    for _ in 0..3 {
        recorder.record(&object("1"), Level::Normal, "ScheduleBindingSucceed", "bj-prod");
    }
    recorder.record(&object("1"), Level::Normal, "ScheduleBindingSucceed", "sh-prod");
    recorder.record(&object("2"), Level::Normal, "ScheduleBindingSucceed", "bj-prod");
    ctx.sleep(Duration::from_secs(1)).await.unwrap();
    assert_eq!(written.lock().unwrap().len(), 3);
    assert_eq!(metrics.events(EventFate::Written), 3);
    assert_eq!(metrics.events(EventFate::Repeated), 2);

    ctx.sleep(MEMORY).await.unwrap();
    recorder.record(&object("1"), Level::Normal, "ScheduleBindingSucceed", "bj-prod");
    ctx.sleep(Duration::from_secs(1)).await.unwrap();
    assert_eq!(written.lock().unwrap().len(), 4);
}

#[pando_context::test(paused)]
async fn an_event_looks_like_everybody_elses(ctx: Ctx) {
    let (recorder, _, written) = recorder(&ctx, false);
    recorder.record(&object("1"), Level::Warning, "SyncWorkFailed", &"ü".repeat(1000));
    let cluster =
        ObjectReference { kind: Some("Cluster".into()), name: Some("c".repeat(253)), ..ObjectReference::default() };
    recorder.record(&cluster, Level::Normal, "Joined", "");
    ctx.sleep(Duration::from_secs(1)).await.unwrap();
    let written = written.lock().unwrap();
    let (path, event) = &written[0];
    assert_eq!(path, "/api/v1/namespaces/shop/events");
    assert_eq!(event.metadata.name.as_deref(), Some("web-deployment.0000000000000001"));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.message.as_ref().unwrap().len(), MESSAGE_LIMIT);
    assert_eq!(event.source.as_ref().unwrap().component.as_deref(), Some(COMPONENT));
    assert_eq!(event.reporting_component.as_deref(), Some(COMPONENT));
    let (path, event) = &written[1];
    assert_eq!(path, "/api/v1/namespaces/default/events");
    assert_eq!(event.metadata.name.as_ref().unwrap().len(), 253);
}

#[pando_context::test(paused)]
async fn a_flood_keeps_to_the_budget_and_is_counted(ctx: Ctx) {
    let (recorder, metrics, written) = recorder(&ctx, false);
    for number in 0..1000 {
        recorder.record(&object("1"), Level::Normal, "Flood", &number.to_string());
    }
    assert_eq!(metrics.events(EventFate::OverBudget), 1000 - QUEUED as u64);
    ctx.sleep(Duration::from_millis(10_100)).await.unwrap();
    assert_eq!(written.lock().unwrap().len() as u32, BURST + 10 * RATE);
}

#[pando_context::test(paused)]
async fn a_refused_event_is_only_counted(ctx: Ctx) {
    let (recorder, metrics, _) = recorder(&ctx, true);
    recorder.record(&object("1"), Level::Normal, "Refused", "");
    ctx.sleep(Duration::from_secs(1)).await.unwrap();
    assert_eq!(metrics.events(EventFate::Refused), 1);
}

#[pando_context::test(paused)]
async fn a_busy_server_is_left_alone_for_as_long_as_it_says(ctx: Ctx) {
    let start = Instant::now();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let service = service_fn(move |_: Request<Body>| {
        let count = {
            let mut log = log.lock().unwrap();
            log.push(start.elapsed().as_secs());
            log.len()
        };
        let seconds = if count == 1 { 7 } else { 86_400 };
        let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "code": 429, "reason": "TooManyRequests", "message": "", "details": {"retryAfterSeconds": seconds}});
        let response = Response::builder().status(429).body(Body::from(status.to_string().into_bytes()));
        std::future::ready(Ok::<_, Infallible>(response.unwrap()))
    });
    let metrics = Metrics::new();
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let (recorder, task) = Recorder::start(&ctx, Client::new(service, "default"), clock, metrics.clone());
    task.detach();
    recorder.record(&object("1"), Level::Normal, "First", "");
    recorder.record(&object("1"), Level::Normal, "Second", "");
    ctx.sleep(Duration::from_secs(90)).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), [0, 7, 37, 67], "the second begins when the third rest of the first is over");
    assert_eq!(metrics.events(EventFate::Refused), 1);
}

#[pando_context::test(paused)]
async fn recording_goes_on_without_effect_after_the_end(root: &Scope) {
    let term = root.ctx().child(&Kind::new("term"));
    let (recorder, metrics, _) = recorder(term.ctx(), false);
    term.stop(pando_context::ReasonKind::Shutdown, Duration::from_secs(1)).await.unwrap();
    recorder.record(&object("1"), Level::Normal, "Late", "");
    assert_eq!(metrics.events(EventFate::OverBudget), 1);
    Recorder::disabled().record(&object("1"), Level::Normal, "Nobody", "");
}
