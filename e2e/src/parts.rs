//! The real cluster parts, built once from pinned Go tool modules and cached.
//!
//! `e2e/tools/*/go.mod` and `go.sum` pin every source. The binaries land in
//! `$PANDO_CACHE/parts/<key>/bin`, where the key covers all pins, the recipe below and the Go
//! version. Each part appears there complete or not at all (built under another name, then renamed), so an
//! interrupted build goes on where it stopped. A file lock lets one run build while others wait.

mod build;
mod go;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use xxhash_rust::xxh3::Xxh3;

pub use go::Go;

use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::workspace;

/// One binary and how it is built.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Name of the binary.
    name: &'static str,
    /// Folder under `e2e/tools` with the module that pins it.
    module: &'static str,
    /// The Go package.
    package: &'static str,
    /// The module whose version is stamped, and the variables that take it.
    stamp: Option<(&'static str, &'static [&'static str])>,
    /// Seconds a cold build takes on two cores, to tell what is left.
    cold: u64,
}

const KUBERNETES: Option<(&str, &[&str])> = Some((
    "k8s.io/kubernetes",
    &["k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"],
));

/// Every part, in building order: what a federation needs first, what shares packages in a row.
const PARTS: [Part; 7] = [
    Part { name: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", stamp: None, cold: 90 },
    Part {
        name: "kube-apiserver",
        module: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        stamp: KUBERNETES,
        cold: 420,
    },
    Part {
        name: "kube-controller-manager",
        module: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        stamp: KUBERNETES,
        cold: 105,
    },
    Part {
        name: "kube-scheduler",
        module: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kube-scheduler",
        stamp: KUBERNETES,
        cold: 10,
    },
    Part {
        name: "kubectl",
        module: "kubernetes",
        package: "k8s.io/kubernetes/cmd/kubectl",
        stamp: KUBERNETES,
        cold: 40,
    },
    Part { name: "kwok", module: "kwok", package: "sigs.k8s.io/kwok/cmd/kwok", stamp: None, cold: 120 },
    Part {
        name: "helm",
        module: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
        stamp: Some(("helm.sh/helm/v4", &["helm.sh/helm/v4/internal/version.version"])),
        cold: 120,
    },
];

/// Changes when the way of building changes, so that older binaries are not taken for new ones.
const RECIPE: &str = "1: CGO_ENABLED=0 -trimpath -ldflags -s -w, versions stamped";

/// The folder with all binaries, complete.
#[derive(Clone, Debug)]
pub struct Parts {
    bin: PathBuf,
}

impl Parts {
    /// Path of a binary.
    pub fn path(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// The folder of all binaries.
    pub fn bin(&self) -> &Path {
        &self.bin
    }
}

/// Where the parts come from and where they go.
#[derive(Clone, Debug)]
pub struct Source {
    /// Folder with one Go module for each tool group.
    pub tools: PathBuf,
    /// Root of the cache.
    pub cache: PathBuf,
}

impl Source {
    /// The checkout's tool modules and the user's cache (`$PANDO_CACHE` or the usual cache folder).
    ///
    /// # Errors
    /// When no cache folder can be told.
    pub fn standard() -> Result<Self> {
        Ok(Self { tools: workspace::root().join("e2e/tools"), cache: cache_root()? })
    }

    /// The parts, built now if they are not in the cache. Blocks.
    ///
    /// `ledger` records the compiler while it runs, so that an interrupted run leaves none behind.
    ///
    /// # Errors
    /// One that names the part, the cause and what to do.
    pub fn ensure(&self, progress: &Progress, ledger: Option<&Ledger>) -> Result<Parts> {
        let pins = self.pins()?;
        let Some(go) = Go::find()? else {
            return self.without_go(&pins);
        };
        let home = self.cache.join("parts").join(format!("{pins}-{}", go.version));
        let parts = Parts { bin: home.join("bin") };
        if missing(&parts).is_empty() {
            return Ok(parts);
        }
        std::fs::create_dir_all(&parts.bin).map_err(|error| build::explain_io(error, &parts.bin))?;
        let _lock = lock(&home, progress)?;
        let missing = missing(&parts);
        if !missing.is_empty() {
            build::all(self, &go, &parts, &missing, progress, ledger)?;
        }
        Ok(parts)
    }

    /// Without Go only a cache that somebody filled with exactly these pins will do.
    fn without_go(&self, pins: &str) -> Result<Parts> {
        let complete = std::fs::read_dir(self.cache.join("parts"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{pins}-")))
            .map(|entry| Parts { bin: entry.path().join("bin") })
            .find(|parts| missing(parts).is_empty());
        complete.ok_or_else(|| {
            anyhow::anyhow!(
                "the cluster parts ({}) are not built yet and `go` is not on the PATH. Choose one: \
                 install Go {} or newer (https://go.dev/dl) and run this again; or set PANDO_CACHE to a cache \
                 folder that was filled by the same checkout on the same kind of machine",
                PARTS.map(|part| part.name).join(", "),
                go::MINIMUM
            )
        })
    }

    /// Hash over all pins and the recipe.
    fn pins(&self) -> Result<String> {
        let mut hash = Xxh3::new();
        hash.update(RECIPE.as_bytes());
        hash.update(std::env::consts::OS.as_bytes());
        hash.update(std::env::consts::ARCH.as_bytes());
        let mut modules: Vec<&str> = PARTS.iter().map(|part| part.module).collect();
        modules.dedup();
        for module in modules {
            for file in ["go.mod", "go.sum"] {
                let path = self.tools.join(module).join(file);
                let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                hash.update(&content.len().to_le_bytes());
                hash.update(&content);
            }
        }
        Ok(format!("{:016x}", hash.digest()))
    }
}

fn missing(parts: &Parts) -> Vec<Part> {
    PARTS.into_iter().filter(|part| !parts.path(part.name).is_file()).collect()
}

/// `$PANDO_CACHE`, else `pando` in the user's cache folder.
fn cache_root() -> Result<PathBuf> {
    if let Some(cache) = std::env::var_os("PANDO_CACHE").filter(|value| !value.is_empty()) {
        return Ok(std::path::absolute(cache)?);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let user_cache = if cfg!(target_os = "macos") {
        home.map(|home| home.join("Library/Caches"))
    } else {
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| home.map(|home| home.join(".cache")))
    };
    match user_cache {
        Some(cache) => Ok(cache.join("pando")),
        None => bail!("neither PANDO_CACHE nor HOME is set: set PANDO_CACHE to a folder for the cluster parts"),
    }
}

/// Waits for other runs that build into the same folder. The lock ends with the file's handle, so
/// also with a process that was killed.
fn lock(home: &Path, progress: &Progress) -> Result<File> {
    let path = home.join(".lock");
    let file = File::create(&path).map_err(|error| build::explain_io(error, &path))?;
    let mut waits: u32 = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if waits.is_multiple_of(100) {
                    progress.say("another run builds the cluster parts; waiting for it");
                }
                waits += 1;
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
