//! Template + policy → binding, written already scheduled.
//!
//! ```text
//! observe   template, policies, binding, clusters, names of overrides     reads only (stores)
//! plan      marks, binding, what scheduling came to                       pure, in core::detect
//! apply     the template's marks, then the binding                      writes only
//! report    the outcome to arrow 6, Works to arrow 3, events              no writes of its own
//! ```

mod apply;
mod observe;
mod report;

use pando_context::Ctx;
use pando_core::next::Next;

use crate::env::Env;
use crate::error::Error;
use crate::template::TemplateKey;

/// Brings the binding of the template `key` to what its policy says.
///
/// # Errors
/// See [`Error`].
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &TemplateKey) -> Result<Next, Error> {
    let Some(observed) = observe::template(env, key)? else {
        return Ok(Next::forget()); // gone: its binding follows by owner reference
    };
    let plan = observed.plan(env);
    report::outcome(env, &observed, &plan);
    apply::plan(ctx, env, &observed, &plan).await?;
    report::carried_out(env, &observed, &plan);
    Ok(Next::await_change())
}
