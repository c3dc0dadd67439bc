//! Waiting until a Cluster is gone, and saying what keeps it whenever that changes.

use std::fmt;
use std::time::Duration;

use kube::ResourceExt as _;
use pando_api::cluster::Cluster;
use pando_api::conditions::DETACHING;
use pando_api::finalizers;
use pando_api::names::ClusterName;
use pando_context::{Ctx, Instant};
use serde_json::{Value, json};

use super::super::connection::Hub;
use super::super::terminal;
use super::Error;
use crate::args::{GoDuration, UnjoinArgs};

/// How often the hub is asked whether the Cluster is gone. Karmada 1.19's period.
const POLL: Duration = Duration::from_secs(1);
/// How long is waited where no deadline is given. Karmada 1.19's.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the controller may take to say something.
const SILENCE: Duration = Duration::from_secs(15);

/// What a Cluster that leaves says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    reason: String,
    message: String,
}

impl Told {
    /// `waited`: since it was asked to go.
    pub(super) fn of(cluster: &Cluster, waited: Duration) -> Self {
        let told = |reason: &str, message: String| Self { reason: reason.to_owned(), message };
        let others: Vec<&str> =
            cluster.finalizers().iter().map(String::as_str).filter(|one| *one != finalizers::CLUSTER).collect();
        if !cluster.finalizers().is_empty() && others.len() == cluster.finalizers().len() {
            return told("HeldByOthers", format!("finalizers of others hold the Cluster: {}", others.join(", ")));
        }
        let status = cluster.status.iter().flat_map(|status| &status.conditions);
        match status.into_iter().find(|condition| condition.type_ == DETACHING) {
            Some(condition) => told(&condition.reason, condition.message.clone()),
            None if waited >= SILENCE => told(
                "NoController",
                "no controller has said anything about it: does it run, and does it reach this hub?".to_owned(),
            ),
            None => told("Requested", "the controller has not said anything yet".to_owned()),
        }
    }

    /// For programs.
    pub(super) fn json(&self, name: &ClusterName) -> Value {
        json!({"cluster": name.as_str(), "unjoined": false, "reason": self.reason, "message": self.message})
    }
}

/// One line.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// Waits until this Cluster is gone.
///
/// # Errors
/// [`Error::StillThere`] with what keeps it, when it is there after the deadline.
pub(super) async fn until_gone(ctx: &Ctx, hub: &Hub, args: &UnjoinArgs, cluster: &Cluster) -> Result<(), Error> {
    let patience = args.deadline.map_or(PATIENCE, GoDuration::get);
    let started = Instant::now();
    let mut said = None;
    loop {
        let now: Option<Cluster> = hub.find(&hub.all(), args.name.as_ref()).await?;
        let Some(now) = now.filter(|now| now.uid() == cluster.uid()) else {
            terminal::progress(format_args!("hub: cluster {} is gone", args.name));
            return Ok(());
        };
        let waited = started.elapsed();
        let told = Told::of(&now, waited);
        if said.as_ref() != Some(&told) {
            terminal::progress(format_args!("waiting: {told}"));
        }
        if waited >= patience {
            return Err(Error::StillThere { name: args.name.to_string(), waited, told });
        }
        said = Some(told);
        ctx.sleep(POLL.min(patience.saturating_sub(waited))).await?;
    }
}
