#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::core::ApiResource;
use pando_context::Scope;
use pando_member::registry::{Entry, State, Why};
use pando_runtime::clock::SystemClock;
use pando_runtime::metrics::Metrics;
use pando_runtime::store::Record;
use pando_runtime::term::Term;
use serde_json::Value;

use super::*;
use crate::member_agent;

const CLUSTER: &str = "/apis/cluster.karmada.io/v1alpha1/clusters/bj";
const SECRET: &str = "/api/v1/namespaces/karmada-cluster/secrets/bj";
const IMPERSONATOR: &str = "/api/v1/namespaces/karmada-cluster/secrets/bj-impersonator";
const NAMESPACE: &str = "/api/v1/namespaces/karmada-es-bj";

/// Objects by path; reads, creates and merges them, issues tokens, and logs what it was asked for.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Served>>);

#[derive(Default)]
struct Served {
    objects: BTreeMap<String, Value>,
    log: Vec<String>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (code, answer) = server.answer(&parts.method, parts.uri.path(), &body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        Client::new(service, "default")
    }

    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        let Served { objects, log } = &mut *state;
        log.push(format!("{method} {path}"));
        if path.contains("/configmaps") && objects.contains_key("no configmaps") {
            return (403, json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}));
        }
        if path.ends_with("/token") {
            let expires = (Timestamp::now() + SignedDuration::from_hours(24)).to_string();
            return (201, json!({"status": {"token": "renewed", "expirationTimestamp": expires}}));
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let path = path.strip_suffix("/status").unwrap_or(path);
        if *method == Method::POST {
            let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
            objects.insert(path, body.clone());
            return (201, body);
        }
        let Some(object) = objects.get_mut(path) else {
            return (404, json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}));
        };
        if *method == Method::PATCH {
            merge(object, &body);
            let version =
                object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse::<u64>().ok());
            object["metadata"]["resourceVersion"] = json!((version.unwrap_or(100) + 1).to_string());
        }
        (200, object.clone())
    }

    fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    fn get(&self, path: &str) -> Value {
        self.0.lock().unwrap().objects[path].clone()
    }

    fn remove(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path);
    }

    /// What it was asked for that contains `text`, since it was last asked this.
    fn asked(&self, text: &str) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log).into_iter().filter(|line| line.contains(text)).collect()
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let (Value::Object(fields), Value::Object(patch)) = (&mut *into, patch) else { return *into = patch.clone() };
    for (key, value) in patch {
        merge(fields.entry(key).or_insert(Value::Null), value);
    }
}

struct World {
    root: Scope,
    hub: Server,
    env: Env,
    namespaces: Store<Template>,
}

impl World {
    fn new() -> Self {
        let root = Scope::root("test");
        let server = Server::default();
        let hub = Hub::new(server.client(), Term::constant());
        let works: Store<Work> = Store::new(ApiResource::erase::<Work>(&()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let namespaces = Store::new(ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&()));
        let agents = Agents::new(member_agent::Parts {
            hub: hub.clone(),
            works: works.clone(),
            bindings: Bindings::new(),
            clusters: Store::new(ApiResource::erase::<Cluster>(&())),
            federation: "federation-1".into(),
            events: Recorder::disabled(),
            clock: Arc::clone(&clock),
            metrics: Metrics::new(),
            settings: member_agent::Settings::default(),
        });
        let env = Env::new(Parts {
            hub,
            client: server.client(),
            clusters: Store::new(ApiResource::erase::<Cluster>(&())),
            works,
            bindings: Bindings::new(),
            namespaces: Some(namespaces.clone()),
            registry: Registry::new(root.ctx().clone()),
            agents,
            events: Recorder::disabled(),
            clock,
            settings: Settings::default(),
        });
        let world = Self { root, hub: server, env, namespaces };
        world.hub.put(NAMESPACE, json!({"metadata": {"name": "karmada-es-bj", "uid": "n-1"}}));
        world.hub.put(SECRET, secret("bj", SignedDuration::from_hours(24)));
        world
    }

    /// The Cluster `bj` is there, as this uid.
    fn joined(&self, uid: &str, secret_namespace: &str) {
        let cluster = json!({"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "bj", "uid": uid, "generation": 1, "resourceVersion": if uid == "uid-1" { "10" } else { "2000" },
                "finalizers": [finalizers::CLUSTER]},
            "spec": {"syncMode": "Push", "apiEndpoint": "https://127.0.0.1:1", "insecureSkipTLSVerification": true,
                "secretRef": {"namespace": secret_namespace, "name": "bj"},
                "impersonatorSecretRef": {"namespace": "karmada-cluster", "name": "bj-impersonator"}}});
        self.hub.put(CLUSTER, cluster.clone());
        self.env.clusters.written(serde_json::from_value(cluster).unwrap());
    }

    /// The Cluster is being deleted since a moment ago, with these annotations.
    fn deleted(&self, annotations: Value) {
        let mut cluster = self.hub.get(CLUSTER);
        cluster["metadata"]["deletionTimestamp"] = json!(Timestamp::now().to_string());
        cluster["metadata"]["annotations"] = annotations;
        let version = cluster["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse::<u64>().ok());
        cluster["metadata"]["resourceVersion"] = json!((version.unwrap() + 1000).to_string());
        self.hub.put(CLUSTER, cluster.clone());
        self.env.clusters.written(serde_json::from_value(cluster).unwrap());
    }

    /// A Work of the Cluster that is being deleted, and waits for its object in the member.
    fn going(&self, name: &str) -> String {
        let path = format!("/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-bj/works/{name}");
        let manifest =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "prod", "name": name}});
        let work = json!({"apiVersion": "work.karmada.io/v1alpha1", "kind": "Work",
            "metadata": {"namespace": "karmada-es-bj", "name": name, "uid": name, "resourceVersion": "20",
                "deletionTimestamp": Timestamp::now().to_string(), "finalizers": [finalizers::EXECUTION]},
            "spec": {"workload": {"manifests": [manifest]}}});
        self.hub.put(&path, work.clone());
        self.env.works.written(serde_json::from_value(work).unwrap());
        path
    }

    /// The condition Detaching: reason and message.
    fn detaching(&self) -> (String, String) {
        let conditions = self.hub.get(CLUSTER)["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == "Detaching").unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        (text("reason"), text("message"))
    }

    /// The member is lost, and its Cluster says so.
    async fn lost(&self) {
        self.entry().unwrap().set_state(State::Lost { why: Why::Unreachable, cause: "no route".into() });
        let before = pando_context::Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
        self.env.memory.of(&name(), |facts| facts.lost_since = Some(before));
        self.reconcile().await;
    }

    async fn reconcile(&self) -> Next {
        reconcile(self.root.ctx(), &self.env, &Key::cluster("bj")).await.unwrap()
    }

    fn entry(&self) -> Option<Arc<Entry>> {
        self.env.registry.get(&name())
    }

    /// A member that is connected, over a server of its own.
    async fn member(&self) -> Server {
        let member = Server::default();
        let entry = self.env.registry.attach_by(&name(), |_| (member.client(), member.client())).await.unwrap();
        entry.set_state(State::Connected);
        member
    }
}

fn name() -> ClusterName {
    ClusterName::parse("bj").unwrap()
}

/// A secret whose token of 24 hours ends in this time.
fn secret(name: &str, left: SignedDuration) -> Value {
    let until = Timestamp::now() + left;
    let from = until - SignedDuration::from_hours(24);
    json!({"metadata": {"name": name, "namespace": "karmada-cluster", "uid": name, "resourceVersion": "7", "annotations": {
        "pando.io/token-issued": from.to_string(), "pando.io/token-expires": until.to_string()}},
        "data": {"token": "dG9rZW4="}})
}

fn namespace(version: &str) -> Template {
    let raw = json!({"metadata": {"name": "karmada-es-bj", "uid": "n-1", "resourceVersion": version}}).to_string();
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Namespace>(&());
    Template::decode(&resource, &serde_json::value::RawValue::from_string(raw).unwrap()).unwrap()
}

#[pando_context::test]
async fn a_secret_outside_of_its_namespace_is_not_even_read() {
    let world = World::new();
    world.joined("uid-1", "kube-system");
    world.reconcile().await;
    assert_eq!(world.hub.asked("/secrets/bj"), Vec::<String>::new());
    let ready = &world.hub.get(CLUSTER)["status"]["conditions"][0];
    assert_eq!(ready["status"], "False");
    assert!(ready["message"].as_str().unwrap().contains("namespace karmada-cluster"), "{ready}");
    assert!(world.entry().is_none());
}

#[pando_context::test]
async fn nothing_is_written_by_parameters_that_were_revoked() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    let entry = world.entry().unwrap();
    world.hub.remove(SECRET);
    world.env.memory.of(&name(), |facts| facts.secret_read = None);
    world.reconcile().await;
    assert!(entry.member().ctx().is_cancelled());
    assert!(world.entry().is_none());
    assert!(world.env.memory.of(&name(), |facts| facts.own.life.is_none()));
    world.hub.put(SECRET, secret("bj", SignedDuration::from_hours(24)));
    world.reconcile().await;
    assert!(world.entry().is_some());
}

#[pando_context::test]
async fn another_cluster_of_the_same_name_inherits_nothing() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    let first = world.entry().unwrap();
    world.env.memory.of(&name(), |facts| facts.version = Some("v1.2.3".into()));
    world.joined("uid-2", "karmada-cluster");
    world.reconcile().await;
    assert!(first.member().ctx().is_cancelled());
    assert!(!Arc::ptr_eq(&first, &world.entry().unwrap()));
    assert_eq!(world.env.memory.of(&name(), |facts| facts.version.clone()), None);
}

#[pando_context::test]
async fn an_execution_namespace_that_vanishes_is_made_again_at_once() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.namespaces.written(namespace("5"));
    world.reconcile().await;
    world.env.queue.next(world.root.ctx()).await.unwrap().done();
    world.hub.remove(NAMESPACE);
    world.namespaces.removed(&Key::cluster("karmada-es-bj"), "n-1");
    let woken = world.env.queue.next(world.root.ctx()).await.unwrap();
    assert_eq!(*woken, Key::cluster("bj"));
    world.hub.asked("");
    world.reconcile().await;
    assert_eq!(world.hub.asked("POST"), ["POST /api/v1/namespaces"]);
}

#[pando_context::test]
async fn our_token_is_renewed_whatever_comes_of_the_impersonators() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    let member = world.member().await;
    world.hub.put(SECRET, secret("bj", SignedDuration::from_mins(10)));
    let due = Timestamp::now() + SignedDuration::from_mins(10);
    world.env.memory.of(&name(), |facts| facts.own.life = Some(memory::Lifetime { from: None, until: due }));
    let next = token::renew(world.root.ctx(), &world.env, &name()).await;
    assert_eq!(member.asked("/token").len(), 1, "the impersonator has no secret: no token is asked for it");
    assert_eq!(world.hub.get(SECRET)["data"]["token"], "cmVuZXdlZA==");
    assert!(next.delay().unwrap() >= Duration::from_secs(1));
    assert!(world.env.memory.of(&name(), |facts| facts.secret_read.is_none()), "read again, to be swapped in");
    token::renew(world.root.ctx(), &world.env, &name()).await;
    assert_eq!(member.asked("/token").len(), 0);
}

#[pando_context::test]
async fn the_impersonators_token_has_a_life_of_its_own() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    let member = world.member().await;
    world.hub.put(IMPERSONATOR, secret("bj-impersonator", SignedDuration::from_mins(10)));
    token::renew(world.root.ctx(), &world.env, &name()).await;
    assert_eq!(
        member.asked("/token"),
        ["POST /api/v1/namespaces/karmada-cluster/serviceaccounts/karmada-impersonator/token"]
    );
    assert_eq!(world.hub.get(IMPERSONATOR)["data"]["token"], "cmVuZXdlZA==");
}

#[pando_context::test]
async fn no_token_is_asked_for_that_has_no_place() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    let member = world.member().await;
    world.hub.remove(SECRET);
    let due = Timestamp::now();
    world.env.memory.of(&name(), |facts| facts.own.life = Some(memory::Lifetime { from: None, until: due }));
    let next = token::renew(world.root.ctx(), &world.env, &name()).await;
    assert!(next.delay().unwrap() >= Duration::from_secs(30), "{next:?}");
    assert_eq!(member.asked("/token"), Vec::<String>::new());
}

#[pando_context::test]
async fn a_cluster_that_becomes_pull_is_not_worked_with_from_here_any_more() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    let entry = world.entry().unwrap();
    let mut cluster = world.hub.get(CLUSTER);
    cluster["spec"]["syncMode"] = json!("Pull");
    cluster["metadata"]["resourceVersion"] = json!("3000");
    world.env.clusters.written(serde_json::from_value(cluster).unwrap());
    world.reconcile().await;
    assert!(entry.member().ctx().is_cancelled());
    assert!(world.entry().is_none());
}

#[pando_context::test]
async fn a_lost_member_is_named_before_ready_says_so_and_no_more_when_it_is_back() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    let entry = world.entry().unwrap();
    let connected = || {
        let conditions = world.hub.get(CLUSTER)["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|condition| condition["type"] == "Connected")
    };
    entry.set_state(State::Lost { why: Why::Unreachable, cause: "no route".into() });
    world.env.memory.of(&name(), |facts| facts.lost_since = Some(pando_context::Instant::now()));
    world.reconcile().await;
    assert_eq!(connected(), None, "a blip is not worth a write");
    let before = pando_context::Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
    world.env.memory.of(&name(), |facts| facts.lost_since = Some(before));
    world.reconcile().await;
    let told = connected().unwrap();
    assert_eq!((&told["status"], &told["reason"]), (&json!("False"), &json!("LinkLost")));
    entry.set_state(State::Connected);
    world.reconcile().await;
    assert_eq!(connected(), None);
}

#[pando_context::test]
async fn a_lost_member_keeps_its_cluster_and_its_works_and_says_why() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    world.lost().await;
    let work = world.going("a");
    world.deleted(json!({"pando.io/detach-deadline": "0s"}));
    world.reconcile().await;
    let (reason, message) = world.detaching();
    assert_eq!(reason, "DeadlineExceeded");
    assert!(message.contains("1 Work with 1 object") && message.contains("no route"), "{message}");
    world.deleted(json!({}));
    world.reconcile().await;
    assert_eq!(world.detaching().0, "MemberUnreachable");
    assert_eq!(world.hub.get(&work)["metadata"]["finalizers"], json!([finalizers::EXECUTION]));
    assert_eq!(world.hub.get(CLUSTER)["metadata"]["finalizers"], json!([finalizers::CLUSTER]));
    assert!(world.entry().is_some(), "it is probed until it is back");
}

#[pando_context::test]
async fn force_writes_down_what_it_leaves_behind_before_it_lets_go() {
    const LIST: &str = "/api/v1/namespaces/karmada-cluster/configmaps/detached-bj";
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    world.lost().await;
    let work = world.going("a");
    world.deleted(json!({"pando.io/detach-force": "alice"}));
    world.hub.asked("");
    world.reconcile().await;
    let (reason, message) = world.detaching();
    assert!(reason == "Forced" && message.starts_with("forced by alice"), "{reason} {message}");
    let writes: Vec<String> = world
        .hub
        .asked("")
        .into_iter()
        .filter(|line| line.contains("configmaps") || line.contains("works/a"))
        .collect();
    let post = "POST /api/v1/namespaces/karmada-cluster/configmaps".to_owned();
    assert_eq!(writes, [format!("GET {LIST}"), post, format!("PATCH {work}")]);
    assert_eq!(world.hub.get(&work)["metadata"]["finalizers"], json!([]));
    assert_eq!(world.hub.get(LIST)["data"]["objects"], "ConfigMap prod/a");
    assert_eq!(world.hub.get(LIST)["data"]["clusterUid"], "uid-1");
    // Another Work comes to light: the list grows, and what is in it stays.
    world.going("b");
    world.reconcile().await;
    assert_eq!(world.hub.get(LIST)["data"]["objects"], "ConfigMap prod/a\nConfigMap prod/b");
    assert_eq!(
        world.hub.get(CLUSTER)["metadata"]["finalizers"],
        json!([finalizers::CLUSTER]),
        "its Works are not gone"
    );
}

#[pando_context::test]
async fn force_lets_go_where_the_list_may_neither_be_read_nor_written() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    world.lost().await;
    let work = world.going("a");
    world.deleted(json!({"pando.io/detach-force": "alice"}));
    world.hub.put("no configmaps", json!({}));
    world.reconcile().await;
    assert_eq!(world.hub.get(&work)["metadata"]["finalizers"], json!([]));
}

#[pando_context::test]
async fn the_last_thing_that_goes_is_the_finalizer_after_every_task_has_ended() {
    let world = World::new();
    world.joined("uid-1", "karmada-cluster");
    world.reconcile().await;
    let entry = world.entry().unwrap();
    world.hub.remove(NAMESPACE);
    world.deleted(json!({}));
    world.reconcile().await;
    assert!(entry.member().ctx().is_cancelled() && world.entry().is_none());
    assert_eq!(world.hub.get(CLUSTER)["metadata"]["finalizers"], json!([]));
}
