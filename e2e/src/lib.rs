//! Black-box test infrastructure: real cluster parts, cluster providers, the `demo` and `verify` commands.
//!
//! Nothing here knows how Pando decides. The product is a binary with flags, the API servers are
//! real ones, and every assertion is about what those servers say or logged.
//!
//! | Module | Is |
//! |---|---|
//! | [`parts`] | the real binaries (etcd, kube-apiserver, …), built once from pinned Go tool modules |
//! | [`process`], [`ledger`], [`guard`] | processes that are always found again and always stopped |
//! | [`provider`] | where clusters come from; today API servers as plain processes |
//! | [`relay`] | a TCP relay that tests cut, delay, slow down, black-hole or reset |
//! | [`http_relay`] | a relay that understands HTTP and answers wrongly by rules of a test |
//! | [`federation`], [`install`], [`product`] | a hub with Pando installed, and its members |
//! | [`audit`], [`eventually`] | how tests observe |
//! | [`demo`], [`verify`] | the two commands of the README |
//! | [`bench`] | `cargo bench-fed`: what it costs and how long it takes, beside what the machine can do |
#![allow(
    clippy::disallowed_methods,
    reason = "the harness is outside the product's context tree and measures wall time"
)]

pub mod audit;
pub mod bench;
pub mod demo;
pub mod eventually;
pub mod federation;
pub mod guard;
pub mod http_relay;
pub mod install;
pub mod kubeconfig;
pub mod ledger;
pub mod parts;
pub mod pki;
pub mod ports;
pub mod process;
pub mod product;
pub mod progress;
pub mod provider;
pub mod relay;
pub mod verify;
pub mod workspace;
