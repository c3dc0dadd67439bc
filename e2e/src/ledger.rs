//! What a demo or test run started and where it keeps data, written down before it is needed.
//!
//! Every process is recorded right after its start, so that whoever reads the file (the `down`
//! command, the [`guard`](crate::guard) of a run that was killed) stops exactly these processes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::process::{self, Launch, Record, Running};

/// Whether the run is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Being set up, or left behind by a run that was interrupted.
    #[default]
    Starting,
    /// Set up and meant to stay.
    Running,
}

/// One cluster of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Its name.
    pub name: String,
    /// Address of its API server.
    pub server: String,
    /// Kubeconfig with administrator rights.
    pub kubeconfig: PathBuf,
}

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Name of the cluster provider.
    pub provider: String,
    /// Whether the run is complete.
    pub phase: Phase,
    /// When it was started, RFC 3339.
    pub started: String,
    /// Clusters, the hub first.
    pub clusters: Vec<ClusterRecord>,
    /// Processes in the order of their start.
    pub processes: Vec<Record>,
    /// Folders that go away with the processes.
    pub directories: Vec<PathBuf>,
}

impl State {
    /// Reads a ledger; none when the file does not exist.
    ///
    /// # Errors
    /// When the file cannot be read or is not a ledger.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is not a state file; remove it", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Processes that still run.
    pub fn alive(&self) -> impl Iterator<Item = &Record> {
        self.processes.iter().filter(|record| record.identity.is_alive())
    }

    /// Stops every process, newest first, and removes the folders. Blocks up to `grace` and some.
    ///
    /// # Errors
    /// When a process cannot be stopped, with its name and id.
    pub fn stop(&self, grace: Duration) -> Result<()> {
        let newest_first: Vec<Record> = self.processes.iter().rev().cloned().collect();
        let left = process::stop(&newest_first, grace);
        for directory in &self.directories {
            // Already gone is fine; what cannot be removed is a matter of disk space only.
            drop(std::fs::remove_dir_all(directory));
        }
        anyhow::ensure!(left.is_empty(), "could not stop {}; the system does not let go of them", left.join(", "));
        Ok(())
    }
}

/// The writer of a state file. Clones write the same file.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
}

impl Ledger {
    /// A new ledger, written at once.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, provider: &str) -> Result<Self> {
        let ledger = Self {
            path: path.into(),
            state: Arc::new(Mutex::new(State {
                provider: provider.to_owned(),
                started: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
                ..State::default()
            })),
        };
        ledger.change(|_| {})?;
        Ok(ledger)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A copy of what is recorded.
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Starts a process and records it.
    ///
    /// # Errors
    /// When it cannot be started or recorded; then it does not run.
    pub fn spawn(&self, launch: Launch) -> Result<Running> {
        let running = launch.spawn()?;
        let recorded = self.change(|state| {
            state.processes.retain(|other| other.name != running.record.name);
            state.processes.push(running.record.clone());
        });
        if let Err(error) = recorded {
            process::stop(std::slice::from_ref(&running.record), Duration::ZERO);
            return Err(error);
        }
        Ok(running)
    }

    /// Records a folder that is removed with the processes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn directory(&self, path: PathBuf) -> Result<()> {
        self.change(|state| state.directories.push(path))
    }

    /// Changes what is recorded and writes the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn change(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.lock();
        change(&mut state);
        let mut text = serde_json::to_string_pretty(&*state)?;
        text.push('\n');
        replace(&self.path, text.as_bytes())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file so that a reader sees the old or the new content, never a part.
///
/// # Errors
/// When the file cannot be written; a full disk says so.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(&temporary, content)?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => {
            anyhow::anyhow!("the disk is full: cannot write {}; free some space there", path.display())
        }
        _ => anyhow::Error::new(error).context(format!("cannot write {}", path.display())),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_was_started_is_found_again_and_stopped_from_the_file_alone() {
        let dir = std::env::temp_dir().join(format!("pando-ledger-{}", std::process::id()));
        let data = dir.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let path = dir.join("state.json");
        let ledger = Ledger::create(&path, "processes").unwrap();
        ledger.directory(data.clone()).unwrap();
        ledger
            .spawn(Launch {
                name: "sleeper".into(),
                program: "/bin/sleep".into(),
                args: vec!["62".into()],
                env: vec![],
                log: dir.join("sleeper.log"),
                ports: vec![4242],
                foundation: false,
            })
            .unwrap();

        let state = State::load(&path).unwrap().unwrap();
        assert_eq!(state, ledger.state());
        assert_eq!(state.phase, Phase::Starting);
        assert_eq!(state.alive().count(), 1);
        state.stop(process::GRACE).unwrap();
        assert_eq!(state.alive().count(), 0);
        assert!(!data.exists());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
