#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::too_many_lines, reason = "tests")]

mod faults;
mod server;

use kube::core::ApiResource;
use pando_api::cluster::Cluster;
use pando_api::names;
use pando_api::work::Work;
use pando_context::Scope;
use pando_member::registry::{Registry, Why};
use pando_runtime::clock::SystemClock;
use pando_runtime::events::Recorder;
use pando_runtime::metrics::Metrics;
use pando_runtime::term::Term;
use pando_runtime::watch;
use serde_json::{Value, json};

use self::server::Server;
use super::*;
use crate::bindings::Bindings;
use crate::hub::Hub;

static WATCH: Kind = Kind::new("watch");

const WORKS: &str = "/apis/work.karmada.io/v1alpha1/namespaces/karmada-es-bj/works";
const CONFIG: &str = "/api/v1/namespaces/shop/configmaps/settings";
const CLUSTER: &str = "/apis/cluster.karmada.io/v1alpha1/clusters/bj";
const BINDING: &str = "/apis/work.karmada.io/v1alpha2/namespaces/shop/resourcebindings/settings-configmap";

/// A hub and the member `bj`, with the actor of it running.
struct World {
    root: Scope,
    hub: Server,
    member: Server,
    entry: Arc<Entry>,
    /// Routes changes of Works as long as somebody holds it.
    _agents: Agents,
}

impl World {
    async fn new() -> Self {
        Self::over(Server::default(), Server::default()).await
    }

    /// A process over servers that may have been there before.
    async fn over(hub: Server, member: Server) -> Self {
        let root = Scope::root("test");
        let works: Store<Work> = Store::new(ApiResource::erase::<Work>(&()));
        let bindings = Bindings::new();
        let clusters: Store<Cluster> = Store::new(ApiResource::erase::<Cluster>(&()));
        let metrics = Metrics::new();
        let agents = Agents::new(Parts {
            hub: Hub::new(hub.client(), Term::constant()),
            works: works.clone(),
            bindings: bindings.clone(),
            clusters: clusters.clone(),
            federation: "federation-1".into(),
            events: Recorder::disabled(),
            clock: Arc::new(SystemClock),
            metrics,
            settings: Settings::default(),
        });
        feed(&root, &hub, &works).await;
        for store in bindings.stores() {
            feed(&root, &hub, store).await;
        }
        feed(&root, &hub, &clusters).await;
        let registry = Registry::new(root.ctx().clone());
        let name = ClusterName::parse("bj").unwrap();
        let entry = registry.attach_by(&name, |_| (member.client(), member.client())).await.unwrap();
        // The registry owns the scope of the member: it lives as long as the test.
        root.ctx().spawn(&STATE, |ctx| async move { (ctx.cancelled().await, registry) }).detach();
        agents.start(&entry);
        entry.set_state(State::Connected);
        let world = Self { root, hub, member, entry, _agents: agents };
        world.rest().await;
        world
    }

    /// Ends the process and starts another one over the same servers.
    async fn restart(self) -> Self {
        self.root.stop(pando_context::Reason::shutdown("restart"), Duration::from_secs(5)).await.unwrap();
        self.hub.writes();
        self.member.writes();
        self.member.reads();
        Self::over(self.hub, self.member).await
    }

    /// Long enough for everything that follows at once; time is the test's own.
    async fn rest(&self) {
        self.root.ctx().sleep(Duration::from_secs(2)).await.unwrap();
    }

    async fn wants(&self, name: &str, manifest: Value) {
        let work = json!({"apiVersion": "work.karmada.io/v1alpha1", "kind": "Work",
            "metadata": {"name": name, "namespace": "karmada-es-bj", "generation": 1, "finalizers": ["karmada.io/execution-controller"]},
            "spec": {"workload": {"manifests": [manifest]}}});
        self.hub.put(&format!("{WORKS}/{name}"), work);
        self.rest().await;
    }

    /// The member has the namespace, and the Work of the ConfigMap is applied. Nothing was logged yet.
    async fn with_config() -> Self {
        let world = Self::new().await;
        world.member.put(
            "/api/v1/namespaces/shop",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        );
        world.wants("settings", config(json!({"a": "1", "b": "2"}))).await;
        world
    }

    /// The Cluster `bj`, and a binding that sends the ConfigMap there.
    async fn with_bound_config() -> Self {
        let world = Self::new().await;
        world.member.put(
            "/api/v1/namespaces/shop",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        );
        world.hub.put(CLUSTER, json!({"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "bj"}, "spec": {"syncMode": "Push"}}));
        world.hub.put(BINDING, json!({
            "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
            "metadata": {"name": "settings-configmap", "namespace": "shop", "labels": {"resourcebinding.karmada.io/permanent-id": "b-1"}},
            "spec": {"resource": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "settings"}, "clusters": [{"name": "bj"}]},
        }));
        world.wants(&bound_work(), bound_config()).await;
        world.member.writes();
        world.hub.writes();
        world
    }

    fn condition(&self, work: &str, kind: &str) -> String {
        let work = self.hub.get(&format!("{WORKS}/{work}")).unwrap();
        let conditions = work["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
        format!("{}: {}", found["status"].as_str().unwrap_or("none"), found["message"].as_str().unwrap_or_default())
    }
}

async fn feed<T: pando_runtime::store::Record>(root: &Scope, server: &Server, store: &Store<T>) {
    let (client, fed) = (server.client(), store.clone());
    root.ctx().spawn(&WATCH, |ctx| watch::run(ctx, client, fed, watch::Options::default())).detach();
    store.synced(root.ctx()).await.unwrap();
}

fn bound_work() -> String {
    names::work_name(Some("shop"), "ConfigMap", "settings")
}

fn bound_config() -> Value {
    let mut config = config(json!({"a": "1"}));
    config["metadata"]["annotations"] = json!({
        "pando.io/binding": "b-1", "resourcetemplate.karmada.io/uid": "template-1",
        "resourcebinding.karmada.io/namespace": "shop", "resourcebinding.karmada.io/name": "settings-configmap",
    });
    config
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}, "data": data})
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[pando_context::test(paused)]
async fn a_config_map_costs_one_member_write_and_one_status_write() {
    let world = World::with_config().await;
    assert_eq!(world.member.writes(), ["CREATE /api/v1/namespaces/shop/configmaps"]);
    assert_eq!(world.hub.writes(), [format!("MERGE {WORKS}/settings/status")]);
    let status = world.hub.get(&format!("{WORKS}/settings")).unwrap()["status"].clone();
    assert_eq!(status["manifestStatuses"][0]["health"], "Healthy");
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
    let live = world.member.get(CONFIG).unwrap();
    assert_eq!(live["metadata"]["annotations"]["pando.io/federation"], "federation-1");
}

#[pando_context::test(paused)]
async fn the_first_object_of_a_watched_kind_needs_no_read() {
    let world = World::with_config().await;
    world.member.writes();
    let mut other = config(json!({}));
    other["metadata"]["name"] = json!("other");
    let mut theirs = other.clone();
    theirs["data"] = json!({"a": "theirs"});
    world.member.put("/api/v1/namespaces/shop/configmaps/other", theirs);
    world.wants("other", other).await;
    assert_eq!(
        world.member.writes(),
        ["CREATE /api/v1/namespaces/shop/configmaps 409"],
        "the POST itself finds the stranger"
    );
    world.root.ctx().sleep(Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.member.writes(), nothing(), "from then on it is looked at, not posted");
}

#[pando_context::test(paused)]
async fn detaching_a_member_leaves_nothing_of_it_though_its_actor_is_still_known() {
    let world = World::with_config().await;
    let stopped = world.root.stop(pando_context::Reason::shutdown("test"), Duration::from_secs(5)).await;
    assert!(stopped.is_ok(), "{stopped:?}");
}

#[pando_context::test(paused)]
async fn a_restart_with_nothing_changed_writes_nothing() {
    let world = World::with_config().await.restart().await;
    world.rest().await;
    assert_eq!((world.member.writes(), world.hub.writes()), (nothing(), nothing()));
    assert_eq!(world.member.reads(), nothing(), "the lists of its watches are enough");
}

#[pando_context::test(paused)]
async fn an_object_that_was_taken_over_stays_when_its_work_goes() {
    let world = World::new().await;
    world
        .member
        .put("/api/v1/namespaces/shop", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let mut theirs = config(json!({"theirs": "x"}));
    theirs["metadata"]["labels"] = json!({"team": "a"});
    world.member.put(CONFIG, theirs);
    let mut ours = config(json!({"a": "1"}));
    ours["metadata"]["annotations"] = json!({"work.karmada.io/conflict-resolution": "overwrite"});
    world.wants("settings", ours).await;
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
    world.member.edit(CONFIG, |live| live["data"]["a"] = json!("by hand"));
    world.rest().await;
    assert_eq!(world.member.get(CONFIG).unwrap()["data"]["a"], "1", "it is ours as long as the Work is there");
    world.hub.delete(&format!("{WORKS}/settings"));
    world.rest().await;
    let left = world.member.get(CONFIG).unwrap();
    assert_eq!(left["metadata"]["labels"], json!({"team": "a"}));
    assert_eq!(left["metadata"]["annotations"]["pando.io/adopted"], Value::Null);
    assert!(world.hub.get(&format!("{WORKS}/settings")).is_none());
}

#[pando_context::test(paused)]
async fn a_work_deleted_by_hand_leaves_its_object_for_the_next_one() {
    let world = World::with_bound_config().await;
    let uid = world.member.get(CONFIG).unwrap()["metadata"]["uid"].clone();
    world.hub.delete(&format!("{WORKS}/{}", bound_work()));
    world.rest().await;
    assert!(world.hub.get(&format!("{WORKS}/{}", bound_work())).is_none());
    world.wants(&bound_work(), bound_config()).await;
    assert_eq!(world.member.writes(), nothing());
    assert_eq!(world.member.get(CONFIG).unwrap()["metadata"]["uid"], uid);
    assert_eq!(world.condition(&bound_work(), "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_work_that_its_binding_or_cluster_gives_up_takes_its_object_along() {
    type Edit = fn(&mut Value);
    let give_up: [(&str, Edit); 4] = [
        (BINDING, |binding| binding["spec"]["clusters"] = json!([{"name": "sh"}])),
        (BINDING, |binding| binding["metadata"]["labels"]["resourcebinding.karmada.io/permanent-id"] = json!("b-2")),
        (BINDING, hold_and_delete),
        (CLUSTER, hold_and_delete),
    ];
    for (path, edit) in give_up {
        let world = World::with_bound_config().await;
        world.hub.edit(path, edit);
        world.rest().await;
        world.hub.delete(&format!("{WORKS}/{}", bound_work()));
        world.rest().await;
        assert_eq!(world.member.writes(), [format!("DELETE {CONFIG}")], "{path}");
    }
}

fn hold_and_delete(object: &mut Value) {
    object["metadata"]["finalizers"] = json!(["example.org/hold"]);
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
}

#[pando_context::test(paused)]
async fn the_page_of_a_load_balancer_lets_no_work_go() {
    let world = World::with_config().await;
    for page in ["<html>no such site</html>", "404 page not found\n"] {
        world.member.answer_reads_with(Some(page));
        world.hub.delete(&format!("{WORKS}/settings"));
        world.root.ctx().sleep(Duration::from_secs(60)).await.unwrap();
        assert!(world.hub.get(&format!("{WORKS}/settings")).is_some(), "{page}");
    }
    world.member.answer_reads_with(None);
    world.entry.set_state(State::Connected); // three such answers in a row are a lost member; here nobody probes it
    world.root.ctx().sleep(Duration::from_secs(60)).await.unwrap();
    assert_eq!((world.member.get(CONFIG), world.hub.get(&format!("{WORKS}/settings"))), (None, None));
}

#[pando_context::test(paused)]
async fn a_work_made_unreadable_after_it_was_applied_is_not_let_go() {
    let world = World::with_config().await;
    let work = format!("{WORKS}/settings");
    let good = world.hub.get(&work).unwrap()["spec"].clone();
    world.hub.edit(&work, |work| work["spec"]["workload"]["manifests"] = json!([{"apiVersion": "v1"}]));
    world.hub.delete(&work);
    world.rest().await;
    assert!(world.hub.get(&work).is_some() && world.member.get(CONFIG).is_some());
    world.hub.edit(&work, |work| work["spec"] = good);
    world.rest().await;
    assert_eq!((world.member.get(CONFIG), world.hub.get(&work)), (None, None));
}

#[pando_context::test(paused)]
async fn two_writers_that_disagree_do_not_fill_the_member_with_writes() {
    let world = World::with_config().await;
    world.member.writes();
    for second in 0..120 {
        let before = world.member.get(CONFIG).unwrap()["data"]["a"].clone();
        if before == "1" {
            world.member.edit(CONFIG, |live| live["data"]["a"] = json!(format!("theirs {second}")));
        }
        world.root.ctx().sleep(Duration::from_secs(1)).await.unwrap();
        if second < 3 {
            assert_eq!(world.member.get(CONFIG).unwrap()["data"]["a"], "1", "the first repairs are immediate");
        }
    }
    let applies = world.member.writes().iter().filter(|write| write.starts_with("APPLY")).count();
    assert!((6..=12).contains(&applies), "{applies} repairs in two minutes");
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
    world.root.ctx().sleep(Duration::from_secs(30)).await.unwrap();
    assert_eq!(world.member.get(CONFIG).unwrap()["data"]["a"], "1");
}

#[pando_context::test(paused)]
async fn a_namespace_that_is_there_is_enough_until_it_is_gone() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let world = World::with_config().await;
    let work = names::work_name(None, "Namespace", "shop");
    world.member.writes();
    world.wants(&work, namespace).await;
    assert_eq!(world.condition(&work, "Applied"), "True: Manifest has been successfully applied");
    world.root.ctx().sleep(Duration::from_secs(120)).await.unwrap();
    assert_eq!(world.member.writes(), nothing());
    let world = world.restart().await;
    assert_eq!((world.member.writes(), world.hub.writes()), (nothing(), nothing()));
    world.member.delete("/api/v1/namespaces/shop");
    world.member.delete(CONFIG);
    world.rest().await;
    assert!(world.member.get("/api/v1/namespaces/shop").is_some() && world.member.get(CONFIG).is_some());
}

#[pando_context::test(paused)]
async fn a_change_converts_once_and_then_applies() {
    let world = World::with_config().await;
    world.member.writes();
    let change = |data: Value| {
        world.hub.edit(&format!("{WORKS}/settings"), |work| {
            work["spec"]["workload"]["manifests"][0]["data"] = data;
            work["metadata"]["generation"] = json!(work["metadata"]["generation"].as_i64().unwrap() + 1);
        });
    };
    change(json!({"a": "1"}));
    world.rest().await;
    assert_eq!(world.member.writes(), [format!("CONVERT {CONFIG}"), format!("APPLY {CONFIG}")]);
    assert_eq!(world.member.get(CONFIG).unwrap()["data"], json!({"a": "1"}), "what the template dropped is gone");
    change(json!({"a": "2"}));
    world.rest().await;
    assert_eq!(world.member.writes(), [format!("APPLY {CONFIG}")]);
}

#[pando_context::test(paused)]
async fn a_field_edited_by_hand_is_put_back_and_a_field_of_others_stays() {
    let world = World::with_config().await;
    world.member.edit(CONFIG, |live| live["data"] = json!({"a": "by hand", "b": "2", "theirs": "x"}));
    world.rest().await;
    assert_eq!(world.member.get(CONFIG).unwrap()["data"], json!({"a": "1", "b": "2", "theirs": "x"}));
}

#[pando_context::test(paused)]
async fn an_object_deleted_by_hand_is_back_with_one_write() {
    let world = World::with_config().await;
    world.member.writes();
    world.hub.writes();
    world.member.delete(CONFIG);
    world.rest().await;
    assert_eq!(world.member.writes(), ["CREATE /api/v1/namespaces/shop/configmaps"]);
    assert_eq!(world.hub.writes(), nothing(), "nothing that the status says has changed");
}

#[pando_context::test(paused)]
async fn an_object_without_our_label_is_not_ours_any_more() {
    let world = World::with_config().await;
    world.member.edit(CONFIG, |live| live["metadata"]["labels"] = json!({}));
    let before = world.member.get(CONFIG);
    world.rest().await;
    assert_eq!(world.member.get(CONFIG), before);
    assert!(
        world
            .condition("settings", "Applied")
            .starts_with("False: Failed to apply all manifests (0/1): ConfigMap shop/settings already exists")
    );
}

#[pando_context::test(paused)]
async fn an_object_of_somebody_else_is_left_alone_without_a_write() {
    let world = World::new().await;
    world
        .member
        .put("/api/v1/namespaces/shop", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let mut theirs = config(json!({"a": "theirs"}));
    theirs["metadata"]["labels"] = json!({"team": "a"});
    world.member.put(CONFIG, theirs);
    let before = world.member.get(CONFIG);
    world.wants("settings", config(json!({"a": "ours"}))).await;
    assert_eq!(world.member.writes(), nothing());
    world.root.ctx().sleep(Duration::from_secs(120)).await.unwrap();
    assert_eq!((world.member.writes(), world.member.get(CONFIG)), (nothing(), before));
    let world = world.restart().await;
    world.rest().await;
    assert_eq!((world.member.writes(), world.hub.writes()), (nothing(), nothing()));
}

#[pando_context::test(paused)]
async fn an_object_waits_for_its_namespace_without_being_called_a_failure() {
    let world = World::new().await;
    world.hub.put(
        &format!("{WORKS}/settings"),
        json!({"apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "metadata": {"name": "settings", "namespace": "karmada-es-bj"},
            "spec": {"workload": {"manifests": [config(json!({}))]}}}),
    );
    world.root.ctx().sleep(Duration::from_millis(500)).await.unwrap();
    assert_eq!(world.hub.writes(), nothing());
    world.wants("shop", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await;
    assert!(world.member.get(CONFIG).is_some());
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_deleted_work_takes_its_object_along_and_then_goes() {
    let world = World::with_config().await;
    world.member.writes();
    world.hub.delete(&format!("{WORKS}/settings"));
    world.rest().await;
    assert_eq!(world.member.writes(), [format!("DELETE {CONFIG}")]);
    assert_eq!((world.member.get(CONFIG), world.hub.get(&format!("{WORKS}/settings"))), (None, None));
}

#[pando_context::test(paused)]
async fn a_deleted_work_waits_for_an_object_that_a_finalizer_holds() {
    let world = World::with_config().await;
    world.member.edit(CONFIG, |live| live["metadata"]["finalizers"] = json!(["example.org/hold"]));
    world.hub.delete(&format!("{WORKS}/settings"));
    world.rest().await;
    assert!(world.hub.get(&format!("{WORKS}/settings")).is_some());
    world.member.edit(CONFIG, |live| live["metadata"]["finalizers"] = json!([]));
    world.rest().await;
    assert!(world.hub.get(&format!("{WORKS}/settings")).is_none());
}

#[pando_context::test(paused)]
async fn a_preserved_object_stays_without_our_marks() {
    let world = World::with_config().await;
    world.hub.edit(&format!("{WORKS}/settings"), |work| work["spec"]["preserveResourcesOnDeletion"] = json!(true));
    world.hub.delete(&format!("{WORKS}/settings"));
    world.rest().await;
    let live = world.member.get(CONFIG).unwrap();
    assert_eq!(live["metadata"]["labels"]["karmada.io/managed"], Value::Null);
    assert_eq!(live["data"], json!({"a": "1", "b": "2"}));
    assert!(world.hub.get(&format!("{WORKS}/settings")).is_none());
}

#[pando_context::test(paused)]
async fn a_suspended_work_is_not_dispatched_and_says_so() {
    let world = World::new().await;
    world
        .member
        .put("/api/v1/namespaces/shop", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let mut work = json!({"apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "metadata": {"name": "settings", "namespace": "karmada-es-bj"}});
    work["spec"] = json!({"suspendDispatching": true, "workload": {"manifests": [config(json!({}))]}});
    world.hub.put(&format!("{WORKS}/settings"), work);
    world.rest().await;
    assert_eq!(world.member.writes(), nothing());
    assert_eq!(world.condition("settings", "Dispatching"), "False: Work dispatching is in a suspended state.");
}

#[pando_context::test(paused)]
async fn a_lost_member_keeps_its_works_and_gets_them_when_it_is_back() {
    let world = World::with_config().await;
    world.member.writes();
    world.hub.writes();
    world.member.silence(true);
    world.entry.set_state(State::Lost { why: Why::Unreachable, cause: "no answer".into() });
    world.hub.edit(&format!("{WORKS}/settings"), |work| {
        work["spec"]["workload"]["manifests"][0]["data"] = json!({"a": "3"});
        work["metadata"]["generation"] = json!(2);
    });
    world.root.ctx().sleep(Duration::from_secs(600)).await.unwrap();
    assert_eq!(world.hub.writes(), nothing(), "an outage says nothing about the object");
    world.member.silence(false);
    world.entry.set_state(State::Connected);
    world.rest().await;
    assert_eq!(world.member.get(CONFIG).unwrap()["data"], json!({"a": "3"}));
}
