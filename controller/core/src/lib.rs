//! Every decision of Pando, as pure functions.
//!
//! The shells in `pando-reconcilers` observe objects and hand them in as values; what comes out is a value too: an
//! assignment, a set of Works, a status, a step. Such a value prints, so its text is both the explanation for people and
//! the assertion in tests.
//!
//! ```text
//!  template ─┬─ policy_match ─► claim        binding ── scheduler ─► assignment      Works ── aggregate ─► status
//!  policies ─┘  policy_check                 clusters ┘  selector                     ▲        conditions
//!                                                                                     │
//!  binding + template ── overrides, render, reconcile_set ─► Works ── drift, retain ─► member
//! ```
//!
//! Does not: await, open a connection, read a clock, draw a random number, spawn, or keep state between calls. The same
//! inputs give the same result, and deciding twice changes nothing. Maps are ordered, so text and lists are stable.

pub mod aggregate;
pub mod cluster_facts;
pub mod conditions;
pub mod detach;
pub mod detect;
pub mod drift;
pub mod gates;
pub mod health;
pub mod interpreter;
pub mod kinds;
pub mod manifest;
pub mod merge_patch;
pub mod next;
pub mod overrides;
pub mod ownership;
pub mod policy_check;
pub mod policy_match;
pub mod quantity;
pub mod reconcile_set;
pub mod render;
pub mod retain;
pub mod scheduler;
pub mod seen;
pub mod selector;
