//! The shells around `pando-core`: one module per controller, the same stages in each.
//!
//! ```text
//! observe   what the decision needs, from the stores (or one read)      no writes
//! plan      in core, pure                                               no await
//! apply     the steps, each with its own deadline                       writes only
//! report    status and events of what was applied                       nothing decided
//! ```
//!
//! | arrow | module | from → to |
//! |---|---|---|
//! | 1, 2 | [`detector`] | template + policy → binding, already scheduled |
//! | 2 | [`binding_scheduler`] | binding → clusters, when clusters change |
//! | 3 | [`binding_works`], [`namespaces`] | binding or namespace → Works |
//! | 4 | [`execution`] | Work → member |
//! | 5 | [`work_status`] | member → Work status |
//! | 6 | [`binding_status`] | Works → binding and template status |
//! | 7 | [`cluster`] | member health → cluster status and taints |
//!
//! [`kinds`] follows the kinds of templates that policies and bindings want, so that there is something to observe.
//!
//! Arrows 4 and 5 of one member work on its [`agent`]; [`member_agent`] makes and runs it.
//!
//! [`controllers`] lists those that run, [`wiring`] says which change wakes which of them. They meet in the stores and queues of [`env::Env`] and in API
//! objects, never in each other's modules.
//!
//! Does not: decide (that is `pando-core`), connect (that is `pando-member`), or spawn outside the context tree.

pub mod agent;
pub mod binding_scheduler;
pub mod binding_status;
pub mod binding_works;
pub mod bindings;
pub mod cluster;
pub mod controllers;
pub mod detector;
pub mod env;
pub mod error;
pub mod events;
pub mod execution;
pub mod hub;
pub mod kinds;
pub mod member_agent;
pub mod namespaces;
pub mod next;
pub mod policies;
pub mod reach;
pub mod template;
pub mod wiring;
pub mod work_status;
pub mod work_steps;
