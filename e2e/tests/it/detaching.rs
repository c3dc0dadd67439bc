//! Detach is a contract: it says what it will do, what keeps it, and what is left; `pando unjoin` and `kubectl delete cluster`
//! go the same way; and a member that does not answer loses nothing.

use anyhow::{Context as _, Result, ensure};
use pando_e2e::audit::{self, Entry};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::provider::Cluster;
use pando_e2e::relay::Mode;
use serde_json::{Value, json};

use crate::budget::{log, marks, pando, quiet_but_for_events};
use crate::member_faults::Stopped;
use crate::objects;
use crate::subject::{self, SOON, Subject};
use crate::world::World;

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    success: bool,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Result<Value> {
        ensure!(self.success, "it failed: {self:?}");
        serde_json::from_str(&self.out).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// `pando unjoin` of a member, as the hub's administrator.
async fn unjoin(federation: &Federation, member: &Cluster, more: &[&str]) -> Result<Said> {
    let output = tokio::process::Command::new(federation.product.binary())
        .args(["unjoin", &member.name, "--kubeconfig"])
        .arg(&federation.hub.admin_kubeconfig)
        .args(more)
        .kill_on_drop(true)
        .output()
        .await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { success: output.status.success(), out: text(output.stdout), err: text(output.stderr) })
}

fn record(member: &Cluster) -> Value {
    json!({ "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": { "name": member.name } })
}

/// A ConfigMap of this name in a namespace of its own, in one member.
async fn placed<'a>(federation: &'a Federation, member: &str, space: &str, name: &str) -> Result<Subject<'a>> {
    let subject = Subject::new(federation, member, objects::config_map(space, name))?;
    subject.arrived().await?;
    Ok(subject)
}

/// Waits until condition Detaching gives this reason and a message with this in it. Gives the message.
async fn tells(federation: &Federation, member: &Cluster, reason: &str, words: &str) -> Result<String> {
    eventually::some(SOON, &format!("Detaching with {reason}: {words}"), || async {
        let cluster = objects::get(&federation.hub.client, &record(member)).await?.context("the Cluster is gone")?;
        let conditions = cluster.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|one| one["type"] == "Detaching").context("no condition")?;
        let message = found["message"].as_str().unwrap_or_default();
        ensure!(found["reason"] == reason && message.contains(words), "{found}");
        Ok(Some(message.to_owned()))
    })
    .await
}

async fn is_gone(federation: &Federation, object: &Value, member: &Cluster) -> Result<()> {
    for (cluster, object) in [(&federation.hub, &record(member)), (member, object)] {
        eventually::some(SOON, &format!("{object} to be gone from {}", cluster.name), || async {
            Ok(objects::get(&cluster.client, object).await?.is_none().then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Takes template and policy away and has the member join again.
async fn joins_again(federation: &Federation, subjects: &[Subject<'_>]) -> Result<()> {
    for subject in subjects {
        objects::delete(&federation.hub.client, &subject.template).await?;
        objects::delete(&federation.hub.client, &subject.policy).await?;
    }
    rejoined(federation, subjects.first().context("no subject")?.member).await
}

async fn rejoined(federation: &Federation, member: &Cluster) -> Result<()> {
    eventually::some(SOON, "the member to join again", || async { federation.join(member).await.map(Some) }).await
}

pub(crate) async fn an_unjoin_says_what_it_will_do_does_it_and_reports(world: &World) -> Result<()> {
    const SPACE: &str = "detaching";
    let federation = world.federation().await?;
    let member = federation.member("bj-prod")?;
    subject::namespace(federation, SPACE).await?;
    let plain = placed(federation, "bj-prod", SPACE, "plain").await?;
    let mut preserved = Subject::new(federation, "bj-prod", objects::config_map(SPACE, "preserved"))?;
    preserved.policy["spec"]["preserveResourcesOnDeletion"] = json!(true);
    preserved.arrived().await?;
    quiet_but_for_events(federation).await?;

    let before = marks(federation)?;
    let preview = unjoin(federation, member, &["--dry-run", "-o", "json"]).await?.json()?;
    let fate = |name: &str| {
        let all = preview["objects"].as_array().into_iter().flatten();
        all.into_iter().find(|one| one["object"] == name).map(|one| one["fate"].clone())
    };
    ensure!(fate("ConfigMap detaching/plain") == Some(json!("removed")), "{preview}");
    ensure!(fate("ConfigMap detaching/preserved") == Some(json!("kept")), "{preview}");
    ensure!(fate("Namespace detaching") == Some(json!("kept")), "{preview}");
    for (cluster, mark) in before {
        let user = pando(cluster, federation);
        let people = |by: &str| !by.starts_with("system:") || by == user;
        let mut writes = log(cluster)?.writes_since(mark, people)?;
        writes.retain(|entry| entry.resource != "events");
        ensure!(writes.is_empty(), "a dry run wrote in {}:\n{}", cluster.name, audit::print(&writes));
    }

    let kubeconfig = member.admin_kubeconfig.display().to_string();
    let said = unjoin(federation, member, &["--cluster-kubeconfig", &kubeconfig, "-o", "json"]).await?;
    let report = said.json()?;
    ensure!(said.err.contains("ConfigMap detaching/plain") && said.err.contains("waiting: "), "{said:?}");
    ensure!(report["unjoined"] == true && report["leftBehind"] == json!([]), "{report}");
    ensure!(report["removed"].as_u64() >= Some(1) && report["kept"].as_u64() >= Some(2), "{report}");
    is_gone(federation, &plain.template, member).await?;
    let kept = preserved.live().await?;
    ensure!(kept["metadata"]["labels"].get("karmada.io/managed").is_none(), "it is still marked as ours: {kept}");
    objects::delete(&member.client, &preserved.template).await?;
    joins_again(federation, &[plain, preserved]).await
}

pub(crate) async fn what_holds_a_deleted_cluster_is_named_until_force_leaves_it_behind(world: &World) -> Result<()> {
    const SPACE: &str = "detaching-held";
    const HELD: &str = "ConfigMap detaching-held/held";
    let federation = world.federation().await?;
    let (hub, member) = (&federation.hub.client, federation.member("sh-prod")?);
    subject::namespace(federation, SPACE).await?;
    let subject = placed(federation, "sh-prod", SPACE, "held").await?;
    let hold = |finalizers: Value| json!({ "metadata": { "finalizers": finalizers } });
    objects::merge(&member.client, &subject.template, &hold(json!(["example.io/hold"]))).await?;

    // As kubectl does it, and the command finds it under way.
    objects::delete(hub, &record(member)).await?;
    let told = tells(federation, member, "Blocked", "example.io/hold").await?;
    println!("    {told}");
    let said = unjoin(federation, member, &["--deadline", "3s"]).await?;
    ensure!(!said.success && said.out.is_empty() && said.err.contains("example.io/hold"), "{said:?}");
    tells(federation, member, "DeadlineExceeded", "example.io/hold").await?;
    ensure!(subject.found().await?.is_some(), "a deadline forced something");

    let report = unjoin(federation, member, &["--force", "-o", "json"]).await?.json()?;
    ensure!(report["leftBehind"] == json!([HELD]) && report["forcedBy"].is_string(), "{report}");
    let list = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "namespace": "karmada-cluster", "name": "detached-sh-prod" } });
    let list = objects::get(hub, &list).await?.context("no list of what is left behind")?;
    ensure!(list.data["data"]["objects"] == HELD, "{:?}", list.data);
    let left = subject.live().await?;
    ensure!(left["metadata"]["finalizers"] == json!(["example.io/hold"]), "{left}");
    objects::merge(&member.client, &subject.template, &hold(Value::Null)).await?;
    is_gone(federation, &subject.template, member).await?;
    joins_again(federation, &[subject]).await
}

pub(crate) async fn a_black_holed_member_is_waited_for_and_keeps_everything_when_forced(world: &World) -> Result<()> {
    const SPACE: &str = "detaching-dark";
    let federation = world.federation().await?;
    let member = federation.member("sz-prod")?;
    subject::namespace(federation, SPACE).await?;
    let subject = placed(federation, "sz-prod", SPACE, "kept").await?;
    quiet_but_for_events(federation).await?;
    let before = subject.live().await?;
    let mark = log(member)?.mark()?;

    let dark = member.relay.as_ref().context("tests have relays")?.disturbed(Mode::BlackHole);
    objects::delete(&federation.hub.client, &record(member)).await?;
    let told = tells(federation, member, "MemberUnreachable", "cannot be reached since").await?;
    println!("    {told}");
    let report = unjoin(federation, member, &["--force", "-o", "json"]).await?.json()?;
    let left = report["leftBehind"].as_array().context("no list")?;
    ensure!(left.contains(&json!("ConfigMap detaching-dark/kept")), "{report}");
    drop(dark);

    rejoined(federation, member).await?;
    let user = pando(member, federation);
    let deletes = |entry: &Entry| entry.verb.starts_with("delete");
    let writes: Vec<Entry> = log(member)?.writes_since(mark, |by| by == user)?.into_iter().filter(deletes).collect();
    ensure!(writes.is_empty(), "deleted in a member that could not be read:\n{}", audit::print(&writes));
    let after = subject.fully_applied("True").await.and(subject.live().await)?;
    ensure!(after["metadata"]["uid"] == before["metadata"]["uid"], "{before} became {after}");
    // It is ours again, and goes with its template.
    let hub = &federation.hub.client;
    objects::delete(hub, &subject.template).await?;
    objects::delete(hub, &subject.policy).await?;
    eventually::some(SOON, "the object to go", || async { Ok(subject.found().await?.is_none().then_some(())) }).await
}

pub(crate) async fn a_stopped_member_is_waited_for_and_leaves_when_it_goes_on(world: &World) -> Result<()> {
    const SPACE: &str = "detaching-stopped";
    let federation = world.federation().await?;
    let member = federation.member("bj-prod")?;
    subject::namespace(federation, SPACE).await?;
    let subject = placed(federation, "bj-prod", SPACE, "stopped").await?;
    {
        let _stopped = Stopped::stop(federation.process(member, "kube-apiserver")?);
        objects::delete(&federation.hub.client, &record(member)).await?;
        tells(federation, member, "MemberUnreachable", "cannot be reached since").await?;
        let said = unjoin(federation, member, &["--deadline", "2s"]).await?;
        ensure!(!said.success && said.err.contains("cannot be reached since"), "{said:?}");
    }
    is_gone(federation, &subject.template, member).await?;
    joins_again(federation, &[subject]).await
}
