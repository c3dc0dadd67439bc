//! Template + policy → binding, written already scheduled.
//!
//! ```text
//! observe   template, policies, binding, clusters, names of overrides     reads only (stores)
//! plan      marks, binding, what scheduling came to                       pure, in core::detect
//! apply     the template's marks, then the binding                      writes only
//! report    the scheduling outcome to arrow 6, events                     no writes of its own
//! ```

mod apply;
mod observe;
pub(crate) mod report;

use pando_api::work::ObjectReference;
use pando_context::Ctx;
use pando_core::manifest::InvalidManifest;
use pando_core::next::Next;
use pando_runtime::controller::{Class, ReconcileError};
use pando_runtime::store::Key;

use crate::env::Env;
use crate::hub;
use crate::template::TemplateKey;

pub use observe::Contents;

/// Why a template's binding is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored template cannot be read.
    #[error(transparent)]
    Template(#[from] InvalidManifest),
    /// A write failed.
    #[error(transparent)]
    Write(#[from] hub::Error),
}

impl ReconcileError for Error {
    fn class(&self) -> Class {
        match self {
            Self::Template(_) => Class::Invalid,
            Self::Write(error) => error.class(),
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::Template(_) => "InvalidTemplate",
            Self::Write(error) => error.category(),
        }
    }
}

/// Brings the binding of the template `key` to what its policy says.
///
/// # Errors
/// See [`Error`].
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &TemplateKey) -> Result<Next, Error> {
    let Some(observed) = observe::template(env, key)? else {
        return Ok(Next::forget()); // gone: its binding follows by owner reference
    };
    let plan = observed.plan(env);
    let applied = apply::plan(ctx, env, &observed, &plan).await;
    report::template(env, &observed, &plan, applied.is_ok());
    applied?;
    Ok(Next::await_change())
}

/// The template that a binding belongs to.
#[must_use]
pub fn template_key(resource: &ObjectReference) -> TemplateKey {
    TemplateKey {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        key: Key {
            namespace: Some(resource.namespace.as_str()).filter(|namespace| !namespace.is_empty()).map(Into::into),
            name: resource.name.as_str().into(),
        },
    }
}
