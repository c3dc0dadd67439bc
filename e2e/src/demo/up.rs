//! Setting up: parts, clusters, Pando, the sample application.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{MEMBERS, complain, report, say, state_file};
use crate::eventually;
use crate::federation::{self, Federation, HUB, Options, Replicas, replicas, seconds};
use crate::guard::Guard;
use crate::install;
use crate::ledger::{Ledger, Phase};
use crate::parts::{Parts, Source};
use crate::process;
use crate::product::Product;
use crate::progress::Progress;
use crate::workspace;

/// How long the split may take.
const PROPAGATED: Duration = Duration::from_secs(60);

/// The result, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Outcome {
    provider: String,
    members: BTreeMap<String, i32>,
    ready: i32,
    seconds: Seconds,
}

#[derive(Debug, Default, Serialize)]
struct Seconds {
    parts: f64,
    clusters: f64,
    propagate: f64,
}

/// Sets everything up; with `once` stops it again.
pub(super) async fn run(home: &Path, once: bool, json: bool) -> Result<ExitCode> {
    let progress = Progress::stderr();
    let ledger = Ledger::create(&state_file(home), "processes")?;
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let guard = Guard::start(&program, ledger.path())?;

    let worked = tokio::select! {
        worked = set_up(home, &ledger, &progress) => Some(worked),
        () = interrupted() => None,
    };
    let Some(worked) = worked else {
        complain("interrupted: stopping everything");
        stop(&ledger).await?;
        guard.dismiss()?;
        super::remove(home)?;
        return Ok(ExitCode::from(130));
    };
    let (outcome, product) = match worked {
        Ok(worked) => worked,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            give_up(home, &ledger).await?;
            guard.dismiss()?;
            return Ok(ExitCode::FAILURE);
        }
    };
    if once {
        stop(&ledger).await?;
        guard.dismiss()?;
        std::fs::remove_file(ledger.path())?;
    } else {
        ledger.change(|state| {
            state.phase = Phase::Running;
            state.processes.retain(|record| !record.name.starts_with("go-build-"));
        })?;
        guard.dismiss()?;
        say(&report::table(home).await?);
        say(&report::next_commands(home, product.binary()));
    }
    if json {
        say(&serde_json::to_string(&outcome)?);
    } else if once {
        say(&format!("{}; everything is stopped again", summary(&outcome)));
    }
    Ok(ExitCode::SUCCESS)
}

async fn set_up(home: &Path, ledger: &Ledger, progress: &Progress) -> Result<(Outcome, Product)> {
    let start = Instant::now();
    let parts = parts(ledger, progress).await?;
    let mut spent = Seconds { parts: seconds(start), ..Seconds::default() };
    let product = {
        let progress = progress.clone();
        tokio::task::spawn_blocking(move || Product::build(&progress)).await??
    };
    let start = Instant::now();
    progress.say("starting a hub and three members");
    let federation = Federation::start(
        Options {
            home: home.to_owned(),
            members: MEMBERS.map(|(name, _)| name.to_owned()).to_vec(),
            // A relay would end with this command; the clusters stay.
            relays: false,
        },
        parts,
        product.clone(),
        ledger.clone(),
        progress,
    )
    .await?;
    // Until Pando is installed by its chart, the hub is its own host.
    let host = home.join("host.kubeconfig");
    std::fs::copy(home.join(format!("{HUB}.kubeconfig")), &host)
        .with_context(|| format!("cannot write {}", host.display()))?;
    spent.clusters = seconds(start);

    let start = Instant::now();
    let samples = workspace::root().join("deploy/samples");
    for file in ["web-service.yaml", "prod-web-app-policy.yaml"] {
        for object in install::read_file(&samples.join(file))? {
            install::apply(&federation.hub.client, &object).await?;
        }
    }
    progress.say("web-service (10 replicas) and prod-web-app-policy applied");
    let members = settled(&federation).await?;
    spent.propagate = seconds(start);
    let outcome = Outcome { provider: "processes".to_owned(), ready: members.values().sum(), members, seconds: spent };
    progress.say(summary(&outcome));
    Ok((outcome, product))
}

async fn parts(ledger: &Ledger, progress: &Progress) -> Result<Parts> {
    let (ledger, progress) = (ledger.clone(), progress.clone());
    tokio::task::spawn_blocking(move || Source::standard()?.ensure(&progress, Some(&ledger))).await?
}

/// Waits for 5/3/2 ready in the members and 10/10 at the template; gives the ready replicas back.
async fn settled(federation: &Federation) -> Result<BTreeMap<String, i32>> {
    let steady = |count: i32| Some(Replicas { wanted: count, existing: count, ready: count });
    let mut wanted: BTreeMap<String, Option<Replicas>> =
        MEMBERS.iter().map(|(name, count)| ((*name).to_owned(), steady(*count))).collect();
    wanted.insert("the template".to_owned(), steady(MEMBERS.iter().map(|(_, count)| count).sum()));
    eventually::equal(PROPAGATED, "5/3/2 ready replicas", &wanted, || async {
        federation.check()?;
        let mut seen = BTreeMap::new();
        for member in &federation.members {
            seen.insert(member.name.clone(), replicas(&member.client, "default", "web-service").await?);
        }
        let template = replicas(&federation.hub.client, "default", "web-service").await?;
        seen.insert("the template".to_owned(), template);
        Ok(seen)
    })
    .await?;
    wanted.remove("the template");
    Ok(wanted.into_iter().filter_map(|(name, replicas)| Some((name, replicas?.ready))).collect())
}

fn summary(outcome: &Outcome) -> String {
    let members: Vec<String> = outcome.members.iter().map(|(name, count)| format!("{name} {count}")).collect();
    format!("{} replicas ready: {}", outcome.ready, members.join(", "))
}

async fn stop(ledger: &Ledger) -> Result<()> {
    let state = ledger.state();
    tokio::task::spawn_blocking(move || state.stop(process::GRACE)).await?
}

/// After a failure: keeps what explains it, stops the rest.
async fn give_up(home: &Path, ledger: &Ledger) -> Result<()> {
    let state = ledger.state();
    let kubeconfigs: BTreeMap<_, _> =
        state.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.kubeconfig.clone())).collect();
    let diagnostics = home.join("diagnostics");
    if !kubeconfigs.is_empty()
        && let Ok(parts) = parts(ledger, &Progress::silent()).await
    {
        federation::dump(&parts, &kubeconfigs, &diagnostics).await;
    }
    stop(ledger).await?;
    std::fs::remove_file(ledger.path())?;
    if home.join("logs").is_dir() {
        complain(&format!("everything is stopped; logs and diagnostics are in {}", workspace::display(home)));
    }
    Ok(())
}

/// Ctrl-C, or the polite request to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = terminate.recv() => Ok(()),
            _ = hang_up.recv() => Ok(()),
        }
    };
    let waited: std::io::Result<()> = wait.await;
    if let Err(error) = waited {
        complain(&format!("note: cannot listen for Ctrl-C ({error})"));
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_samples_are_the_ones_that_the_split_is_about() {
        let samples = workspace::root().join("deploy/samples");
        let template = install::read_file(&samples.join("web-service.yaml")).unwrap();
        assert_eq!(template[0]["kind"], "Deployment");
        assert_eq!(template[0]["metadata"]["name"], "web-service");
        assert_eq!(template[0]["spec"]["replicas"], 10);
        let policy = install::read_file(&samples.join("prod-web-app-policy.yaml")).unwrap();
        let clusters = &policy[0]["spec"]["placement"]["clusterAffinity"]["clusterNames"];
        let names: Vec<&str> = clusters.as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
        assert_eq!(names, MEMBERS.map(|(name, _)| name));
    }

    #[test]
    fn the_json_line_has_the_promised_fields() {
        let outcome = Outcome {
            provider: "processes".into(),
            members: MEMBERS.iter().map(|(name, count)| ((*name).into(), *count)).collect(),
            ready: 10,
            seconds: Seconds { parts: 0.1, clusters: 20.0, propagate: 1.5 },
        };
        assert_eq!(
            serde_json::to_string(&outcome).unwrap(),
            r#"{"provider":"processes","members":{"bj-prod":5,"sh-prod":3,"sz-prod":2},"ready":10,"seconds":{"parts":0.1,"clusters":20.0,"propagate":1.5}}"#
        );
    }
}
