//! A member that misbehaves: what is said, what goes on, and that it comes right by itself.

use pando_member::probe::{Discovered, GroupVersion, Kind as Served};
use pando_member::registry::Why;

use super::*;

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";
const THINGS: &str = "/apis/x.example/v1/namespaces/shop/things";

fn status(code: u16, reason: &str, message: &str) -> String {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
        .to_string()
}

fn named(name: &str) -> Value {
    let mut config = config(json!({"a": "1"}));
    config["metadata"]["name"] = json!(name);
    config
}

fn thing() -> Value {
    json!({"apiVersion": "x.example/v1", "kind": "Thing", "metadata": {"name": "one", "namespace": "shop"}, "spec": {"size": 1}})
}

impl World {
    async fn with_namespace() -> Self {
        let world = Self::new().await;
        world.member.put(
            "/api/v1/namespaces/shop",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        );
        world
    }

    async fn sleep(&self, seconds: u64) {
        self.root.ctx().sleep(Duration::from_secs(seconds)).await.unwrap();
    }

    /// Discovery has found these kinds beside the core's.
    fn serves(&self, things: Option<&str>) {
        let version = |group_version: &str, kinds: &[(&str, &str)]| GroupVersion {
            group_version: group_version.into(),
            kinds: kinds
                .iter()
                .map(|(name, kind)| Served {
                    name: (*name).into(),
                    kind: (*kind).into(),
                    namespaced: *name != "namespaces",
                    ..Served::default()
                })
                .collect(),
            ..GroupVersion::default()
        };
        let mut group_versions = vec![version("v1", &[("configmaps", "ConfigMap"), ("namespaces", "Namespace")])];
        group_versions.extend(things.map(|plural| version("x.example/v1", &[(plural, "Thing")])));
        self.entry.set_discovered(Discovered { group_versions, missing: vec![] });
    }
}

#[pando_context::test(paused)]
async fn a_hundred_works_wait_for_a_dead_member_without_a_write_and_are_done_seconds_after_its_return() {
    let world = World::with_namespace().await;
    let name = |number: usize| format!("map-{number:03}");
    for number in 0..100 {
        let work = json!({"apiVersion": "work.karmada.io/v1alpha1", "kind": "Work",
            "metadata": {"name": name(number), "namespace": "karmada-es-bj", "generation": 1, "finalizers": ["karmada.io/execution-controller"]},
            "spec": {"workload": {"manifests": [named(&name(number))]}}});
        world.hub.put(&format!("{WORKS}/{}", name(number)), work);
    }
    world.rest().await;
    world.rest().await;
    assert!(world.member.get(&format!("{MAPS}/map-099")).is_some());
    world.hub.writes();
    world.member.writes();
    world.member.silence(true);
    for number in 0..100 {
        let path = format!("{WORKS}/{}", name(number));
        if number % 10 == 0 {
            world.hub.delete(&path);
        } else {
            world.hub.edit(&path, |work| {
                work["spec"]["workload"]["manifests"][0]["data"] = json!({"a": "2"});
                work["metadata"]["generation"] = json!(2);
            });
        }
    }
    let gate = Arc::clone(world.entry.member().gate());
    for _ in 0..600 {
        let traffic = gate.traffic();
        assert!(traffic.in_flight <= traffic.limit.max(64), "{traffic:?}");
        world.sleep(1).await;
    }
    assert!(matches!(world.entry.state(), State::Lost { .. }), "three calls in a row were not answered");
    let traffic = gate.traffic();
    assert_eq!((traffic.in_flight, traffic.waiting), (0, 0), "nothing is asked of a lost member but by the probe");
    assert_eq!((world.hub.writes(), world.member.writes()), (nothing(), nothing()));

    world.member.silence(false);
    world.entry.set_state(State::Connected);
    world.sleep(5).await;
    let writes = world.member.writes();
    assert!(writes[..10].iter().all(|write| write.starts_with("DELETE")), "releases come first: {:?}", &writes[..12]);
    for number in 0..100 {
        let live = world.member.get(&format!("{MAPS}/{}", name(number)));
        assert_eq!(live.map(|live| live["data"]["a"].clone()), (number % 10 != 0).then(|| json!("2")), "{number}");
    }
}

#[pando_context::test(paused)]
async fn a_missing_right_is_named_and_other_kinds_go_on() {
    let world = World::with_namespace().await;
    world.member.fail(false, |verb, path| {
        (verb == "CREATE" && path.ends_with("/configmaps")).then(|| (403, None, status(403, "Forbidden", "no")))
    });
    world.wants("settings", config(json!({"a": "1"}))).await;
    world.wants("pay", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pay"}})).await;
    let said = world.condition("settings", "Applied");
    assert!(said.contains(r#"grant "create" on configmaps in namespace "shop""#), "{said}");
    assert_eq!(world.condition("pay", "Applied"), "True: Manifest has been successfully applied");
    world.member.heal();
    world.sleep(31).await;
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_member_that_asks_for_a_day_gets_half_a_minute_and_the_condition_says_both() {
    let world = World::with_namespace().await;
    world.member.fail(false, |verb, path| {
        let busy = status(429, "TooManyRequests", "later");
        (verb == "CREATE" && path.ends_with("/configmaps")).then_some((429, Some(86_400), busy))
    });
    world.wants("settings", config(json!({"a": "1"}))).await;
    let said = world.condition("settings", "Applied");
    assert!(said.contains("asked to slow down for 86400s, tried again after 30s"), "{said}");
    world.sleep(20).await;
    assert_eq!(world.member.writes().len(), 1, "it was asked to slow down");
    world.member.heal();
    world.sleep(15).await;
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_member_that_asks_for_a_second_is_obeyed_without_a_word() {
    let world = World::with_namespace().await;
    world.hub.writes();
    world.member.fail(false, |verb, path| {
        let busy = status(429, "TooManyRequests", "later");
        (verb == "CREATE" && path.ends_with("/configmaps")).then_some((429, Some(1), busy))
    });
    let began = pando_context::Instant::now();
    world.wants("settings", config(json!({"a": "1"}))).await;
    let asked = world.member.writes().len();
    assert!((1..=3).contains(&asked), "{asked} requests in {:?}", began.elapsed());
    assert_eq!(world.condition("settings", "Applied"), "none: ");
    world.member.heal();
    world.sleep(2).await;
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_storm_of_conflicts_is_slowed_down_named_and_ends_by_itself() {
    let world = World::with_config().await;
    world.member.writes();
    world.member.fail(false, |verb, path| {
        let conflict = || (409, None, status(409, "Conflict", "the object has been modified"));
        (matches!(verb, "APPLY" | "CONVERT") && path == CONFIG).then(conflict)
    });
    world.hub.edit(&format!("{WORKS}/settings"), |work| {
        work["spec"]["workload"]["manifests"][0]["data"] = json!({"a": "2"});
        work["metadata"]["generation"] = json!(2);
    });
    world.sleep(60).await;
    let tried = world.member.writes().len();
    assert!((12..=60).contains(&tried), "{tried} attempts in a minute");
    let said = world.condition("settings", "Applied");
    assert!(said.contains("changed meanwhile: the object has been modified"), "{said}");
    world.member.heal();
    world.sleep(31).await;
    assert_eq!(world.member.get(CONFIG).unwrap()["data"], json!({"a": "2"}));
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_write_that_took_effect_behind_a_server_error_is_read_and_not_repeated() {
    let world = World::with_namespace().await;
    world.hub.writes();
    world.member.fail(true, |verb, path| {
        (verb == "CREATE" && path.ends_with("/configmaps")).then(|| (500, None, status(500, "InternalError", "etcd")))
    });
    world.wants("settings", config(json!({"a": "1"}))).await;
    world.member.heal();
    world.sleep(5).await;
    assert_eq!(world.member.writes(), [format!("CREATE {MAPS}")]);
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
    assert_eq!(world.hub.writes().len(), 1, "one error that passes is not worth a word");
}

#[pando_context::test(paused)]
async fn a_server_error_before_the_write_is_tried_again_and_named_when_it_lasts() {
    let world = World::with_namespace().await;
    world.member.fail(false, |verb, path| {
        (verb == "CREATE" && path.ends_with("/configmaps")).then(|| (500, None, status(500, "InternalError", "etcd")))
    });
    world.wants("settings", config(json!({"a": "1"}))).await;
    world.sleep(3).await;
    let said = world.condition("settings", "Applied");
    assert!(said.contains("server error 500: etcd"), "{said}");
    world.member.heal();
    world.sleep(31).await;
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn half_an_answer_and_a_login_page_change_nothing_and_are_named() {
    for answer in [r#"{"kind":"ConfigMap","metadata":{"name":"sett"#, "<html>Please log in</html>"] {
        let world = World::with_config().await;
        world.member.writes();
        world.member.edit(CONFIG, |live| live["data"]["a"] = json!("by hand"));
        world
            .member
            .fail(false, move |verb, path| (verb == "GET" && path == CONFIG).then(|| (200, None, answer.into())));
        world.hub.edit(&format!("{WORKS}/settings"), |work| {
            work["spec"]["workload"]["manifests"][0]["data"] = json!({"a": "2"});
            work["metadata"]["generation"] = json!(2);
        });
        for _ in 0..20 {
            world.sleep(1).await;
            world.entry.set_state(State::Connected); // as a probe that gets through says
        }
        assert!(world.member.get(CONFIG).is_some());
        let said = world.condition("settings", "Applied");
        assert!(said.contains("is not a Kubernetes API server"), "{said}");
        world.member.heal();
        world.entry.set_state(State::Connected);
        world.sleep(31).await;
        assert_eq!(world.member.get(CONFIG).unwrap()["data"]["a"], "2");
    }
}

#[pando_context::test(paused)]
async fn an_object_waits_for_its_kind_and_goes_on_by_itself_when_discovery_shows_it() {
    let world = World::with_namespace().await;
    world.serves(None);
    world
        .member
        .fail(false, |_, path| path.contains("/x.example/").then(|| (404, None, "404 page not found\n".into())));
    world.wants("thing", thing()).await;
    world.sleep(3).await;
    let said = world.condition("thing", "Applied");
    assert!(said.contains("install its CustomResourceDefinition"), "{said}");
    assert!(world.entry.rediscovery().is_some(), "the member is asked again soon");
    world.sleep(60).await;
    world.member.heal();
    world.serves(Some("things"));
    world.rest().await;
    assert_eq!(world.condition("thing", "Applied"), "True: Manifest has been successfully applied");
    assert_eq!(world.entry.rediscovery(), None);
}

#[pando_context::test(paused)]
async fn a_kind_that_is_taken_away_and_installed_again_gets_its_objects_back() {
    let world = World::with_namespace().await;
    world.serves(Some("things"));
    world.wants("thing", thing()).await;
    let path = format!("{THINGS}/one");
    assert!(world.member.get(&path).is_some());
    // The definition goes, and all objects with it.
    world.member.delete(&path);
    world
        .member
        .fail(false, |_, path| path.contains("/x.example/").then(|| (404, None, "404 page not found\n".into())));
    world.serves(None);
    world.sleep(20).await;
    let said = world.condition("thing", "Applied");
    assert!(said.contains("install its CustomResourceDefinition"), "{said}");
    world.member.heal();
    world.serves(Some("things"));
    world.rest().await;
    assert!(world.member.get(&path).is_some());
    assert_eq!(world.condition("thing", "Applied"), "True: Manifest has been successfully applied");
    world.member.delete(&path);
    world.rest().await;
    assert!(world.member.get(&path).is_some(), "its watch lives again");
}

#[pando_context::test(paused)]
async fn a_plural_that_was_guessed_wrong_is_set_right_by_discovery() {
    let world = World::with_namespace().await;
    world.member.fail(false, |_, path| path.contains("/things").then(|| (404, None, "404 page not found\n".into())));
    world.wants("thing", thing()).await;
    world.serves(Some("configmaps")); // of all plurals the one that the test's server knows
    world.rest().await;
    assert!(world.member.get("/apis/x.example/v1/namespaces/shop/configmaps/one").is_some());
}

#[pando_context::test(paused)]
async fn an_applied_definition_makes_its_kinds_looked_for() {
    let world = World::with_namespace().await;
    world.serves(None);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.x.example"},
        "spec": {"group": "x.example", "names": {"kind": "Thing", "plural": "things"}, "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true}]}});
    assert_eq!(world.entry.rediscovery(), None);
    world.wants("definition", definition).await;
    assert_eq!(world.entry.rediscovery(), Some(Duration::from_secs(1)));
    world.serves(Some("things"));
    assert_eq!(world.entry.rediscovery(), None);
}

#[pando_context::test(paused)]
async fn a_work_that_goes_says_what_holds_it() {
    let world = World::with_config().await;
    world.member.edit(CONFIG, |live| {
        live["metadata"]["finalizers"] = json!(["example.org/hold"]);
        live["metadata"]["managedFields"] =
            json!([{"manager": "backup", "fieldsV1": {"f:metadata": {"f:finalizers": {"v:\"example.org/hold\"": {}}}}}]);
    });
    world.hub.delete(&format!("{WORKS}/settings"));
    world.sleep(10).await;
    let said = world.condition("settings", "DeletionBlocked");
    assert!(said.starts_with("True: ConfigMap shop/settings in cluster bj is being deleted"), "{said}");
    assert!(said.contains("example.org/hold (set by backup)"), "{said}");
    world.hub.writes();
    world.sleep(60).await;
    assert_eq!(world.hub.writes(), nothing(), "it is said once");
    world.member.edit(CONFIG, |live| live["metadata"]["finalizers"] = json!([]));
    world.rest().await;
    assert!(world.hub.get(&format!("{WORKS}/settings")).is_none());
}

#[pando_context::test(paused)]
async fn a_right_to_delete_that_is_missing_holds_the_work_and_is_named() {
    let world = World::with_config().await;
    world.member.fail(false, |verb, _| (verb == "DELETE").then(|| (403, None, status(403, "Forbidden", "no"))));
    world.hub.delete(&format!("{WORKS}/settings"));
    world.sleep(10).await;
    let said = world.condition("settings", "DeletionBlocked");
    assert!(said.contains(r#"grant "delete" on configmaps"#), "{said}");
    world.member.heal();
    world.sleep(31).await;
    assert!(world.hub.get(&format!("{WORKS}/settings")).is_none());
}

#[pando_context::test(paused)]
async fn a_namespace_on_its_way_out_is_named_and_the_object_comes_when_it_is_back() {
    let world = World::with_namespace().await;
    let terminating = || {
        let mut status: Value = serde_json::from_str(&status(403, "Forbidden", "being terminated")).unwrap();
        status["details"]["causes"] = json!([{"reason": "NamespaceTerminating"}]);
        status.to_string()
    };
    world.member.edit("/api/v1/namespaces/shop", |live| {
        live["status"] = json!({"conditions": [{"type": "NamespaceContentRemaining", "status": "True", "message": "x remains"}]});
    });
    world.member.fail(false, move |verb, _| (verb == "CREATE").then(|| (403, None, terminating())));
    world.wants("settings", config(json!({"a": "1"}))).await;
    world.sleep(5).await;
    let said = world.condition("settings", "Applied");
    assert!(said.contains("it is being deleted there: namespace shop; the member says: x remains"), "{said}");
    world.member.heal();
    world.sleep(31).await;
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

fn health(world: &World) -> Value {
    world.hub.get(&format!("{WORKS}/settings")).unwrap()["status"]["manifestStatuses"][0]["health"].clone()
}

#[pando_context::test(paused)]
async fn a_kind_that_cannot_be_followed_any_more_is_said_with_one_write_and_heals() {
    let world = World::with_config().await;
    assert_eq!(world.condition("settings", "StatusFresh"), "none: ");
    world.hub.writes();
    world.member.forbid_watching(Some("configmaps"));
    world.sleep(600).await;
    let said = world.condition("settings", "StatusFresh");
    let expected = "False: objects of kind ConfigMap cannot be followed in cluster bj: ";
    assert!(said.starts_with(expected) && said.contains("cannot list configmaps"), "{said}");
    assert_eq!(health(&world), "Unknown");
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
    assert_eq!(world.hub.writes(), [format!("MERGE {WORKS}/settings/status")]);

    let world = world.restart().await;
    world.sleep(60).await;
    assert_eq!(world.hub.writes(), nothing(), "a restart says nothing again");
    world.member.forbid_watching(None);
    world.sleep(60).await;
    assert_eq!((world.condition("settings", "StatusFresh"), health(&world)), ("none: ".to_owned(), json!("Healthy")));
    assert_eq!(world.hub.writes(), [format!("MERGE {WORKS}/settings/status")]);
}

#[pando_context::test(paused)]
async fn a_watch_that_fails_for_a_moment_costs_no_write() {
    let world = World::with_config().await;
    world.hub.writes();
    for _ in 0..5 {
        world.member.forbid_watching(Some("configmaps"));
        world.sleep(2).await;
        world.member.forbid_watching(None);
        world.sleep(60).await;
    }
    assert_eq!(world.hub.writes(), nothing());
}

#[pando_context::test(paused)]
async fn what_is_gone_and_cannot_be_put_back_is_not_reported_any_more() {
    let world = World::with_config().await;
    world.hub.writes();
    world.member.fail(false, |verb, path| {
        (verb == "CREATE" && path.ends_with("/configmaps")).then(|| (403, None, status(403, "Forbidden", "no")))
    });
    world.member.delete(CONFIG);
    world.sleep(1).await;
    assert_eq!(health(&world), "Healthy", "it may be back in a moment");
    world.sleep(5).await;
    assert!(world.condition("settings", "Applied").starts_with("False: "));
    assert_eq!(world.hub.get(&format!("{WORKS}/settings")).unwrap()["status"]["manifestStatuses"], Value::Null);
    world.member.heal();
    world.sleep(40).await;
    assert_eq!(health(&world), "Healthy");
    assert_eq!(world.hub.writes().len(), 3, "not applied, gone, there again");
}

#[pando_context::test(paused)]
async fn a_hanging_webhook_of_one_kind_costs_a_healthy_member_nothing_and_is_named() {
    let world = World::with_namespace().await;
    world.member.fail(false, |verb, path| {
        (verb == "CREATE" && path.ends_with("/configmaps")).then(|| (0, None, String::new()))
    });
    for name in ["a", "b", "c", "d"] {
        world.wants(name, named(name)).await;
    }
    for _ in 0..120 {
        world.sleep(1).await;
        assert_eq!(world.entry.state(), State::Connected, "everything else is answered");
    }
    let tried = world.member.writes().len();
    assert!((20..=60).contains(&tried), "{tried} attempts at four objects in two minutes");
    let said = world.condition("a", "Applied");
    assert!(said.contains("no answer within"), "{said}");
    world.wants("pay", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pay"}})).await;
    assert_eq!(world.condition("pay", "Applied"), "True: Manifest has been successfully applied");
    let tried = world.member.writes().len();
    world.entry.set_state(State::Lost { why: Why::Unreachable, cause: "no route".into() });
    world.entry.set_state(State::Connected);
    world.rest().await;
    assert!(world.member.writes().len() <= tried, "a return ends no pause of theirs");
    world.member.heal();
    world.sleep(36).await;
    assert_eq!(world.condition("a", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_new_namespace_wakes_what_waits_in_it_and_nothing_else() {
    let world = World::new().await;
    let far = |name: &str, namespace: &str| {
        let mut config = named(name);
        config["metadata"]["namespace"] = json!(namespace);
        config
    };
    world.wants("waits", far("waits", "shop")).await;
    world.wants("elsewhere", far("elsewhere", "store")).await;
    world.sleep(120).await;
    world.member.writes();
    world.member.reads();
    world.wants("shop", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).await;
    assert_eq!(world.condition("waits", "Applied"), "True: Manifest has been successfully applied");
    let touched = [world.member.writes(), world.member.reads()].concat();
    assert!(!touched.iter().any(|path| path.contains("store")), "{touched:?}");
}

#[pando_context::test(paused)]
async fn a_status_write_that_conflicts_is_tried_again_less_and_less_often() {
    let world = World::with_namespace().await;
    world.hub.fail(false, |verb, path| {
        (verb == "MERGE" && path.ends_with("/status")).then(|| (409, None, status(409, "Conflict", "modified")))
    });
    world.hub.writes();
    world.wants("settings", config(json!({"a": "1"}))).await;
    world.sleep(10).await;
    let tried = world.hub.writes().len();
    assert!((5..=40).contains(&tried), "{tried} attempts in 12 s");
    world.hub.heal();
    world.rest().await;
    assert_eq!(world.condition("settings", "Applied"), "True: Manifest has been successfully applied");
}

#[pando_context::test(paused)]
async fn a_work_that_was_made_again_behind_our_back_gets_its_status() {
    let world = World::with_bound_config().await;
    let path = format!("{WORKS}/{}", bound_work());
    let mut again = world.hub.get(&path).unwrap();
    again.as_object_mut().unwrap().remove("status");
    world.hub.edit(&path, |work| work["metadata"]["finalizers"] = json!([]));
    world.hub.delete(&path);
    world.hub.put(&path, again);
    world.rest().await;
    assert_eq!(world.condition(&bound_work(), "Applied"), "True: Manifest has been successfully applied");
    assert_eq!(world.member.writes(), nothing(), "its object was there");
}
