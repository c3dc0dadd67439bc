//! `pando unjoin`: the same path as `kubectl delete cluster`, watched until its end.
//!
//! The controller does the detaching: it removes what it propagated, then its finalizer. This command
//! asks for it, says what is left while it waits, and afterwards removes what `join` made in the member.
//! With `--force` it gives up on the member after the wait and says what stays behind.

mod abandon;
mod cleanup;

use std::time::Duration;

use kube::ResourceExt as _;
use pando_api::cluster::{Cluster, SyncMode};
use pando_api::names::ClusterName;
use pando_api::work::Work;
use pando_context::{Ctx, Stop};

use super::connection::{Hub, Member, RequestError};
use super::join::{self, ClusterId};
use super::{kubeconfig, terminal};
use crate::args::UnjoinArgs;

/// How often the hub is asked whether the Cluster is gone. Karmada 1.19's period.
const POLL: Duration = Duration::from_secs(1);

/// Why a cluster is still there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// One of the two clusters cannot be identified.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// One of the two clusters refused or could not be reached.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A cluster without an identity.
    #[error(transparent)]
    Identity(#[from] join::Error),
    /// No such cluster.
    #[error("cluster {name:?} is not joined; `pando get clusters` lists what is")]
    NotJoined {
        /// The name asked for.
        name: String,
    },
    /// The member's kubeconfig belongs to another cluster.
    #[error(
        "--cluster-kubeconfig leads to another cluster (id {found}) than {name:?} (id {expected}): nothing was touched"
    )]
    OtherCluster {
        /// The name asked for.
        name: String,
        /// The id in the Cluster object.
        expected: String,
        /// The id behind the kubeconfig.
        found: String,
    },
    /// An agent owns this registration.
    #[error("cluster {name:?} is joined in pull mode: its agent unregisters it; --force removes it anyway")]
    Pull {
        /// The name asked for.
        name: String,
    },
    /// Time is up.
    #[error(
        "cluster {name:?} is still leaving after {}s: {left}. It goes on by itself; wait longer with --wait, \
         or give up on the member's objects with --force",
        waited.as_secs()
    )]
    StillThere {
        /// The name asked for.
        name: String,
        /// How long was waited.
        waited: Duration,
        /// What is left.
        left: Left,
    },
    /// The command itself was told to end.
    #[error("stopped while waiting: {0}")]
    Stopped(#[from] Stop),
    /// stdout takes no more.
    #[error("cannot print: {0}")]
    Write(#[from] std::io::Error),
}

/// Removes a cluster.
///
/// # Errors
///
/// See [`Error`]. A deletion that was asked for goes on without this command.
pub(crate) async fn run(ctx: &Ctx, args: &UnjoinArgs) -> Result<(), Error> {
    let hub = Hub::new(ctx, kubeconfig::hub_config(&args.hub).await?)?;
    let member = member(ctx, args).await?;
    let cluster: Option<Cluster> = hub.find(&hub.all(), args.name.as_ref()).await?;
    admit(args, cluster.as_ref(), member.as_ref()).await?;
    if args.dry_run {
        return would(&hub, args, cluster.as_ref()).await;
    }

    if let Some(cluster) = &cluster {
        hub.delete(&hub.all(), &unversioned(cluster)).await?;
        terminal::progress(format_args!("hub: deletion of cluster {} requested", args.name));
        wait(ctx, &hub, args, cluster).await?;
    }
    if let Some(member) = &member {
        let federation = join::identity(&hub).await?;
        cleanup::run(member, args, &federation).await?;
    }
    Ok(terminal::result(&format!("cluster({}) is unjoined successfully\n", args.name))?)
}

/// A controller writes status all the time: the deletion is for this cluster, whatever its version.
fn unversioned(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.metadata.resource_version = None;
    cluster
}

async fn member(ctx: &Ctx, args: &UnjoinArgs) -> Result<Option<Member>, Error> {
    let Some(file) = &args.cluster_kubeconfig else {
        return Ok(None);
    };
    let selected = kubeconfig::from_file(file, args.member.cluster_context.as_deref()).await?;
    Ok(Some(Member::new(ctx, selected.config)?))
}

/// Refuses before anything is written.
async fn admit(args: &UnjoinArgs, cluster: Option<&Cluster>, member: Option<&Member>) -> Result<(), Error> {
    let name = args.name.to_string();
    let Some(cluster) = cluster else {
        // With a kubeconfig there may be accounts left in the member from an earlier, interrupted run.
        return match member {
            Some(_) => Ok(()),
            None => Err(Error::NotJoined { name }),
        };
    };
    if cluster.spec.sync_mode == SyncMode::Pull && !args.force {
        return Err(Error::Pull { name });
    }
    if let Some(member) = member {
        let expected = &cluster.spec.id;
        let ClusterId(found) = join::identity(member).await?;
        if found != *expected {
            return Err(Error::OtherCluster { name, expected: expected.clone(), found });
        }
    }
    Ok(())
}

async fn would(hub: &Hub, args: &UnjoinArgs, cluster: Option<&Cluster>) -> Result<(), Error> {
    match cluster {
        None => terminal::progress(format_args!("cluster {} is not joined", args.name)),
        Some(_) => {
            let left = Left::observe(hub, &args.name, None).await?;
            terminal::progress(format_args!(
                "would delete cluster {} and what its Works propagated: {left}",
                args.name
            ));
        }
    }
    if args.cluster_kubeconfig.is_some() {
        terminal::progress("would remove the accounts and roles of this federation in the member");
    }
    terminal::progress("dry run: nothing was written");
    Ok(())
}

/// Waits until the Cluster is gone; after the wait gives up or, if told so, abandons the member.
async fn wait(ctx: &Ctx, hub: &Hub, args: &UnjoinArgs, cluster: &Cluster) -> Result<(), Error> {
    let started = tokio::time::Instant::now();
    let mut said = None;
    loop {
        let now: Option<Cluster> = hub.find(&hub.all(), args.name.as_ref()).await?;
        let Some(now) = now.filter(|now| now.uid() == cluster.uid()) else {
            terminal::progress(format_args!("hub: cluster {} is gone", args.name));
            return Ok(());
        };
        let left = Left::observe(hub, &args.name, Some(&now)).await?;
        let waited = started.elapsed();
        if waited >= args.wait.get() {
            if args.force {
                return abandon::run(ctx, hub, &args.name, &now).await;
            }
            return Err(Error::StillThere { name: args.name.to_string(), waited, left });
        }
        if said.as_ref() != Some(&left) {
            terminal::progress(format_args!("hub: waiting: {left}"));
            said = Some(left);
        }
        ctx.sleep(POLL).await?;
    }
}

/// What still keeps a Cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    works: usize,
    namespace: String,
    finalizers: Vec<String>,
}

impl Left {
    async fn observe(hub: &Hub, name: &ClusterName, cluster: Option<&Cluster>) -> Result<Self, RequestError> {
        let namespace = name.execution_namespace().to_string();
        let works: Vec<Work> = hub.list(&hub.within(&namespace)).await?;
        Ok(Self {
            works: works.len(),
            namespace,
            finalizers: cluster.map(|cluster| cluster.finalizers().to_vec()).unwrap_or_default(),
        })
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.works {
            0 => f.write_str("no Works left")?,
            1 => write!(f, "1 Work left in {}", self.namespace)?,
            many => write!(f, "{many} Works left in {}", self.namespace)?,
        }
        if !self.finalizers.is_empty() {
            write!(f, ", finalizers {}", self.finalizers.join(", "))?;
        }
        Ok(())
    }
}
