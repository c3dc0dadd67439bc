//! Real sockets, real databases; every test leaves its tree empty.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod grpc;
mod http;
mod postgres;
mod server;
mod transaction;
