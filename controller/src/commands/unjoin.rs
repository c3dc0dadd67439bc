//! `pando unjoin`: the same path as `kubectl delete cluster`, told before and watched until its end.
//!
//! ```text
//! observe   the Cluster, its Works, and where the member is at hand what is in it        reads only
//! preview   what will be removed, kept, left behind (`core::detach`)                     `plan`
//! ask       the deletion; deadline and force as annotations, as anybody can set them     writes to the hub only
//! wait      the Cluster's condition Detaching, a line whenever it changes                `wait`
//! clean     what `join` made in the member, where the member is at hand                  `cleanup`
//! report    removed, kept, left behind                                                   `report`
//! ```
//!
//! The controller does the detaching. Whatever happens to this command, it goes on.

mod cleanup;
mod plan;
mod report;
#[cfg(test)]
mod tests;
mod wait;

use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use pando_api::annotations;
use pando_api::cluster::{Cluster, SyncMode};
use pando_api::names::KARMADA_CLUSTER;
use pando_context::{Ctx, Stop};
use pando_core::detach::LeftBehind;
use serde_json::{Map, json};

use super::connection::{Hub, Member, RequestError};
use super::join::{self, ClusterId};
use super::version::object;
use super::{kubeconfig, terminal};
use crate::args::UnjoinArgs;
use plan::Plan;

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
        "cluster {name:?} is still leaving after {}s: {told}. It goes on by itself; wait longer with --deadline, \
         or leave behind what does not go with --force",
        waited.as_secs()
    )]
    StillThere {
        /// The name asked for.
        name: String,
        /// How long was waited.
        waited: Duration,
        /// What keeps it.
        told: wait::Told,
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
    let member = admit(args, cluster.as_ref(), member).await?;
    let federation = join::identity(&hub).await?;
    let plan = Plan::observe(&hub, member.as_ref(), args, &federation, cluster.as_ref()).await?;
    if args.dry_run {
        print(args, &plan.lines().join("\n"), || plan.json())?;
        terminal::progress("dry run: nothing was written");
        return Ok(());
    }
    for line in plan.lines() {
        terminal::progress(line);
    }

    if let Some(cluster) = &cluster {
        ask(&hub, args, cluster).await?;
        if let Err(error) = wait::until_gone(ctx, &hub, args, cluster).await {
            if let (Error::StillThere { told, .. }, Some(format)) = (&error, args.output) {
                terminal::result(&object(&told.json(&args.name), format))?;
            }
            return Err(error);
        }
    }
    let mut report = plan.report(left_behind(&hub, args, cluster.as_ref()).await.map_err(|error| error.to_string()));
    if let Some(member) = &member {
        match cleanup::run(member, args, &federation).await {
            Err(error) if args.force => report.leave("what join made in it", &error.to_string()),
            cleaned => cleaned?,
        }
    }
    print(args, &report.text(&args.name), || report.json(&args.name))
}

fn print(args: &UnjoinArgs, text: &str, json: impl FnOnce() -> serde_json::Value) -> Result<(), Error> {
    Ok(terminal::result(&match args.output {
        None => format!("{text}\n"),
        Some(format) => object(&json(), format),
    })?)
}

async fn member(ctx: &Ctx, args: &UnjoinArgs) -> Result<Option<Member>, Error> {
    let Some(file) = &args.cluster_kubeconfig else {
        return Ok(None);
    };
    let selected = kubeconfig::from_file(file, args.member.cluster_context.as_deref()).await?;
    Ok(Some(Member::new(ctx, selected.config)?))
}

/// Refuses before anything is written. Gives the member back, if it can be worked with: force does without.
async fn admit(args: &UnjoinArgs, cluster: Option<&Cluster>, member: Option<Member>) -> Result<Option<Member>, Error> {
    let name = args.name.to_string();
    let Some(cluster) = cluster else {
        // With a kubeconfig there may be accounts left in the member from an earlier, interrupted run.
        return member.map(Some).ok_or(Error::NotJoined { name });
    };
    if cluster.spec.sync_mode == SyncMode::Pull && !args.force {
        return Err(Error::Pull { name });
    }
    let Some(member) = member else { return Ok(None) };
    let expected = &cluster.spec.id;
    match join::identity(&member).await {
        Ok(ClusterId(found)) if found != *expected => {
            Err(Error::OtherCluster { name, expected: expected.clone(), found })
        }
        Err(error) if args.force => {
            terminal::progress(format_args!("warning: {error}; what join made in the member stays there"));
            Ok(None)
        }
        found => found.map(|_| Some(member)).map_err(Error::from),
    }
}

/// Asks for the deletion, then for what the flags say, in the words of the API. In this order: a Cluster that stays must not
/// be marked for force.
async fn ask(hub: &Hub, args: &UnjoinArgs, cluster: &Cluster) -> Result<(), Error> {
    let mut any_version = cluster.clone();
    any_version.metadata.resource_version = None;
    hub.delete(&hub.all(), &any_version).await?;
    terminal::progress(format_args!("hub: deletion of cluster {} requested", args.name));
    let mut wishes = Map::new();
    if let Some(deadline) = args.deadline {
        wishes.insert(annotations::DETACH_DEADLINE.to_owned(), format!("{}s", deadline.get().as_secs()).into());
    }
    if args.force {
        wishes.insert(annotations::DETACH_FORCE.to_owned(), who(hub).await.into());
    }
    if wishes.is_empty() {
        return Ok(());
    }
    match hub.change(&hub.all(), &any_version, json!({"metadata": {"annotations": wishes}})).await {
        // Nothing kept it.
        Err(RequestError::Refused { code: 404 | 409, .. }) => Ok(()),
        asked => Ok(asked.map(drop)?),
    }
}

/// The name by which the hub knows who runs this command; `true` where it does not say.
async fn who(hub: &Hub) -> String {
    let review = hub.create(&hub.all::<SelfSubjectReview>(), &SelfSubjectReview::default()).await;
    let user = review.ok().and_then(|review| review.status).and_then(|status| status.user_info);
    user.and_then(|user| user.username).filter(|name| !name.is_empty()).unwrap_or_else(|| "true".to_owned())
}

/// What the controller has written down of a forced detach of this Cluster.
async fn left_behind(
    hub: &Hub,
    args: &UnjoinArgs,
    cluster: Option<&Cluster>,
) -> Result<Option<LeftBehind>, RequestError> {
    let Some(uid) = cluster.and_then(|cluster| cluster.uid()) else { return Ok(None) };
    let map = hub.find(&hub.within::<ConfigMap>(KARMADA_CLUSTER), &args.name.left_behind()).await?;
    Ok(map.and_then(|map| LeftBehind::of(&uid, map.data.as_ref())))
}
