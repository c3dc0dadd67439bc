//! Connecting: from a Cluster and its secret to a living entry in the registry.

use std::sync::Arc;
use std::time::Duration;

use pando_api::cluster::Cluster;
use pando_api::names::ClusterName;
use pando_context::Ctx;
use pando_core::next::Next;
use pando_member::connect::Connection;
use pando_member::registry::{AttachError, Attached, Entry};

use super::memory::Renewal;
use super::secret::{self, Credentials};
use super::{Env, Error, probing};

/// How old the secret that a connection was made from may be. A failed probe reads it at once.
const SECRET_AGE: Duration = Duration::from_secs(60);
/// How soon a cluster whose secret or endpoint is not usable is looked at again: secrets are not watched.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// How connecting came out.
pub(super) enum Link {
    /// The member has an entry.
    Attached(Arc<Entry>),
    /// What the Cluster or its secret says cannot be used, and so nothing talks to the member any more.
    Refused(String),
}

impl Link {
    /// When to look at the credentials again.
    pub(super) fn next(&self) -> Next {
        match self {
            Self::Attached(_) => Next::after(SECRET_AGE),
            Self::Refused(_) => Next::after(REFUSED_RETRY),
        }
    }
}

/// Makes sure that the member is connected by what its Cluster and secret say now, or not at all.
pub(super) async fn attach(ctx: &Ctx, env: &Env, name: &ClusterName, cluster: &Cluster) -> Result<Link, Error> {
    let link = connect(ctx, env, name, cluster).await?;
    if let Link::Refused(cause) = &link {
        disconnect(env, name, cause).await?;
    }
    Ok(link)
}

async fn connect(ctx: &Ctx, env: &Env, name: &ClusterName, cluster: &Cluster) -> Result<Link, Error> {
    let known = env.registry.get(name);
    let (fresh, edited) = env.memory.of(name, |facts| {
        let suspect = std::mem::take(&mut facts.credentials_suspect);
        let edited = facts.generation != cluster.metadata.generation;
        let recent = facts.secret_read.is_some_and(|read| read.elapsed() < SECRET_AGE);
        (!suspect && !edited && recent, edited)
    });
    if let Some(entry) = known.filter(|_| fresh) {
        return Ok(Link::Attached(entry));
    }
    let Some(place) = &cluster.spec.secret_ref else {
        return Ok(Link::Refused(
            "spec.secretRef is missing: name the secret that holds token and caBundle".to_owned(),
        ));
    };
    let secret = match secret::read(ctx, env, cluster, place).await? {
        Credentials::Found(secret) => secret,
        Credentials::Refused(cause) => return Ok(Link::Refused(format!("spec.secretRef: {cause}"))),
    };
    let connection = match Connection::new(cluster, &secret) {
        Ok(connection) => connection,
        Err(refused) => return Ok(Link::Refused(refused.to_string())),
    };
    let attached = match env.registry.attach(name, &connection).await {
        Ok(attached) => attached,
        Err(AttachError::Refused(refused)) => return Ok(Link::Refused(refused.to_string())),
        Err(AttachError::StillRunning(running)) => return Err(running.into()),
    };
    env.memory.of(name, |facts| {
        facts.secret_read = Some(pando_context::Instant::now());
        facts.generation = cluster.metadata.generation;
        facts.own.life = secret::lifetime(&secret);
        if edited {
            facts.impersonator_read = None;
        }
    });
    Ok(Link::Attached(match attached {
        Attached::Kept(entry) => {
            if edited {
                entry.suspect(); // spec.id may be another one
            }
            entry
        }
        Attached::New(entry) => {
            probing::start(env, &entry);
            env.agents.start(&entry);
            entry
        }
    }))
}

/// Ends the life of a member that is not to be worked with from here any more: nothing may be written by what was revoked.
pub(super) async fn disconnect(env: &Env, name: &ClusterName, cause: &str) -> Result<(), Error> {
    env.memory.of(name, |facts| {
        facts.own = Renewal::default();
        facts.secret_read = None;
        facts.probe = None;
    });
    if env.registry.get(name).is_some() {
        tracing::warn!(cluster = %name, cause, "disconnected");
    }
    env.registry.detach(name).await?;
    env.agents.forget(name);
    Ok(())
}
