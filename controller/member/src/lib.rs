//! Talking to member clusters. Connecting is not deciding: nothing in here knows what *should* be in a member.
//!
//! ```text
//!  Cluster + Secret ──► connect ──► registry ──► Member (a link: cannot be mistaken for the hub)
//!                                      │            ├─ gateway   the few verbs, each with deadline, context and term
//!                                      │            ├─ gate      in flight ≤ limit; nothing while lost (limit, breaker)
//!                                      │            ├─ probe     reachable? healthy? which kinds?
//!                                      │            └─ watches   our objects only, by kind in use, into one store
//!                                      └─ detach: stops `cluster/<name>` and returns when nothing of it is left
//! ```
//!
//! Does not: choose what to write, retry (the caller knows whether a repeat is safe), read kubeconfig files, follow redirects.

pub mod breaker;
pub mod connect;
pub mod doubts;
pub mod fault;
pub mod gate;
pub mod gateway;
pub mod limit;
pub mod link;
pub mod missing;
pub mod object;
pub mod probe;
pub mod registry;
pub mod target;
pub mod watches;
