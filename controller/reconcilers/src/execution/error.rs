//! What can go wrong with a Work, beyond what its status says.

use pando_core::seen::ReadFailure;
use pando_member::fault::{self, Fault};
use pando_runtime::controller::{Class, ReconcileError};
use pando_runtime::store::Key;

/// A reconcile of a Work that did not come to an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Work itself cannot be read.
    #[error("cannot read Work {work}: {why}")]
    Unreadable {
        /// The Work.
        work: Key,
        /// Why not.
        why: String,
    },
    /// What is in the member cannot be read, so nothing was decided.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// A call to the member was stopped, or its preconditions went stale again and again.
    #[error(transparent)]
    Member(#[from] fault::Error),
    /// A write to the hub failed.
    #[error(transparent)]
    Hub(#[from] crate::hub::Error),
}

impl ReconcileError for Error {
    fn class(&self) -> Class {
        match self {
            Self::Unreadable { .. } | Self::Read(_) => Class::Transient,
            Self::Member(error) => match &error.fault {
                Fault::Stopped(stop) => Class::of_stop(stop),
                _ => Class::Transient,
            },
            Self::Hub(error) => error.class(),
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "WorkUnreadable",
            Self::Read(_) => "MemberUnreadable",
            Self::Member(error) => error.fault.category(),
            Self::Hub(error) => error.category(),
        }
    }
}
