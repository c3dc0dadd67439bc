//! Database transactions that cannot outlive their context.

mod backend;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join, select};
use pando_context::{Ctx, Kind, Reason, ReasonKind, Stop};
use sqlx::Pool;
use sqlx::pool::PoolConnection;
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, oneshot};

pub use self::backend::Backend;

const TRANSACTION: Kind = Kind::new("transaction");
const COMMIT: Kind = Kind::new("commit");
const ROLLBACK: Kind = Kind::new("rollback");

/// How long a rollback waits for a statement in flight to end by itself before it is interrupted in the database.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many errors of the database a rollback may meet: one is left by the statement before it, one more if the
/// interrupt comes so late that it hits the rollback itself.
const REFUSALS: usize = 3;

/// Why a transaction was not carried out, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// No connection, or the database refused to begin. Nothing has happened.
    #[error("cannot begin a transaction: {0}")]
    NotBegun(#[source] sqlx::Error),
    /// The context has ended; what the transaction did is undone.
    #[error("rolled back: {0}")]
    Stopped(#[from] Stop),
    /// The database refused to commit; what the transaction did is undone.
    #[error("rolled back: the database did not commit: {0}")]
    NotCommitted(#[source] sqlx::Error),
    /// The connection failed, or took longer than the grace, while it committed: the database has either done it or not.
    /// Read before writing again.
    #[error("it is not known whether the transaction was committed: {0}")]
    InDoubt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database did not roll back in time. The connection was closed, which ends the transaction there.
    #[error("the transaction was ended by closing its connection: {0}")]
    Closed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A transaction in a context: committed on purpose, or rolled back.
///
/// It is rolled back when its context ends, also while the guard is in the hands of somebody who does not look, and when
/// the guard is dropped. A rollback is a task of the tree that the cancel does not reach, with a bound of its own, `grace`:
/// `join` and `stop` of the context wait for it. sqlx's own transaction queues its rollback for whoever uses
/// the connection next, which is after `join`, if ever.
///
/// ```
/// use pando_context::{Kind, Reason, Scope};
/// use pando_context_middleware::Transaction;
/// use sqlx::sqlite::SqlitePoolOptions;
/// use std::time::Duration;
///
/// const GRACE: Duration = Duration::from_secs(5);
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let root = Scope::root("bank");
/// let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
/// sqlx::query("create table account (owner text, balance int)").execute(&pool).await?;
///
/// let request = root.ctx().child(&Kind::new("request"));
/// let mut transfer = Transaction::begin(request.ctx(), &pool, GRACE).await?;
/// let insert = sqlx::query("insert into account values ('ann', 5)");
/// insert.execute(&mut *transfer.connection()?).await?;
///
/// // The one who holds the guard need not do anything.
/// request.stop(Reason::requested("the request was withdrawn"), GRACE).await.unwrap();
/// let rows: i64 = sqlx::query_scalar("select count(*) from account").fetch_one(&pool).await?;
/// assert_eq!(rows, 0);
/// let error = transfer.commit().await.unwrap_err();
/// assert_eq!(error.to_string(), "rolled back: stopped: requested at request: the request was withdrawn");
/// pool.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Guarantees
///
/// * A connection is given back to the pool with no transaction open on it and nothing left to read from it, or it is closed.
/// * After `join` of the context, the transaction is over in the database or its connection is closed.
/// * What ran when the context ended is interrupted: by `pg_cancel_backend` on a connection of its own in PostgreSQL, by
///   a progress handler in SQLite. A rollback need not wait for a statement that takes an hour.
/// * In PostgreSQL the context's deadline (and the grace on top of it) is also the statements': if this process dies
///   in the middle, the server ends them by itself. The transaction is called `ctx-<trace>-<number>` in
///   `pg_stat_activity.application_name`, so that a lock can be traced to the request that holds it.
/// * From the first poll of [`Transaction::commit`] on, a cancel no longer undoes it.
///
/// # Caveats
///
/// * Statements run in whatever context the caller polls them in; use [`Ctx::run`] with [`Transaction::ctx`], or an
///   ancestor, to have them dropped at the cancel. The transaction itself ends in any case.
/// * SQLite waits for locks without running its progress handler, for as long as `busy_timeout` says.
/// * Connections that sqlx opens for the pool are sqlx's, not the tree's: close the pool at the end.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<DB: Backend> {
    /// Of the task that waits for the end; it has no other work.
    ctx: Ctx,
    parent: Ctx,
    grace: Duration,
    slot: Slot<DB>,
    /// Tells that task, by being dropped, that the guard is gone.
    _guard: oneshot::Sender<()>,
}

/// The transaction until somebody ends it. Locked while a statement of the user's runs.
type Slot<DB> = Arc<Mutex<Option<Open<DB>>>>;

impl<DB: Backend> Transaction<DB> {
    /// Takes a connection and begins. `grace` is how long a commit or rollback may take once it has been decided.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Stopped`] if the context ends first, else [`TransactionError::NotBegun`].
    #[track_caller]
    pub fn begin(
        ctx: &Ctx,
        pool: &Pool<DB>,
        grace: Duration,
    ) -> impl Future<Output = Result<Self, TransactionError>> + Send + use<DB> {
        let (guard, dropped) = oneshot::channel();
        let undo = Undo { slot: Slot::default(), parent: ctx.clone(), grace };
        let (parent, slot, pool) = (ctx.clone(), Arc::clone(&undo.slot), pool.clone());
        let mut own = None;
        let waiting = ctx.spawn(&TRANSACTION, |ctx| {
            own = Some(ctx);
            async move {
                // Dropped with the guard or, by a cancel, before: whichever is first.
                let _undo = undo;
                drop(dropped.await);
            }
        });
        waiting.detach();
        async move {
            let Some(ctx) = own else {
                parent.check()?;
                return Err(gone().into()); // not reached: only an ended context refuses to spawn
            };
            let begun = ctx.run(async {
                let open = Open::begin(ctx.clone(), pool, grace).await?;
                *slot.lock().await = Some(open);
                Ok(())
            });
            begun.await?.map_err(TransactionError::NotBegun)?;
            if let Err(stop) = ctx.check() {
                // The undoing may have looked before there was anything to undo.
                roll_back(&slot, &parent, grace);
                return Err(stop.into());
            }
            Ok(Self { ctx, parent, grace, slot, _guard: guard })
        }
    }

    /// The transaction's context: it ends with the guard.
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The connection, for statements: `query.execute(&mut *transaction.connection()?)`.
    ///
    /// # Errors
    ///
    /// [`Stop`] once the context has ended.
    pub fn connection(&mut self) -> Result<Lease<'_, DB>, Stop> {
        self.ctx().check()?;
        // Nobody else has it but a rollback that has begun since.
        let lease = self.slot.try_lock().ok().and_then(|slot| MutexGuard::try_map(slot, Open::of).ok());
        match lease {
            Some(connection) => Ok(Lease { connection }),
            None => Err(self.stop()),
        }
    }

    /// Commits. The decision falls with the first poll: the commit itself is finished, or given up after the grace, also
    /// if the context ends or the caller is dropped meanwhile.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Stopped`] if the context has ended, [`TransactionError::NotCommitted`] if the database
    /// refuses (a constraint, a serialization failure), [`TransactionError::InDoubt`] if it does not answer.
    pub async fn commit(self) -> Result<(), TransactionError> {
        let open = self.take().await?;
        let committed = self.parent.shield(&COMMIT, self.grace, |_| open.commit()).await;
        match committed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ sqlx::Error::Database(_))) => Err(TransactionError::NotCommitted(error)),
            Ok(Err(error)) => Err(TransactionError::InDoubt(error.into())),
            Err(error) => Err(TransactionError::InDoubt(error.into())),
        }
    }

    /// Rolls back and says how it went. Dropping the guard does the same, beside the caller.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Closed`] if the connection had to be closed; the transaction is over all the same.
    pub async fn rollback(self) -> Result<(), TransactionError> {
        let open = match self.take().await {
            Ok(open) => open,
            Err(_) => return Ok(()), // it has been
        };
        let rolled_back = self.parent.shield(&ROLLBACK, self.grace, |ctx| open.rollback(ctx)).await;
        match rolled_back {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(TransactionError::Closed(error.into())),
            Err(error) => Err(TransactionError::Closed(error.into())),
        }
    }

    async fn take(&self) -> Result<Open<DB>, TransactionError> {
        self.ctx().check()?;
        self.slot.lock().await.take().ok_or_else(|| self.stop().into())
    }

    /// Why there is no transaction any more.
    fn stop(&self) -> Stop {
        self.ctx().check().err().unwrap_or_else(gone)
    }
}

fn gone() -> Stop {
    Stop::from(Arc::new(Reason::from(ReasonKind::OwnerDropped)))
}

impl<DB: Backend> fmt::Debug for Transaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("ctx", self.ctx()).field("grace", &self.grace).finish_non_exhaustive()
    }
}

/// The connection of a [`Transaction`], for one statement or a few. The rollback waits until it is given back.
#[derive(Debug)]
pub struct Lease<'t, DB: Backend> {
    connection: MappedMutexGuard<'t, DB::Connection>,
}

impl<DB: Backend> Deref for Lease<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Backend> DerefMut for Lease<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

/// Rolls back when it is dropped, unless the transaction has been ended by then.
struct Undo<DB: Backend> {
    slot: Slot<DB>,
    parent: Ctx,
    grace: Duration,
}

impl<DB: Backend> Drop for Undo<DB> {
    fn drop(&mut self) {
        let ended = self.slot.try_lock().is_ok_and(|slot| slot.is_none());
        if !ended {
            roll_back(&self.slot, &self.parent, self.grace);
        }
    }
}

/// Starts the rollback of what is in the slot by then. It is waited for by whoever joins the parent.
fn roll_back<DB: Backend>(slot: &Slot<DB>, parent: &Ctx, grace: Duration) {
    // Without a runtime nothing can be awaited; closing the connection needs none.
    if Handle::try_current().is_err() {
        return;
    }
    let slot = Arc::clone(slot);
    let rolling_back = parent.shield(&ROLLBACK, grace, |ctx| async move {
        let Some(open) = slot.lock().await.take() else { return };
        if let Err(error) = open.rollback(ctx).await {
            tracing::warn!(%error, "a rollback failed; its connection was closed");
        }
    });
    rolling_back.detach();
}

/// A connection with a transaction on it. Dropped like that, the connection is closed: nobody knows its state.
struct Open<DB: Backend> {
    connection: Option<PoolConnection<DB>>,
    tag: Option<DB::Tag>,
    pool: Pool<DB>,
}

impl<DB: Backend> Drop for Open<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

impl<DB: Backend> Open<DB> {
    async fn begin(ctx: Ctx, pool: Pool<DB>, grace: Duration) -> Result<Self, sqlx::Error> {
        let connection = pool.acquire().await?;
        let mut open = Self { connection: Some(connection), tag: None, pool };
        if let Some(connection) = open.connection.as_deref_mut() {
            open.tag = Some(DB::begin(connection, ctx, grace).await?);
        }
        Ok(open)
    }

    fn of(slot: &mut Option<Self>) -> Option<&mut DB::Connection> {
        slot.as_mut()?.connection.as_deref_mut()
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        let Some(connection) = self.connection.as_deref_mut() else { return Ok(()) };
        DB::disarm(connection).await?;
        let committed = DB::commit(connection).await;
        if let Err(sqlx::Error::Database(_)) = committed {
            // A refusal, not a failure of the connection: it is as good as before once it has been rolled back.
            undo::<DB>(connection).await?;
            self.give_back().await;
        } else if committed.is_ok() {
            self.give_back().await;
        }
        committed
    }

    async fn rollback(mut self, ctx: Ctx) -> Result<(), sqlx::Error> {
        let Some(connection) = self.connection.as_deref_mut() else { return Ok(()) };
        let undone = match select(pin!(undo::<DB>(connection)), pin!(ctx.sleep(PATIENCE))).await {
            Either::Left((undone, _)) => undone,
            Either::Right((slept, undo)) => {
                let interrupt = async {
                    let interrupted = match (slept, &self.tag) {
                        (Ok(()), Some(tag)) => DB::interrupt(tag, &self.pool).await,
                        _ => Ok(()),
                    };
                    if let Err(error) = interrupted {
                        tracing::debug!(%error, "a statement could not be interrupted");
                    }
                };
                // Both to their ends: an interrupt on its way must not reach whoever gets the connection next.
                join(undo, interrupt).await.0
            }
        };
        undone?;
        self.give_back().await;
        Ok(())
    }

    /// To the pool, here and not in a task of sqlx's that nobody waits for.
    async fn give_back(mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.return_to_pool().await;
        }
    }
}

/// Rolls back everything down to the bottom: savepoints of the user's, too.
async fn undo<DB: Backend>(connection: &mut DB::Connection) -> Result<(), sqlx::Error> {
    DB::disarm(connection).await?;
    let mut refused = 0;
    while DB::TransactionManager::get_transaction_depth(connection) > 0 {
        match DB::TransactionManager::rollback(connection).await {
            Ok(()) => {}
            // What the statement before had to say, which nobody was left to hear: that it was interrupted, say.
            Err(sqlx::Error::Database(_)) if refused < REFUSALS => refused += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
