//! PostgreSQL: transactions carry a name and a bound, and are interrupted by that name from another connection.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pando_context::Ctx;
use sqlx::postgres::{PgConnection, PgTransactionManager};
use sqlx::{AssertSqlSafe, Connection as _, Error, Executor as _, Pool, Postgres, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;

use super::backend::{Backend, sealed};

const CANCEL: &str = "select pg_cancel_backend(pid) from pg_stat_activity where application_name = $1";

/// The longest bound that PostgreSQL takes, in milliseconds: 2³¹-1, about 25 days. Longer is none.
const LONGEST: u128 = i32::MAX as u128;

impl sealed::Sealed for Postgres {}

impl Backend for Postgres {
    type Tag = String;

    async fn begin(connection: &mut PgConnection, ctx: Ctx, grace: Duration) -> Result<String, Error> {
        let tag = tag(&ctx);
        // One round trip, like a plain BEGIN. The tag is of digits and dashes only.
        let mut statement = format!("BEGIN; SET LOCAL application_name = '{tag}'");
        let bound = ctx.remaining().map(|left| left.saturating_add(grace).as_millis().max(1));
        if let Some(bound) = bound.filter(|bound| *bound <= LONGEST) {
            write!(statement, "; SET LOCAL statement_timeout = {bound}").map_err(Error::config)?;
        }
        PgTransactionManager::begin(connection, Some(AssertSqlSafe(statement).into_sql_str())).await?;
        Ok(tag)
    }

    /// PostgreSQL answers the COMMIT of a transaction in which a statement failed with a ROLLBACK and without an error, and
    /// sqlx does not look at which it was. Any other statement is refused there.
    async fn commit(connection: &mut PgConnection) -> Result<(), Error> {
        connection.execute("select 1").await?;
        PgTransactionManager::commit(connection).await
    }

    /// A cancel reaches whatever runs, so it is only sent while the rollback waits for a statement.
    async fn disarm(_: &mut PgConnection) -> Result<(), Error> {
        Ok(())
    }

    /// By a connection of its own: those of the pool may all wait for what is to be interrupted.
    async fn interrupt(tag: &String, pool: &Pool<Self>) -> Result<(), Error> {
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        sqlx::query(CANCEL).bind(tag).execute(&mut connection).await?;
        connection.close().await
    }
}

/// `ctx-<trace>-<number>`: 53 of the 63 characters that an application name may have. The number tells transactions of one
/// trace apart, also those of other processes.
fn tag(ctx: &Ctx) -> String {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = *PROCESS.get_or_init(|| RandomState::new().build_hasher().finish());
    let number = process.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    format!("ctx-{}-{number:016x}", ctx.trace_id())
}
