//! One test binary: the house rules, and the command line as a person meets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod command_line;
mod monitoring;
mod tidy;
