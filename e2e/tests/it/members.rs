//! Writing into members: how many requests it takes, and whose field is whose.
//!
//! Requests are counted by the member's API server, for Pando's identity and one object. The counts are those of
//! `docs/decisions/0001-writing-into-members.md`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use pando_e2e::audit;
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use serde_json::{Value, json};

use crate::budget::{log, pando};
use crate::objects;
use crate::subject::{self, Subject, operations, same, untouched};
use crate::world::World;

const MEMBER: &str = "bj-prod";
const MANAGER: &str = "pando";
/// The id of another federation.
const OTHERS: &str = "ffffffff-0000-4000-8000-000000000000";

const CREATED: [&str; 1] = ["create 201"];
const FIRST_CHANGE: [&str; 3] = ["get 200", "patch 200", "patch 200"];
const CHANGE: [&str; 2] = ["get 200", "patch 200"];
const NOTHING: [&str; 0] = [];

/// Has the member watched for the template's kind. The first object of a kind costs one GET more: until the watch has
/// listed, nothing is known to be absent.
async fn known(federation: &Federation, template: Value) -> Result<()> {
    let first = Subject::new(federation, MEMBER, template)?;
    first.arrived().await.map(drop)
}

/// A Deployment that starts no pods.
fn deployment(namespace: &str) -> Value {
    objects::deployment(namespace, "app", 0)
}

pub(crate) async fn an_object_costs_a_post_then_convert_and_apply_then_applies(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "cost").await?;
    known(federation, objects::config_map("cost", "first")).await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("cost", "map"))?;
    let mark = map.mark()?;
    let created = map.arrived().await?;
    map.cost("create", mark, &CREATED).await?;
    ensure!(operations(&created, MANAGER) == ["Update"], "{created}");

    let mark = map.mark()?;
    map.change(json!({ "data": { "key": "second", "more": "yes" } })).await?;
    let changed = map.shows("/data/key", json!("second")).await?;
    map.cost("first change (read, convert, apply)", mark, &FIRST_CHANGE).await?;
    ensure!(operations(&changed, MANAGER) == ["Apply"], "{changed}");

    let mark = map.mark()?;
    map.change(json!({ "data": { "more": null } })).await?;
    let changed = map.shows("/data/more", Value::Null).await?;
    map.cost("second change (read, apply)", mark, &CHANGE).await?;
    ensure!(operations(&changed, MANAGER) == ["Apply"], "{changed}");
    same(&created, &changed)?;

    // Another manager claims equal values on the hub: a new resourceVersion, the same content.
    let mark = map.mark()?;
    map.apply_as(&federation.hub, "somebody", json!({ "data": { "key": "second" } })).await?;
    map.cost("template written without a change", mark, &NOTHING).await?;

    let mark = map.mark()?;
    map.change(json!({ "metadata": { "annotations": { "example.io/note": "travels" } } })).await?;
    map.shows("/metadata/annotations/example.io~1note", json!("travels")).await?;
    map.cost("template annotated (read, apply)", mark, &CHANGE).await?;

    let mark = map.mark()?;
    map.withdrawn().await?;
    ensure!(map.found().await?.is_none(), "still there");
    map.cost("template deleted (proof, delete, absence)", mark, &["get 200", "delete 200", "get 404"]).await
}

pub(crate) async fn a_field_edited_by_hand_is_reverted(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "edited").await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("edited", "map"))?;
    let before = map.arrived().await?;

    let mark = map.mark()?;
    map.edit(json!({ "data": { "key": "by hand" } })).await?;
    map.shows("/data/key", json!("value")).await?;
    map.cost("first edit by hand (read, convert, apply)", mark, &FIRST_CHANGE).await?;

    let mark = map.mark()?;
    map.edit(json!({ "data": { "key": "again" } })).await?;
    let after = map.shows("/data/key", json!("value")).await?;
    map.cost("later edit by hand (read, apply)", mark, &CHANGE).await?;
    same(&before, &after)?;

    let mark = map.mark()?;
    objects::delete(&map.member.client, &map.template).await?;
    let again = eventually::some(subject::SOON, "another ConfigMap", || map.found()).await?;
    ensure!(again["metadata"]["uid"] != before["metadata"]["uid"]);
    map.cost("deleted by hand", mark, &CREATED).await
}

pub(crate) async fn a_field_of_another_manager_stays(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "shared").await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("shared", "map"))?;
    map.arrived().await?;

    let mark = map.mark()?;
    let theirs = json!({ "metadata": { "labels": { "team": "blue" } }, "data": { "theirs": "kept" } });
    map.apply_as(map.member, "somebody", theirs).await?;
    map.cost("another manager adds a field", mark, &NOTHING).await?;

    for value in ["second", "third"] {
        map.change(json!({ "data": { "key": value } })).await?;
        let seen = map.shows("/data/key", json!(value)).await?;
        ensure!(seen["data"]["theirs"] == "kept" && seen["metadata"]["labels"]["team"] == "blue", "{seen}");
        ensure!(operations(&seen, "somebody") == ["Apply"], "{seen}");
    }
    Ok(())
}

/// Removing our label is the documented way to take an object out of Pando's hands: it is not written any more, the hub
/// says so, and putting the label back gives it back.
pub(crate) async fn an_object_without_our_label_is_out_of_our_hands(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "label").await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("label", "map"))?;
    let before = map.arrived().await?;

    let mark = map.mark()?;
    let taken = map.edit(json!({ "metadata": { "labels": { "karmada.io/managed": null } } })).await?;
    let status = map.fully_applied("False").await?;
    ensure!(status.to_string().contains("karmada.io/managed=true"), "{status}");
    map.cost("label removed (refused POST, read)", mark, &["create 409", "get 200"]).await?;
    map.change(json!({ "data": { "key": "second" } })).await?;
    // The binding has seen the change when another object, changed later, has arrived.
    let other = Subject::new(federation, MEMBER, objects::config_map("label", "other"))?;
    other.arrived().await?;
    untouched(&taken, &map.live().await?)?;

    map.edit(json!({ "metadata": { "labels": { "karmada.io/managed": "true" } } })).await?;
    let after = map.shows("/data/key", json!("second")).await?;
    same(&before, &after)?;
    map.fully_applied("True").await.map(drop)
}

pub(crate) async fn an_object_that_apply_refuses_is_updated_all_the_same(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "twice").await?;
    known(federation, objects::deployment("twice", "first", 0)).await?;
    let mut template = deployment("twice");
    let container = "/spec/template/spec/containers/0";
    let twice = json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }, { "name": "A", "value": "3" }]);
    template["spec"]["template"]["spec"]["containers"][0]["env"] = twice.clone();
    let app = Subject::new(federation, MEMBER, template)?;
    let mark = app.mark()?;
    let before = app.arrived().await?;
    ensure!(before.pointer(&format!("{container}/env")) == Some(&twice), "{before}");
    app.writes("create with a duplicate key", mark, &CREATED).await?;

    let image =
        |tag: &str| json!([{ "op": "replace", "path": format!("{container}/image"), "value": format!("nginx:{tag}") }]);
    let hub = &federation.hub.client;
    let mark = app.mark()?;
    objects::json_patch(hub, &app.template, image("2")).await?;
    app.shows(&format!("{container}/image"), json!("nginx:2")).await?;
    app.writes("first change, refused by apply", mark, &["patch 200", "patch 500", "update 200"]).await?;
    app.fully_applied("True").await?;

    let mark = app.mark()?;
    objects::json_patch(hub, &app.template, image("3")).await?;
    let seen = app.shows(&format!("{container}/image"), json!("nginx:3")).await?;
    app.writes("later change, refused by apply", mark, &["patch 200", "patch 500", "update 200"]).await?;
    ensure!(seen.pointer(&format!("{container}/env")) == Some(&twice), "{seen}");

    // Without the duplicate apply works again, and removes what the template no longer says.
    let mark = app.mark()?;
    let once =
        json!([{ "op": "replace", "path": format!("{container}/env"), "value": [{ "name": "B", "value": "2" }] }]);
    objects::json_patch(hub, &app.template, once).await?;
    let after = app.shows(&format!("{container}/env"), json!([{ "name": "B", "value": "2" }])).await?;
    app.writes("duplicate gone (read, fold, apply)", mark, &FIRST_CHANGE[1..]).await?;
    ensure!(operations(&after, MANAGER) == ["Apply"], "{after}");
    same(&before, &after)
}

pub(crate) async fn replicas_that_an_autoscaler_owns_stay(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "scaled").await?;
    let mut template = deployment("scaled");
    template["metadata"]["labels"] = json!({ "resourcetemplate.karmada.io/retain-replicas": "true" });
    let app = Subject::new(federation, MEMBER, template)?;
    app.arrived().await?;

    let mark = app.mark()?;
    let api = objects::api_of(&app.member.client, &app.template)?;
    let by = PatchParams { field_manager: Some("autoscaler".to_owned()), ..PatchParams::default() };
    api.patch_scale("app", &by, &Patch::Merge(json!({ "spec": { "replicas": 2 } }))).await?;
    app.shows("/status/readyReplicas", json!(2)).await?;
    app.writes("scaled by an autoscaler", mark, &NOTHING).await?;

    for (tag, wanted) in [("2", &FIRST_CHANGE[1..]), ("3", &CHANGE[1..])] {
        let mark = app.mark()?;
        let edit = json!([
            { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": format!("nginx:{tag}") },
        ]);
        objects::json_patch(&federation.hub.client, &app.template, edit).await?;
        let seen = app.shows("/spec/template/spec/containers/0/image", json!(format!("nginx:{tag}"))).await?;
        ensure!(seen["spec"]["replicas"] == 2, "{}", seen["spec"]);
        app.writes("change of a scaled Deployment", mark, wanted).await?;
    }
    // What the hub says about replicas does not count, even beside another change.
    let edit = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:4" },
        { "op": "replace", "path": "/spec/replicas", "value": 6 },
    ]);
    objects::json_patch(&federation.hub.client, &app.template, edit).await?;
    let seen = app.shows("/spec/template/spec/containers/0/image", json!("nginx:4")).await?;
    ensure!(seen["spec"]["replicas"] == 2, "{}", seen["spec"]);
    let count = || async { Ok(app.live().await?["spec"]["replicas"].clone()) };
    eventually::stays(Duration::from_secs(2), "replicas", &json!(2), count).await
}

pub(crate) async fn more_replicas_are_one_write_on_the_hub_and_one_in_the_member(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "grown").await?;
    let app = Subject::new(federation, MEMBER, deployment("grown"))?;
    app.arrived().await?;
    for (replicas, wanted) in [(1, &FIRST_CHANGE[1..]), (2, &CHANGE[1..]), (3, &CHANGE[1..])] {
        let (mark, on_hub) = (app.mark()?, log(&federation.hub)?.mark()?);
        app.change(json!({ "spec": { "replicas": replicas } })).await?;
        app.shows("/spec/replicas", json!(replicas)).await?;
        app.writes("replicas changed", mark, wanted).await?;
        let user = pando(&federation.hub, federation);
        let mut works = log(&federation.hub)?.writes_since(on_hub, |by| by == user)?;
        works
            .retain(|entry| entry.resource == "works" && !entry.is_status() && entry.namespace == "karmada-es-bj-prod");
        ensure!(works.len() == 1, "the Work was written {} times:\n{}", works.len(), audit::print(&works));
    }
    Ok(())
}

pub(crate) async fn a_foreign_object_is_adopted_by_overwrite_only(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "adopt").await?;
    let mut theirs = Vec::new();
    for name in ["abort", "overwrite"] {
        let mut object = objects::config_map("adopt", name);
        object["data"] = json!({ "key": "theirs", "extra": "theirs" });
        let created = objects::create(&federation.member(MEMBER)?.client, &object).await?;
        theirs.push(serde_json::to_value(created)?);
    }
    let abort = Subject::new(federation, MEMBER, objects::config_map("adopt", "abort"))?;
    let mark = abort.mark()?;
    abort.start().await?;
    let status = abort.fully_applied("False").await?;
    ensure!(status["aggregatedStatus"][0]["applied"] != json!(true), "{status}");
    ensure!(status.to_string().contains("already exists in cluster bj-prod"), "{status}");
    abort.cost("somebody else's, abort (refused POST, read)", mark, &["create 409", "get 200"]).await?;
    untouched(&theirs[0], &abort.live().await?)?;

    let mut overwrite = Subject::new(federation, MEMBER, objects::config_map("adopt", "overwrite"))?;
    overwrite.policy["spec"]["conflictResolution"] = json!("Overwrite");
    let mark = overwrite.mark()?;
    overwrite.start().await?;
    let adopted = overwrite.shows("/data/key", json!("value")).await?;
    overwrite.fully_applied("True").await?;
    overwrite
        .cost("somebody else's, overwrite (refused POST, read, apply)", mark, &["create 409", "get 200", "patch 200"])
        .await?;
    same(&theirs[1], &adopted)?;
    ensure!(adopted["data"]["extra"] == "theirs", "{adopted}");

    abort.withdrawn().await?;
    untouched(&theirs[0], &abort.live().await?)?;
    // What was there before us stays when we go.
    let mark = overwrite.mark()?;
    overwrite.withdrawn().await?;
    let left = overwrite.live().await?;
    same(&theirs[1], &left)?;
    ensure!(left.pointer("/metadata/labels/karmada.io~1managed").is_none(), "{left}");
    overwrite.cost("template of a taken over object deleted (proof, marks off)", mark, &["get 200", "patch 200"]).await
}

pub(crate) async fn an_object_of_another_federation_is_never_touched(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "rival").await?;
    let mut map = Subject::new(federation, MEMBER, objects::config_map("rival", "map"))?;
    map.policy["spec"]["conflictResolution"] = json!("Overwrite");
    let mut theirs = objects::config_map("rival", "map");
    theirs["data"]["key"] = json!("theirs");
    theirs["metadata"]["labels"] = json!({ "karmada.io/managed": "true" });
    theirs["metadata"]["annotations"] = json!({ "pando.io/federation": OTHERS });
    let before = serde_json::to_value(objects::create(&map.member.client, &theirs).await?)?;
    let mark = map.mark()?;
    map.start().await?;
    let status = map.fully_applied("False").await?;
    ensure!(status.to_string().contains("managed by another federation"), "{status}");
    map.withdrawn().await?;
    untouched(&before, &map.live().await?)?;
    // The mark is on an object that the watch shows, so it is read at once and no POST is wasted.
    map.cost("another federation's, overwrite, then deleted", mark, &["get 200", "get 200"]).await
}

pub(crate) async fn a_service_keeps_its_address_over_changes(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "address").await?;
    let service = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "namespace": "address", "name": name },
            "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
        })
    };
    known(federation, service("first")).await?;
    let service = Subject::new(federation, MEMBER, service("front"))?;
    let mark = service.mark()?;
    let before = service.arrived().await?;
    service.cost("create a Service", mark, &CREATED).await?;
    let address = before["spec"]["clusterIP"].clone();
    let on_hub = objects::get(&federation.hub.client, &service.template).await?.context("no template")?;
    ensure!(address.is_string() && on_hub.data["spec"]["clusterIP"] != address, "{before}");
    for (port, wanted) in [(81, FIRST_CHANGE.as_slice()), (82, CHANGE.as_slice())] {
        let mark = service.mark()?;
        let edit = json!([{ "op": "replace", "path": "/spec/ports/0/port", "value": port }]);
        objects::json_patch(&federation.hub.client, &service.template, edit).await?;
        let after = service.shows("/spec/ports/0/port", json!(port)).await?;
        ensure!(after["spec"]["clusterIP"] == address, "{}", after["spec"]);
        same(&before, &after)?;
        service.cost("change of a Service", mark, wanted).await?;
    }
    Ok(())
}

pub(crate) async fn a_stranger_in_the_place_of_ours_survives_the_template(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "stranger").await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("stranger", "map"))?;
    map.arrived().await?;
    // While dispatching is suspended nobody creates ours again between the two steps below.
    let suspended = json!({ "spec": { "suspension": { "dispatching": true } } });
    objects::merge(&federation.hub.client, &map.policy, &suspended).await?;
    let works = json!({
        "apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "metadata": { "namespace": "karmada-es-bj-prod" },
    });
    let works = objects::api_of(&federation.hub.client, &works)?;
    eventually::some(subject::SOON, "the Work to be suspended", || async {
        let all = works.list(&Default::default()).await?;
        let ours = all.items.into_iter().find(|work| {
            work.data["spec"]["workload"]["manifests"][0]["metadata"]["namespace"] == "stranger"
                && work.data["spec"]["workload"]["manifests"][0]["kind"] == "ConfigMap"
        });
        let status = ours.context("no Work")?.data["status"]["conditions"].to_string();
        ensure!(status.contains("SuspendDispatching"), "{status}");
        Ok(Some(()))
    })
    .await?;
    objects::delete(&map.member.client, &map.template).await?;
    let stranger = serde_json::to_value(objects::create(&map.member.client, &map.template).await?)?;
    let mark = map.mark()?;
    map.withdrawn().await?;
    untouched(&stranger, &map.live().await?)?;
    map.cost("template deleted, a stranger in its place (proof)", mark, &["get 200"]).await
}
