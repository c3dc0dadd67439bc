//! What a person sees: the split, the processes, and what to try next.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::{MEMBERS, complain, say, state_file};
use crate::federation::{HUB, client, replicas};
use crate::ledger::State;
use crate::parts::Source;
use crate::process;
use crate::workspace;

/// Cells, aligned by columns with three spaces between, as kubectl does.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            format!("{}\n", cells.join("   ").trim_end())
        })
        .collect()
}

/// The split of `web-service`, as the API servers tell it.
pub(super) async fn table(home: &Path) -> Result<String> {
    let state = State::load(&state_file(home))?.unwrap_or_default();
    let server = |name: &str| {
        let cluster = state.clusters.iter().find(|cluster| cluster.name == name);
        cluster.map_or(String::new(), |cluster| cluster.server.clone())
    };
    let mut rows = vec![["CLUSTER", "WEB-SERVICE", "READY", "API SERVER"].map(str::to_owned).to_vec()];
    for name in [HUB].into_iter().chain(MEMBERS.map(|(name, _)| name)) {
        let seen = match client(home, name).await {
            Ok(client) => replicas(&client, "default", "web-service").await,
            Err(error) => Err(error),
        };
        let (wanted, ready) = match seen {
            Ok(Some(replicas)) => (replicas.wanted.to_string(), replicas.ready.to_string()),
            Ok(None) => ("none".to_owned(), String::new()),
            Err(_) => ("?".to_owned(), "no answer".to_owned()),
        };
        let shown = if name == HUB { format!("{name} (template)") } else { name.to_owned() };
        rows.push(vec![shown, wanted, ready, server(name)]);
    }
    Ok(align(&rows))
}

/// What to try next; every line works as printed, from the folder the command was run in.
pub(super) fn next_commands(home: &Path, pando: &Path) -> String {
    let kubectl = match process::on_path("kubectl") {
        Some(_) => "kubectl".to_owned(),
        // The one that was built with the clusters.
        None => Source::standard()
            .and_then(|source| source.ensure(&crate::progress::Progress::silent(), None))
            .map_or_else(|_| "kubectl".to_owned(), |parts| parts.path("kubectl").display().to_string()),
    };
    let file = |name: &str| workspace::display(&home.join(format!("{name}.kubeconfig")));
    let pando = workspace::display(pando);
    let hub = file(HUB);
    let mut text = "It goes on running in the background. Try:\n".to_owned();
    let commands = [
        ("where everything is", format!("{pando} get clusters --kubeconfig {hub}")),
        ("who decided what", format!("{pando} get bindings --kubeconfig {hub}")),
        (
            "13 replicas: watch the split change",
            format!("{kubectl} --kubeconfig {hub} scale deployment web-service --replicas=13"),
        ),
        (
            "delete it in a member: it comes back",
            format!("{kubectl} --kubeconfig {} delete deployment web-service", file("bj-prod")),
        ),
        ("what a member runs", format!("{kubectl} --kubeconfig {} get deployments,pods", file("bj-prod"))),
        (
            "let a member go",
            format!("{pando} unjoin sz-prod --kubeconfig {hub} --cluster-kubeconfig {}", file("sz-prod")),
        ),
        ("see this table again", "cargo demo -- status".to_owned()),
        ("stop and remove everything", "cargo demo -- down".to_owned()),
    ];
    for (purpose, command) in commands {
        text += &format!("  # {purpose}\n  {command}\n");
    }
    text
}

/// `cargo demo` a second time.
pub(super) async fn already_running(home: &Path, state: &State, json: bool) -> Result<ExitCode> {
    let ended = ended(state);
    if !ended.is_empty() {
        complain(&format!(
            "the demo of {} is only half alive; these have ended (see their logs), so run `cargo demo -- down` and start again:\n{}",
            state.started,
            align(&ended)
        ));
        return Ok(ExitCode::FAILURE);
    }
    say(&format!("The demo is running already, since {}.\n", state.started));
    if json {
        say(&std::fs::read_to_string(state_file(home))?);
        return Ok(ExitCode::SUCCESS);
    }
    say(&table(home).await?);
    let controller = state.processes.iter().find(|record| record.name == "pando-controller");
    let pando = controller
        .and_then(|record| std::fs::read_link(format!("/proc/{}/exe", record.identity.pid)).ok())
        .unwrap_or_else(|| workspace::root().join("target/debug/pando"));
    say(&next_commands(home, &pando));
    Ok(ExitCode::SUCCESS)
}

/// Name and log of each process that should run and does not.
fn ended(state: &State) -> Vec<Vec<String>> {
    state
        .processes
        .iter()
        .filter(|record| !record.identity.is_alive())
        .map(|record| vec![record.name.clone(), workspace::display(&record.log)])
        .collect()
}

/// `cargo demo -- status`.
pub(super) async fn status(home: &Path) -> Result<ExitCode> {
    let Some(state) = State::load(&state_file(home))? else {
        say("Nothing runs. `cargo demo` starts it.");
        return Ok(ExitCode::SUCCESS);
    };
    say(&format!("Started {} ({} provider).\n", state.started, state.provider));
    say(&table(home).await?);
    let mut rows = vec![["PROCESS", "PID", "STATE", "PORTS", "LOG"].map(str::to_owned).to_vec()];
    for record in &state.processes {
        let alive = record.identity.is_alive();
        let ports: Vec<String> = record.ports.iter().map(u16::to_string).collect();
        rows.push(vec![
            record.name.clone(),
            record.identity.pid.to_string(),
            if alive { "running" } else { "ENDED" }.to_owned(),
            ports.join(","),
            workspace::display(&record.log),
        ]);
    }
    say(&align(&rows));
    let complete = ended(&state).is_empty();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["A".to_owned(), "LONG".to_owned()], vec!["bbb".to_owned(), "c".to_owned()]];
        assert_eq!(align(&rows), "A     LONG\nbbb   c\n");
    }
}
