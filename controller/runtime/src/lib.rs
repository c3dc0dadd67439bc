//! Process machinery: what every controller needs and none should write again.
//!
//! ```text
//! watch ──► store ──► subscribers ──► queue ──► controller ──► reconcile(ctx, key)
//!             ▲                         ▲            │               │
//!             └──── written(reply) ◄────┼── client ◄─┼─── budget ◄───┘
//!                                       └── backoff ◄┘
//! admin: health, metrics, debug · events · telemetry · shutdown · clock
//! ```
//!
//! Knows Kubernetes' API machinery and nothing of federation. Everything runs in a
//! [`pando_context::Ctx`] and ends with it; nothing is spawned past the tree.

pub mod admin;
pub mod backoff;
pub mod budget;
pub mod client;
pub mod clock;
pub mod controller;
pub mod discovery;
pub mod events;
pub mod failpoint;
pub mod metrics;
pub mod priority;
pub mod queue;
pub mod shutdown;
pub mod store;
pub mod stuck;
pub mod telemetry;
pub mod term;
pub mod watch;
