//! Template + policy → binding, written already scheduled.
//!
//! ```text
//! observe   template, policies, binding, clusters, names of overrides     reads only (stores)
//! plan      marks, binding, what scheduling came to                       pure, in core::detect
//! apply     the template's marks, then the binding                      writes only
//! report    the outcome to arrow 6, Works to arrow 3, events              no writes of its own
//! ```

mod apply;
pub(crate) mod observe;
mod orphan;
mod report;

use pando_context::Ctx;
use pando_core::next::Next;
use pando_core::seen::Seen;

use crate::env::Env;
use crate::error::Error;
use crate::template::TemplateKey;
pub use orphan::Orphans;

/// Brings the binding of the template `key` to what its policy says.
///
/// # Errors
/// See [`Error`].
pub async fn reconcile(ctx: &Ctx, env: &Env, key: &TemplateKey) -> Result<Next, Error> {
    let observed = match observe::template(env, key)? {
        Seen::Found(observed) => observed,
        Seen::Absent => return Ok(orphan::tend(ctx, env, key, None).await?),
        // When its kind is followed (again), it comes as a change.
        Seen::Unreadable(_) => return Ok(Next::await_change()),
    };
    let plan = observed.plan(env);
    report::outcome(env, &observed, &plan);
    apply::plan(ctx, env, &observed, &plan).await?;
    report::carried_out(env, &observed, &plan);
    Ok(orphan::tend(ctx, env, key, observed.template.meta.uid.as_deref()).await?)
}
