//! The words of Pando: custom resource types, names, labels, annotations, finalizers, conditions,
//! event reasons and field managers.
//!
//! The API is Karmada's (read from Karmada 1.19): same groups, kinds, fields, defaults and
//! well-known names, so that Karmada's manifests, clients and tools work unchanged. What is our
//! own lives under `pando.io` names and never changes the meaning of a Karmada field.
//!
//! The field documentation of the types is what `kubectl explain` prints.
//!
//! This package decides nothing and talks to nothing: it has no async runtime and no HTTP client in
//! its dependency tree.

pub mod annotations;
pub mod cluster;
pub mod conditions;
pub mod crds;
pub mod events;
pub mod finalizers;
pub mod labels;
pub mod managers;
pub mod names;
pub mod policy;
pub mod raw;
pub mod taints;
pub mod work;

mod omit;
mod resource;
mod schema;
mod words;
