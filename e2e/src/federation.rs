//! A whole federation: a hub with Pando installed, and members that have joined.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::try_join;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::eventually;
use crate::install;
use crate::kubeconfig;
use crate::ledger::Ledger;
use crate::parts::Parts;
use crate::process;
use crate::product::{Controller, Product, Start};
use crate::progress::Progress;
use crate::provider::processes::Processes;
use crate::provider::{Cluster, ClusterProvider as _, ClusterSpec, Role};
use crate::workspace;

/// Name of the hub, so of its kubeconfig.
pub const HUB: &str = "federation";
/// How long a member may take until the hub calls it ready.
const JOINED: Duration = Duration::from_secs(60);
/// How many members start at once: with more of them, each one takes so long that the first ones time out.
const AT_ONCE: usize = 4;

/// What to set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder for kubeconfigs, logs and keys.
    pub home: PathBuf,
    /// Names of the members.
    pub members: Vec<String>,
    /// Whether the controller reaches hub and members through relays; they live in this process.
    pub relays: bool,
}

/// A federation that runs.
pub struct Federation {
    /// The API server with policies and templates.
    pub hub: Cluster,
    /// The members, in the order of [`Options::members`].
    pub members: Vec<Cluster>,
    /// The binary.
    pub product: Product,
    controller: Mutex<Controller>,
    provider: Processes,
    ledger: Ledger,
    home: PathBuf,
}

impl Federation {
    /// Starts everything; the hub and the members at once.
    ///
    /// # Errors
    /// When something does not start. What was started until then is in the ledger.
    pub async fn start(
        options: Options,
        parts: Parts,
        product: Product,
        ledger: Ledger,
        progress: &Progress,
    ) -> Result<Self> {
        Self::start_as(Role::Member, options, parts, product, ledger, progress).await
    }

    /// As [`Federation::start`], with members of this role.
    ///
    /// # Errors
    /// As [`Federation::start`].
    pub async fn start_as(
        member: Role,
        options: Options,
        parts: Parts,
        product: Product,
        ledger: Ledger,
        progress: &Progress,
    ) -> Result<Self> {
        let provider = Processes::new(parts, &options.home, ledger.clone(), progress.clone())?;
        let setup =
            Setup { provider: &provider, product: &product, ledger: &ledger, progress, options: &options, member };
        let (announce, announced) = watch::channel(None);
        let members: Vec<_> = options.members.iter().map(|name| setup.member(name, announced.clone())).collect();
        let members = stream::iter(members).buffered(AT_ONCE).try_collect::<Vec<_>>();
        let ((hub, controller), members) = try_join(setup.hub(&announce), members).await?;
        let home = options.home;
        Ok(Self { hub, members, controller: Mutex::new(controller), product, provider, ledger, home })
    }

    /// A member by name.
    ///
    /// # Panics
    /// Never in a federation that was started with it; asking for another one is an error.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn member(&self, name: &str) -> Result<&Cluster> {
        self.members.iter().find(|member| member.name == name).with_context(|| format!("no member {name}"))
    }

    /// Folder with logs.
    pub fn logs(&self) -> PathBuf {
        self.provider.logs()
    }

    /// Folder with kubeconfigs.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The controller process of now.
    pub fn controller(&self) -> Controller {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a new controller process in the place of one that has ended.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_controller(&self) -> Result<()> {
        self.start_controller_with(&Start::default()).await
    }

    /// As [`Federation::start_controller`], with flags or environment variables of its own.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_controller_with(&self, start: &Start) -> Result<()> {
        let kubeconfig = controller_kubeconfig(&self.home);
        let controller = self.product.controller(&kubeconfig, start, &self.logs(), &self.ledger).await?;
        *self.controller.lock().unwrap_or_else(PoisonError::into_inner) = controller;
        Ok(())
    }

    /// Kills a component of a cluster, say `kube-apiserver`, and starts it again.
    ///
    /// # Errors
    /// When the cluster's API server is not ready again in time.
    pub async fn restart(&self, cluster: &Cluster, component: &str) -> Result<()> {
        self.provider.restart(cluster, component).await
    }

    /// The process of a component of a cluster, say `kube-apiserver`.
    ///
    /// # Errors
    /// When it has none of this name.
    pub fn process(&self, cluster: &Cluster, component: &str) -> Result<process::Identity> {
        let name = format!("{}-{component}", cluster.name);
        let mut processes = self.ledger.state().processes.into_iter();
        let record = processes.find(|record| record.name == name).with_context(|| format!("no process {name}"))?;
        Ok(record.identity)
    }

    /// Starts one more member, joins it and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start or join.
    pub async fn add_member(&self, name: &str, relay: bool) -> Result<Cluster> {
        let member = self
            .provider
            .create(ClusterSpec { name: name.to_owned(), role: Role::Member, definitions: vec![], relay })
            .await?;
        self.join(&member).await?;
        Ok(member)
    }

    /// Joins a member that runs, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be joined.
    pub async fn join(&self, member: &Cluster) -> Result<()> {
        self.product.join(&member.name, &self.hub.admin_kubeconfig, &member.controller_kubeconfig).await?;
        is_ready(&self.hub.client, &member.name).await
    }

    /// Stops the member's processes and removes its data.
    ///
    /// # Errors
    /// When something of it cannot be stopped.
    pub async fn delete_member(&self, member: &Cluster) -> Result<()> {
        self.provider.delete(member).await
    }

    /// Fails when a process has ended that should run: nothing else then fails in a clear way.
    ///
    /// # Errors
    /// With the name and log of the process.
    pub fn check(&self) -> Result<()> {
        let state = self.ledger.state();
        for record in &state.processes {
            // Compilers end; they are recorded for interrupted runs only.
            if !record.name.starts_with("go-build-") && !record.identity.is_alive() {
                anyhow::bail!(
                    "{} has ended; log {}:\n{}",
                    record.name,
                    record.log.display(),
                    process::tail(&record.log, 15)
                );
            }
        }
        Ok(())
    }

    /// Writes what every API server holds (no Secrets) into a folder, for a person to read.
    pub async fn dump(&self, folder: &Path) {
        let clusters = self.members.iter().chain([&self.hub]);
        let files = clusters.map(|cluster| (cluster.name.clone(), cluster.admin_kubeconfig.clone()));
        dump(self.provider.parts(), &files.collect(), folder).await;
    }

    /// Stops everything. Logs stay.
    ///
    /// # Errors
    /// When a process cannot be stopped.
    pub async fn stop(self) -> Result<()> {
        let state = self.ledger.state();
        tokio::task::spawn_blocking(move || state.stop(process::GRACE)).await?
    }
}

/// What the parts of a start share.
struct Setup<'a> {
    provider: &'a Processes,
    product: &'a Product,
    ledger: &'a Ledger,
    progress: &'a Progress,
    options: &'a Options,
    member: Role,
}

impl Setup<'_> {
    /// Starts the hub, announces it as soon as members can join, starts the controller.
    async fn hub(&self, announce: &watch::Sender<Option<Cluster>>) -> Result<(Cluster, Controller)> {
        let root = workspace::root();
        let definitions = install::read_folder(&root.join("crds"))?;
        let rbac = install::read_folder(&root.join("deploy/rbac"))?;
        let hub = self
            .provider
            .create(ClusterSpec { name: HUB.to_owned(), role: Role::Hub, definitions, relay: self.options.relays })
            .await?;
        let controller = async {
            let kubeconfig = controller_kubeconfig(&self.options.home);
            install::rights(&hub, &rbac, &kubeconfig).await?;
            announce.send_replace(Some(hub.clone()));
            let logs = self.provider.logs();
            let controller = self.product.controller(&kubeconfig, &Start::default(), &logs, self.ledger).await?;
            self.progress.say("controller ready");
            Ok(controller)
        };
        let (controller, ()) = try_join(controller, install::garbage_is_collected(&hub.client)).await?;
        Ok((hub, controller))
    }

    /// Starts a member and joins it when the hub is there.
    async fn member(&self, name: &str, mut announced: watch::Receiver<Option<Cluster>>) -> Result<Cluster> {
        let member = self
            .provider
            .create(ClusterSpec {
                name: name.to_owned(),
                role: self.member,
                definitions: vec![],
                relay: self.options.relays,
            })
            .await?;
        let hub = announced.wait_for(Option::is_some).await?.clone();
        let hub = hub.context("the hub did not start")?;
        self.product.join(name, &hub.admin_kubeconfig, &member.controller_kubeconfig).await?;
        is_ready(&hub.client, name).await?;
        self.progress.say(format_args!("{name}: joined"));
        Ok(member)
    }
}

/// Where the controller's kubeconfig is.
fn controller_kubeconfig(home: &Path) -> PathBuf {
    home.join("pki").join("controller.kubeconfig")
}

/// Writes what the API servers behind these kubeconfigs hold (no Secrets) into a folder.
pub async fn dump(parts: &Parts, kubeconfigs: &BTreeMap<String, PathBuf>, folder: &Path) {
    const WORKLOADS: &str = "nodes,namespaces,deployments,replicasets,pods,services,configmaps,events";
    const FEDERATION: &str = "clusters.cluster.karmada.io,propagationpolicies,clusterpropagationpolicies,\
        overridepolicies,clusteroverridepolicies,resourcebindings,clusterresourcebindings,works";
    // Diagnostics are best effort: the failure that led here is what counts.
    drop(std::fs::create_dir_all(folder));
    for (name, kubeconfig) in kubeconfigs {
        let kinds = match name.as_str() {
            HUB => format!("{WORKLOADS},{FEDERATION}"),
            _ => WORKLOADS.to_owned(),
        };
        let output = tokio::process::Command::new(parts.path("kubectl"))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args(["--request-timeout=10s", "get", &kinds, "--all-namespaces", "--output=yaml"])
            .kill_on_drop(true)
            .output()
            .await;
        if let Ok(output) = output {
            let text = [output.stdout, output.stderr].concat();
            drop(std::fs::write(folder.join(format!("{name}.yaml")), text));
        }
    }
}

/// The `Cluster` kind.
pub fn cluster_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.karmada.io", "v1alpha1", "Cluster"))
}

/// Waits until the hub calls a member ready.
async fn is_ready(hub: &Client, name: &str) -> Result<()> {
    let clusters = Api::<DynamicObject>::all_with(hub.clone(), &cluster_resource());
    let clusters = &clusters;
    eventually::some(JOINED, &format!("the member {name} to be ready"), || async move {
        let cluster = clusters.get(name).await?;
        let conditions = &cluster.data["status"]["conditions"];
        let ready = conditions
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
        anyhow::ensure!(ready, "conditions {conditions}");
        Ok(Some(()))
    })
    .await
}

/// What an API server says about a Deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// `spec.replicas`.
    pub wanted: i32,
    /// `status.replicas`.
    pub existing: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
}

/// The replicas of a Deployment; none when it does not exist.
///
/// # Errors
/// When the API server does not answer.
pub async fn replicas(client: &Client, namespace: &str, name: &str) -> Result<Option<Replicas>> {
    let api = Api::<Deployment>::namespaced(client.clone(), namespace);
    Ok(api.get_opt(name).await?.map(|deployment| {
        let status = deployment.status.unwrap_or_default();
        Replicas {
            wanted: deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1),
            existing: status.replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
        }
    }))
}

/// Seconds since `start`, to a tenth.
pub fn seconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 10.0).round() / 10.0
}

/// A client for a kubeconfig that a federation wrote into its home.
///
/// # Errors
/// When the file is not there.
pub async fn client(home: &Path, name: &str) -> Result<Client> {
    kubeconfig::client(&home.join(format!("{name}.kubeconfig"))).await
}
