//! Building the parts that are missing, one after another.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Go, Part, Parts, Source};
use crate::ledger::Ledger;
use crate::process::{self, Launch, Running};
use crate::progress::Progress;

/// How often a long build says that it goes on.
const EVERY: Duration = Duration::from_secs(15);
/// Free space that the binaries (0.5 GB) need in the cache.
const CACHE_BYTES: u64 = 1 << 30;
/// Free space that a cold build needs in Go's own caches.
const GO_BYTES: u64 = 9 << 30;

/// Builds `missing` into `parts`.
pub(super) fn all(
    source: &Source,
    go: &Go,
    parts: &Parts,
    missing: &[Part],
    progress: &Progress,
    ledger: Option<&Ledger>,
) -> Result<()> {
    check_space(go, parts, progress)?;
    let seconds: u64 = missing.iter().map(|part| part.cold).sum();
    progress.say(format_args!(
        "building {} cluster part(s) with {} into {}: up to {} minutes the first time, kept afterwards",
        missing.len(),
        go.version,
        parts.bin().display(),
        seconds.div_ceil(60)
    ));
    for (index, part) in missing.iter().enumerate() {
        let start = Instant::now();
        let rest: Vec<&str> = missing[index + 1..].iter().map(|part| part.name).collect();
        one(source, go, parts, part, &rest, progress, ledger)?;
        let then = match rest.as_slice() {
            [] => "all parts are built".to_owned(),
            rest => format!("{} left: {}", rest.len(), rest.join(", ")),
        };
        progress.say(format_args!("built {} in {:.0} s; {then}", part.name, start.elapsed().as_secs_f64()));
    }
    Ok(())
}

/// One part: compile under a temporary name, then rename.
fn one(
    source: &Source,
    go: &Go,
    parts: &Parts,
    part: &Part,
    rest: &[&str],
    progress: &Progress,
    ledger: Option<&Ledger>,
) -> Result<()> {
    let temporary = parts.path(&format!(".{}.building", part.name));
    let log = parts.bin().with_file_name(format!("{}.log", part.name));
    // The lock is ours, so both are leftovers of an interrupted build.
    for leftover in [&temporary, &log] {
        drop(std::fs::remove_file(leftover));
    }
    let launch = Launch {
        name: format!("go-build-{}", part.name),
        program: go.program.clone(),
        args: arguments(source, part, &temporary)?,
        env: [("CGO_ENABLED", "0"), ("GOFLAGS", "-mod=readonly"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        log: log.clone(),
        ports: vec![],
        foundation: false,
    };
    let running = match ledger {
        Some(ledger) => ledger.spawn(launch)?,
        None => launch.spawn()?,
    };
    let compiler = Compiler(running);
    wait(&compiler.0, part, rest, progress);
    match compiler.0.exit() {
        Some(status) if status.success() => {}
        _ => return Err(explain(part, &log, parts)),
    }
    let target = parts.path(part.name);
    std::fs::rename(&temporary, &target).map_err(|error| explain_io(error, &target))
}

/// Ends the compiler when its owner goes away early.
struct Compiler(Running);

impl Drop for Compiler {
    fn drop(&mut self) {
        if self.0.exit().is_none() {
            process::stop(std::slice::from_ref(&self.0.record), Duration::ZERO);
        }
    }
}

fn wait(running: &Running, part: &Part, rest: &[&str], progress: &Progress) {
    let start = Instant::now();
    let mut said = Instant::now();
    while running.exit().is_none() {
        std::thread::sleep(Duration::from_millis(50));
        if said.elapsed() >= EVERY {
            said = Instant::now();
            let now = process::tail(&running.record.log, 1);
            let now = now.strip_prefix("go: ").unwrap_or("");
            progress.say(format_args!(
                "building {}: {:.0} s so far (about {} s from nothing); then {} more {now}",
                part.name,
                start.elapsed().as_secs_f64(),
                part.cold,
                rest.len(),
            ));
        }
    }
}

fn arguments(source: &Source, part: &Part, output: &Path) -> Result<Vec<String>> {
    let module = source.tools.join(part.module);
    let mut flags = "-s -w".to_owned();
    if let Some((stamped, variables)) = part.stamp {
        let version = pinned(&module.join("go.mod"), stamped)?;
        for variable in variables {
            write!(flags, " -X {variable}={version}")?;
        }
        if let Some((major, minor)) = version.trim_start_matches('v').split_once('.')
            && part.module == "kubernetes"
        {
            let minor = minor.split('.').next().unwrap_or(minor);
            for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
                write!(
                    flags,
                    " -X {package}.gitMajor={major} -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean \
                     -X {package}.gitCommit=pando -X {package}.buildDate=1970-01-01T00:00:00Z"
                )?;
            }
        }
    }
    Ok(vec![
        format!("-C={}", module.display()),
        "-trimpath".to_owned(),
        format!("-ldflags={flags}"),
        format!("-o={}", output.display()),
        part.package.to_owned(),
    ]
    .into_iter()
    .fold(vec!["build".to_owned()], |mut all, argument| {
        all.push(argument);
        all
    }))
}

/// The version of a module in a go.mod.
pub(super) fn pinned(go_mod: &Path, module: &str) -> Result<String> {
    let text = std::fs::read_to_string(go_mod).with_context(|| format!("cannot read {}", go_mod.display()))?;
    text.lines()
        .map(|line| line.trim().trim_start_matches("require "))
        .filter_map(|line| line.strip_prefix(module)?.strip_prefix(' '))
        .find(|rest| rest.starts_with('v'))
        .map(|rest| rest.split(' ').next().unwrap_or(rest).to_owned())
        .with_context(|| format!("{} does not pin {module}", go_mod.display()))
}

fn check_space(go: &Go, parts: &Parts, progress: &Progress) -> Result<()> {
    if let Some(free) = free_bytes(parts.bin())
        && free < CACHE_BYTES
    {
        bail!(
            "{} has {} MB free, the cluster parts need {} MB; free some space or set PANDO_CACHE to a folder \
             on another disk",
            parts.bin().display(),
            free >> 20,
            CACHE_BYTES >> 20
        );
    }
    for name in ["GOCACHE", "GOMODCACHE"] {
        let path = PathBuf::from(go.environment(name)?);
        if let Some(free) = free_bytes(&path)
            && free < GO_BYTES
        {
            progress.say(format_args!(
                "note: {name} {} has {} MB free; a build from nothing takes up to {} MB there",
                path.display(),
                free >> 20,
                GO_BYTES >> 20
            ));
        }
    }
    Ok(())
}

/// Free bytes at the nearest folder that exists.
fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|dir| dir.is_dir())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Why a compiler run failed, and what to do.
fn explain(part: &Part, log: &Path, parts: &Parts) -> anyhow::Error {
    let tail = process::tail(log, 12);
    let advice = if tail.contains("no space left on device") {
        "the disk is full: free some space, or set PANDO_CACHE, GOCACHE and GOMODCACHE to folders on another disk"
    } else if tail.contains("signal: killed") || tail.is_empty() {
        "the compiler was killed (interrupted, or short of memory: linking takes 2 GB)"
    } else if tail.contains("dial tcp") || tail.contains("proxyconnect") || tail.contains("timeout") {
        "the modules could not be downloaded: check the network or GOPROXY"
    } else {
        "see the log"
    };
    anyhow::anyhow!(
        "building {} failed: {advice}. Parts already built in {} are kept; run this again to go on. Log {}:\n{tail}",
        part.name,
        parts.bin().display(),
        log.display(),
    )
}

/// What a failed file operation in the cache means.
pub(super) fn explain_io(error: std::io::Error, path: &Path) -> anyhow::Error {
    let advice = match error.kind() {
        std::io::ErrorKind::StorageFull => {
            "the disk is full; free some space or set PANDO_CACHE to a folder on another disk"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "set PANDO_CACHE to a folder that you may write"
        }
        _ => "set PANDO_CACHE to another folder if this one cannot be used",
    };
    anyhow::Error::new(error).context(format!("cannot write {}: {advice}", path.display()))
}
