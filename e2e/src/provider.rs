//! Where clusters come from.
//!
//! A provider makes clusters with two kubeconfigs each: the test's view and the controller's view. They
//! name the same API server by different ways (today with or without a relay in between; with container
//! networks by other addresses), so tests never assume that one address serves both.

pub mod processes;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};
use kube::Client;
use serde_json::Value;

use crate::audit::AuditLog;
use crate::http_relay::HttpRelay;
use crate::relay::Relay;

/// Where clusters come from.
#[allow(async_fn_in_trait, reason = "used with known types on one runtime only")]
pub trait ClusterProvider {
    /// The word on the command line.
    fn name(&self) -> &'static str;

    /// Makes a cluster and waits until it can be used: a member runs pods then.
    ///
    /// # Errors
    /// When it does not become usable; what was started is in the run's ledger.
    async fn create(&self, spec: ClusterSpec) -> Result<Cluster>;

    /// Ends a cluster and forgets its data; its logs stay.
    ///
    /// # Errors
    /// When something of it cannot be stopped.
    async fn delete(&self, cluster: &Cluster) -> Result<()>;
}

/// What a cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds policies and templates. Workload controllers do not run there.
    Hub,
    /// Runs workloads, on one node.
    Member,
    /// Takes objects and runs nothing: an API server and its store alone, cheap enough to have many.
    Bare,
}

/// What cluster to make.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Its name, a DNS label.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// CustomResourceDefinitions that exist before its controllers start. The garbage collector
    /// looks for new kinds every 30 s only; it knows these from its start.
    pub definitions: Vec<Value>,
    /// Whether the controller's view goes through a relay that tests can disturb.
    pub relay: bool,
}

/// A cluster that runs.
#[derive(Clone)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Address of the API server as the test sees it.
    pub server: String,
    /// The test's view, with administrator rights.
    pub admin_kubeconfig: PathBuf,
    /// The controller's view, with administrator rights (for joining; a controller then uses
    /// credentials of its own).
    pub controller_kubeconfig: PathBuf,
    /// The authority that signed the API server's certificate, PEM.
    pub authority: String,
    /// A client of the test's view.
    pub client: Client,
    /// What the API server was asked, if the provider can tell.
    pub audit: Option<AuditLog>,
    /// What the controller's view goes through.
    pub relay: Option<Arc<Relay>>,
    /// A way to the API server that answers wrongly when asked to. [`Relay::lead_to`] puts it behind the relay.
    pub http_relay: Option<Arc<HttpRelay>>,
}

/// The choices on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best one that this machine offers.
    #[default]
    Auto,
    /// Real API servers as plain processes.
    Processes,
}

impl FromStr for Choice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "processes" => Ok(Self::Processes),
            "kind" | "embedded" | "existing" => bail!(
                "the cluster provider `{text}` does not exist yet; use `processes` (real API servers as plain \
                 processes) or leave the choice to `auto`"
            ),
            _ => bail!("there is no cluster provider `{text}`; use `auto` or `processes`"),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Processes => "processes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_that_do_not_exist_yet_say_so_in_one_line() {
        for name in ["kind", "embedded", "existing"] {
            let text = name.parse::<Choice>().map_or_else(|error| error.to_string(), |_| String::new());
            assert!(text.contains(name) && text.contains("does not exist yet"), "{text}");
            assert_eq!(text.lines().count(), 1);
        }
        assert!("nope".parse::<Choice>().is_err());
        assert_eq!("auto".parse::<Choice>().ok(), Some(Choice::Auto));
    }
}
