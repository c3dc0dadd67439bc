//! Detaching a member ends everything that was ever started for it, whatever it is busy with, and nobody else notices.
//!
//! The member's side of Pando runs in a program of its own (`controller/member/examples/detach.rs`): the real link, client,
//! watches, queues and reconciles, around orders of this test. The API server and the line to it are real, too.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use pando_e2e::http_relay::{Fault, HttpRelay, Rule, Verb, When};
use pando_e2e::install;
use pando_e2e::provider::Cluster;
use pando_e2e::relay::{Mode, Relay};
use pando_e2e::workspace;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::world::World;

/// The member that is detached, behind the relays.
const GONE: &str = "gone";
/// The one that is not, over a line of its own.
const STAYS: &str = "stays";
/// No order takes longer.
const PATIENCE: Duration = Duration::from_secs(240);
/// Long after a detach: whatever would still come has come.
const AFTERMATH: Duration = Duration::from_secs(3);

pub(crate) async fn a_busy_member_is_gone_when_its_detach_returns(world: &World) -> Result<()> {
    let mut rig = Rig::start(world).await?;
    let (relay, http) = rig.lines()?;
    let load = json!({ "requests": 1000, "backoffs": 200, "watches": 50, "clean_ups": 20 });
    let before = rig.obey(&json!({ "do": "accompany", "member": STAYS })).await?;
    rig.obey(&json!({ "do": "attach", "member": GONE, "load": load })).await?;
    let _silence = http.answer_by(vec![silence()?]);
    let held = http.record().mark();
    let busy = rig.obey(&json!({ "do": "request", "member": GONE, "load": load })).await?;
    ensure!(busy["contexts"].as_u64() > Some(1250), "not busy: {busy}");
    ensure!(rig.sockets(&busy, relay) > 0, "no connection to the member: {busy}");
    let arrived = http.record().since(held).iter().filter(|exchange| is_held(&exchange.call.name)).count();

    // From here on the member hears nothing, not even that its connections end.
    let hole = relay.disturbed(Mode::BlackHole);
    rig.obey(&json!({ "do": "look" })).await?;
    let gone = rig.obey(&json!({ "do": "detach", "member": GONE })).await?;
    let (acknowledged, reconciles) = (http.record().mark(), count(&gone, "reconciles"));
    println!("detached with {arrived} requests at the relay, in {} ms: {gone}", gone["took_ms"]);
    nothing_left(&before, &gone)?;
    ensure!(rig.sockets(&gone, relay) == 0, "sockets are left: {gone}");
    ensure!(count(&gone, "clean_ups") == 20, "not all cleaned up: {gone}");

    drop(hole);
    tokio::time::sleep(AFTERMATH).await;
    let late = http.record().since(acknowledged);
    ensure!(late.is_empty(), "requests after the detach was acknowledged: {late:?}");
    let later = rig.obey(&json!({ "do": "look" })).await?;
    ensure!(count(&later, "reconciles") == reconciles, "a reconcile of the detached member ran: {later}");
    nothing_left(&before, &later)?;
    let gap = count(&gone, "longest_gap_ms").max(count(&later, "longest_gap_ms"));
    println!("the other member's longest pause between two reconciles during the detach: {gap} ms");
    ensure!(gap < 1000, "the other member's reconciles paused for {gap} ms");
    rig.end().await
}

pub(crate) async fn a_detach_takes_less_than_its_grace_every_time(world: &World) -> Result<()> {
    let times = if is_slow() { 200 } else { 15 };
    let mut rig = Rig::start(world).await?;
    let (_, http) = rig.lines()?;
    let before = rig.obey(&json!({ "do": "look" })).await?;
    let _silence = http.answer_by(vec![silence()?]);
    let load = json!({ "requests": 100, "backoffs": 20, "watches": 5, "clean_ups": 2 });
    let answer = rig.obey(&json!({ "do": "repeat", "member": GONE, "load": load, "times": times })).await?;
    let took: Vec<f64> = answer["took_ms"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    ensure!(took.len() == times, "{answer}");
    let at = |share: usize| took.get((took.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::MAX);
    println!("{times} detaches: median {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(50), at(99), at(100));
    // Half of the grace at which the program itself gives up; the promise is a second, and is printed above.
    ensure!(at(99) < 5_000.0, "a detach took {} ms", at(99));
    nothing_left(&before, &answer["now"])?;
    rig.end().await
}

pub(crate) async fn a_member_attached_and_detached_again_and_again_leaves_nothing(world: &World) -> Result<()> {
    let (first, last) = if is_slow() { (100, 1000) } else { (50, 100) };
    let mut rig = Rig::start(world).await?;
    let order = json!({ "do": "cycle", "member": GONE, "times": last, "looks": [first, last] });
    let answer = rig.obey(&order).await?;
    let (early, late) = (&answer["looks"][0], &answer["looks"][1]);
    println!("after {first} cycles: {early}\nafter {last} cycles: {late}");
    nothing_left(early, late)?;
    ensure!(count(late, "descriptors") <= count(early, "descriptors"), "descriptors grow: {early} {late}");
    let (bytes, more) = (count(early, "live_bytes"), count(late, "live_bytes"));
    ensure!(more <= bytes + bytes / 100, "the live bytes grow from {bytes} to {more}");
    rig.end().await
}

pub(crate) async fn a_call_between_members_ends_when_either_goes(world: &World) -> Result<()> {
    let mut rig = Rig::start(world).await?;
    let (_, http) = rig.lines()?;
    let before = rig.obey(&json!({ "do": "look" })).await?;
    let _silence = http.answer_by(vec![silence()?]);
    for goes in [STAYS, GONE] {
        // The caller is a reconcile of the one that stays elsewhere; what it asks is behind the relays.
        let answer = rig.obey(&json!({ "do": "cross", "from": STAYS, "to": GONE, "goes": goes })).await?;
        ensure!(answer["in_flight"] == 0, "the call outlives {goes}: {answer}");
        let ended = answer["ended"].as_str().unwrap_or_default();
        ensure!(ended.contains(&format!("detached at cluster/{goes}")), "not for the end of {goes}: {answer}");
    }
    nothing_left(&before, &rig.obey(&json!({ "do": "look" })).await?)?;
    rig.end().await
}

/// The requests that are in flight when the member is detached.
fn silence() -> Result<Rule> {
    Ok(Rule::new(When::verbs(&[Verb::Get]).path("/configmaps/held-")?, Fault::Silence))
}

fn is_held(name: &str) -> bool {
    name.starts_with("held-")
}

fn is_slow() -> bool {
    std::env::var_os("PANDO_SLOW").is_some()
}

fn count(seen: &Value, what: &str) -> u64 {
    seen[what].as_u64().unwrap_or(u64::MAX)
}

/// Contexts and tasks are as they were before, and none is the detached member's.
fn nothing_left(before: &Value, now: &Value) -> Result<()> {
    let clusters = now["clusters"].as_array().context("a look")?;
    ensure!(!clusters.contains(&json!(format!("cluster/{GONE}"))), "contexts of the member are left: {now}");
    ensure!(count(now, "tasks") <= count(before, "tasks"), "tasks are left: {before} before, {now} now");
    Ok(())
}

/// The program with the member's side of Pando.
struct Rig<'a> {
    cluster: &'a Cluster,
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl<'a> Rig<'a> {
    async fn start(world: &'a World) -> Result<Self> {
        let cluster = &world.lone().await?.cluster;
        let relay = cluster.relay.as_ref().context("tests have relays")?;
        relay.lead_to(cluster.http_relay.as_ref().context("tests have relays")?.address());
        let token = token(cluster).await?;
        let place = |endpoint: &str| json!({ "endpoint": endpoint, "ca": cluster.authority, "token": token });
        let members = json!({ GONE: place(&format!("https://{}", relay.address())), STAYS: place(&cluster.server) });
        let program = tokio::task::spawn_blocking(build).await??;
        let mut child = Command::new(program)
            .env("PANDO_MEMBERS", members.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the member's side")?;
        let orders = child.stdin.take().context("piped")?;
        let answers = BufReader::new(child.stdout.take().context("piped")?).lines();
        Ok(Self { cluster, child, orders, answers })
    }

    fn lines(&self) -> Result<(&'a Relay, &'a HttpRelay)> {
        let relay = self.cluster.relay.as_ref().context("tests have relays")?;
        Ok((relay, self.cluster.http_relay.as_ref().context("tests have relays")?))
    }

    async fn obey(&mut self, order: &Value) -> Result<Value> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await?;
        let answer = tokio::time::timeout(PATIENCE, self.answers.next_line()).await;
        match answer.with_context(|| format!("no answer to {order}"))?? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => bail!("the program ended ({}) at {order}; see above", self.child.wait().await?),
        }
    }

    /// Connections of the program through the relay.
    fn sockets(&self, seen: &Value, relay: &Relay) -> u64 {
        seen["sockets"][relay.address().port().to_string()].as_u64().unwrap_or(0)
    }

    /// It ends in order, or what is left of its tree is on stderr.
    async fn end(self) -> Result<()> {
        let Self { cluster, mut child, orders, answers } = self;
        drop(orders);
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.context("it does not end")??;
        drop(answers);
        ensure!(status.success(), "something was left at the end of the program ({status}); see above");
        let direct = cluster.server.strip_prefix("https://").context("an address")?.parse()?;
        cluster.relay.as_ref().context("tests have relays")?.lead_to(direct);
        Ok(())
    }
}

/// An account that may do everything, as whom the program comes.
async fn token(cluster: &Cluster) -> Result<String> {
    let account =
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "rig", "namespace": "default" } });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "rig" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": "rig", "namespace": "default" }],
    });
    let companion =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "companion", "namespace": "default" } });
    for object in [account, binding, companion] {
        install::apply(&cluster.client, &object).await?;
    }
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), "default");
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(7200), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let issued = accounts.create_token_request("rig", &PostParams::default(), &request).await?;
    Ok(issued.status.context("a token")?.token)
}

/// Compiles the program, or takes `$PANDO_DETACH`. Blocks.
fn build() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("PANDO_DETACH") {
        return Ok(program.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["build", "-p", "pando-member", "--example", "detach", "--message-format=json-render-diagnostics"])
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "the member's side does not compile ({}); see above", output.status);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "detach")
        .find_map(|message| message["executable"].as_str().map(Into::into))
        .context("cargo did not say where it put the program")
}
