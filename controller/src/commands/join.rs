//! `pando join`: gives the controller an identity in a member and makes the member known to the hub.
//!
//! ```text
//! observe   both kube-system uids, joined clusters, our names there   reads only
//! decide    new, refresh of the same cluster, or refusal               pure, in `admission`
//! member    namespace, accounts, role; tokens by TokenRequest          `member`
//! hub       secrets, then the Cluster, then its ownership of them      `register`
//! ```
//!
//! Tokens are short-lived: the controller renews them with the member's own account, which may create
//! tokens for itself. A hub that was down for longer than a token lives needs `join` once more;
//! joining again is always safe and refreshes everything. Karmada 1.19 stores tokens that never expire instead.

mod admission;
mod member;
mod register;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use pando_api::cluster::Cluster;
use pando_context::{Ctx, Stop};

use super::connection::{Connection, Hub, Member, RequestError, Side};
use super::version::object;
use super::{kubeconfig, terminal};
use crate::args::{Endpoint, InvalidEndpoint, JoinArgs};
pub(super) use member::{IMPERSONATOR, account, role};

/// How often a change is tried when others keep writing the same object.
const TRIES: usize = 5;

/// Why a cluster did not join.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// One of the two clusters cannot be identified.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// One of the two clusters refused or could not be reached.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The member's address cannot stand in a Cluster object.
    #[error("{0}; --cluster-endpoint overrides the address of the kubeconfig")]
    Endpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The federation or the member already holds something that this cluster collides with.
    #[error(transparent)]
    Refused(#[from] admission::Refusal),
    /// A server gave an answer without what the API promises.
    #[error("the {side} returned {what}: is it a Kubernetes API server?")]
    Nonsense {
        /// Hub or member.
        side: &'static str,
        /// What was wrong.
        what: String,
    },
    /// An earlier unjoin is not through yet.
    #[error("namespace {name} in the member is being deleted: try again when it is gone")]
    NamespaceLeaving {
        /// The namespace for credentials.
        name: String,
    },
    /// The command itself was told to end.
    #[error("stopped while waiting: {0}")]
    Stopped(#[from] Stop),
    /// The Cluster cannot be printed.
    #[error("cannot print: {0}")]
    Print(#[from] serde_json::Error),
    /// stdout takes no more.
    #[error("cannot print: {0}")]
    Write(#[from] std::io::Error),
}

/// Who a cluster is: the uid of its `kube-system` namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClusterId(pub(super) String);

/// Joins.
///
/// # Errors
///
/// See [`Error`]. What was written before a failure is picked up by the next attempt.
pub(crate) async fn run(ctx: &Ctx, args: &JoinArgs) -> Result<(), Error> {
    let selected = kubeconfig::from_file(&args.cluster_kubeconfig, args.member.cluster_context.as_deref()).await?;
    let address = Address::of(args, &selected)?;
    let hub = Hub::new(ctx, kubeconfig::hub_config(&args.hub).await?)?;
    let member = Member::new(ctx, selected.config)?;

    let federation = identity(&hub).await?;
    let id = identity(&member).await?;
    let joined: Vec<Cluster> = hub.list(&hub.all()).await?;
    let admission = admission::decide(&args.name, &id, &federation, &joined)?;
    terminal::progress(format_args!("member {}: cluster id {}", member.endpoint(), id.0));
    member::claimable(&member, args, &federation, &admission).await?;
    if args.dry_run {
        terminal::progress(admission.would(&args.name));
        terminal::progress("dry run: nothing was written");
        return Ok(());
    }

    let tokens = member::prepare(&member, args, &federation, &admission).await?;
    let cluster = register::register(&hub, args, &address, id, admission, &tokens).await?;
    let text = match args.output {
        // Karmada's words, which scripts look for.
        None => format!("cluster({}) is joined successfully\n", args.name),
        Some(format) => {
            let mut cluster = cluster;
            cluster.metadata.managed_fields = None;
            object(&serde_json::to_value(cluster)?, format)
        }
    };
    Ok(terminal::result(&text)?)
}

/// Runs an attempt, which reads before it writes, again when someone else wrote in between.
async fn undisturbed<T>(attempt: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match attempt().await {
            Err(Error::Request(RequestError::Refused { code: 409, .. })) => {}
            done => return done,
        }
    }
    attempt().await
}

/// Reads who a cluster is.
pub(super) async fn identity<S: Side>(connection: &Connection<S>) -> Result<ClusterId, Error> {
    let found: Option<Namespace> = connection.find(&connection.all(), "kube-system").await?;
    let uid = found.and_then(|namespace| namespace.uid());
    uid.map(ClusterId)
        .ok_or_else(|| Error::Nonsense { side: S::NAME, what: "no namespace kube-system with a uid".to_owned() })
}

/// How the controller will reach the member.
pub(super) struct Address {
    endpoint: Endpoint,
    /// PEM; none means the system's certificate authorities.
    ca_bundle: Option<String>,
    insecure: bool,
    proxy_url: Option<String>,
}

impl Address {
    fn of(args: &JoinArgs, selected: &kubeconfig::Selected) -> Result<Self, Error> {
        let config = &selected.config;
        let endpoint = match &args.cluster_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => {
                let url = config.cluster_url.to_string();
                url.parse().map_err(|error: InvalidEndpoint| Error::Endpoint(error.into()))?
            }
        };
        if let Some(name) = &config.tls_server_name {
            terminal::progress(format_args!(
                "warning: a Cluster cannot hold tls-server-name {name}: the member's certificate must be valid for {endpoint}"
            ));
        }
        if config.accept_invalid_certs {
            terminal::progress(
                "warning: insecure-skip-tls-verify is copied: the controller will not check who answers for the member",
            );
        }
        Ok(Self {
            endpoint,
            ca_bundle: config.root_cert.as_deref().map(pem),
            insecure: config.accept_invalid_certs,
            proxy_url: selected.proxy_url.clone(),
        })
    }
}

/// Certificates as a PEM bundle.
fn pem(certificates: &[Vec<u8>]) -> String {
    use base64::Engine as _;
    let mut bundle = String::new();
    for der in certificates {
        bundle.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut text = base64::engine::general_purpose::STANDARD.encode(der);
        while !text.is_empty() {
            let rest = text.split_off(text.len().min(64));
            bundle.push_str(&text);
            bundle.push('\n');
            text = rest;
        }
        bundle.push_str("-----END CERTIFICATE-----\n");
    }
    bundle
}

#[cfg(test)]
mod tests;
