//! What can be typed: every command, every flag, its default and its meaning.
//!
//! Flags keep Karmada's names where Karmada has them, so that scripts and charts carry over.
//! Nothing reads the environment later than here (`KUBECONFIG` excepted, which belongs to the
//! kubeconfig rules).

mod bind;
mod debug;
mod duration;
mod endpoint;
mod gates;
mod skipped;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use pando_api::names::{ClusterName, KARMADA_CLUSTER};

pub(crate) use bind::BindAddress;
pub(crate) use debug::{ContextState, ContextsArgs, DebugArgs, DebugCommand};
pub(crate) use duration::GoDuration;
pub(crate) use endpoint::{Endpoint, InvalidEndpoint};
pub(crate) use gates::{FeatureGates, gates};
pub(crate) use skipped::{SkippedApis, SkippedNamespace};

/// Spread Kubernetes workloads over many clusters: Karmada's API, one light process.
#[derive(Debug, Parser)]
#[command(name = "pando", version, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the command line; as `kubectl-pando` the help says `kubectl pando`.
    ///
    /// # Errors
    ///
    /// Wrong usage, or help and version, which clap also reports this way.
    pub(crate) fn from_invocation(argv: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let argv: Vec<OsString> = argv.into_iter().collect();
        let as_plugin =
            argv.first().and_then(|program| Path::new(program).file_stem()).is_some_and(|stem| stem == "kubectl-pando");
        let mut command = Self::command();
        if as_plugin {
            command = command.name("kubectl pando").bin_name("kubectl pando");
        }
        Self::from_arg_matches(&command.try_get_matches_from(argv)?)
    }
}

/// The commands of `pando`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the hub controller: every reconciler, probes and metrics, until a signal.
    Controller(Box<ControllerArgs>),
    /// Run the pull-mode agent inside a member cluster (not available yet).
    Agent(AgentArgs),
    /// Print the custom resource definitions, or write them to a folder.
    Crds(CrdsArgs),
    /// Join a cluster to the federation in push mode.
    Join(JoinArgs),
    /// Remove a cluster from the federation, and what was propagated to it.
    Unjoin(UnjoinArgs),
    /// Show clusters or bindings as a table.
    Get(GetArgs),
    /// Look into a running controller.
    Debug(DebugArgs),
    /// Print the version.
    Version(VersionArgs),
}

/// Which API server is the hub.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct HubArgs {
    /// Kubeconfig of the hub. Default: $KUBECONFIG, then ~/.kube/config, then the pod's own identity.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of that kubeconfig. Default: its current context.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// Flags of `pando controller`.
#[derive(Debug, Clone, Args)]
pub(crate) struct ControllerArgs {
    /// The hub to reconcile.
    #[command(flatten)]
    pub(crate) hub: HubArgs,

    /// How often a member's health and facts are collected.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(crate) cluster_status_update_frequency: GoDuration,
    /// How long a member must fail its probes before it is published as not ready.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) cluster_failure_threshold: GoDuration,
    /// How long a member must answer again before it is published as ready.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) cluster_success_threshold: GoDuration,

    /// Namespaces that are never propagated, as whole-name regular expressions; Pando's own never are.
    #[arg(long, value_name = "REGEX", value_delimiter = ',', default_value = "kube-.*")]
    pub(crate) skipped_propagating_namespaces: Vec<SkippedNamespace>,
    /// Kinds that are never propagated: `group`, `group/version` or `group/version/Kind,Kind`, joined by `;`.
    #[arg(long, value_name = "APIS", default_value = "")]
    pub(crate) skipped_propagating_apis: SkippedApis,

    /// What to turn on or off, as `NAME=true,…`. Off by default: PropagationPolicyPreemption (ALPHA).
    #[arg(long, value_name = "GATES")]
    pub(crate) feature_gates: Vec<FeatureGates>,

    /// Address of /healthz, /livez and /readyz; `0` turns them off.
    #[arg(long, value_name = "ADDRESS", default_value = ":10357")]
    pub(crate) health_probe_bind_address: BindAddress,
    /// Address of /metrics; `0` turns it off.
    #[arg(long, value_name = "ADDRESS", default_value = ":8080")]
    pub(crate) metrics_bind_address: BindAddress,
    /// Loopback address of the debug pages; port 0 picks a free port, `0` or `off` turns them off.
    #[arg(long, value_name = "ADDRESS", default_value = debug::ADDRESS)]
    pub(crate) debug_bind_address: BindAddress,

    /// How log lines are written.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LoggingFormat::Text)]
    pub(crate) logging_format: LoggingFormat,
    /// Log verbosity as Kubernetes components count it: 0 info, 4 debug, 6 and more trace.
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0)]
    pub(crate) verbosity: u8,
    /// Log filter in place of --v, such as `info,pando_member=debug`.
    #[arg(long, value_name = "FILTER")]
    pub(crate) log_level: Option<String>,

    /// How many of each kind are reconciled at once.
    #[command(flatten)]
    pub(crate) concurrency: Concurrency,
}

impl ControllerArgs {
    /// The log filter: `--log-level` if given, else what `--v` means.
    pub(crate) fn log_filter(&self) -> &str {
        match (&self.log_level, self.verbosity) {
            (Some(filter), _) => filter,
            (None, 0..=3) => "info",
            (None, 4..=5) => "debug",
            (None, _) => "trace",
        }
    }
}

/// How many objects of a kind are reconciled at the same time. Karmada 1.19's names and defaults; the last one is ours.
#[derive(Debug, Clone, Args)]
pub(crate) struct Concurrency {
    /// Clusters reconciled at once.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_cluster_syncs: u16,
    /// Templates matched at once.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_resource_template_syncs: u16,
    /// ResourceBindings reconciled at once.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_resourcebinding_syncs: u16,
    /// ClusterResourceBindings reconciled at once. They share a queue with ResourceBindings: the larger number counts.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_clusterresourcebinding_syncs: u16,
    /// Works executed at once, for each member.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_work_syncs: u16,
    /// Namespaces reconciled at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_namespace_syncs: u16,
    /// PropagationPolicies reconciled at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_propagation_policy_syncs: u16,
    /// ClusterPropagationPolicies reconciled at once. They share a queue with PropagationPolicies: the larger number
    /// counts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_cluster_propagation_policy_syncs: u16,
    /// Writes to the hub under way at once, of all kinds together; fewer while the hub is slow or refuses.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrent_hub_writes: u16,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoggingFormat {
    /// For a person.
    Text,
    /// One JSON object for each line.
    Json,
}

/// Flags of `pando agent`: taken as they come, since the answer is the same.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Ignored.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(crate) ignored: Vec<OsString>,
}

/// Flags of `pando crds`.
#[derive(Debug, Args)]
pub(crate) struct CrdsArgs {
    /// Write one file for each kind into DIR instead of printing.
    #[arg(long, value_name = "DIR")]
    pub(crate) write: Option<PathBuf>,
}

/// Which member, and where its credentials live.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// Context of the member's kubeconfig. Default: its current context.
    #[arg(long, value_name = "NAME", requires = "cluster_kubeconfig")]
    pub(crate) cluster_context: Option<String>,
    /// Namespace for credentials, on the hub and in the member. The controller reads credentials nowhere else.
    #[arg(long, value_name = "NAMESPACE", default_value = KARMADA_CLUSTER, value_parser = [KARMADA_CLUSTER])]
    pub(crate) cluster_namespace: String,
}

/// Flags of `pando join`.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// Name of the cluster in the federation: a DNS label of at most 48 characters.
    #[arg(value_name = "NAME")]
    pub(crate) name: ClusterName,
    /// The hub to join.
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// Kubeconfig of the member, with rights to create service accounts and cluster roles.
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_kubeconfig: PathBuf,
    /// The member.
    #[command(flatten)]
    pub(crate) member: MemberArgs,
    /// Cloud provider of the member, for cluster selectors.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_provider: Option<String>,
    /// Region of the member, for cluster selectors.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster_region: Option<String>,
    /// Zones of the member, for cluster selectors.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) cluster_zones: Vec<String>,
    /// Address at which the controller reaches the member. Default: the one in the member's kubeconfig.
    #[arg(long, value_name = "URL")]
    pub(crate) cluster_endpoint: Option<Endpoint>,
    /// Check everything and say what would be done, but write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the Cluster object.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<ObjectFormat>,
}

/// Flags of `pando unjoin`.
#[derive(Debug, Args)]
pub(crate) struct UnjoinArgs {
    /// Name of the cluster in the federation.
    #[arg(value_name = "NAME")]
    pub(crate) name: ClusterName,
    /// The hub to leave.
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// Kubeconfig of the member. With it the accounts and roles made by join are removed there too.
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster_kubeconfig: Option<PathBuf>,
    /// The member.
    #[command(flatten)]
    pub(crate) member: MemberArgs,
    /// How long to wait until it is gone. After that the command says what keeps it and fails; the cluster goes on leaving,
    /// and nothing is forced. Default: 60s.
    #[arg(long, visible_alias = "wait", value_name = "DURATION")]
    pub(crate) deadline: Option<GoDuration>,
    /// Do not wait for what does not go by itself, such as anything in a member that cannot be reached: it stays there and is
    /// listed.
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would be removed, kept and left behind, but write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the report, or with --dry-run the preview, as JSON or YAML.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<ObjectFormat>,
}

/// Flags of `pando get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// What to show.
    #[arg(value_enum, value_name = "KIND", hide_possible_values = false)]
    pub(crate) kind: GetKind,
    /// Only the objects of these names.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The hub to read.
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    /// Namespace of the bindings. Default: the context's namespace.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Bindings of all namespaces, and those without one.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// How to print.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<ListFormat>,
}

/// What `pando get` can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GetKind {
    /// The members of the federation.
    #[value(alias = "cluster")]
    Clusters,
    /// Where each template was placed.
    #[value(aliases = ["binding", "resourcebindings", "resourcebinding", "rb"])]
    Bindings,
}

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// The table with more columns.
    Wide,
    /// The objects as JSON.
    Json,
    /// The objects as YAML.
    Yaml,
    /// One `kind/name` for each line.
    Name,
}

/// How one object is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectFormat {
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
}

/// Flags of `pando version`.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print as JSON or YAML.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<ObjectFormat>,
}

#[cfg(test)]
mod tests;
