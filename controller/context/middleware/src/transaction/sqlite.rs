//! SQLite: in this process, one thread for each connection, interrupted by a progress handler.

use std::time::Duration;

use pando_context::Ctx;
use sqlx::sqlite::{SqliteConnection, SqliteTransactionManager};
use sqlx::{Error, Pool, Sqlite};
use sqlx_core::transaction::TransactionManager as _;

use super::backend::{Backend, sealed};

/// Instructions of SQLite's machine between two looks at the context: about 10 µs.
const STEPS: i32 = 1000;

impl sealed::Sealed for Sqlite {}

impl Backend for Sqlite {
    type Tag = ();

    async fn begin(connection: &mut SqliteConnection, ctx: Ctx, _: Duration) -> Result<(), Error> {
        SqliteTransactionManager::begin(connection, None).await?;
        connection.lock_handle().await?.set_progress_handler(STEPS, move || !ctx.is_cancelled());
        Ok(())
    }

    async fn commit(connection: &mut SqliteConnection) -> Result<(), Error> {
        SqliteTransactionManager::commit(connection).await
    }

    async fn disarm(connection: &mut SqliteConnection) -> Result<(), Error> {
        connection.lock_handle().await?.remove_progress_handler();
        Ok(())
    }

    /// The progress handler has done it.
    async fn interrupt((): &(), _: &Pool<Self>) -> Result<(), Error> {
        Ok(())
    }
}
