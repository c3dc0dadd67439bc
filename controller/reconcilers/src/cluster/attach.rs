//! Connecting: from a Cluster and its secret to a living entry in the registry.

use std::sync::Arc;
use std::time::Duration;

use pando_api::cluster::Cluster;
use pando_api::names::ClusterName;
use pando_context::Ctx;
use pando_core::next::Next;
use pando_member::connect::Connection;
use pando_member::registry::{AttachError, Attached, Entry};

use super::{Env, Error, probing, secret};

/// How old the secret that a connection was made from may be. A failed probe reads it at once.
const SECRET_AGE: Duration = Duration::from_secs(60);
/// How soon a cluster whose secret or endpoint is not usable is looked at again: secrets are not watched.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// How connecting came out.
pub(super) enum Link {
    /// The member has an entry.
    Attached(Arc<Entry>),
    /// What the Cluster or its secret says cannot be used.
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

/// Makes sure that the member is connected by what its Cluster and secret say now.
pub(super) async fn attach(ctx: &Ctx, env: &Env, name: &ClusterName, cluster: &Cluster) -> Result<Link, Error> {
    let known = env.registry.get(name);
    let fresh = env.memory.of(name, |facts| {
        let suspect = std::mem::take(&mut facts.credentials_suspect);
        !suspect
            && facts.generation == cluster.metadata.generation
            && facts.secret_read.is_some_and(|read| read.elapsed() < SECRET_AGE)
    });
    if let Some(entry) = known.filter(|_| fresh) {
        return Ok(Link::Attached(entry));
    }
    let Some(place) = &cluster.spec.secret_ref else {
        return Ok(Link::Refused(
            "spec.secretRef is missing: name the secret that holds token and caBundle".to_owned(),
        ));
    };
    let Some(secret) = secret::read(ctx, env, place).await? else {
        let text =
            format!("secret {}/{} does not exist: create it with token and caBundle", place.namespace, place.name);
        return Ok(Link::Refused(text));
    };
    let connection = match Connection::new(cluster, &secret) {
        Ok(connection) => connection,
        Err(refused) => return Ok(Link::Refused(refused.to_string())),
    };
    env.memory.of(name, |facts| {
        facts.secret_read = Some(pando_context::Instant::now());
        facts.generation = cluster.metadata.generation;
        facts.token = secret::lifetime(&secret);
    });
    match env.registry.attach(name, &connection).await {
        Ok(Attached::Kept(entry)) => Ok(Link::Attached(entry)),
        Ok(Attached::New(entry)) => {
            probing::start(env, &entry);
            env.agents.start(&entry);
            Ok(Link::Attached(entry))
        }
        Err(AttachError::Refused(refused)) => Ok(Link::Refused(refused.to_string())),
        Err(AttachError::StillRunning(running)) => Err(running.into()),
    }
}
