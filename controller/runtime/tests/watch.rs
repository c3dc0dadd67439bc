//! The watch against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::client::Body;
use kube::discovery::ApiResource;
use pando_context::{Ctx, Kind, Scope};
use pando_runtime::store::{Key, Read, Store};
use pando_runtime::watch::{self, Options, Phase};
use serde_json::{Value, json};

const WATCH: Kind = Kind::new("watch");

type Answer = UnsyncBoxBody<Bytes, std::io::Error>;

enum Reply {
    Json(u16, Value),
    /// Frames, and whether the connection is cut (true), stays open and silent (None) or is closed.
    Frames(Vec<String>, Option<bool>),
}

/// Answers lists and watches from two scripts; when a script is at its end, requests hang.
#[derive(Clone, Default)]
struct Server {
    lists: Arc<Mutex<VecDeque<Reply>>>,
    watches: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn list(self, items: &[Value], revision: u64) -> Self {
        self.list_reply(Reply::Json(200, list(items, revision)))
    }

    fn list_reply(self, reply: Reply) -> Self {
        self.lists.lock().unwrap().push_back(reply);
        self
    }

    fn watch(self, frames: &[String], end: Option<bool>) -> Self {
        self.watches.lock().unwrap().push_back(Reply::Frames(frames.to_vec(), end));
        self
    }

    fn watch_reply(self, reply: Reply) -> Self {
        self.watches.lock().unwrap().push_back(reply);
        self
    }

    fn client(&self) -> Client {
        let server = self.clone();
        Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                let uri = request.uri().to_string();
                async move { Ok::<_, Infallible>(server.answer(uri).await) }
            }),
            "default",
        )
    }

    async fn answer(&self, uri: String) -> Response<Answer> {
        self.requests.lock().unwrap().push(uri.clone());
        let script = if uri.contains("watch=true") { &self.watches } else { &self.lists };
        let reply = script.lock().unwrap().pop_front();
        let (status, body) = match reply {
            None => return std::future::pending().await,
            Some(Reply::Json(status, body)) => {
                (status, Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync())
            }
            Some(Reply::Frames(frames, end)) => {
                let frames = stream::iter(frames).map(|frame| Ok(Frame::data(Bytes::from(frame))));
                let body = match end {
                    None => StreamBody::new(frames.chain(stream::pending())).boxed_unsync(),
                    Some(false) => StreamBody::new(frames).boxed_unsync(),
                    Some(true) => {
                        let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                        StreamBody::new(frames.chain(stream::iter([Err(cut)]))).boxed_unsync()
                    }
                };
                (200, body)
            }
        };
        Response::builder().status(status).body(body).unwrap()
    }

    fn requests(&self, word: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|uri| uri.contains(word)).count()
    }

    fn lists_made(&self) -> usize {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .filter(|uri| !uri.contains("watch=true") && !uri.contains("fieldSelector"))
            .count()
    }
}

fn list(items: &[Value], revision: u64) -> Value {
    json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": revision.to_string()}, "items": items})
}

fn config_map(name: &str, revision: u64, data: &str) -> Value {
    json!({"metadata": {
        "name": name, "namespace": "n", "uid": format!("uid-{name}"), "resourceVersion": revision.to_string(),
        "managedFields": [{"manager": "kubectl", "operation": "Update"}],
    }, "data": {"key": data}})
}

/// A config map that no typed client can read.
fn unreadable(name: &str, revision: u64) -> Value {
    let mut object = config_map(name, revision, "");
    object["data"] = json!(7);
    object
}

/// As an API server writes it: the type first.
fn frame(kind: &str, object: &Value) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn store() -> Store<ConfigMap> {
    Store::new(ApiResource::erase::<ConfigMap>(&()))
}

fn key(name: &str) -> Key {
    Key::namespaced("n", name)
}

fn start(ctx: &Ctx, server: &Server, store: &Store<ConfigMap>) {
    let (client, store) = (server.client(), store.clone());
    ctx.spawn(&WATCH, |ctx| watch::run(ctx, client, store, Options::default())).detach();
}

fn data(store: &Store<ConfigMap>, name: &str) -> Option<String> {
    store.get(&key(name))?.data.as_ref()?.get("key").cloned()
}

/// Waits, in virtual time, until something is so.
async fn until(ctx: &Ctx, what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if so() {
            return;
        }
        ctx.sleep(Duration::from_millis(100)).await.unwrap();
    }
    panic!("never: {what}");
}

#[pando_context::test(paused)]
async fn one_unreadable_object_is_one_fault_and_the_others_go_on(root: &Scope) {
    let server =
        Server::default().list(&[config_map("a", 5, "1"), unreadable("b", 6), config_map("c", 7, "1")], 10).watch(
            &[
                frame("ADDED", &unreadable("d", 11)),
                frame("MODIFIED", &unreadable("a", 12)),
                frame("MODIFIED", &config_map("c", 13, "2")),
            ],
            None,
        );
    let store = store();
    start(root.ctx(), &server, &store);
    store.synced(root.ctx()).await.unwrap();
    until(root.ctx(), "c is updated", || data(&store, "c").as_deref() == Some("2")).await;

    let faults: Vec<String> = store.faults().iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[1].starts_with("n/b (version 6): invalid type: integer `…`"), "{faults:?}");
    assert!(matches!(store.read(&key("d")), Read::Unreadable(_)), "it exists, so it is not absent");
    assert_eq!(data(&store, "a").as_deref(), Some("1"), "what could be read before still shows");
    assert!(matches!(store.read(&key("a")), Read::Unreadable(_)), "but nobody takes it for the present");
    assert!(matches!(store.read(&key("x")), Read::Absent));
    assert!(store.get(&key("c")).unwrap().metadata.managed_fields.is_none());
    assert_eq!(store.health().phase, Phase::Watching);
}

#[pando_context::test(paused)]
async fn frames_with_the_object_before_the_type_are_read_too(root: &Scope) {
    let frame = format!("{}\n", json!({"object": config_map("a", 11, "1"), "type": "ADDED"}));
    assert!(frame.starts_with("{\"object\""));
    let server = Server::default().list(&[], 10).watch(&[frame], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "a is there", || data(&store, "a").is_some()).await;
}

#[pando_context::test(paused)]
async fn an_expired_version_leads_to_a_list_that_drops_what_vanished(root: &Scope) {
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"});
    let server = Server::default()
        .list(&[config_map("a", 5, "1"), config_map("b", 6, "1")], 10)
        .watch(&[frame("ERROR", &expired)], Some(false))
        .list(&[config_map("b", 6, "1"), config_map("c", 20, "1")], 21)
        .watch(&[], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "c is there", || data(&store, "c").is_some()).await;
    assert_eq!(store.keys(), [key("b"), key("c")]);
    assert_eq!(server.lists_made(), 2);
}

#[pando_context::test(paused)]
async fn an_expired_version_may_also_be_an_http_status(root: &Scope) {
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"});
    let server = Server::default()
        .list(&[config_map("a", 5, "1")], 10)
        .watch_reply(Reply::Json(410, expired))
        .list(&[config_map("a", 12, "2")], 21)
        .watch(&[], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "a is updated", || data(&store, "a").as_deref() == Some("2")).await;
}

#[pando_context::test(paused)]
async fn a_cut_connection_is_resumed_where_it_was_without_a_list(root: &Scope) {
    let half = frame("MODIFIED", &config_map("a", 12, "3"))[..40].to_owned();
    let server = Server::default()
        .list(&[config_map("a", 5, "1")], 10)
        .watch(&[frame("MODIFIED", &config_map("a", 11, "2")), half], Some(true))
        .watch(&[frame("MODIFIED", &config_map("a", 12, "3"))], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "a is updated", || data(&store, "a").as_deref() == Some("3")).await;
    assert_eq!(server.lists_made(), 1);
    assert_eq!(server.requests("resourceVersion=11"), 1);
    assert_eq!(store.health().phase, Phase::Watching);
}

#[pando_context::test(paused)]
async fn after_a_frame_that_nobody_can_read_everything_is_listed_again(root: &Scope) {
    let server = Server::default()
        .list(&[config_map("a", 5, "1")], 10)
        .watch(&["{\"type\":\"MODIFIED\",\"object\":nonsense}\n".to_owned()], None)
        .list(&[config_map("a", 11, "2")], 12)
        .watch(&[], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "a is updated", || data(&store, "a").as_deref() == Some("2")).await;
}

#[pando_context::test(paused)]
async fn a_server_that_comes_back_is_noticed_and_meanwhile_the_failure_is_told(root: &Scope) {
    let broken = || {
        Reply::Json(
            500,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "etcd is away"}),
        )
    };
    let server = Server::default().list_reply(broken()).list_reply(broken()).list_reply(broken());
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "three failures", || server.lists_made() == 4).await;
    assert!(!store.is_synced());
    assert!(matches!(store.read(&key("a")), Read::Unreadable(_)), "nothing is absent before the first list");
    let Phase::Failing(error) = store.health().phase else { panic!("{:?}", store.health()) };
    assert!(error.contains("etcd is away"), "{error}");
}

#[pando_context::test(paused)]
async fn who_knows_that_the_server_is_back_ends_the_pause(root: &Scope) {
    let away =
        || Reply::Json(401, json!({"kind": "Status", "status": "Failure", "code": 401, "message": "who are you"}));
    let mut server = Server::default();
    for _ in 0..20 {
        server = server.list_reply(away());
    }
    let (store, wake) = (store(), Arc::new(tokio::sync::Notify::new()));
    let (client, fed, woken) = (server.client(), store.clone(), Arc::clone(&wake));
    root.ctx().spawn(&WATCH, |ctx| watch::run_woken(ctx, client, fed, Options::default(), woken)).detach();
    // The tenth failure is followed by a pause of 15 s at least.
    until(root.ctx(), "ten failures", || server.lists_made() == 10).await;
    root.ctx().sleep(Duration::from_secs(1)).await.unwrap();
    let tried = server.lists_made();
    wake.notify_waiters();
    root.ctx().sleep(Duration::from_secs(1)).await.unwrap();
    assert_eq!((tried, server.lists_made()), (10, 11));
}

#[pando_context::test(paused)]
async fn a_watch_that_works_again_but_is_quiet_is_not_reported_as_failing_for_ever(root: &Scope) {
    let broken = Reply::Json(
        500,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": "etcd is away"}),
    );
    let server = Server::default().list(&[], 10).watch_reply(broken).watch(&[], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "it fails", || matches!(store.health().phase, Phase::Failing(_))).await;
    until(root.ctx(), "it works", || store.health().phase == Phase::Watching).await;
    assert_eq!(server.lists_made(), 1);
}

#[pando_context::test(paused)]
async fn a_write_whose_echo_never_comes_is_read_once_and_settled(root: &Scope) {
    let server = Server::default()
        .list(&[config_map("a", 5, "1")], 10)
        .watch(&[], None)
        // The two questions, in the order of the revisions: one is gone, one exists.
        .list(&[], 40)
        .list(&[config_map("there", 21, "1")], 41);
    let store = store();
    start(root.ctx(), &server, &store);
    store.synced(root.ctx()).await.unwrap();
    for (name, revision) in [("gone", 20), ("there", 21)] {
        store.written(serde_json::from_value(config_map(name, revision, "1")).unwrap());
    }
    assert_eq!(store.len(), 3);
    until(root.ctx(), "the lost one is dropped", || store.len() == 2).await;
    assert_eq!(store.keys(), [key("a"), key("there")]);
    root.ctx().sleep(Duration::from_secs(60)).await.unwrap();
    assert_eq!(server.requests("metadata.name%3Dthere"), 1, "{:?}", server.requests.lock().unwrap());
}

#[pando_context::test(paused)]
async fn a_list_in_pages_is_one_list(root: &Scope) {
    let mut first = list(&[config_map("a", 5, "1")], 10);
    first["metadata"]["continue"] = json!("next");
    let server =
        Server::default().list_reply(Reply::Json(200, first)).list(&[config_map("b", 6, "1")], 10).watch(&[], None);
    let store = store();
    start(root.ctx(), &server, &store);
    store.synced(root.ctx()).await.unwrap();
    assert_eq!(store.keys(), [key("a"), key("b")]);
    assert_eq!(server.requests("continue=next"), 1);
    assert_eq!(server.requests("resourceVersion=0"), 0, "lists are quorum reads");
}

#[pando_context::test(paused)]
async fn a_server_restored_from_a_backup_is_believed(root: &Scope) {
    let server = Server::default()
        .list(&[config_map("a", 50, "new"), config_map("b", 60, "1")], 60)
        // The version of the watch lies in the future of the restored server.
        .watch_reply(Reply::Json(504, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 504, "message": "Too large resource version"})))
        .list(&[config_map("a", 5, "old")], 9)
        .watch(&[frame("ADDED", &config_map("c", 10, "1"))], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "c is there", || data(&store, "c").is_some()).await;
    assert_eq!(data(&store, "a").as_deref(), Some("old"));
    assert_eq!(store.keys(), [key("a"), key("c")]);
    assert_eq!(store.counts().rewinds, 1);
}

#[pando_context::test(paused)]
async fn a_watch_ends_with_its_context(root: &Scope) {
    let server = Server::default().list(&[], 10).watch(&[], None);
    let store = store();
    let scope = root.ctx().child(&WATCH);
    let (client, fed) = (server.client(), store.clone());
    let task = scope.ctx().spawn(&WATCH, |ctx| watch::run(ctx, client, fed, Options::default()));
    store.synced(root.ctx()).await.unwrap();
    scope.stop(pando_context::Reason::requested("enough"), Duration::from_secs(1)).await.unwrap();
    assert!(task.await.is_err() || store.is_synced());
}

#[pando_context::test(paused)]
async fn after_a_long_outage_the_watch_goes_on_where_it_was(root: &Scope) {
    let mut server = Server::default().list(&[config_map("a", 5, "1")], 10);
    for _ in 0..20 {
        server = server.watch_reply(Reply::Json(
            503,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503, "message": "overloaded"}),
        ));
    }
    let server = server.watch(&[frame("MODIFIED", &config_map("a", 11, "2"))], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "a is updated", || data(&store, "a").as_deref() == Some("2")).await;
    assert_eq!(server.lists_made(), 1, "a list would be one more load on a server that has too much of it");
}

#[pando_context::test(paused)]
async fn a_watch_that_is_refused_again_and_again_begins_with_a_list(root: &Scope) {
    let mut server = Server::default().list(&[config_map("a", 5, "1")], 10);
    for _ in 0..8 {
        server = server.watch_reply(Reply::Json(
            422,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "message": "no"}),
        ));
    }
    let server = server.list(&[config_map("a", 12, "2")], 12).watch(&[], None);
    let store = store();
    start(root.ctx(), &server, &store);
    until(root.ctx(), "a is updated", || data(&store, "a").as_deref() == Some("2")).await;
}

#[pando_context::test(paused)]
async fn a_server_that_lists_well_and_refuses_every_watch_is_listed_more_and_more_seldom(root: &Scope) {
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"});
    let mut server = Server::default();
    for round in 0..200 {
        server = server.list(&[config_map("a", 5, "1")], 10 + round).watch_reply(Reply::Json(410, expired.clone()));
    }
    let store = store();
    start(root.ctx(), &server, &store);
    root.ctx().sleep(Duration::from_secs(60)).await.unwrap();
    assert!((3..=12).contains(&server.lists_made()), "{} lists in a minute", server.lists_made());
    assert_eq!(store.keys(), [key("a")]);
}

#[pando_context::test(paused)]
async fn a_list_without_an_end_is_given_up_and_what_was_known_stays(root: &Scope) {
    let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"});
    let mut server = Server::default().list(&[config_map("a", 5, "1")], 10).watch_reply(Reply::Json(410, expired));
    for page in 0..12 {
        let items: Vec<Value> = (0..10).map(|item| config_map(&format!("x-{page}-{item}"), 20, "1")).collect();
        let mut page = list(&items, 20);
        page["metadata"]["continue"] = json!("there is always more");
        server = server.list_reply(Reply::Json(200, page));
    }
    let (store, watched) = (store(), Options { most_objects: 100, ..Options::default() });
    let (client, fed) = (server.client(), store.clone());
    root.ctx().spawn(&WATCH, |ctx| watch::run(ctx, client, fed, watched)).detach();
    until(
        root.ctx(),
        "it is given up",
        || matches!(store.health().phase, Phase::Failing(text) if text.contains("given up")),
    )
    .await;
    assert_eq!(store.keys(), [key("a")], "nothing of a list shows before its end");
    assert!(server.lists_made() <= 13, "{} requests", server.lists_made());
    // What is left of the script is the last page; then the server is well again.
    let server = server.list(&[config_map("b", 30, "1")], 30).watch(&[], None);
    server
        .lists
        .lock()
        .unwrap()
        .retain(|reply| !matches!(reply, Reply::Json(_, body) if body["metadata"]["continue"].is_string()));
    until(root.ctx(), "b is there", || data(&store, "b").is_some()).await;
    assert_eq!(store.keys(), [key("b")]);
}
