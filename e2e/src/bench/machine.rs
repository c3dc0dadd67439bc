//! The machine: what a figure was measured on, and what processes take from it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::ledger::State;
use crate::parts::Parts;
use crate::product::Product;
use crate::workspace;

/// Clock ticks a second in `/proc/PID/stat`: part of Linux' interface, not of its configuration.
const TICKS: f64 = 100.0;

/// What a reader must know to compare figures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Conditions {
    /// When the run began, RFC 3339.
    pub started: String,
    /// Processors that this program may use.
    pub cores: usize,
    /// Model of the first processor.
    pub processor: String,
    /// Kibibytes of memory.
    pub memory_kib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Load averages over 1, 5 and 15 minutes before anything was started.
    pub load_before: String,
    /// What is measured: Pando's version, or that it is somebody else's controller.
    pub contender: String,
    /// Commit of this checkout; `+changes` when files differ from it.
    pub commit: String,
    /// Versions of the cluster parts.
    pub parts: BTreeMap<String, String>,
    /// The command line.
    pub arguments: Vec<String>,
}

impl Conditions {
    /// Looks.
    pub fn look(parts: Option<&Parts>, product: Option<&Product>) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let versions = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"];
        let version = |parts: &Parts, name: &str| first_line(Command::new(parts.path(name)).arg("--version"));
        let all = |parts| versions.iter().map(|name| ((*name).to_owned(), version(parts, name))).collect();
        let contender = product.map_or("external".to_owned(), |product| {
            let binary = product.binary();
            format!("{} ({})", first_line(Command::new(binary).arg("version")), workspace::display(binary))
        });
        Self {
            started: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_kib: memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease"),
            load_before: read("/proc/loadavg"),
            contender,
            commit: commit(),
            parts: parts.map(all).unwrap_or_default(),
            arguments: std::env::args().skip(1).collect(),
        }
    }
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    output.unwrap_or_default().lines().next().unwrap_or("unknown").trim().to_owned()
}

fn commit() -> String {
    let git = |args: &[&str]| first_line(Command::new("git").args(args).current_dir(workspace::root()));
    let changed = git(&["status", "--porcelain"]) != "unknown";
    format!("{}{}", git(&["rev-parse", "HEAD"]), if changed { "+changes" } else { "" })
}

/// The load average over a minute; 0 where the system has none.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Resident.
    pub resident: u64,
    /// The most that was ever resident.
    pub peak: u64,
    /// Resident, and belongs to no file: heap and stacks.
    pub anonymous: u64,
    /// Resident, pages shared with other processes counted in part.
    pub proportional: u64,
}

impl std::ops::AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.resident += other.resident;
        self.peak += other.peak;
        self.anonymous += other.anonymous;
        self.proportional += other.proportional;
    }
}

impl Memory {
    /// Of a process that runs.
    ///
    /// # Errors
    /// When it does not run, or the system has no `/proc`.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}"))
                .with_context(|| format!("cannot read the memory of process {pid}; does it still run?"))
        };
        let (status, rollup) = (read("status")?, read("smaps_rollup").unwrap_or_default());
        Ok(Self {
            resident: kibibytes(&status, "VmRSS:"),
            peak: kibibytes(&status, "VmHWM:"),
            anonymous: kibibytes(&status, "RssAnon:"),
            proportional: kibibytes(&rollup, "Pss:"),
        })
    }

    /// Of several processes together.
    ///
    /// # Errors
    /// As [`Memory::of`].
    pub fn of_all(pids: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            sum += Self::of(*pid)?;
        }
        Ok(sum)
    }
}

/// Bytes of a line such as `VmRSS:  123 kB`.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Processor seconds by what the process is for: `hub kube-apiserver`, `members etcd`, `pando-controller`, …
pub type Spent = BTreeMap<String, f64>;

/// What this program itself is called there.
pub const OURS: &str = "load and observer";

/// Processor seconds that the processes of a rig, and this one, have taken since their start.
pub fn spent(state: &State, hub: &str) -> Spent {
    let mut sum = Spent::new();
    let places: Vec<&str> = state.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    for record in state.alive() {
        let place = places.iter().find(|place| record.name.starts_with(&format!("{place}-")));
        let name = match place {
            Some(place) if *place == hub => format!("hub {}", &record.name[place.len() + 1..]),
            Some(place) => format!("members {}", &record.name[place.len() + 1..]),
            None => record.name.clone(),
        };
        *sum.entry(name).or_default() += processor_seconds(&record.identity.pid.to_string());
    }
    sum.insert(OURS.to_owned(), processor_seconds("self"));
    sum
}

/// What was spent between two looks.
pub fn difference(before: &Spent, after: &Spent) -> Spent {
    let part = |(name, seconds): (&String, &f64)| (name.clone(), seconds - before.get(name).copied().unwrap_or(0.0));
    after.iter().map(part).filter(|(_, seconds)| *seconds >= 0.01).collect()
}

/// Processor seconds of a process (`self` is this one); 0 when it does not run.
pub fn processor_seconds(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is the command in parentheses and may itself hold spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// Processor seconds of processes that this one has waited for.
pub fn children_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or(vec![], |(_, rest)| rest.split_whitespace().collect());
    fields.iter().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// Processor seconds that everything on this machine has taken since it was started.
pub fn busy_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the first two.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| ticks.get(*index));
    busy.sum::<f64>() / TICKS
}

/// Milliseconds of each of `count` times of writing 4 KiB and waiting for the disk. Blocks.
///
/// # Errors
/// When the folder cannot be written to.
pub fn disk_waits(folder: &Path, count: u32) -> Result<Vec<f64>> {
    let path = folder.join("bench-sync");
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut waits = Vec::new();
    for _ in 0..count {
        file.write_all(&[0x5a; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        waits.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok(waits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn kibibytes_are_read_as_the_kernel_writes_them() {
        let text = "Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(kibibytes(text, "VmRSS:"), 10 << 20);
        assert_eq!(kibibytes(text, "Pss:"), 0);
    }

    #[test]
    fn this_process_has_memory_and_a_dead_one_says_so() {
        let own = Memory::of(std::process::id()).unwrap();
        assert!(own.resident > 0 && own.peak >= own.resident && own.anonymous <= own.resident, "{own:?}");
        assert!(Memory::of_all(&[u32::MAX]).is_err());
    }

    #[test]
    fn the_machine_is_busier_than_any_process_of_it() {
        let own = processor_seconds("self");
        assert!(busy_seconds() >= own && children_seconds() >= 0.0);
    }

    #[test]
    fn spent_time_is_what_was_added() {
        let before = Spent::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]);
        let after = Spent::from([("a".to_owned(), 3.5), ("b".to_owned(), 2.0), ("c".to_owned(), 1.0)]);
        assert_eq!(difference(&before, &after), Spent::from([("a".to_owned(), 2.5), ("c".to_owned(), 1.0)]));
    }
}
