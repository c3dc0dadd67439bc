//! Faults of what is in a member: kinds that go, namespaces and objects that do not.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pando_e2e::eventually;
use pando_e2e::http_relay::{Answer, Fault, Rule, Verb, When};
use pando_e2e::install;
use pando_e2e::provider::Cluster;
use serde_json::{Value, json};

use super::stage::{Expected, FAULTY, OTHERS, SOON, SPACE, Stage, Trial, definition};
use crate::objects;
use crate::subject::{self, same};
use crate::world::World;

const EVERYWHERE: [&str; 3] = [OTHERS[0], OTHERS[1], FAULTY];
const NOTE: &str = "/metadata/annotations/example.io~1note";

/// Annotates a template.
async fn annotate(stage: &Stage<'_>, template: &Value, note: &str) -> Result<()> {
    let patch = json!({ "metadata": { "annotations": { "example.io/note": note } } });
    objects::merge(&stage.federation.hub.client, template, &patch).await.map(drop)
}

/// Waits until a member's object has this annotation.
async fn noted(member: &Cluster, template: &Value, note: &str) -> Result<Value> {
    eventually::some(SOON, &format!("the note {note:?} in {}", member.name), || async {
        let seen = objects::get(&member.client, template).await?.context("not there")?;
        let seen = serde_json::to_value(seen)?;
        ensure!(seen.pointer(NOTE) == Some(&json!(note)), "{seen}");
        Ok(Some(seen))
    })
    .await
}

/// Creates a template with a policy of its name, and waits until it is in every member.
async fn everywhere(stage: &Stage<'_>, template: &Value) -> Result<()> {
    let hub = &stage.federation.hub.client;
    let text = |pointer: &str| template.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let policy = objects::duplicated(namespace, text("/apiVersion"), text("/kind"), name, &EVERYWHERE);
    objects::create(hub, &policy).await?;
    objects::create(hub, template).await?;
    annotate(stage, template, "first").await?;
    for member in &stage.federation.members {
        noted(member, template, "first").await?;
    }
    Ok(())
}

/// The objects of a template in the members that do not fail.
async fn in_others(stage: &Stage<'_>, template: &Value) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for name in OTHERS {
        let seen = objects::get(&stage.federation.member(name)?.client, template).await?.context("not there")?;
        all.push(serde_json::to_value(seen)?);
    }
    Ok(all)
}

/// M7: a whole API group answers 404, and discovery does not list it.
pub(crate) async fn a_group_that_is_not_served_loses_no_object(world: &World) -> Result<()> {
    let stage = Stage::open(world, "unserved").await?;
    let app = objects::deployment(SPACE, &stage.name("app"), 0);
    everywhere(&stage, &app).await?;
    let before = noted(stage.faulty, &app, "first").await?;

    let trial = stage.begin().await?;
    let missing = Answer::text(404, "404 page not found\n");
    let fault = stage.http.answer_by(vec![
        Rule::new(When::any().path("^/apis/apps(/|$)")?, Fault::Answer(missing)),
        Rule::new(When::verbs(&[Verb::Discovery]).path("^/apis$")?, Fault::WithoutGroup("apps".to_owned())),
    ]);
    stage.relay.reset();
    annotate(&stage, &app, "second").await?;
    trial.runs(&Expected::told(&["not served"])).await?;
    // Other groups go on meanwhile.
    stage.shows(stage.faulty, "changed", Some("second")).await?;
    stage.shows(stage.faulty, "fresh", Some("value")).await?;
    drop(fault);
    let start = Instant::now();
    let after = noted(stage.faulty, &app, "second").await?;
    println!("    the Deployment follows {:.2} s after its group is back", start.elapsed().as_secs_f64());
    same(&before, &after)?;
    trial.ended().await
}

/// M7: a definition is removed in the member, with all its objects, and installed again.
pub(crate) async fn a_definition_removed_and_installed_again_gets_its_objects_back(world: &World) -> Result<()> {
    let stage = Stage::open(world, "definition").await?;
    let widget = json!({
        "apiVersion": "faults.example.io/v1", "kind": "Widget",
        "metadata": { "namespace": SPACE, "name": stage.name("widget") },
        "spec": { "size": 1 },
    });
    everywhere(&stage, &widget).await?;
    let before = in_others(&stage, &widget).await?;

    let trial = stage.begin().await?;
    objects::delete(&stage.faulty.client, &definition()).await?;
    annotate(&stage, &widget, "second").await?;
    trial.runs(&Expected::told(&["not served"])).await?;
    stage.shows(stage.faulty, "changed", Some("second")).await?;
    for member in OTHERS {
        noted(stage.federation.member(member)?, &widget, "second").await?;
    }
    let gone = objects::get(&stage.faulty.client, &definition()).await?.is_none();
    ensure!(gone, "the definition is still being removed");

    install::definitions(&stage.faulty.client, &[definition()]).await?;
    let start = Instant::now();
    noted(stage.faulty, &widget, "second").await?;
    println!("    the Widget is back {:.2} s after its definition", start.elapsed().as_secs_f64());
    for (before, after) in before.iter().zip(&in_others(&stage, &widget).await?) {
        same(before, after)?;
    }
    trial.ended().await
}

/// M24: a namespace is deleted in the member, and something in it stays.
pub(crate) async fn a_namespace_that_does_not_end_holds_up_no_other(world: &World) -> Result<()> {
    const STUCK: &str = "member-faults-stuck";
    let stage = Stage::open(world, "stuck").await?;
    subject::namespace(stage.federation, STUCK).await?;
    let map = objects::config_map(STUCK, &stage.name("inside"));
    everywhere(&stage, &map).await?;
    let before = in_others(&stage, &map).await?;
    let mut anchor = objects::config_map(STUCK, "anchor");
    anchor["metadata"]["finalizers"] = json!(["example.io/anchor"]);
    objects::create(&stage.faulty.client, &anchor).await?;

    let trial = stage.begin().await?;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": STUCK } });
    objects::delete(&stage.faulty.client, &namespace).await?;
    annotate(&stage, &map, "second").await?;
    trial.runs(&Expected::told(&["is being deleted"])).await?;
    // Other namespaces go on meanwhile.
    stage.shows(stage.faulty, "changed", Some("second")).await?;
    stage.shows(stage.faulty, "fresh", Some("value")).await?;

    objects::merge(&stage.faulty.client, &anchor, &json!({ "metadata": { "finalizers": null } })).await?;
    let start = Instant::now();
    noted(stage.faulty, &map, "second").await?;
    println!("    back in a new namespace {:.2} s after the old one could end", start.elapsed().as_secs_f64());
    for (before, after) in before.iter().zip(&in_others(&stage, &map).await?) {
        same(before, after)?;
    }
    trial.ended().await
}

/// M25: somebody in the member holds an object that is to go.
pub(crate) async fn an_object_that_somebody_holds_names_its_holder(world: &World) -> Result<()> {
    let stage = Stage::open(world, "held").await?;
    let deleted = stage.map("deleted");
    let hold = |finalizers: Value| json!({ "metadata": { "finalizers": finalizers } });
    objects::merge(&stage.faulty.client, &deleted, &hold(json!(["example.io/hold"]))).await?;

    let trial = stage.begin().await?;
    let outcome = is_held(&stage, &trial, &deleted).await;
    objects::merge(&stage.faulty.client, &deleted, &hold(Value::Null)).await?;
    outcome?;
    trial.ended().await
}

async fn is_held(stage: &Stage<'_>, trial: &Trial<'_>, deleted: &Value) -> Result<()> {
    trial.runs(&Expected::told(&["example.io/hold"])).await?;
    stage.shows(stage.faulty, "changed", Some("second")).await?;
    let held = objects::get(&stage.faulty.client, deleted).await?.context("it went in spite of its finalizer")?;
    ensure!(held.metadata.deletion_timestamp.is_some(), "it was not deleted: {held:?}");
    Ok(())
}
