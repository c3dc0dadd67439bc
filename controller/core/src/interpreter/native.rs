//! Kinds that are known without configuration, one file each.

mod deployment;
mod secret;
mod service;

pub(super) use deployment::Deployment;
pub(super) use secret::Secret;
pub(super) use service::Service;
