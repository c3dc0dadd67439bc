//! The `processes` provider: unmodified Kubernetes binaries as plain processes.
//!
//! A hub is etcd, kube-apiserver and a kube-controller-manager with the few loops that a control
//! plane without nodes needs. A member has the workload controllers, a scheduler, and kwok in the
//! place of a kubelet: one node on which every pod runs at once. All of it listens on 127.0.0.1
//! only, and etcd's data lives in memory where the system has a memory file system.

mod components;
mod preflight;
mod readiness;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::components::{Layout, Ports};
use super::{Cluster, ClusterProvider, ClusterSpec, Role};
use crate::audit::AuditLog;
use crate::eventually;
use crate::http_relay::{HttpRelay, Upstream};
use crate::kubeconfig::{self, Credential};
use crate::ledger::{ClusterRecord, Ledger};
use crate::parts::Parts;
use crate::pki::{Authority, Identity};
use crate::process::{self, Launch, Running, Signal};
use crate::progress::Progress;
use crate::relay::Relay;

/// How often a cluster is started with other ports when somebody was faster at one of them.
const ATTEMPTS: u32 = 3;
/// How long a cluster may take until it can be used, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The provider. Clones share the numbering of clusters.
#[derive(Clone, Debug)]
pub struct Processes {
    parts: Parts,
    /// Folder for kubeconfigs, `logs/` and `pki/`.
    home: PathBuf,
    /// Folder for etcd's data.
    data: PathBuf,
    ledger: Ledger,
    progress: Progress,
    next: Arc<AtomicU32>,
    /// How each process was started, by its name.
    launched: Arc<Mutex<BTreeMap<String, Launch>>>,
}

impl Processes {
    /// A provider that keeps its files under `home` and writes down what it starts in `ledger`.
    ///
    /// # Errors
    /// When the machine lacks something, with how to get it.
    pub fn new(parts: Parts, home: &Path, ledger: Ledger, progress: Progress) -> Result<Self> {
        preflight::check(&progress)?;
        let data = preflight::data_folder(home)?;
        ledger.directory(data.clone())?;
        Ok(Self {
            parts,
            home: home.to_owned(),
            data,
            ledger,
            progress,
            next: Arc::new(AtomicU32::new(1)),
            launched: Arc::default(),
        })
    }

    /// The binaries of this provider.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Log files of one cluster, or of all.
    pub fn logs(&self) -> PathBuf {
        self.home.join("logs")
    }

    /// Ends a component of a cluster without warning (SIGKILL) and starts it again as it was, with its data.
    ///
    /// # Errors
    /// When there is no such component, or its API server is not ready in time afterwards.
    pub async fn restart(&self, cluster: &Cluster, component: &str) -> Result<()> {
        let name = format!("{}-{component}", cluster.name);
        let record = self.ledger.state().processes.into_iter().find(|record| record.name == name);
        let record = record.with_context(|| format!("no process {name}"))?;
        let ports = record.ports.clone();
        record.identity.signal(Signal::KILL);
        let left = tokio::task::spawn_blocking(move || process::stop(&[record], process::GRACE)).await?;
        anyhow::ensure!(left.is_empty(), "{name} does not end");
        // The process is gone a moment before the last of its threads has closed its sockets.
        eventually::some(PATIENCE, &format!("the ports of {name} to be free"), || async {
            ports.iter().try_for_each(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).map(drop))?;
            Ok(Some(()))
        })
        .await?;
        let launch = self.launched.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        let running = self.ledger.spawn(launch.with_context(|| format!("{name} was not started here"))?)?;
        readiness::api(&cluster.client, &[running], PATIENCE).await
    }

    fn spawn(&self, launch: Launch) -> Result<Running> {
        self.launched.lock().unwrap_or_else(PoisonError::into_inner).insert(launch.name.clone(), launch.clone());
        self.ledger.spawn(launch)
    }

    async fn attempt(&self, spec: &ClusterSpec, index: u32) -> Result<Cluster> {
        let layout = self.layout(spec, index)?;
        let authority = Authority::create(&layout.pki, &format!("{}-ca", spec.name))?;
        components::certificates(&authority)?;
        let mut processes = vec![self.spawn(layout.etcd())?];
        readiness::listening(layout.ports.etcd, &processes, PATIENCE).await?;
        processes.push(self.spawn(layout.apiserver(spec.role)?)?);

        let cluster = self.views(spec, &layout, &authority).await?;
        readiness::api(&cluster.client, &processes, PATIENCE).await?;
        self.progress.say(format_args!("{}: API server ready", spec.name));
        if !spec.definitions.is_empty() {
            crate::install::definitions(&cluster.client, &spec.definitions).await?;
        }
        if spec.role != Role::Bare {
            processes.push(self.spawn(layout.controller_manager(spec.role)?)?);
        }
        if spec.role == Role::Member {
            processes.push(self.spawn(layout.scheduler()?)?);
            readiness::create_node(&cluster.client).await?;
            processes.push(self.spawn(layout.kwok()?)?);
            readiness::member(&cluster.client, &processes, PATIENCE).await?;
            self.progress.say(format_args!("{}: runs pods", spec.name));
        }
        Ok(cluster)
    }

    fn layout(&self, spec: &ClusterSpec, index: u32) -> Result<Layout> {
        Ok(Layout {
            name: spec.name.clone(),
            index,
            parts: self.parts.clone(),
            pki: self.home.join("pki").join(&spec.name),
            data: self.data.join(&spec.name),
            logs: self.logs(),
            ports: Ports::free()?,
        })
    }

    /// The kubeconfigs: the test's, the controller's, and those of the components.
    async fn views(&self, spec: &ClusterSpec, layout: &Layout, authority: &Authority) -> Result<Cluster> {
        let server = format!("https://127.0.0.1:{}", layout.ports.apiserver);
        for (user, group) in components::USERS {
            let credential = Credential::Certificate(authority.client(user, group)?);
            let path = layout.kubeconfig(user);
            kubeconfig::write(&path, &spec.name, &server, authority.pem(), &credential)?;
        }
        let admin = Credential::Certificate(administrator(authority)?);
        let write = |file: String, server: &str| {
            kubeconfig::write(&self.home.join(file), &spec.name, server, authority.pem(), &admin)
        };
        let admin_kubeconfig = write(format!("{}.kubeconfig", spec.name), &server)?;
        let (relays, controller_kubeconfig) = if spec.relay {
            let relays = relays(layout.ports.apiserver, authority).await?;
            let server = format!("https://{}", relays.0.address());
            let path = write(format!("{}.controller.kubeconfig", spec.name), &server)?;
            (Some(relays), path)
        } else {
            (None, admin_kubeconfig.clone())
        };
        let (relay, http_relay) = relays.unzip();
        Ok(Cluster {
            name: spec.name.clone(),
            role: spec.role,
            client: kubeconfig::client(&admin_kubeconfig).await?,
            server,
            admin_kubeconfig,
            controller_kubeconfig,
            authority: authority.pem().to_owned(),
            audit: Some(AuditLog::new(&layout.audit_log())),
            relay,
            http_relay,
        })
    }

    /// Stops what a cluster started, and removes its data.
    async fn stop(&self, name: &str) -> Result<()> {
        let prefix = format!("{name}-");
        let mut records = self.ledger.state().processes;
        records.retain(|record| record.name.starts_with(&prefix));
        records.reverse();
        let left = tokio::task::spawn_blocking(move || process::stop(&records, process::GRACE)).await?;
        if !left.is_empty() {
            bail!("could not stop {}", left.join(", "));
        }
        drop(std::fs::remove_dir_all(self.data.join(name)));
        self.ledger.change(|state| {
            state.processes.retain(|record| !record.name.starts_with(&prefix));
            state.clusters.retain(|cluster| cluster.name != name);
        })
    }
}

impl ClusterProvider for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    async fn create(&self, spec: ClusterSpec) -> Result<Cluster> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let mut attempt = 1;
        let cluster = loop {
            match self.attempt(&spec, index).await {
                Ok(cluster) => break cluster,
                Err(error) if attempt < ATTEMPTS && is_port_taken(&error) => {
                    self.progress.say(format_args!(
                        "{}: a port was taken by another program meanwhile; trying others",
                        spec.name
                    ));
                    self.stop(&spec.name).await?;
                    attempt += 1;
                }
                Err(error) => {
                    return Err(error).with_context(|| {
                        format!("the cluster {} did not start; logs in {}", spec.name, self.logs().display())
                    });
                }
            }
        };
        self.ledger.change(|state| {
            state.clusters.push(ClusterRecord {
                name: cluster.name.clone(),
                server: cluster.server.clone(),
                kubeconfig: cluster.admin_kubeconfig.clone(),
            });
        })?;
        Ok(cluster)
    }

    async fn delete(&self, cluster: &Cluster) -> Result<()> {
        self.stop(&cluster.name).await
    }
}

/// Who tests are.
fn administrator(authority: &Authority) -> Result<Identity> {
    authority.client("pando-e2e", Some("system:masters"))
}

/// What a controller's view of an API server goes through, and may be made to go through as well.
async fn relays(port: u16, authority: &Authority) -> Result<(Arc<Relay>, Arc<HttpRelay>)> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let upstream = Upstream {
        server,
        authority: authority.pem().to_owned(),
        shown: authority.server_identity("http-relay", &["127.0.0.1"])?,
        speaker: administrator(authority)?,
    };
    Ok((Arc::new(Relay::start(server).await?), Arc::new(HttpRelay::start(&upstream).await?)))
}

/// Whether a process ended because its port was taken; its last log lines are in the error.
fn is_port_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("address already in use")
}

/// The processes of a cluster that must not end while it is being started.
fn all_alive(processes: &[Running]) -> Result<()> {
    processes.iter().try_for_each(Running::check)
}
