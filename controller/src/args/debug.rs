//! Flags of `pando debug`: which controller, and what of it.

use std::net::SocketAddr;

use clap::{Args, Subcommand, ValueEnum};
use pando_api::names::ClusterName;

use super::{GoDuration, ObjectFormat};

/// Where the debug pages are unless a flag says otherwise: Karmada's profiling port, but on the loopback only.
pub(super) const ADDRESS: &str = "127.0.0.1:6060";

/// Flags of `pando debug`.
#[derive(Debug, Args)]
pub(crate) struct DebugArgs {
    /// What to look at.
    #[command(subcommand)]
    pub(crate) what: DebugCommand,
}

/// What `pando debug` can show.
#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Show what runs in the controller as a tree: for whom, since when, and why it stops.
    Contexts(ContextsArgs),
}

/// Flags of `pando debug contexts`. Filters add up; what lies above a match is shown with it.
#[derive(Debug, Args)]
pub(crate) struct ContextsArgs {
    /// Address of the controller's debug pages, its --debug-bind-address. They are on the loopback of its machine or pod:
    /// run this there (kubectl exec), or forward the port.
    #[arg(long, value_name = "ADDRESS", default_value = ADDRESS)]
    pub(crate) address: SocketAddr,
    /// Only what runs for this member.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<ClusterName>,
    /// Only contexts of this kind, such as reconcile, call or watch.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only contexts in this state.
    #[arg(long, value_name = "STATE", value_enum)]
    pub(crate) state: Option<ContextState>,
    /// Only contexts that are at least this old.
    #[arg(long, value_name = "DURATION")]
    pub(crate) older: Option<GoDuration>,
    /// Only so many levels below the root.
    #[arg(long, value_name = "LEVELS")]
    pub(crate) depth: Option<usize>,
    /// Print all that is known of each context.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<ObjectFormat>,
}

/// The two states of a context that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContextState {
    /// Not cancelled.
    Active,
    /// Cancelled, and not ended yet.
    Stopping,
}
