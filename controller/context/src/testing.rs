//! What `#[pando_context::test]` expands to: a runtime, a root, and the look at what is left.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures::future::LocalBoxFuture;
use tokio::runtime::{Builder, Handle};

use crate::node::follow_virtual_time;
use crate::reason::TraceId;
use crate::{Reason, Scope};

/// How long a test's tasks may take to end once the test is over. Virtual time in a paused test.
const GRACE: Duration = Duration::from_secs(5);

/// Sockets belong to the process, not to a test: one that counts them has the process to itself, as
/// far as its other tests use this attribute, too.
static PROCESS: RwLock<()> = RwLock::new(());

/// The words of the attribute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    paused: bool,
    foreign_tasks: bool,
    sockets: bool,
}

impl Options {
    /// Time stands still while something runs and jumps to the next timer when nothing does.
    #[must_use]
    pub fn paused(self) -> Self {
        Self { paused: true, ..self }
    }

    /// Tasks that a library spawns past the tree may be left at the end.
    #[must_use]
    pub fn foreign_tasks(self) -> Self {
        Self { foreign_tasks: true, ..self }
    }

    /// No socket may be left that was not open before the test; no other test runs meanwhile.
    #[must_use]
    pub fn sockets(self) -> Self {
        Self { sockets: true, ..self }
    }
}

/// Runs one test in a root of its own and fails it if anything of it is left at the end.
///
/// # Panics
///
/// When the test leaves something behind; the message is the tree of it.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn run<T>(
    options: Options,
    name: &'static str,
    body: impl for<'a> FnOnce(&'a Scope) -> LocalBoxFuture<'a, T>,
) -> T {
    let alone = options.sockets.then(|| PROCESS.write().unwrap_or_else(PoisonError::into_inner));
    let together = (!options.sockets).then(|| PROCESS.read().unwrap_or_else(PoisonError::into_inner));
    if options.paused {
        follow_virtual_time();
    }
    let mut builder = Builder::new_current_thread();
    let runtime = match builder.enable_all().start_paused(options.paused).build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("{name}: no runtime: {error}"),
    };
    let before = options.sockets.then(sockets);
    let output = runtime.block_on(async {
        // A constant: what a test prints can be compared with what it printed before.
        let root = Scope::root_with_trace(name, TraceId::from_u128(1));
        let output = body(&root).await;
        if let Err(left) = root.cancel_and_join(Reason::requested("the test is over"), GRACE).await {
            panic!("{left}");
        }
        let foreign = foreign_tasks().await;
        if foreign > 0 && !options.foreign_tasks {
            panic!(
                "{name} leaves {foreign} tasks that were spawned past the tree; \
                 use Ctx::spawn, or drop their owner before the end of the test"
            );
        }
        output
    });
    if let Some(before) = before {
        let left = Vec::from_iter(sockets().difference(&before).cloned());
        if !left.is_empty() {
            panic!("{name} leaves {} sockets open: {}; drop what holds them", left.len(), left.join(", "));
        }
    }
    drop((alone, together));
    output
}

/// The sockets that this process has open, as Linux names them; none where there is no `/proc`.
fn sockets() -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return BTreeSet::new() };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let names = links.map(|link| link.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("socket:")).collect()
}

/// What [`crate::assert_no_leaks`] expands to.
///
/// # Panics
///
/// When anything is left in the scope; the message is the tree of it.
#[track_caller]
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn assert_no_leaks(scope: &Scope) {
    let ctx = scope.ctx();
    if !ctx.node().is_empty() {
        panic!("{} is not empty:\n{}", ctx.label(), ctx.dump());
    }
}

/// Tasks of this runtime that do not end although everybody had time to.
async fn foreign_tasks() -> usize {
    let metrics = Handle::current().metrics();
    for _ in 0..200 {
        if metrics.num_alive_tasks() == 0 {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "after the end of the tree")]
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    metrics.num_alive_tasks()
}
