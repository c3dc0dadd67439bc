#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::Response;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use pando_context::Instant;
use pando_runtime::controller::{self, Action, Spec};
use pando_runtime::queue::Queue;
use serde_json::json;

use super::*;

const WRITER: Kind = Kind::new("writer");
const SECOND: Duration = Duration::from_secs(1);

/// Code and body, from the name of the object and the number of the request.
type Answer = fn(&str, usize) -> (u16, Value);

/// An API server that answers every write after `latency`, with what `answer` makes of name and number.
struct Server {
    hub: Hub,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(ctx: &Ctx, most: usize, latency: Duration, answer: Answer) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (ctx, log) = (ctx.clone(), Arc::clone(&asked));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let (ctx, log) = (ctx.clone(), Arc::clone(&log));
            async move {
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(format!("{} {}", request.method(), request.uri().path()));
                    log.len()
                };
                ctx.sleep(latency).await.unwrap();
                let path = request.uri().path().trim_end_matches("/status");
                let (code, body) = answer(path.rsplit('/').next().unwrap(), number);
                let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                let body = Body::from(body.into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
            }
        });
        let client = Client::new(service, "default");
        Self { hub: Hub::new(client, Term::constant()).within(Budget::new(most, Metrics::new())), asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn named(name: &str, version: u64) -> Value {
    json!({"metadata": {"namespace": "shop", "name": name, "uid": "u", "resourceVersion": version.to_string()}})
}

fn config_map(version: u64) -> Value {
    named("a", version)
}

fn fine(name: &str, number: usize) -> (u16, Value) {
    (200, named(name, 100 + number as u64))
}

fn store() -> Store<ConfigMap> {
    Store::new(ApiResource::erase::<ConfigMap>(&()))
}

fn known(version: u64) -> Store<ConfigMap> {
    let store = store();
    store.written(serde_json::from_value(config_map(version)).unwrap());
    store
}

fn key(name: &str) -> Key {
    Key::namespaced("shop", name)
}

#[pando_context::test(paused)]
async fn waiting_for_a_turn_does_not_eat_the_deadline_of_the_write(ctx: Ctx) {
    let (server, start) = (Server::new(&ctx, 1, 8 * SECOND, fine), Instant::now());
    let store = store();
    let write = |name: &'static str| {
        let (hub, store, ctx) = (&server.hub, &store, &ctx);
        async move { hub.patch(ctx, store, &key(name), &json!({"data": {}})).await }
    };
    let (first, second, third) = futures::join!(write("a"), write("b"), write("c"));
    first.and(second).and(third).unwrap();
    assert_eq!(start.elapsed(), 24 * SECOND);
}

#[pando_context::test(paused)]
async fn releasing_goes_first_then_the_reconciles_own_priority_then_statuses(ctx: Ctx) {
    let server = Server::new(&ctx, 1, SECOND, fine);
    let store = store();
    let background = ctx.with_value(&WRITER, Priority::Background);
    let (hub, data) = (&server.hub, json!({"data": {}}));
    let finalizers = json!({"metadata": {"finalizers": []}});
    let (first, status, resync, edit, release, delete) = (key("0"), key("s"), key("r"), key("e"), key("f"), key("d"));
    let all = futures::join!(
        hub.patch(&ctx, &store, &first, &data),
        hub.patch(background.ctx(), &store, &resync, &data),
        hub.patch_status(&ctx, &store, &status, &data),
        hub.patch(&ctx, &store, &edit, &data),
        hub.patch(background.ctx(), &store, &release, &finalizers),
        hub.delete(&ctx, &store, &delete, "u", "1"),
    );
    for outcome in [all.0, all.1, all.2, all.3, all.4, all.5] {
        outcome.unwrap();
    }
    let order: Vec<_> = server.asked().iter().map(|line| line.split('/').nth(6).unwrap().to_owned()).collect();
    assert_eq!(order, ["0", "f", "d", "e", "s", "r"]);
}

#[pando_context::test(paused)]
async fn a_write_that_is_known_to_lose_is_not_sent(ctx: Ctx) {
    let server = Server::new(&ctx, 8, SECOND, fine);
    let (hub, known) = (&server.hub, known(10));
    let patch = |version: &str| json!({"metadata": {"resourceVersion": version}, "data": {}});
    let outdated = [
        hub.patch(&ctx, &known, &key("a"), &patch("9")).await,
        hub.patch_status(&ctx, &known, &key("a"), &patch("9")).await,
        hub.create(&ctx, &known, &key("a"), &config_map(0)).await,
        hub.delete(&ctx, &known, &key("a"), "u", "9").await,
    ];
    for outcome in outdated {
        let error = outcome.unwrap_err();
        assert!(error.is_conflict() && error.class() == Class::Superseded, "{error}");
    }
    assert_eq!(server.asked(), Vec::<String>::new());
    hub.patch(&ctx, &known, &key("a"), &patch("10")).await.unwrap();
    assert_eq!(server.asked().len(), 1);
}

#[pando_context::test(paused)]
async fn what_was_decided_before_the_wait_is_not_sent_when_the_object_has_changed_meanwhile(ctx: Ctx) {
    let server = Server::new(&ctx, 1, SECOND, fine);
    let store = known(10);
    let (a, patch) = (key("a"), json!({"metadata": {"resourceVersion": "10"}, "data": {}}));
    let both =
        futures::join!(server.hub.patch(&ctx, &store, &a, &patch), server.hub.patch_status(&ctx, &store, &a, &patch),);
    both.0.unwrap();
    assert_eq!(both.1.unwrap_err().class(), Class::Superseded);
    assert_eq!(server.asked().len(), 1, "the reply of the first was in the store before the turn of the second");
}

#[pando_context::test(paused)]
async fn a_write_that_is_refused_for_now_comes_back_when_asked_to_and_the_others_wait_a_second(ctx: Ctx) {
    let server = Server::new(&ctx, 8, Duration::ZERO, |name, number| match number {
        1 => (
            429,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 429,
            "reason": "TooManyRequests", "message": "busy", "details": {"retryAfterSeconds": 3}}),
        ),
        _ => fine(name, number),
    });
    let (store, start) = (store(), Instant::now());
    let busy = server.hub.patch(&ctx, &store, &key("a"), &json!({})).await.unwrap_err();
    assert_eq!((busy.class(), start.elapsed()), (Class::Later(3 * SECOND), Duration::ZERO));
    server.hub.delete(&ctx, &store, &key("b"), "u", "1").await.unwrap();
    assert_eq!(start.elapsed(), SECOND);
}

#[pando_context::test(paused)]
async fn an_answer_that_is_not_the_object_is_no_success(ctx: Ctx) {
    let answers: [Answer; 4] = [
        |_, _| (200, json!("<html>Please sign in</html>")),
        |_, _| (200, json!("{\"metadata\": {\"name\": \"a\", \"names")),
        |_, _| (200, json!({"error": "sign in"})),
        |_, _| (200, named("b", 7)),
    ];
    for answer in answers {
        let server = Server::new(&ctx, 8, Duration::ZERO, answer);
        let store = store();
        let error = server.hub.patch(&ctx, &store, &key("a"), &json!({})).await.unwrap_err();
        assert!(error.class() == Class::Transient && store.is_empty(), "{error}");
    }
    let server = Server::new(&ctx, 8, Duration::ZERO, answers[0]);
    server.hub.delete(&ctx, &store(), &key("a"), "u", "1").await.unwrap_err();
    let server = Server::new(&ctx, 8, Duration::ZERO, |name, _| {
        (200, json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": "7"}, "data": 7}))
    });
    server.hub.patch(&ctx, &store(), &key("a"), &json!({})).await.unwrap(); // written, though we cannot read it
}

/// Writes 50 objects by one reconcile each, while the hub is away for an hour.
#[pando_context::test(paused)]
async fn after_an_hour_without_the_hub_everything_is_written_within_seconds_of_its_return(ctx: Ctx) {
    let (start, away) = (Instant::now(), Duration::from_secs(3600));
    let asked = Arc::<Mutex<Vec<Duration>>>::default();
    let log = Arc::clone(&asked);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        log.lock().unwrap().push(start.elapsed());
        let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
        std::future::ready(if start.elapsed() < away {
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
        } else {
            Ok(Response::new(Body::from(fine(&name, 1).1.to_string().into_bytes())))
        })
    });
    let metrics = Metrics::new();
    let budget = Budget::new(8, metrics.clone());
    let hub = Hub::new(Client::new(service, "default"), Term::constant()).within(budget);
    let (queue, store) = (Queue::new("writes"), store());
    (0..50).for_each(|n| queue.add(key(&n.to_string())));
    let spec = Spec { name: "writes", concurrency: 10, timeout: 60 * SECOND, metrics: metrics.clone() };
    let written = store.clone();
    let task = controller::run(&ctx, spec, queue.clone(), move |ctx, key: Key| {
        let (hub, store) = (hub.clone(), store.clone());
        async move { hub.patch(&ctx, &store, &key, &json!({"data": {}})).await.map(|()| Action::Done) }
    });
    task.detach();
    ctx.sleep(away).await.unwrap();
    let tried = asked.lock().unwrap().len();
    assert!((1800..2000).contains(&tried), "one attempt in two seconds, not {tried} in an hour");
    assert_eq!(queue.depth().failing, 0, "it is not the fault of any key");
    ctx.sleep(5 * SECOND).await.unwrap();
    assert_eq!(written.len(), 50);
    assert!(!metrics.encode().unwrap().contains("result=\"deadline\""));
}

#[pando_context::test(paused)]
async fn a_hub_that_takes_writes_and_answers_none_is_no_fault_of_the_objects(ctx: Ctx) {
    let server = Server::new(&ctx, 8, 3600 * SECOND, fine);
    let (hub, store) = (&server.hub, store());
    let names: Vec<_> = (0..12).map(|n| key(&n.to_string())).collect();
    let (data, start) = (json!({"data": {}}), Instant::now());
    let first = futures::future::join_all(names.iter().take(8).map(|name| hub.patch(&ctx, &store, name, &data))).await;
    assert_eq!(start.elapsed(), WRITE);
    assert_eq!(
        first.into_iter().filter(|outcome| outcome.as_ref().unwrap_err().class() == Class::Transient).count(),
        7
    );
    let later = hub.patch(&ctx, &store, &names[8], &data).await.unwrap_err();
    assert_eq!((later.class(), later.category()), (Class::Unavailable, "HubAway"), "{later}");
}

#[pando_context::test]
async fn only_an_answer_about_the_object_itself_says_that_it_is_gone(ctx: Ctx) {
    let answers: [(Answer, Option<bool>); 5] = [
        (|name, _| (200, named(name, 7)), Some(false)),
        (
            |name, _| {
                (
                    200,
                    json!({"metadata": {"namespace": "shop", "name": name, "uid": "another", "resourceVersion": "7"}}),
                )
            },
            Some(true),
        ),
        (
            |name, _| {
                (
                    404,
                    json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "x", "details": {"name": name}}),
                )
            },
            Some(true),
        ),
        (|_, _| (404, json!("404 page not found")), None),
        (|_, _| (500, json!("away")), None),
    ];
    for (number, (answer, gone)) in answers.into_iter().enumerate() {
        let server = Server::new(&ctx, 4, Duration::ZERO, answer);
        let seen = server.hub.is_gone(&ctx, &store(), &key("a"), "u").await;
        assert_eq!(seen.ok(), gone, "answer {number}");
    }
}
