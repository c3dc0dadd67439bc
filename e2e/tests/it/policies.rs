//! The life of a policy: what it holds, what it lets go, and what is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::product::Start;
use serde_json::{Value, json};

use crate::objects;
use crate::subject::{self, SOON, Subject, same, untouched};
use crate::world::World;

const MEMBER: &str = "bj-prod";
/// How long what must stay is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// Waits for a Warning event in a namespace whose message contains all of this.
async fn warned(federation: &Federation, namespace: &str, words: &[&str]) -> Result<()> {
    let events = Api::<Event>::namespaced(federation.hub.client.clone(), namespace);
    eventually::some(SOON, &format!("a warning with {words:?}"), || async {
        let all = events.list(&ListParams::default().fields("type=Warning")).await?;
        let messages: Vec<String> = all.items.into_iter().filter_map(|event| event.message).collect();
        let said = messages.iter().any(|message| words.iter().all(|word| message.contains(word)));
        ensure!(said, "warnings: {messages:?}");
        Ok(Some(()))
    })
    .await
}

/// Waits until no policy has its mark on the template, nor on the member's object: the marks travel with the template.
/// Gives the member's object.
async fn unclaimed(subject: &Subject<'_>) -> Result<Value> {
    eventually::some(SOON, "the template to be let go", || async {
        let hub = &subject.federation.hub.client;
        let template = serde_json::to_value(objects::get(hub, &subject.template).await?.context("no template")?)?;
        let live = subject.live().await?;
        for object in [&template, &live] {
            let marks = ["labels", "annotations"].map(|map| object["metadata"][map].to_string()).concat();
            ensure!(!marks.contains("propagationpolicy.karmada.io"), "{marks}");
        }
        Ok(Some(live))
    })
    .await
}

/// Watches that nobody writes the member's object.
async fn stays(subject: &Subject<'_>, before: &Value) -> Result<()> {
    eventually::stays(WATCHED, "the member's object", &before["metadata"]["resourceVersion"], || async {
        Ok(subject.live().await?["metadata"]["resourceVersion"].clone())
    })
    .await?;
    untouched(before, &subject.live().await?)
}

pub(crate) async fn a_field_that_is_not_built_holds_what_runs(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "not-built").await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("not-built", "map"))?;
    let before = map.arrived().await?;
    let spread = json!([{ "spreadByField": "cluster", "minGroups": 1, "maxGroups": 1 }]);
    let change = json!({ "spec": { "placement": {
        "clusterAffinity": { "clusterNames": ["sh-prod"] }, "spreadConstraints": spread,
    }}});
    objects::merge(&federation.hub.client, &map.policy, &change).await?;
    let status = map
        .condition("Scheduled", |condition| condition["status"] == "False" && condition["reason"] == "NotSupported")
        .await?;
    ensure!(status["conditions"].to_string().contains("spec.placement.spreadConstraints"), "{status}");
    warned(federation, "not-built", &["spec.placement.spreadConstraints"]).await?;
    stays(&map, &before).await?;

    // Without the field the rest of the change is carried out.
    objects::merge(
        &federation.hub.client,
        &map.policy,
        &json!({ "spec": { "placement": { "spreadConstraints": null } } }),
    )
    .await?;
    map.condition("Scheduled", |condition| condition["status"] == "True").await?;
    let moved = federation.member("sh-prod")?;
    eventually::some(SOON, "the object in sh-prod", || objects::get(&moved.client, &map.template)).await?;
    eventually::some(SOON, "the object to leave bj-prod", || async { Ok(map.found().await?.is_none().then_some(())) })
        .await
}

pub(crate) async fn a_deleted_policy_leaves_what_it_placed(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "orphaned").await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("orphaned", "map"))?;
    let before = map.arrived().await?;
    objects::delete(&federation.hub.client, &map.policy).await?;
    let after = unclaimed(&map).await?;
    same(&before, &after)?;
    ensure!(after["data"] == before["data"], "{after}");
    stays(&map, &after).await?;
    ensure!(map.binding().await?.is_some(), "the binding is gone");
    // Another policy takes it up again; the object is the same.
    objects::create(&federation.hub.client, &map.policy).await?;
    map.change(json!({ "data": { "key": "second" } })).await?;
    same(&before, &map.shows("/data/key", json!("second")).await?)?;
    map.withdrawn().await?;
    ensure!(map.found().await?.is_none(), "still in the member");
    Ok(())
}

pub(crate) async fn a_policy_that_selects_no_more_lets_go(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "let-go").await?;
    let map = Subject::new(federation, MEMBER, objects::config_map("let-go", "map"))?;
    let before = map.arrived().await?;
    let other =
        json!({ "spec": { "resourceSelectors": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "other" }] } });
    objects::merge(&federation.hub.client, &map.policy, &other).await?;
    let after = unclaimed(&map).await?;
    same(&before, &after)?;
    ensure!(after["data"] == before["data"], "{after}");
    stays(&map, &after).await
}

pub(crate) async fn an_override_cannot_make_it_another_object(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    for (namespace, path, value) in [
        ("as-kind", "/kind", "Secret"),
        ("as-place", "/metadata/namespace", "kube-system"),
        ("as-name", "/metadata/name", "b"),
    ] {
        subject::namespace(federation, namespace).await?;
        let map = Subject::new(federation, MEMBER, objects::config_map(namespace, "map"))?;
        let before = map.arrived().await?;
        let policy = json!({
            "apiVersion": "policy.karmada.io/v1alpha1", "kind": "OverridePolicy",
            "metadata": { "namespace": namespace, "name": "bad" },
            "spec": {
                "resourceSelectors": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "map" }],
                "overrideRules": [{ "overriders": {
                    "plaintext": [{ "path": path, "operator": "replace", "value": value }],
                }}],
            },
        });
        objects::create(hub, &policy).await?;
        warned(federation, namespace, &["override rejected", "OverridePolicy", "bad"]).await?;
        stays(&map, &before).await?;
        // The template may change meanwhile: nothing ships until the override is right.
        map.change(json!({ "data": { "key": "second" } })).await?;
        stays(&map, &before).await?;
        objects::delete(hub, &policy).await?;
        same(&before, &map.shows("/data/key", json!("second")).await?)?;
    }
    Ok(())
}

pub(crate) async fn the_policy_of_higher_priority_wins(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "priority").await?;
    let mut map = Subject::new(federation, "sz-prod", objects::config_map("priority", "map"))?;
    // Of equal ones the first name would win.
    let mut lower = objects::duplicated("priority", "v1", "ConfigMap", "map", &[MEMBER]);
    lower["metadata"]["name"] = json!("a-lower");
    lower["spec"]["priority"] = json!(1);
    map.policy["metadata"]["name"] = json!("b-higher");
    map.policy["spec"]["priority"] = json!(2);
    // The controller knows both before there is anything to claim: else the first that it hears of takes it, and keeps it.
    for policy in [&lower, &map.policy] {
        objects::create(hub, policy).await?;
        eventually::some(SOON, "the policy to get its permanent id", || async {
            let seen = objects::get(hub, policy).await?.context("no policy")?;
            let labels = seen.metadata.labels.unwrap_or_default();
            Ok(labels.contains_key("propagationpolicy.karmada.io/permanent-id").then_some(()))
        })
        .await?;
    }
    objects::create(hub, &map.template).await?;
    eventually::some(SOON, "the object in the member", || map.found()).await?;
    let template = objects::get(hub, &map.template).await?.context("no template")?;
    let annotations = template.metadata.annotations.unwrap_or_default();
    ensure!(
        annotations.get("propagationpolicy.karmada.io/name").is_some_and(|name| name == "b-higher"),
        "{annotations:?}"
    );
    ensure!(objects::get(&federation.member(MEMBER)?.client, &map.template).await?.is_none(), "it is in {MEMBER}, too");
    Ok(())
}

pub(crate) async fn a_cluster_policy_claims_a_cluster_scoped_object_and_lets_it_go(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "claimed-and-let-go" },
        "value": 1000, "description": "first",
    });
    let class = Subject::new(federation, MEMBER, class)?;
    let before = class.arrived().await?;
    let marks = &before["metadata"]["annotations"]["clusterpropagationpolicy.karmada.io/name"];
    ensure!(marks == "claimed-and-let-go", "{before}");

    // A selector that is narrowed lets go, and what runs stays as it is.
    let select = |name: &str| {
        let selector = json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "name": name });
        json!({ "spec": { "resourceSelectors": [selector] } })
    };
    objects::merge(hub, &class.policy, &select("another")).await?;
    let released = unclaimed(&class).await?;
    same(&before, &released)?;
    stays(&class, &released).await?;
    ensure!(class.binding().await?.is_some(), "the binding is gone");

    // Selected again it is claimed again, and edits of the template go out as before.
    objects::merge(hub, &class.policy, &select("claimed-and-let-go")).await?;
    class.change(json!({ "description": "second" })).await?;
    same(&before, &class.shows("/description", json!("second")).await?)?;
    // The edit may have come before the claim; then the marks are one write behind.
    class.shows("/metadata/annotations/clusterpropagationpolicy.karmada.io~1name", json!("claimed-and-let-go")).await?;

    objects::delete(hub, &class.policy).await?;
    let orphaned = unclaimed(&class).await?;
    same(&before, &orphaned)?;
    stays(&class, &orphaned).await?;
    objects::delete(hub, &class.template).await?;
    eventually::some(SOON, "the object to leave the member", || async {
        Ok(class.found().await?.is_none().then_some(()))
    })
    .await
}

pub(crate) async fn a_policy_preempts_once_it_outranks_the_owner(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let flags = vec!["--feature-gates=PropagationPolicyPreemption=true".to_owned()];
    controller(federation, &Start { flags, ..Start::default() }).await?;
    let outcome = preempts(federation).await;
    controller(federation, &Start::default()).await?;
    outcome
}

/// A controller in place of the present one.
async fn controller(federation: &Federation, start: &Start) -> Result<()> {
    federation.controller().terminate().await?;
    federation.start_controller_with(start).await
}

async fn preempts(federation: &Federation) -> Result<()> {
    let hub = &federation.hub.client;
    subject::namespace(federation, "preempted").await?;
    let mut map = Subject::new(federation, MEMBER, objects::config_map("preempted", "map"))?;
    map.policy["metadata"]["name"] = json!("owner");
    map.policy["spec"]["priority"] = json!(5);
    let before = map.arrived().await?;
    let mut rival = map.policy.clone();
    rival["metadata"]["name"] = json!("rival");
    rival["spec"]["priority"] = json!(3);
    rival["spec"]["preemption"] = json!("Always");
    rival["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!([MEMBER, "sh-prod"]);
    objects::create(hub, &rival).await?;
    stays(&map, &before).await?;

    // It was never about the rival: the owner falls below it.
    objects::merge(hub, &map.policy, &json!({ "spec": { "priority": 1 } })).await?;
    let both = federation.member("sh-prod")?;
    eventually::some(SOON, "the rival's placement", || objects::get(&both.client, &map.template)).await?;
    let name = "/metadata/annotations/propagationpolicy.karmada.io~1name";
    same(&before, &map.shows(name, json!("rival")).await?)?;
    told(federation, "preempted", "PreemptPolicySucceed").await?;

    // What was taken is not taken back.
    let after = map.live().await?;
    objects::merge(hub, &map.policy, &json!({ "spec": { "priority": 9 } })).await?;
    stays(&map, &after).await
}

/// Waits for an event of this reason in a namespace.
async fn told(federation: &Federation, namespace: &str, reason: &str) -> Result<()> {
    let events = Api::<Event>::namespaced(federation.hub.client.clone(), namespace);
    eventually::some(SOON, &format!("an event {reason}"), || async {
        let all = events.list(&ListParams::default()).await?;
        Ok(all.items.iter().any(|event| event.reason.as_deref() == Some(reason)).then_some(()))
    })
    .await
}

/// How often the claim changes hands, and how long that may take.
const TURNS: usize = 100;
const TURN: Duration = Duration::from_millis(100);

pub(crate) async fn two_policies_claiming_in_turn_a_hundred_times_settle_without_loss(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let hub = &federation.hub.client;
    subject::namespace(federation, "in-turn").await?;
    let mut map = Subject::new(federation, MEMBER, objects::config_map("in-turn", "map"))?;
    map.policy["metadata"]["name"] = json!("left");
    let before = map.arrived().await?;
    // The right one sends the object to a second member, too; its selector misses at first.
    let mut right = map.policy.clone();
    right["metadata"]["name"] = json!("right");
    right["spec"]["placement"]["clusterAffinity"]["clusterNames"] = json!([MEMBER, "sh-prod"]);
    right["spec"]["resourceSelectors"][0]["name"] = json!("nobody");
    let right = Subject { federation, member: map.member, template: map.template.clone(), policy: right };
    objects::create(hub, &right.policy).await?;

    let mark = map.mark()?;
    let seen = Watched::start(&map, &before).await?;
    let select = |name: &str| {
        let selector = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": name });
        json!({ "spec": { "resourceSelectors": [selector] } })
    };
    let mut turns = tokio::time::interval(TURN);
    let start = Instant::now();
    for turn in 0..TURNS {
        turns.tick().await;
        let (on, off) = if turn % 2 == 0 { (&right, &map) } else { (&map, &right) };
        // In turn, too: nobody selects it for a moment, or both do.
        let (first, second) =
            if turn % 4 < 2 { ((off, "nobody"), (on, "map")) } else { ((on, "map"), (off, "nobody")) };
        for (policy, name) in [first, second] {
            objects::merge(hub, &policy.policy, &select(name)).await?;
        }
    }
    let took = start.elapsed();
    // The last turn gave it to the left one; one more, so that the end is not where it began.
    objects::merge(hub, &map.policy, &select("nobody")).await?;
    objects::merge(hub, &right.policy, &select("map")).await?;

    let name = "/metadata/annotations/propagationpolicy.karmada.io~1name";
    let label = "/metadata/labels/propagationpolicy.karmada.io~1permanent-id";
    let policy = serde_json::to_value(objects::get(hub, &right.policy).await?.context("no policy")?)?;
    let id = policy.pointer(label).context("no permanent id")?;
    let second = federation.member("sh-prod")?;
    eventually::some(SOON, "everything to belong to the right policy", || async {
        let template = serde_json::to_value(objects::get(hub, &map.template).await?.context("no template")?)?;
        let binding = serde_json::to_value(map.binding().await?.context("no binding")?)?;
        let copy = objects::get(&second.client, &map.template).await?.context("not in the second member")?;
        for object in [&template, &binding, &map.live().await?, &serde_json::to_value(copy)?] {
            ensure!(object.pointer(name) == Some(&json!("right")) && object.pointer(label) == Some(id), "{object}");
        }
        Ok(Some(()))
    })
    .await?;
    map.fully_applied("True").await?;
    let after = map.live().await?;
    stays(&map, &after).await?;
    same(&before, &after)?;
    ensure!(after["data"] == before["data"], "{after}");
    seen.lost_nothing()?;
    let writes = map.written_since(mark)?;
    println!("    {TURNS} turns in {took:.1?}: {writes} writes to the member");
    // Each turn lets go and claims: whatever is written more often than that is written for nothing.
    ensure!(writes <= 2 * TURNS + 4, "{writes} writes for {TURNS} turns");
    Ok(())
}

/// A look at every change of the member's object.
struct Watched {
    task: tokio::task::JoinHandle<()>,
    lost: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    async fn start(subject: &Subject<'_>, object: &Value) -> Result<Self> {
        let api = objects::api_of(&subject.member.client, &subject.template)?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (uid, version) = (text("/metadata/uid"), text("/metadata/resourceVersion"));
        let params = WatchParams::default().fields(&format!("metadata.name={}", text("/metadata/name"))).timeout(290);
        let mut events = api.watch(&params, &version).await?.boxed();
        let lost = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&lost);
        let task = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let problem = match event {
                    Ok(WatchEvent::Added(now) | WatchEvent::Modified(now)) => {
                        (now.metadata.uid.as_deref() != Some(uid.as_str())).then(|| "it is another object".to_owned())
                    }
                    Ok(WatchEvent::Deleted(_)) => Some("it was deleted".to_owned()),
                    Ok(WatchEvent::Bookmark(_)) => None,
                    Ok(WatchEvent::Error(error)) => Some(format!("the watch broke: {error:?}")),
                    Err(error) => Some(format!("the watch broke: {error}")),
                };
                note.lock().unwrap_or_else(PoisonError::into_inner).extend(problem);
            }
            note.lock().unwrap_or_else(PoisonError::into_inner).push("the watch ended".to_owned());
        });
        Ok(Self { task, lost })
    }

    /// It was there all the time, and it was the same all the time.
    fn lost_nothing(self) -> Result<()> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ensure!(lost.is_empty(), "the member's object: {lost:?}");
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn a_namespace_comes_to_the_members_and_stays_there(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    subject::namespace(federation, "passing").await?;
    let probe = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "passing" } });
    let hub = &federation.hub.client;
    objects::delete(hub, &probe).await?;
    eventually::some(SOON, "the namespace to leave the hub", || async {
        Ok(objects::get(hub, &probe).await?.is_none().then_some(()))
    })
    .await?;
    for member in &federation.members {
        // The marks go when the Work goes: then Pando has decided, and the namespace is still there.
        eventually::some(SOON, &format!("{} to let the namespace go", member.name), || async {
            let seen = objects::get(&member.client, &probe).await?.context("the namespace is gone")?;
            ensure!(seen.metadata.deletion_timestamp.is_none(), "it is being deleted");
            let labels = seen.metadata.labels.unwrap_or_default();
            ensure!(!labels.contains_key("karmada.io/managed"), "labels {labels:?}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn the_api_server_refuses_contradictions_in_our_words(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let good = objects::duplicated("default", "v1", "ConfigMap", "refused", &[MEMBER]);
    let with = |pointer: &str, key: &str, value: Value| {
        let mut policy = good.clone();
        if let Some(place) = policy.pointer_mut(pointer) {
            place[key] = value;
        }
        policy
    };
    let weight = json!({ "staticWeightList": [{ "targetCluster": { "clusterNames": [MEMBER] }, "weight": 0 }] });
    let cases = [
        (
            with("/spec/placement", "clusterAffinities", json!([{ "affinityName": "a", "clusterNames": [MEMBER] }])),
            "use clusterAffinity or clusterAffinities, not both",
        ),
        (with("/spec/placement/replicaScheduling", "weightPreference", weight), "greater than or equal to 1"),
        (with("/spec", "resourceSelectors", json!([])), "spec.resourceSelectors"),
        (
            with(
                "/spec",
                "suspension",
                json!({
                    "dispatching": true, "dispatchingOnClusters": { "clusterNames": [MEMBER] },
                }),
            ),
            "use dispatching or dispatchingOnClusters, not both",
        ),
    ];
    for (policy, words) in cases {
        let Err(error) = objects::create(&federation.hub.client, &policy).await else {
            anyhow::bail!("accepted: {policy}");
        };
        let said = format!("{error:#}");
        ensure!(said.contains(words), "wanted {words:?} in {said:?}");
    }
    Ok(())
}
