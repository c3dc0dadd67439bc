//! What the person sees: results on stdout, everything else on stderr.
//!
//! A closed pipe (`pando get clusters | head -1`) ends the output, not the command.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Exit code of wrong usage, as getopt programs and Karmada's use it.
const USAGE: u8 = 2;

/// Writes a result, which must end with its own line break if it wants one.
///
/// # Errors
///
/// When stdout takes no more, a closed pipe excepted.
pub(crate) fn result(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// One step of a longer command, on stderr.
pub(crate) fn progress(step: impl Display) {
    line(&step.to_string());
}

/// Ends a command that failed: one line, exit code 1.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    line(&format!("error: {}", one_line(&format!("{error:#}"))));
    ExitCode::FAILURE
}

/// Ends an invocation that clap refused: help and version on stdout, wrong usage as one line and exit code 2.
pub(crate) fn usage(refusal: &clap::Error) -> ExitCode {
    if !refusal.use_stderr() {
        return match result(&refusal.to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let text = refusal.to_string();
    if text.starts_with("error:") {
        // clap's first paragraph says what is wrong, further ones repeat the usage.
        let what = text.split("\n\n").next().unwrap_or(&text);
        line(&format!("{} (see --help)", one_line(what)));
    } else {
        line(text.trim_end());
    }
    ExitCode::from(USAGE)
}

/// Joins the lines of a message: scripts read errors by the line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Nothing can be done about a stderr that is closed, and the exit code still tells.
fn line(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
