//! The commands: each one reads, decides, writes and says what it did.
//!
//! The controller is a process of its own ([`crate::manager`]); everything else here makes a handful
//! of requests one after the other, each with a deadline, and exits.

mod connection;
mod debug;
mod get;
mod join;
mod kubeconfig;
mod table;
pub(crate) mod terminal;
mod unjoin;
mod version;
mod yaml;

pub(crate) use kubeconfig::hub_config;

use anyhow::Context as _;
use pando_context::{Ctx, Scope};
use tokio::runtime::{Builder, Runtime};

use crate::args::{Cli, Command};
use crate::{crds, manager};

/// Runs one command to its end.
///
/// # Errors
///
/// Whatever kept the command from doing its job; the chain of causes reads as one sentence.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Controller(args) => {
            runtime(&mut Builder::new_multi_thread())?.block_on(manager::run(*args))?;
            Ok(())
        }
        Command::Agent(_) => {
            anyhow::bail!("the pull-mode agent is not available yet: join the cluster in push mode with `pando join`")
        }
        Command::Crds(args) => crds::run(&args),
        Command::Join(args) => with_context(async |ctx| Ok(join::run(ctx, &args).await?)),
        Command::Unjoin(args) => with_context(async |ctx| Ok(unjoin::run(ctx, &args).await?)),
        Command::Get(args) => with_context(async |ctx| Ok(get::run(ctx, &args).await?)),
        Command::Debug(args) => with_context(async |ctx| Ok(debug::run(ctx, &args).await?)),
        Command::Version(args) => version::run(&args),
    }
}

/// Runs a user command under a context tree of its own; what is left of it dies with the process.
fn with_context(command: impl AsyncFnOnce(&Ctx) -> anyhow::Result<()>) -> anyhow::Result<()> {
    runtime(&mut Builder::new_current_thread())?.block_on(async {
        let root = Scope::root("pando");
        command(root.ctx()).await
    })
}

fn runtime(builder: &mut Builder) -> anyhow::Result<Runtime> {
    builder.enable_all().build().context("cannot start the async runtime")
}
