//! Tasks that hyper starts by itself, as tasks of the tree.

use std::future::Future;

use hyper::rt::Executor;
use pando_context::{Ctx, Kind};

const STREAM: Kind = Kind::new("stream");

/// For `hyper::server::conn::http2`: each stream of a connection is a task below one context, so that stopping the
/// connection's context ends them, and waits for them.
#[derive(Clone, Debug)]
pub struct TreeExecutor {
    ctx: Ctx,
}

impl TreeExecutor {
    /// Tasks are spawned below this context.
    pub fn new(ctx: &Ctx) -> Self {
        Self { ctx: ctx.clone() }
    }
}

impl<F> Executor<F> for TreeExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.ctx.spawn(&STREAM, |_| future).detach();
    }
}
