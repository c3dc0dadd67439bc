//! What a database must be able to do beyond what sqlx asks of it.

use std::future::Future;
use std::time::Duration;

use pando_context::Ctx;
use sqlx::{Database, Error, Pool};

/// A database whose transactions can be tied to a context: `sqlx::Sqlite` and `sqlx::Postgres`.
pub trait Backend: Database + sealed::Sealed {
    /// What finds a running statement again from another connection.
    #[doc(hidden)]
    type Tag: Send + Sync + 'static;

    /// Begins, and arranges that statements can be interrupted once the context has ended.
    #[doc(hidden)]
    fn begin(
        connection: &mut Self::Connection,
        ctx: Ctx,
        grace: Duration,
    ) -> impl Future<Output = Result<Self::Tag, Error>> + Send;

    /// Commits; an error if it did not. One of the database's own means that nothing was committed.
    #[doc(hidden)]
    fn commit(connection: &mut Self::Connection) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes back what was arranged, so that what ends the transaction is not interrupted itself.
    #[doc(hidden)]
    fn disarm(connection: &mut Self::Connection) -> impl Future<Output = Result<(), Error>> + Send;

    /// Interrupts what runs now.
    #[doc(hidden)]
    fn interrupt(tag: &Self::Tag, pool: &Pool<Self>) -> impl Future<Output = Result<(), Error>> + Send;
}

pub(super) mod sealed {
    pub trait Sealed {}
}
