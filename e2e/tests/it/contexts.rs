//! What the running controller shows of itself: one tree from the process to each call, nothing of a member that left.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pando_e2e::eventually;
use pando_e2e::federation::Federation;
use pando_e2e::product::Controller;
use pando_e2e::relay::Mode;
use serde_json::{Value, json};

use crate::objects;
use crate::split::{founded, settles};
use crate::world::World;

const SOON: Duration = Duration::from_secs(60);
/// A member of this test's own: it joins and leaves.
const PASSING: &str = "passing";

/// One context of the page, with what stands above it.
struct Row {
    /// `pando > term > cluster/bj-prod`
    path: Vec<String>,
    json: Value,
}

impl Row {
    fn path(&self) -> String {
        self.path.join(" > ")
    }
}

/// The page, as a program reads it.
async fn rows(controller: &Controller, filter: &str) -> Result<Vec<Row>> {
    let page = controller.debug(&format!("/debug/contexts?format=json&{filter}")).await?;
    ensure!(page.status == 200, "{}: {}", page.status, page.body);
    let page: Value = serde_json::from_str(&page.body)?;
    let mut path: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for json in page["rows"].as_array().context("no rows")? {
        let depth = usize::try_from(json["depth"].as_u64().context("no depth")?)?;
        path.truncate(depth);
        let kind = json["kind"].as_str().unwrap_or_default();
        path.push(json["name"].as_str().map_or_else(|| kind.to_owned(), |name| format!("{kind}/{name}")));
        rows.push(Row { path: path.clone(), json: json.clone() });
    }
    Ok(rows)
}

/// The text of the page.
async fn text(controller: &Controller, filter: &str) -> Result<String> {
    let page = controller.debug(&format!("/debug/contexts?{filter}")).await?;
    ensure!(page.status == 200, "{}: {}", page.status, page.body);
    Ok(page.body)
}

pub(crate) async fn the_tree_goes_from_the_process_to_each_call(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let controller = federation.controller();
    let (template, _) = founded(federation, "contexts").await?;
    let member = federation.member("sh-prod")?;
    // Calls take microseconds; those to a member that does not answer can be looked at.
    let silence = member.relay.as_ref().context("tests have relays")?.disturbed(Mode::BlackHole);
    let edit = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.30" }]);
    objects::json_patch(&federation.hub.client, &template, edit).await?;
    let call = eventually::some(SOON, "a call of a reconcile on the page", || async {
        let rows = rows(&controller, "cluster=sh-prod&kind=call").await?;
        let is_call = |row: &Row| row.json["matched"] == true && row.path().contains(" > reconcile/");
        Ok(rows.into_iter().find(is_call))
    })
    .await?;
    let page = text(&controller, "cluster=sh-prod").await?;
    drop(silence);
    println!("{}\n{page}", call.path());
    let above = ["pando", "term", "cluster/sh-prod", "controller/execution", "reconcile/", "call/"];
    ensure!(call.path.len() == above.len(), "{}", call.path());
    ensure!(call.path.iter().zip(above).all(|(is, wanted)| is.starts_with(wanted)), "{}", call.path());
    let trace = call.json["trace"].as_str().unwrap_or_default();
    ensure!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "trace {trace:?}");
    ensure!(call.json["age_seconds"].as_f64().is_some_and(|age| age < 60.0), "{}", call.json);
    ensure!(call.json["remaining_seconds"].as_f64().is_some(), "a call has a deadline: {}", call.json);
    ensure!(call.json["place"].as_str().is_some_and(|place| place.contains(".rs:")), "{}", call.json);
    ensure!(call.json["state"] == "active" && call.json["cancelled"].is_null(), "{}", call.json);
    ensure!(!page.contains("bj-prod"), "another member is on the page:\n{page}");
    settles(federation, "contexts", "web-service", [5, 3, 2]).await?;
    objects::delete(&federation.hub.client, &template).await
}

pub(crate) async fn the_page_takes_filters_and_refuses_what_it_does_not_know(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let controller = federation.controller();
    let of_kind = rows(&controller, "kind=watch&cluster=bj-prod").await?;
    let matched: Vec<&Row> = of_kind.iter().filter(|row| row.json["matched"] == true).collect();
    ensure!(!matched.is_empty(), "no watches");
    ensure!(matched.iter().all(|row| row.json["kind"] == "watch"), "not only watches");
    ensure!(of_kind.iter().all(|row| !row.path().contains("sh-prod")), "another member");
    let shallow = rows(&controller, "depth=1").await?;
    ensure!(shallow.iter().all(|row| row.path.len() <= 2) && shallow.iter().any(|row| row.path() == "pando > term"));
    ensure!(text(&controller, "older=1000h").await?.is_empty(), "older than the process");
    for wrong in ["clutser=bj-prod", "older=soon", "state=gone", "format=xml", "depth=-1"] {
        let page = controller.debug(&format!("/debug/contexts?{wrong}")).await?;
        ensure!(page.status == 400 && page.body.lines().count() == 1, "{wrong}: {} {}", page.status, page.body);
    }
    let address = controller.debug_address();
    let command = |more: &[&str]| {
        let mut args = vec!["debug", "contexts", "--address", &address];
        args.extend(more);
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run =
        async |args: Vec<String>| federation.product.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let people = run(command(&["--cluster", "bj-prod", "--depth", "3"])).await?;
    ensure!(people.contains("cluster/bj-prod") && people.contains("controller/execution"), "{people}");
    let programs: Value = serde_json::from_str(&run(command(&["--kind", "cluster", "-o", "json"])).await?)?;
    let names = programs["rows"].as_array().map(|rows| rows.iter().filter(|row| row["matched"] == true).count());
    ensure!(names == Some(federation.members.len()), "{programs:#}");
    let refused = run(command(&["--kind", "no such kind"])).await?;
    ensure!(refused.is_empty(), "{refused}");
    Ok(())
}

pub(crate) async fn a_member_that_leaves_takes_its_whole_subtree_along(world: &World) -> Result<()> {
    let federation = world.federation().await?;
    let member = federation.add_member(PASSING, true).await?;
    let outcome = async {
        left(federation, &member, &[]).await.context("a member that answers")?;
        federation.join(&member).await?;
        let _silence = member.relay.as_ref().context("tests have relays")?.disturbed(Mode::BlackHole);
        left(federation, &member, &["--force"]).await.context("a member that does not answer")
    }
    .await;
    federation.delete_member(&member).await?;
    outcome
}

/// Unjoins the member, and looks at the tree, the metrics and the log before, meanwhile and after.
async fn left(federation: &Federation, member: &pando_e2e::provider::Cluster, more: &[&str]) -> Result<()> {
    let controller = federation.controller();
    let mine = format!("cluster={PASSING}");
    let before = rows(&controller, &mine).await?;
    for wanted in ["controller/execution", "controller/work_status", "probe"] {
        ensure!(
            before.iter().any(|row| row.path.last().is_some_and(|last| last == wanted)),
            "no {wanted}:\n{}",
            text(&controller, &mine).await?
        );
    }
    let others = identity(&controller, "bj-prod").await?;
    let detached = count(&controller, "pando_ctx_cancelled_total{kind=\"cluster\",reason=\"detached\"}").await?;
    let logged = log(&controller)?.len();

    let hub = federation.hub.admin_kubeconfig.display().to_string();
    let mut args = vec!["unjoin", PASSING, "--kubeconfig", &hub];
    let kubeconfig = member.admin_kubeconfig.display().to_string();
    if more.is_empty() {
        args.extend(["--cluster-kubeconfig", &kubeconfig]);
    }
    args.extend(more);
    let unjoined = std::pin::pin!(federation.product.run(&args));
    let stopping = std::pin::pin!(stopping(&controller, &mine));
    // The end of a life takes milliseconds: whether it is seen on its way is luck, that it is over is not.
    match futures::future::select(unjoined, stopping).await {
        futures::future::Either::Left((ended, _)) => drop(ended?),
        futures::future::Either::Right((row, unjoined)) => {
            println!("seen stopping: {} {}", row.path(), row.json["cancelled"]);
            unjoined.await?;
        }
    }
    eventually::equal(SOON, "what is left of the member in the tree", &String::new(), || text(&controller, &mine))
        .await?;
    let now = count(&controller, "pando_ctx_cancelled_total{kind=\"cluster\",reason=\"detached\"}").await?;
    ensure!(now == detached + 1, "{detached} clusters were detached before, {now} after");
    ensure!(count(&controller, "pando_ctx_stuck").await? == 0, "something is stuck");
    ensure!(identity(&controller, "bj-prod").await? == others, "another member has begun a new life");
    // A reconcile that was called off is no fault.
    let log = log(&controller)?;
    let faults: Vec<&str> = log[logged..]
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .filter(|line| line.contains(&format!("detached at cluster/{PASSING}")))
        .collect();
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Waits for a context that is stopping because the member is detached.
async fn stopping(controller: &Controller, mine: &str) -> Row {
    loop {
        let rows = rows(controller, &format!("{mine}&state=stopping")).await.unwrap_or_default();
        // Calls whose time is over are stopping, too.
        if let Some(row) = rows.into_iter().find(|row| row.json["cancelled"]["kind"] == "detached") {
            return row;
        }
        tokio::task::yield_now().await;
    }
}

/// What tells one life of a member from the next.
async fn identity(controller: &Controller, cluster: &str) -> Result<Value> {
    let rows = rows(controller, &format!("cluster={cluster}&kind=cluster")).await?;
    let row = rows.into_iter().find(|row| row.json["matched"] == true).context("no such member in the tree")?;
    Ok(row.json["id"].clone())
}

/// The value of a metric; 0 where it has not been counted yet.
async fn count(controller: &Controller, name: &str) -> Result<u64> {
    let page = controller.metrics().await?.body;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.map_or(Ok(0), str::parse)?)
}

fn log(controller: &Controller) -> Result<String> {
    Ok(std::fs::read_to_string(&controller.process().record.log)?)
}
