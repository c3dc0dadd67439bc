//! What is measured: a hub, its members, and the controller between them, Pando or somebody else's.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;

use super::arguments::Arguments;
use super::external;
use super::load::{self, Call};
use super::machine::{self, Memory, Spent};
use super::objects::{self, Kind};
use super::requests;
use crate::audit::AuditLog;
use crate::eventually;
use crate::federation::{Federation, HUB, Options};
use crate::guard::Guard;
use crate::ledger::Ledger;
use crate::parts::Parts;
use crate::process;
use crate::product::{Product, Start};
use crate::progress::Progress;
use crate::provider::processes::Processes;
use crate::provider::{Cluster, ClusterProvider as _, ClusterSpec, Role};

/// How long a new namespace may take to come to every member.
const NAMESPACE: Duration = Duration::from_secs(120);
/// Nothing is measured while the controller still writes; but not for ever.
const CALM: Duration = Duration::from_secs(120);
/// No write for so long is calm.
const REST: Duration = Duration::from_secs(3);

/// What every rig of a run is made from.
#[derive(Debug)]
pub struct Workshop {
    /// What was typed.
    pub arguments: Arguments,
    /// Folder with one folder for each rig.
    pub home: PathBuf,
    /// The cluster parts.
    pub parts: Parts,
    /// Pando; none for an external controller.
    pub product: Option<Product>,
    /// Where progress goes.
    pub progress: Progress,
}

impl Workshop {
    /// A ledger for a rig of this name, and the guard that watches over it.
    fn ledger(&self, name: &str) -> Result<(PathBuf, Ledger, Guard)> {
        let home = self.home.join(name);
        let ledger = Ledger::create(&state_file(&home), "processes")?;
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let guard = Guard::start(&program, ledger.path())?;
        Ok((home, ledger, guard))
    }
}

/// Where a rig writes down what it has started.
pub fn state_file(home: &Path) -> PathBuf {
    home.join("state.json")
}

/// One API server, as benchmarks see it.
pub struct Site {
    /// The cluster.
    pub cluster: Cluster,
    /// A client of our own, without compression and retries.
    pub client: Client,
}

impl Site {
    /// A view of a cluster.
    ///
    /// # Errors
    /// When its kubeconfig cannot be used.
    async fn of(cluster: Cluster) -> Result<Self> {
        Ok(Self { client: load::client(&cluster).await?, cluster })
    }

    /// Its audit log.
    ///
    /// # Errors
    /// When it keeps none.
    pub fn log(&self) -> Result<&AuditLog> {
        self.cluster.audit.as_ref().with_context(|| format!("{} keeps no audit log", self.cluster.name))
    }
}

/// A lone API server with its store, for measuring the machine.
pub struct Lone {
    /// The API server.
    pub site: Site,
    /// Folder for files on disk.
    pub home: PathBuf,
    ledger: Ledger,
    guard: Guard,
}

impl Lone {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(workshop: &Workshop) -> Result<Self> {
        let (home, ledger, guard) = workshop.ledger("floor")?;
        let provider = Processes::new(workshop.parts.clone(), &home, ledger.clone(), workshop.progress.clone())?;
        let spec = ClusterSpec { name: "floor".to_owned(), role: Role::Bare, definitions: vec![], relay: false };
        let cluster = provider.create(spec).await?;
        Ok(Self { site: Site::of(cluster).await?, home, ledger, guard })
    }

    /// Memory of API server and store together.
    ///
    /// # Errors
    /// When one of them does not run.
    pub fn memory(&self) -> Result<Memory> {
        let pids: Vec<u32> = self.ledger.state().processes.iter().map(|record| record.identity.pid).collect();
        Memory::of_all(&pids)
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(self) -> Result<()> {
        stop(self.ledger, self.guard).await
    }
}

/// A hub, its members, and what connects them.
pub struct Rig {
    /// Policies and templates.
    pub hub: Site,
    /// In the order of their names.
    pub members: Vec<Site>,
    /// What it can tell.
    pub progress: Progress,
    federation: Option<Federation>,
    flags: Vec<String>,
    pids: Vec<u32>,
    ledger: Ledger,
    guard: Guard,
    namespaces: AtomicU32,
}

impl Rig {
    /// Starts hub and members and waits until the controller under test has joined all of them.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(workshop: &Workshop, name: &str, members: u16, role: Role) -> Result<Self> {
        let progress = &workshop.progress;
        let what = if role == Role::Member { "members" } else { "members that run nothing" };
        progress.say(format_args!("starting a hub and {members} {what}"));
        let (home, ledger, guard) = workshop.ledger(name)?;
        let names: Vec<String> = (1..=members).map(|number| format!("member-{number}")).collect();
        let (hub, clusters, federation) = match &workshop.product {
            Some(product) => {
                let options = Options { home, members: names, relays: false };
                let parts = workshop.parts.clone();
                let federation =
                    Federation::start_as(role, options, parts, product.clone(), ledger.clone(), progress).await?;
                (federation.hub.clone(), federation.members.clone(), Some(federation))
            }
            None => {
                let provider = Processes::new(workshop.parts.clone(), &home, ledger.clone(), progress.clone())?;
                let (hub, clusters) = external::start(&provider, &names, role).await?;
                external::wait(&home, &hub, &clusters, progress).await?;
                (hub, clusters, None)
            }
        };
        let mut sites = Vec::new();
        for cluster in clusters {
            sites.push(Site::of(cluster).await?);
        }
        let pids = workshop.arguments.pids.clone();
        let (hub, progress) = (Site::of(hub).await?, progress.clone());
        let (flags, namespaces) = (workshop.arguments.flags.clone(), AtomicU32::new(1));
        let rig = Self { hub, members: sites, progress, federation, flags, pids, ledger, guard, namespaces };
        if !rig.flags.is_empty() {
            rig.restart().await?;
        }
        Ok(rig)
    }

    /// Ends the controller in order and starts it anew; says whether it could: somebody else's is not ours to end.
    ///
    /// # Errors
    /// When it does not end, or does not become ready.
    pub async fn restart(&self) -> Result<bool> {
        let Some(federation) = &self.federation else { return Ok(false) };
        federation.controller().terminate().await?;
        let start = Start { flags: self.flags.clone(), ..Start::default() };
        federation.start_controller_with(&start).await?;
        Ok(true)
    }

    /// The hub, then every member.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        [&self.hub].into_iter().chain(&self.members)
    }

    /// Names of the members.
    pub fn member_names(&self) -> Vec<String> {
        self.members.iter().map(|site| site.cluster.name.clone()).collect()
    }

    /// A new namespace, once it is in every member: bringing it there is no part of any figure.
    ///
    /// # Errors
    /// When it does not arrive.
    pub async fn namespace(&self) -> Result<String> {
        let name = format!("bench-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        Call::create(&objects::namespace(&name))?.send(&self.hub.client).await?;
        let path = format!("{}/{name}", Kind::Namespace.collection(None));
        for member in &self.members {
            let (client, path) = (&member.client, &path);
            let what = format!("the namespace {name} to be in {}", member.cluster.name);
            eventually::some(NAMESPACE, &what, || async move { load::read(client, path).await }).await?;
        }
        Ok(name)
    }

    /// Waits until the controller under test rests. One that never does is measured all the same.
    ///
    /// # Errors
    /// When an audit log cannot be read.
    pub async fn calm(&self) -> Result<()> {
        self.check()?;
        if !requests::quiet(self, REST, CALM).await? {
            self.progress.say(format_args!("the controller still writes after {CALM:?}; measuring all the same"));
        }
        Ok(())
    }

    /// Memory of the controller under test; none when its processes are not known.
    ///
    /// # Errors
    /// When it does not run any more.
    pub fn memory(&self) -> Result<Option<Memory>> {
        let pids = match &self.federation {
            Some(federation) => vec![federation.controller().process().record.identity.pid],
            None => self.pids.clone(),
        };
        if pids.is_empty() { Ok(None) } else { Memory::of_all(&pids).map(Some) }
    }

    /// Processor time that everything has taken so far.
    pub fn spent(&self) -> Spent {
        let mut spent = machine::spent(&self.ledger.state(), HUB);
        for pid in &self.pids {
            *spent.entry("external-controller".to_owned()).or_default() += machine::processor_seconds(&pid.to_string());
        }
        spent
    }

    /// Fails when something has ended that should run.
    ///
    /// # Errors
    /// With its name and log.
    pub fn check(&self) -> Result<()> {
        self.federation.as_ref().map_or(Ok(()), Federation::check)
    }

    /// Removes templates, waits until every trace of them is gone, then removes the policies.
    ///
    /// # Errors
    /// When something stays.
    pub async fn clear(&self, namespace: &str, kinds: &[Kind]) -> Result<()> {
        let hub = &self.hub.client;
        let within = Duration::from_secs(600);
        for kind in kinds {
            // An API server ends a request after a minute, and a thousand deletions may take longer: the next one goes on.
            eventually::some(within, &format!("every {} of {namespace} to be deleted", kind.name()), || async {
                Call::delete(kind.collection(Some(namespace))).send(hub).await.map(Some)
            })
            .await?;
        }
        let gone = |site: &Site, kind: Kind, within: Duration| {
            let (client, place) = (site.client.clone(), site.cluster.name.clone());
            async move {
                let what = format!("every {} of {namespace} to be gone from {place}", kind.name());
                let client = &client;
                eventually::some(within, &what, || async move {
                    let mut left = load::names(client, kind, namespace).await?;
                    left.retain(|name| name != objects::EVERYWHERE);
                    ensure!(left.is_empty(), "{} are left", left.len());
                    Ok(Some(()))
                })
                .await
            }
        };
        for kind in kinds {
            for site in &self.members {
                gone(site, *kind, within).await?;
            }
        }
        gone(&self.hub, Kind::Binding, within).await?;
        Call::delete(Kind::Policy.collection(Some(namespace))).send(hub).await
    }

    /// Stops everything.
    ///
    /// # Errors
    /// When something does not end.
    pub async fn stop(self) -> Result<()> {
        self.progress.say("stopping hub and members");
        stop(self.ledger, self.guard).await
    }
}

async fn stop(ledger: Ledger, guard: Guard) -> Result<()> {
    let state = ledger.state();
    tokio::task::spawn_blocking(move || state.stop(process::GRACE)).await??;
    guard.dismiss()?;
    std::fs::remove_file(ledger.path()).with_context(|| format!("cannot remove {}", ledger.path().display()))
}
