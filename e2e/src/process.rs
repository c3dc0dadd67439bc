//! Processes that can be found again: identity is the process id *and* the start time.
//!
//! A process id alone is reused by the system; killing by it may hit a stranger. Every process is
//! started in a session (or at least a group) of its own, so that it outlives the command that
//! started it, a Ctrl-C in the terminal does not reach it, and its children die with it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// How long a process may take to end by itself before it is killed.
pub const GRACE: Duration = Duration::from_secs(5);

/// Characters of a log line that a person reads in a terminal.
const LINE: usize = 400;

/// Which process, beyond doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id; also the id of its process group.
    pub pid: u32,
    /// Start time in a unit of the system's own: comparable for equality only.
    pub started: u64,
}

impl Identity {
    /// The process that has this id now, if there is one that has not ended.
    pub fn of(pid: u32) -> Option<Self> {
        start_time(pid).map(|started| Self { pid, started })
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Sends a signal to the group that this process leads; does nothing when it has ended.
    pub fn signal(&self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return;
        };
        // Just started, it may not lead a group yet. It may also end between the look and the
        // signal, which is what we want anyway.
        if kill_process_group(pid, signal).is_err() {
            kill_process(pid, signal).ok();
        }
    }
}

/// Start time of a process that has not ended (a zombie has).
fn start_time(pid: u32) -> Option<u64> {
    if !cfg!(target_os = "linux") {
        let output = Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let (state, started) = text.trim().split_once(' ')?;
        return (!state.starts_with('Z')).then(|| xxhash_rust::xxh3::xxh3_64(started.trim().as_bytes()));
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => fields.get(19)?.parse().ok(),
    }
}

/// A process of a cluster, as it is remembered in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Unique in its ledger, say `bj-prod-kube-apiserver`.
    pub name: String,
    /// Which process.
    #[serde(flatten)]
    pub identity: Identity,
    /// Where its output goes.
    pub log: PathBuf,
    /// Ports on 127.0.0.1 that it listens on.
    pub ports: Vec<u16>,
    /// Whether others need it to end in order; it is stopped after them.
    #[serde(default)]
    pub foundation: bool,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Unique in its ledger; also the name of the log file.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables on top of ours.
    pub env: Vec<(String, String)>,
    /// Where stdout and stderr go; appended to.
    pub log: PathBuf,
    /// Ports on 127.0.0.1 that it will listen on.
    pub ports: Vec<u16>,
    /// Whether others need it to end in order; it is stopped after them.
    pub foundation: bool,
}

/// A process that we started and whose end we notice.
#[derive(Clone, Debug)]
pub struct Running {
    /// How to find it again.
    pub record: Record,
    exit: Arc<OnceLock<ExitStatus>>,
}

impl Launch {
    /// Starts it in a session of its own, with stdin closed.
    ///
    /// # Errors
    /// When the program cannot be started or the log file not be written.
    pub fn spawn(self) -> Result<Running> {
        let log = open_log(&self.log)?;
        let mut command = own_session(&self.program);
        command.args(&self.args).envs(self.env).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child =
            command.spawn().with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))?;
        let pid = child.id();
        let exit = Arc::new(OnceLock::new());
        // A process that ended at once has no start time any more; 0 equals no process.
        let started = start_time(pid).unwrap_or(0);
        let reaper = exit.clone();
        std::thread::spawn(move || {
            if let Ok(status) = child.wait() {
                // Set once, here only.
                reaper.set(status).ok();
            }
        });
        Ok(Running {
            record: Record {
                name: self.name,
                identity: Identity { pid, started },
                log: self.log,
                ports: self.ports,
                foundation: self.foundation,
            },
            exit,
        })
    }
}

impl Running {
    /// How it ended, if it has.
    pub fn exit(&self) -> Option<ExitStatus> {
        self.exit.get().copied()
    }

    /// An error with the log's path and last lines when it has ended.
    ///
    /// # Errors
    /// When the process has ended, whatever its status.
    pub fn check(&self) -> Result<()> {
        match self.exit() {
            None => Ok(()),
            Some(status) => Err(anyhow::anyhow!(
                "{} ended unexpectedly ({status}); log {}:\n{}",
                self.record.name,
                self.record.log.display(),
                tail(&self.record.log, 15)
            )),
        }
    }
}

/// A command in its own session when the system has `setsid`, else in its own process group.
///
/// `setsid` replaces itself by the program here (it only forks when it leads a group already), so
/// the process id is the program's.
fn own_session(program: &Path) -> Command {
    static SETSID: OnceLock<Option<PathBuf>> = OnceLock::new();
    match SETSID.get_or_init(|| on_path("setsid")) {
        Some(setsid) => {
            let mut command = Command::new(setsid);
            command.arg(program);
            command
        }
        None => {
            let mut command = Command::new(program);
            command.process_group(0);
            command
        }
    }
}

/// The first executable file of this name on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Opens a log file to append to, with the folder it is in.
///
/// # Errors
/// When the folder or file cannot be created.
pub fn open_log(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write the log {}", path.display()))
}

/// The last lines of a log: at most `lines` of them, of the last 16 KiB, long ones cut.
pub fn tail(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| format!("(cannot read it: {error})"));
    let all: Vec<String> = text.lines().map(|line| line.chars().take(LINE).collect()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Stops processes, foundations last: asks, waits up to `grace`, then kills what is left. Blocks.
///
/// Returns the names of those that are still there afterwards (stuck in the kernel).
pub fn stop(records: &[Record], grace: Duration) -> Vec<String> {
    let (foundations, others): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| record.foundation);
    for wave in [others, foundations] {
        signal(&wave, Signal::TERM);
        if !all_ended(&wave, grace) {
            signal(&wave, Signal::KILL);
            all_ended(&wave, GRACE);
        }
    }
    records.iter().filter(|record| record.identity.is_alive()).map(|record| record.name.clone()).collect()
}

fn signal(records: &[&Record], signal: Signal) {
    for record in records {
        record.identity.signal(signal);
    }
}

fn all_ended(records: &[&Record], within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if records.iter().all(|record| !record.identity.is_alive()) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn sleeper(name: &str, script: &str) -> Running {
        let log = std::env::temp_dir().join(format!("pando-process-{}-{name}", std::process::id()));
        Launch {
            name: name.to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![],
            log,
            ports: vec![],
            foundation: false,
        }
        .spawn()
        .unwrap()
    }

    #[test]
    fn a_process_is_found_by_id_and_start_time_only() {
        let running = sleeper("identity", "sleep 60");
        let identity = running.record.identity;
        assert_eq!(Identity::of(identity.pid), Some(identity));
        let stranger = Identity { started: identity.started + 1, ..identity };
        assert!(!stranger.is_alive());
        stranger.signal(Signal::KILL);
        assert!(identity.is_alive(), "a reused process id was killed");
        assert_eq!(stop(&[running.record], GRACE), Vec::<String>::new());
        assert!(!identity.is_alive());
    }

    #[test]
    fn stopping_takes_the_children_along_and_kills_who_ignores_the_request() {
        let running = sleeper("stubborn", "trap '' TERM; sleep 61 & echo child $!; wait; wait");
        let child = loop {
            let text = std::fs::read_to_string(&running.record.log).unwrap();
            if let Some(pid) = text.lines().last().and_then(|line| line.strip_prefix("child ")) {
                break pid.trim().parse().unwrap();
            }
        };
        let child = Identity::of(child).unwrap();
        stop(std::slice::from_ref(&running.record), Duration::from_millis(100));
        assert!(!running.record.identity.is_alive());
        let ended = all_ended(&[&Record { identity: child, ..running.record }], GRACE);
        assert!(ended, "the child outlived its parent");
    }

    #[test]
    fn an_early_end_names_the_log() {
        let running = sleeper("early", "echo broken pipe dream; exit 3");
        while running.exit().is_none() {
            std::thread::yield_now();
        }
        let text = format!("{:#}", running.check().unwrap_err());
        assert!(text.contains("exit status: 3") && text.contains("broken pipe dream"), "{text}");
    }
}
