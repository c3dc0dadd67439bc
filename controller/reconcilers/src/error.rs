//! Why a reconcile of a template, binding or namespace did not get through.

use pando_core::manifest::InvalidManifest;
use pando_core::render::NotRenderable;
use pando_runtime::controller::{Class, ReconcileError};
use pando_runtime::store::Unreadable;

use crate::hub;

/// Why something on the hub is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The binding lacks what its Works are marked with.
    #[error(transparent)]
    Binding(#[from] NotRenderable),
    /// The stored template cannot be read.
    #[error(transparent)]
    Template(#[from] InvalidManifest),
    /// An object that the decision depends on exists and cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A write failed.
    #[error(transparent)]
    Write(#[from] hub::Error),
}

impl ReconcileError for Error {
    fn class(&self) -> Class {
        match self {
            Self::Binding(_) | Self::Template(_) => Class::Invalid,
            Self::Unreadable(_) => Class::Transient,
            Self::Write(error) => error.class(),
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Binding(_) => "InvalidBinding",
            Self::Template(_) => "InvalidTemplate",
            Self::Unreadable(_) => "Unreadable",
            Self::Write(error) => error.category(),
        }
    }
}
