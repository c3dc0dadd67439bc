//! The rig keeps its own promises: clusters run pods, relays disturb, nothing is left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use pando_e2e::eventually;
use pando_e2e::federation::replicas;
use pando_e2e::guard::Guard;
use pando_e2e::install;
use pando_e2e::kubeconfig;
use pando_e2e::ledger::{Ledger, State};
use pando_e2e::process::{self, Launch};
use pando_e2e::provider::{ClusterSpec, Role};
use pando_e2e::relay::Mode;
use serde_json::json;

use crate::objects;
use crate::world::{DEMO, World};

const SOON: Duration = Duration::from_secs(30);

pub(crate) async fn a_member_runs_pods_and_jobs(world: &World) -> Result<()> {
    let member = &world.lone().await?.cluster;
    let version = member.client.apiserver_version().await?;
    ensure!(version.git_version.starts_with("v1."), "not stamped: {}", version.git_version);

    objects::namespace(&member.client, "rig").await?;
    objects::create(&member.client, &objects::deployment("rig", "three", 3)).await?;
    eventually::equal(SOON, "ready replicas", &Some(3), || async {
        Ok(replicas(&member.client, "rig", "three").await?.map(|replicas| replicas.ready))
    })
    .await?;

    let jobs = Api::<Job>::namespaced(member.client.clone(), "rig");
    let job: Job = serde_json::from_value(json!({
        "metadata": { "name": "once" },
        "spec": { "template": { "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "main", "image": "busybox" }],
        }}},
    }))?;
    jobs.create(&PostParams::default(), &job).await?;
    eventually::equal(SOON, "succeeded pods of the job", &Some(1), || async {
        Ok(jobs.get("once").await?.status.and_then(|status| status.succeeded))
    })
    .await?;

    let namespaces = Api::<Namespace>::all(member.client.clone());
    namespaces.delete("rig", &DeleteParams::default()).await?;
    eventually::some(SOON, "the namespace to be gone", || async {
        Ok(namespaces.get_opt("rig").await?.is_none().then_some(()))
    })
    .await
}

pub(crate) async fn the_relay_disturbs_the_controllers_view_only(world: &World) -> Result<()> {
    let member = &world.lone().await?.cluster;
    let relay = member.relay.as_ref().context("the member was created with a relay")?;
    let seen = Api::<Pod>::default_namespaced(kubeconfig::client(&member.controller_kubeconfig).await?);
    let direct = Api::<Pod>::default_namespaced(member.client.clone());
    let list = ListParams::default();
    seen.list(&list).await.context("a relay that passes")?;

    relay.set(Mode::Delay(Duration::from_millis(300)));
    let start = Instant::now();
    seen.list(&list).await.context("a slow relay")?;
    ensure!(start.elapsed() >= Duration::from_millis(600), "took {:?}", start.elapsed());
    let start = Instant::now();
    direct.list(&list).await?;
    ensure!(start.elapsed() < Duration::from_millis(300), "the test's view is slow too");

    relay.set(Mode::BlackHole);
    let silent = tokio::time::timeout(Duration::from_secs(1), seen.list(&list)).await;
    ensure!(silent.is_err(), "something came out of the black hole");
    direct.list(&list).await?;

    relay.set(Mode::Cut);
    let cut = tokio::time::timeout(SOON, seen.list(&list)).await?;
    ensure!(cut.is_err(), "an answer over a cut line");

    relay.set(Mode::Pass);
    eventually::some(SOON, "an answer over the mended line", || async { Ok(Some(seen.list(&list).await.map(drop)?)) })
        .await?;
    relay.reset();
    eventually::some(SOON, "an answer after a reset", || async { Ok(Some(seen.list(&list).await.map(drop)?)) }).await?;

    let audit = member.audit.as_ref().context("processes keep audit logs")?;
    let start = audit.mark()?;
    objects::create(&member.client, &objects::config_map("default", "counted")).await?;
    let writes = audit.writes_since(start, |user| user == "pando-e2e")?;
    ensure!(writes.len() == 1 && writes[0].resource == "configmaps", "{writes:?}");
    Ok(())
}

pub(crate) async fn a_hub_knows_our_kinds_and_runs_nothing(world: &World) -> Result<()> {
    use pando_e2e::provider::ClusterProvider as _;
    let lone = world.lone().await?;
    let definitions = install::read_folder(&pando_e2e::workspace::root().join("crds"))?;
    let hub = lone
        .provider
        .create(ClusterSpec { name: "lone-hub".to_owned(), role: Role::Hub, definitions, relay: false })
        .await?;
    let start = Instant::now();
    install::garbage_is_collected(&hub.client).await?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(20), "the garbage collector learned our kinds late: {took:?}");

    objects::create(&hub.client, &objects::deployment("default", "template", 3)).await?;
    eventually::stays(Duration::from_secs(2), "no controller looks at it", &Some(0), || async {
        Ok(replicas(&hub.client, "default", "template").await?.map(|seen| seen.existing))
    })
    .await?;
    lone.provider.delete(&hub).await
}

pub(crate) async fn a_component_that_dies_is_noticed_with_its_log(world: &World) -> Result<()> {
    let home = world.home.join("dying");
    let ledger = Ledger::create(&home.join("state.json"), "processes")?;
    let parts = world.parts().await?;
    let running = ledger.spawn(Launch {
        name: "scheduler-without-sense".to_owned(),
        program: parts.path("kube-scheduler"),
        args: vec!["--config=no-such-file".to_owned()],
        env: vec![],
        log: home.join("scheduler.log"),
        ports: vec![],
        foundation: false,
    })?;
    let error = eventually::some(SOON, "its end", || async { Ok(running.check().err()) }).await?;
    let text = format!("{error:#}");
    ensure!(text.contains("scheduler-without-sense ended unexpectedly"), "{text}");
    ensure!(text.contains("no-such-file"), "the log's last lines are missing: {text}");
    Ok(())
}

pub(crate) async fn a_deleted_cluster_leaves_nothing_but_logs(world: &World) -> Result<()> {
    use pando_e2e::provider::ClusterProvider as _;
    let lone = world.lone().await?;
    let before = lone.ledger.state();
    ensure!(before.alive().count() == 5, "five processes: {:?}", before.processes);
    lone.provider.delete(&lone.cluster).await?;
    let alive: Vec<_> = before.alive().map(|record| &record.name).collect();
    ensure!(alive.is_empty(), "still there: {alive:?}");
    for directory in &before.directories {
        let left: Vec<_> = std::fs::read_dir(directory)?.flatten().collect();
        ensure!(left.is_empty(), "data left in {}: {left:?}", directory.display());
    }
    ensure!(before.processes.iter().all(|record| record.log.is_file()), "a log is gone");
    ensure!(lone.ledger.state().processes.is_empty(), "the ledger still names processes");
    Ok(())
}

pub(crate) async fn a_killed_run_leaves_nothing(world: &World) -> Result<()> {
    let home = world.home.join("killed");
    let state = home.join("state.json");
    let ledger = Ledger::create(&state, "processes")?;
    let data = home.join("data");
    std::fs::create_dir_all(&data)?;
    ledger.directory(data.clone())?;
    ledger.spawn(Launch {
        name: "something".to_owned(),
        program: "/bin/sleep".into(),
        args: vec!["600".to_owned()],
        env: vec![],
        log: home.join("something.log"),
        ports: vec![],
        foundation: false,
    })?;
    let written = State::load(&state)?.context("a ledger")?;
    let guard = Guard::start(Path::new(DEMO), &state)?;
    ensure!(written.alive().count() == 1, "it runs while its owner does");
    // What the kernel does to the pipe of a run that is killed.
    drop(guard);
    eventually::some(process::GRACE * 2, "the guard to stop it", || async {
        Ok((written.alive().count() == 0 && !data.exists() && !state.exists()).then_some(()))
    })
    .await
}
