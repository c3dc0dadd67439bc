//! `pando debug`: what a running controller shows of itself, for people.
//!
//! The debug pages are plain HTTP on the controller's loopback: whoever may look is on its machine already.

use pando_context::Ctx;
use pando_runtime::admin::{self, AskError};

use super::{terminal, version};
use crate::args::{ContextState, ContextsArgs, DebugArgs, DebugCommand};

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The controller did not answer, or refused.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The answer is not what this version of the command understands.
    #[error("the answer cannot be read: {0}; is the controller of another version?")]
    Answer(#[from] serde_json::Error),
    /// stdout takes no more.
    #[error("cannot print: {0}")]
    Write(#[from] std::io::Error),
}

/// Asks and prints.
///
/// # Errors
///
/// See [`Error`]; a filter that nothing matches is none.
pub(crate) async fn run(ctx: &Ctx, args: &DebugArgs) -> Result<(), Error> {
    match &args.what {
        DebugCommand::Contexts(args) => contexts(ctx, args).await,
    }
}

async fn contexts(ctx: &Ctx, args: &ContextsArgs) -> Result<(), Error> {
    let answer = admin::ask(ctx, args.address, "/debug/contexts", &parameters(args)).await?;
    let text = match args.output {
        None => answer,
        Some(format) => version::object(&serde_json::from_str(&answer)?, format),
    };
    if text.is_empty() {
        terminal::progress("No contexts match.");
        return Ok(());
    }
    Ok(terminal::result(&text)?)
}

/// The filters as the page takes them.
fn parameters(args: &ContextsArgs) -> Vec<(&'static str, String)> {
    let state = args.state.map(|state| match state {
        ContextState::Active => "active".to_owned(),
        ContextState::Stopping => "stopping".to_owned(),
    });
    let given = [
        ("cluster", args.cluster.as_ref().map(ToString::to_string)),
        ("kind", args.kind.clone()),
        ("state", state),
        ("older", args.older.map(|older| format!("{}ms", older.get().as_millis()))),
        ("depth", args.depth.map(|depth| depth.to_string())),
        ("format", args.output.map(|_| "json".to_owned())),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn flags_become_the_parameters_of_the_page() {
        let line =
            "pando debug contexts --cluster bj-prod --kind call --state stopping --older 1m30s --depth 4 -o yaml";
        let cli = Cli::from_invocation(line.split(' ').map(Into::into)).unwrap();
        let Command::Debug(DebugArgs { what: DebugCommand::Contexts(args) }) = cli.command else { panic!() };
        let text: Vec<String> = parameters(&args).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(text.join("&"), "cluster=bj-prod&kind=call&state=stopping&older=90000ms&depth=4&format=json");
    }
}
