//! What tests share: a lone member for tests of the rig, a federation for everything else.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use pando_e2e::federation::{Federation, Options};
use pando_e2e::guard::Guard;
use pando_e2e::ledger::{Ledger, State};
use pando_e2e::parts::{Parts, Source};
use pando_e2e::process;
use pando_e2e::product::Product;
use pando_e2e::progress::Progress;
use pando_e2e::provider::processes::Processes;
use pando_e2e::provider::{Cluster, ClusterProvider as _, ClusterSpec, Role};
use tokio::sync::OnceCell;

/// The program that can be a guard.
pub(crate) const DEMO: &str = env!("CARGO_BIN_EXE_demo");

pub(crate) struct World {
    /// Files of this run.
    pub(crate) home: PathBuf,
    parts: OnceCell<Parts>,
    lone: OnceCell<Lone>,
    federation: OnceCell<Result<Federation, String>>,
    /// How many federations there were before this one.
    former: usize,
    guards: Mutex<Vec<Guard>>,
}

/// A member without a federation.
pub(crate) struct Lone {
    pub(crate) provider: Processes,
    pub(crate) ledger: Ledger,
    pub(crate) cluster: Cluster,
}

impl World {
    pub(crate) fn new() -> Self {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
        let home = all.join(std::process::id().to_string());
        forget_old_runs(&all);
        Self {
            home,
            parts: OnceCell::new(),
            lone: OnceCell::new(),
            federation: OnceCell::new(),
            former: 0,
            guards: Mutex::new(Vec::new()),
        }
    }

    pub(crate) async fn parts(&self) -> Result<Parts> {
        let build =
            || async { tokio::task::spawn_blocking(|| Source::standard()?.ensure(&Progress::stderr(), None)).await? };
        self.parts.get_or_try_init(build).await.cloned()
    }

    /// A ledger that a guard watches over.
    fn ledger(&self, home: &Path) -> Result<Ledger> {
        let ledger = Ledger::create(&home.join("state.json"), "processes")?;
        let guard = Guard::start(Path::new(DEMO), ledger.path())?;
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).push(guard);
        Ok(ledger)
    }

    /// Started by the first test that asks.
    pub(crate) async fn lone(&self) -> Result<&Lone> {
        self.lone
            .get_or_try_init(|| async {
                let home = self.home.join("lone");
                let ledger = self.ledger(&home)?;
                let parts = self.parts().await?;
                let provider = Processes::new(parts, &home, ledger.clone(), Progress::stderr())?;
                let cluster = provider
                    .create(ClusterSpec {
                        name: "lone".to_owned(),
                        role: Role::Member,
                        definitions: vec![],
                        relay: true,
                    })
                    .await?;
                Ok(Lone { provider, ledger, cluster })
            })
            .await
    }

    /// Started by the first test that asks; when that fails, it fails for everyone at once.
    pub(crate) async fn federation(&self) -> Result<&Federation> {
        let federation = self
            .federation
            .get_or_init(|| async { self.start_federation().await.map_err(|error| format!("{error:#}")) })
            .await
            .as_ref()
            .map_err(|error| anyhow!("the federation did not start: {error}"))?;
        federation.check().context("before the test")?;
        Ok(federation)
    }

    /// Ends the federation, if there is one; whoever asks next gets a new one.
    pub(crate) async fn renew(&mut self) -> Result<()> {
        if self.federation.take().is_some() {
            stop_all(vec![State::load(&self.federation_home().join("state.json"))?]).await?;
            self.former += 1;
        }
        Ok(())
    }

    fn federation_home(&self) -> PathBuf {
        self.home.join(format!("federation-{}", self.former + 1))
    }

    async fn start_federation(&self) -> Result<Federation> {
        let home = self.federation_home();
        let ledger = self.ledger(&home)?;
        let parts = self.parts().await?;
        let progress = Progress::stderr();
        let product = {
            let progress = progress.clone();
            tokio::task::spawn_blocking(move || Product::build(&progress)).await??
        };
        let options =
            Options { home, members: ["bj-prod", "sh-prod", "sz-prod"].map(str::to_owned).to_vec(), relays: true };
        Federation::start(options, parts, product, ledger, &progress).await
    }

    /// What a person needs to understand a failure.
    pub(crate) async fn explain(&self, test: &str) -> String {
        let Some(Ok(federation)) = self.federation.get() else {
            return format!("logs are under {}", self.home.display());
        };
        let folder = self.home.join("failures").join(test.replace("::", "-"));
        federation.dump(&folder).await;
        let log = federation.controller().process().record.log.clone();
        let dead = federation.check().err().map_or(String::new(), |error| format!("{error:#}\n"));
        format!(
            "{dead}the API servers' objects are in {}, logs in {}; the controller's last lines:\n{}",
            folder.display(),
            federation.logs().display(),
            process::tail(&log, 25)
        )
    }

    /// Stops everything, and proves it.
    pub(crate) async fn stop(mut self, clean: bool) -> Result<()> {
        let mut states = vec![State::load(&self.federation_home().join("state.json"))?];
        states.extend(self.lone.take().map(|lone| Some(lone.ledger.state())));
        drop(self.federation.take());
        stop_all(states).await?;
        for guard in self.guards.into_inner().unwrap_or_else(PoisonError::into_inner) {
            guard.dismiss()?;
        }
        if clean {
            std::fs::remove_dir_all(&self.home).ok();
        }
        Ok(())
    }
}

async fn stop_all(states: Vec<Option<State>>) -> Result<()> {
    let stopped =
        tokio::task::spawn_blocking(move || states.iter().flatten().try_for_each(|state| state.stop(process::GRACE)));
    stopped.await?
}

/// Keeps the files of the last failed runs only, and of those that are still under way: a folder is named by its process.
fn forget_old_runs(all: &Path) {
    let ended = |entry: &std::fs::DirEntry| {
        let process = entry.file_name().to_str().and_then(|name| name.parse().ok());
        process.and_then(process::Identity::of).is_none()
    };
    let mut runs: Vec<_> = std::fs::read_dir(all)
        .into_iter()
        .flatten()
        .flatten()
        .filter(ended)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    runs.sort();
    for (_, path) in runs.iter().rev().skip(3) {
        std::fs::remove_dir_all(path).ok();
    }
}
