//! The controller dies directly after one of its writes, before it has used the answer: after the first, the second, and
//! so on. What follows ends in the same state as without the kill, and nothing was created or deleted twice.
//!
//! The default run kills at a few places of each step; with `PANDO_SLOW` set it kills after every single write.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::DynamicObject;
use pando_e2e::audit::{self, Entry};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::product::Start;
use serde_json::{Value, json};

use crate::budget::{log, marks, pando, quiet_but_for_events};
use crate::objects::{self, spread};
use crate::records;
use crate::split::{self, sample};
use crate::subject;
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);
const LEAVING: &str = "sz-prod";
/// Fields that no two runs have in common.
const CHANCE: [&str; 8] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "generation",
    "lastTransitionTime",
    "lastUpdateTime",
    "lastScheduledTime",
];

/// The API server's answer to a client that is gone: what was asked may have been done.
const GIVEN_UP: u16 = 504;

/// What a step came to.
#[derive(Debug)]
struct Outcome {
    /// Everything of the namespace on the hub and in the members, without what no two runs have in common.
    state: Value,
    /// How often Pando created or deleted, by cluster and resource.
    counts: BTreeMap<String, usize>,
    /// How often it may have: it died before the answer, and the API server gave the request up half way.
    in_doubt: BTreeMap<String, usize>,
}

/// After which write the controller dies.
#[derive(Clone, Copy)]
struct Kill(usize);

pub(crate) async fn killed_after_a_write_of_a_propagation_a_scale_or_a_deletion_it_ends_the_same(
    world: &World,
) -> Result<()> {
    let federation = world.federation().await?;
    quiet_but_for_events(federation).await?;
    let (plain, writes) = Box::pin(life(federation, "sweep-plain", None)).await?;
    println!("    writes of a propagation, a scale, a deletion: {writes:?}");
    let most = writes.into_iter().max().unwrap_or(0);
    for kill in places(most, 3) {
        let namespace = format!("sweep-{kill}");
        let (killed, _) = Box::pin(life(federation, &namespace, Some(Kill(kill)))).await.with_context(|| {
            format!("killed after write {kill}; what the controller said last is above its restart in the log")
        })?;
        for (step, (killed, plain)) in ["propagation", "scale", "deletion"].iter().zip(killed.iter().zip(&plain)) {
            same(plain, killed).with_context(|| format!("{step}, killed after write {kill}"))?;
        }
    }
    Ok(())
}

pub(crate) async fn killed_after_a_write_of_an_unjoin_it_ends_the_same(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let (plain, writes) = Box::pin(departure(federation, "sweep-leave-plain", None)).await?;
    println!("    writes of an unjoin: {writes}");
    for kill in places(writes, 1) {
        let namespace = format!("sweep-leave-{kill}");
        let (killed, _) = Box::pin(departure(federation, &namespace, Some(Kill(kill)))).await?;
        same(&plain, &killed).with_context(|| format!("unjoin, killed after write {kill}"))?;
    }
    Ok(())
}

/// Where to kill in a run of so many writes: everywhere, or at a few places evenly apart.
fn places(writes: usize, few: usize) -> Vec<usize> {
    if std::env::var_os("PANDO_SLOW").is_some() {
        return (1..=writes).collect();
    }
    let mut places: Vec<usize> = (1..=few).map(|nth| (writes * nth / (few + 1)).max(1)).collect();
    places.dedup();
    places
}

/// One template's life: propagated, scaled, deleted. Gives what each step came to and how many writes it took.
async fn life(federation: &Federation, namespace: &str, kill: Option<Kill>) -> Result<([Outcome; 3], [usize; 3])> {
    let hub = &federation.hub.client;
    subject::namespace(federation, namespace).await?;
    let template = sample("web-service.yaml", namespace)?;
    let policy = sample("prod-web-app-policy.yaml", namespace)?;
    objects::create(hub, &policy).await?;
    quiet_but_for_events(federation).await?;
    let placed = |replicas| split::settles(federation, namespace, "web-service", replicas);
    let (propagated, first) =
        Box::pin(step(federation, namespace, kill, async { objects::create(hub, &template).await.map(drop) }, || {
            placed([5, 3, 2])
        }))
        .await?;
    let (scaled, second) = Box::pin(step(
        federation,
        namespace,
        kill,
        async { objects::merge(hub, &template, &json!({ "spec": { "replicas": 13 } })).await.map(drop) },
        || placed([6, 4, 3]),
    ))
    .await?;
    let (deleted, third) =
        Box::pin(step(federation, namespace, kill, objects::delete(hub, &template), || gone(federation, namespace)))
            .await?;
    objects::delete(hub, &policy).await?;
    Ok(([propagated, scaled, deleted], [first, second, third]))
}

/// One unjoin of a member that runs a share of a template, and its way back.
async fn departure(federation: &Federation, namespace: &str, kill: Option<Kill>) -> Result<(Outcome, usize)> {
    let hub = &federation.hub;
    let leaving = federation.member(LEAVING)?;
    let (template, policy) = split::founded(federation, namespace).await?;
    quiet_but_for_events(federation).await?;
    let (outcome, writes) = Box::pin(step(
        federation,
        namespace,
        kill,
        async {
            let cluster = json!({
                "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": { "name": LEAVING },
            });
            objects::delete(&hub.client, &cluster).await
        },
        || async {
            eventually::equal(SOON, "web-service", &vec![Some(6), Some(4), None], || {
                spread(federation, namespace, "web-service")
            })
            .await?;
            // What the controller had to do is done; the command takes away what `join` made with the user's rights.
            federation.product.unjoin(LEAVING, &hub.admin_kubeconfig, &leaving.admin_kubeconfig).await.map(drop)
        },
    ))
    .await?;
    eventually::some(SOON, "the member to join again", || async { federation.join(leaving).await.map(Some) }).await?;
    objects::delete(&hub.client, &template).await?;
    objects::delete(&hub.client, &policy).await?;
    gone(federation, namespace).await?;
    Ok((outcome, writes))
}

/// Carries out one step, with a controller that dies on the way, and its successor.
async fn step<S: Future<Output = Result<()>>>(
    federation: &Federation,
    namespace: &str,
    kill: Option<Kill>,
    act: impl Future<Output = Result<()>>,
    settled: impl Fn() -> S,
) -> Result<(Outcome, usize)> {
    if let Some(Kill(after)) = kill {
        federation.controller().terminate().await?;
        let env = vec![("PANDO_FAILPOINT".to_owned(), format!("exit-after-write={after}"))];
        federation.start_controller_with(&Start { env, ..Start::default() }).await?;
    }
    let before = marks(federation)?;
    act.await?;
    if kill.is_some() {
        died_or(federation, settled()).await?;
        federation.controller().kill().await?;
        federation.start_controller().await?;
    }
    settled().await?;
    quiet_but_for_events(federation).await?;

    let (mut counts, mut in_doubt) = (BTreeMap::new(), BTreeMap::new());
    let mut writes = 0;
    for (cluster, mark) in before {
        let user = pando(cluster, federation);
        for entry in log(cluster)?.since(mark)?.iter().filter(|entry| entry.user == user && entry.code == GIVEN_UP) {
            *in_doubt.entry(line(&cluster.name, entry)).or_insert(0) += 1;
        }
        let mut entries = log(cluster)?.writes_since(mark, |by| by == user)?;
        entries.retain(|entry| entry.resource != "events");
        writes += entries.len();
        for entry in entries.iter().filter(|entry| matches!(entry.verb.as_str(), "create" | "delete")) {
            *counts.entry(line(&cluster.name, entry)).or_insert(0) += 1;
        }
        if writes > 400 {
            anyhow::bail!("a storm of writes in {}:\n{}", cluster.name, audit::print(&entries));
        }
    }
    Ok((Outcome { state: state(federation, namespace).await?, counts, in_doubt }, writes))
}

fn line(cluster: &str, entry: &Entry) -> String {
    format!("{} {} in {cluster}", entry.verb, entry.resource)
}

/// Waits until the controller has died; a step with fewer writes settles without that.
async fn died_or(federation: &Federation, settled: impl Future<Output = Result<()>>) -> Result<()> {
    let controller = federation.controller();
    let died =
        eventually::some(SOON * 2, "the controller to die", || async { Ok(controller.process().exit().map(drop)) });
    tokio::select! {
        died = died => died,
        settled = async { settled.await?; quiet_but_for_events(federation).await } => settled,
    }
}

/// Waits until nothing of the template is left anywhere.
async fn gone(federation: &Federation, namespace: &str) -> Result<()> {
    eventually::some(SOON, "everything of the template to be gone", || async {
        let left = state(federation, namespace).await?;
        let names = left["works"].as_array().map_or(0, Vec::len) + left["bindings"].as_array().map_or(0, Vec::len);
        let spread = spread(federation, namespace, "web-service").await?;
        ensure!(names == 0 && spread.iter().all(Option::is_none), "left: {left}");
        Ok(Some(()))
    })
    .await
}

/// What the hub and the members hold of a namespace, comparable between runs.
async fn state(federation: &Federation, namespace: &str) -> Result<Value> {
    let values = |objects: Vec<DynamicObject>| -> Result<Vec<Value>> {
        Ok(objects.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
    };
    let bindings = values(records::bindings(federation, namespace).await?)?;
    let works = values(records::works(federation, namespace).await?)?;
    let mut objects = BTreeMap::new();
    let template = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "namespace": namespace, "name": "web-service" }});
    for cluster in federation.members.iter().chain([&federation.hub]) {
        let found = objects::get(&cluster.client, &template).await?;
        objects.insert(cluster.name.clone(), serde_json::to_value(found)?);
    }
    Ok(comparable(json!({ "bindings": bindings, "works": works, "objects": objects }), namespace))
}

/// Without what no two runs have in common: ids, versions, times, hashes, and the name of the namespace.
fn comparable(value: Value, namespace: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(key, _)| !CHANCE.contains(&key.as_str()));
            let fields = fields.map(|(key, value)| {
                let chance = [
                    "permanent-id",
                    "pando.io/binding",
                    "manifest-hash",
                    "template.karmada.io/uid",
                    "work.karmada.io/name",
                ];
                let value = if chance.iter().any(|part| key.contains(part)) && value.is_string() {
                    json!("(differs)")
                } else {
                    comparable(value, namespace)
                };
                (key, value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(|item| comparable(item, namespace)).collect()),
        Value::String(text) if text.starts_with("web-service-") && !text.contains("deployment") => json!("(work)"),
        Value::String(text) => Value::String(text.replace(namespace, "(namespace)")),
        other => other,
    }
}

/// Both ended the same way.
fn same(plain: &Outcome, killed: &Outcome) -> Result<()> {
    for line in plain.counts.keys().chain(killed.counts.keys()) {
        let count = |of: &BTreeMap<String, usize>| of.get(line).copied().unwrap_or(0);
        let (wanted, sure) = (count(&plain.counts), count(&killed.counts));
        let most = sure + count(&killed.in_doubt);
        ensure!(
            (sure..=most).contains(&wanted),
            "{line}: {wanted} times without the kill, {sure} to {most} times with it"
        );
    }
    let difference = first_difference("", &plain.state, &killed.state);
    ensure!(difference.is_none(), "the ends differ: {}", difference.unwrap_or_default());
    Ok(())
}

/// Path and both values of the first place where two values differ.
fn first_difference(path: &str, left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            keys.into_iter().find_map(|key| {
                let nothing = Value::Null;
                let (left, right) = (left.get(key).unwrap_or(&nothing), right.get(key).unwrap_or(&nothing));
                first_difference(&format!("{path}/{key}"), left, right)
            })
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .find_map(|(index, (left, right))| first_difference(&format!("{path}/{index}"), left, right)),
        _ => (left != right).then(|| format!("{path}: {left} without the kill, {right} with it")),
    }
}
