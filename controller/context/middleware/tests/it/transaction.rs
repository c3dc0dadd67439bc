//! Transactions on SQLite and on a real PostgreSQL: what holds for both, then what is each one's own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pando_context::{Ctx, Kind};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

use crate::postgres::Postgres;
use crate::server::DEADLINES;

/// How long a rollback may take, and how long a test waits for it.
const GRACE: Duration = Duration::from_secs(10);
const REQUEST: Kind = Kind::new("request");

const TABLES: &str = "create table item (id bigint primary key);
    create table part (item bigint references item (id) deferrable initially deferred)";

/// A database file in a temporary folder.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

async fn sqlite(_: &Ctx, name: &str) -> (File, SqlitePool) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("pando-sqlite-{}-{name}-{number}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let file = folder.join("data");
    // With a log, readers need not wait for a writer that has not committed.
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_with(options).await.unwrap();
    sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
    (File(folder), pool)
}

async fn postgres(ctx: &Ctx, name: &str) -> (&'static Postgres, sqlx::PgPool) {
    let server = Postgres::get();
    let pool = server.pool(ctx, name).await;
    sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
    (server, pool)
}

/// The same promises for each database: where it is opened, and a statement that takes an hour on any machine.
macro_rules! promises {
    ($open:path, $slow:expr) => {
        use pando_context::{Ctx, Kind, Reason, ReasonKind, Scope, TaskError};
        use pando_context_middleware::{Transaction, TransactionError};
        use sqlx::Connection as _;

        use super::*;

        macro_rules! insert {
            ($transaction:expr, $id:literal) => {
                sqlx::query(concat!("insert into item values (", $id, ")"))
                    .execute(&mut *$transaction.connection().unwrap())
                    .await
                    .unwrap()
            };
        }

        /// Everything that is in the table, as another connection sees it.
        macro_rules! items {
            ($pool:expr) => {
                sqlx::query_scalar::<_, i64>("select id from item order by id").fetch_all(&$pool).await.unwrap()
            };
        }

        #[pando_context::test]
        async fn what_is_committed_stays(ctx: Ctx) {
            let (_database, pool) = $open(&ctx, "committed").await;
            let mut transaction = Transaction::begin(&ctx, &pool, GRACE).await.unwrap();
            insert!(transaction, 1);
            insert!(transaction, 2);
            transaction.commit().await.unwrap();
            assert_eq!((pool.num_idle(), pool.size()), (1, 1), "the connection is back");
            assert_eq!(items!(pool), [1, 2]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn what_is_rolled_back_was_never_there(ctx: Ctx) {
            let (_database, pool) = $open(&ctx, "rolled_back").await;
            let mut transaction = Transaction::begin(&ctx, &pool, GRACE).await.unwrap();
            insert!(transaction, 1);
            transaction.rollback().await.unwrap();
            assert_eq!(pool.num_idle(), 1);
            assert_eq!(items!(pool), [0_i64; 0]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn a_dropped_guard_is_rolled_back_before_join_returns(root: &Scope) {
            let (_database, pool) = $open(root.ctx(), "dropped").await;
            for _ in 0..20 {
                let request = root.ctx().child(&REQUEST);
                let mut transaction = Transaction::begin(request.ctx(), &pool, GRACE).await.unwrap();
                insert!(transaction, 1);
                drop(transaction);
                request.join().await.unwrap();
                assert_eq!((pool.num_idle(), pool.size()), (1, 1), "the same connection, clean");
            }
            assert_eq!(items!(pool), [0_i64; 0]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn a_cancel_rolls_back_although_nobody_looks(root: &Scope) {
            let (_database, pool) = $open(root.ctx(), "cancelled").await;
            let cluster = root.ctx().child_named(&Kind::new("cluster"), "bj-prod");
            let mut transaction = Transaction::begin(cluster.ctx(), &pool, GRACE).await.unwrap();
            insert!(transaction, 1);

            cluster.stop(Reason::detached("the test"), GRACE).await.unwrap();
            assert_eq!(pool.num_idle(), 1, "rolled back and given back, with the guard still in our hands");
            let stop = transaction.connection().err().unwrap();
            assert_eq!(stop.to_string(), "stopped: detached at cluster/bj-prod: the test");
            let error = transaction.commit().await.unwrap_err();
            assert_eq!(error.to_string(), "rolled back: stopped: detached at cluster/bj-prod: the test");
            assert_eq!(items!(pool), [0_i64; 0]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn a_statement_in_flight_is_interrupted_and_rolled_back(root: &Scope) {
            let (_database, pool) = $open(root.ctx(), "in_flight").await;
            let request = root.ctx().child(&REQUEST);
            let (running, runs) = tokio::sync::oneshot::channel();
            let work = request.ctx().spawn(&Kind::new("work"), {
                let pool = pool.clone();
                |ctx| async move {
                    let mut transaction = Transaction::begin(&ctx, &pool, GRACE).await.unwrap();
                    insert!(transaction, 1);
                    let mut connection = transaction.connection().unwrap();
                    let mut slow = std::pin::pin!(sqlx::query($slow).execute(&mut *connection));
                    assert!(futures::poll!(&mut slow).is_pending());
                    running.send(()).unwrap();
                    slow.await.unwrap();
                }
            });
            runs.await.unwrap();
            let stopped = request.stop(Reason::requested("the test"), GRACE).await.unwrap();
            println!("interrupted, rolled back and given back after {:?}", stopped.after);
            assert_eq!((pool.num_idle(), pool.size()), (1, 1), "the connection was worth keeping");
            let Err(TaskError::Stopped(stop)) = work.await else { panic!("it ended by itself") };
            assert_eq!(stop.reason().kind(), ReasonKind::Requested);

            // No lock is left, and the connection does as it is told again.
            let mut transaction = Transaction::begin(root.ctx(), &pool, GRACE).await.unwrap();
            insert!(transaction, 2);
            transaction.commit().await.unwrap();
            assert_eq!(items!(pool), [2]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn a_deadline_is_a_cancel_like_any_other(root: &Scope) {
            let (_database, pool) = $open(root.ctx(), "deadline").await;
            let mut ended = None;
            for time in DEADLINES {
                let request = root.ctx().with_timeout(&REQUEST, time);
                let Ok(mut transaction) = Transaction::begin(request.ctx(), &pool, GRACE).await else { continue };
                let work = async {
                    let mut connection = transaction.connection()?;
                    sqlx::query("insert into item values (1)").execute(&mut *connection).await.unwrap();
                    sqlx::query($slow).execute(&mut *connection).await.unwrap();
                    Ok::<(), pando_context::Stop>(())
                };
                assert!(request.ctx().run(work).await.unwrap_err().is_deadline());
                ended = Some(transaction);
                // Not because the guard is dropped: it lives.
                request.join().await.unwrap();
                break;
            }
            let transaction = ended.expect("there was time enough to begin");
            assert_eq!(pool.num_idle(), 1);
            assert_eq!(items!(pool), [0_i64; 0]);
            assert!(matches!(transaction.commit().await, Err(TransactionError::Stopped(stop)) if stop.is_deadline()));
            pool.close().await;
        }

        #[pando_context::test]
        async fn a_commit_that_has_begun_is_finished(root: &Scope) {
            let (_database, pool) = $open(root.ctx(), "finished").await;
            let request = root.ctx().child(&REQUEST);
            let mut transaction = Transaction::begin(request.ctx(), &pool, GRACE).await.unwrap();
            insert!(transaction, 1);
            {
                let mut commit = std::pin::pin!(transaction.commit());
                assert!(futures::poll!(&mut commit).is_pending());
            }
            request.stop(Reason::requested("in the middle of it"), GRACE).await.unwrap();
            assert_eq!(items!(pool), [1]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn a_commit_that_is_refused_leaves_nothing_and_a_good_connection(ctx: Ctx) {
            let (_database, pool) = $open(&ctx, "refused").await;
            let mut transaction = Transaction::begin(&ctx, &pool, GRACE).await.unwrap();
            insert!(transaction, 1);
            sqlx::query("insert into part values (99)")
                .execute(&mut *transaction.connection().unwrap())
                .await
                .unwrap();
            let error = transaction.commit().await.unwrap_err();
            assert!(matches!(error, TransactionError::NotCommitted(_)), "{error}");
            assert_eq!((pool.num_idle(), pool.size()), (1, 1));
            assert_eq!(items!(pool), [0_i64; 0]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn savepoints_end_with_what_is_around_them(root: &Scope) {
            let (_database, pool) = $open(root.ctx(), "savepoints").await;
            let mut transaction = Transaction::begin(root.ctx(), &pool, GRACE).await.unwrap();
            insert!(transaction, 1);
            {
                let mut connection = transaction.connection().unwrap();
                let mut inner = connection.begin().await.unwrap();
                sqlx::query("insert into item values (2)").execute(&mut *inner).await.unwrap();
                inner.rollback().await.unwrap();
            }
            transaction.commit().await.unwrap();
            assert_eq!(items!(pool), [1]);

            let request = root.ctx().child(&REQUEST);
            let mut transaction = Transaction::begin(request.ctx(), &pool, GRACE).await.unwrap();
            insert!(transaction, 3);
            // Opened by hand and left open.
            sqlx::query("savepoint left_open").execute(&mut *transaction.connection().unwrap()).await.unwrap();
            request.stop(Reason::requested("the test"), GRACE).await.unwrap();
            assert_eq!(items!(pool), [1]);
            pool.close().await;
        }

        #[pando_context::test]
        async fn in_a_context_that_has_ended_nothing_begins(root: &Scope) {
            let (_database, pool) = $open(root.ctx(), "ended").await;
            let request = root.ctx().child(&REQUEST);
            request.cancel(Reason::shutdown("the test"));
            let error = Transaction::begin(request.ctx(), &pool, GRACE).await.unwrap_err();
            assert_eq!(error.to_string(), "rolled back: stopped: shutdown at request: the test");
            // Given up while it begins: the connection is not given back half-way.
            let mut beginning = Box::pin(Transaction::begin(root.ctx(), &pool, GRACE));
            drop(futures::poll!(&mut beginning));
            drop(beginning);
            let mut transaction = Transaction::begin(root.ctx(), &pool, GRACE).await.unwrap();
            insert!(transaction, 1);
            transaction.commit().await.unwrap();
            assert_eq!(items!(pool), [1]);
            pool.close().await;
        }
    };
}

mod on_sqlite {
    promises!(sqlite, "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n");

    #[pando_context::test]
    async fn a_failed_statement_undoes_itself_and_nothing_else(ctx: Ctx) {
        let (_database, pool) = sqlite(&ctx, "failed").await;
        let mut transaction = Transaction::begin(&ctx, &pool, GRACE).await.unwrap();
        insert!(transaction, 1);
        let again = sqlx::query("insert into item values (1)");
        again.execute(&mut *transaction.connection().unwrap()).await.unwrap_err();
        transaction.commit().await.unwrap();
        assert_eq!(items!(pool), [1]);
        // The connection was given back, and nobody needed another one.
        assert_eq!(pool.size(), 1);
        pool.close().await;
    }
}

mod on_postgres {
    use pando_context::Instant;
    use rustix::process::{Pid, Signal, kill_process};

    promises!(postgres, "select pg_sleep(3600)");

    #[pando_context::test]
    async fn no_commit_of_a_failed_transaction_is_called_one(ctx: Ctx) {
        let (_database, pool) = postgres(&ctx, "failed").await;
        let mut transaction = Transaction::begin(&ctx, &pool, GRACE).await.unwrap();
        insert!(transaction, 1);
        let again = sqlx::query("insert into item values (1)");
        again.execute(&mut *transaction.connection().unwrap()).await.unwrap_err();
        let error = transaction.commit().await.unwrap_err();
        assert!(matches!(error, TransactionError::NotCommitted(_)), "{error}");
        assert_eq!(items!(pool), [0_i64; 0]);
        // The connection was given back, and nobody needed another one.
        assert_eq!(pool.size(), 1);
        pool.close().await;
    }

    #[pando_context::test]
    async fn the_server_knows_whose_transaction_it_is_and_how_long_it_may_take(root: &Scope) {
        let (_database, pool) = postgres(root.ctx(), "known").await;
        let request = root.ctx().with_timeout(&REQUEST, Duration::from_secs(100));
        let mut transaction = Transaction::begin(request.ctx(), &pool, GRACE).await.unwrap();
        let show = "select current_setting('application_name'), current_setting('statement_timeout')";
        let asked = sqlx::query_as(show).fetch_one(&mut *transaction.connection().unwrap()).await;
        let (name, bound): (String, String) = asked.unwrap();
        assert!(name.starts_with(&format!("ctx-{}-", root.ctx().trace_id())), "{name}");
        let bound: u64 = bound.strip_suffix("ms").unwrap().parse().unwrap();
        assert!((100_000..=110_000).contains(&bound), "the deadline and the grace: {bound} ms");
        transaction.commit().await.unwrap();
        // What was set for the transaction is gone with it.
        assert_eq!((pool.num_idle(), pool.size()), (1, 1));
        let after: (String, String) = sqlx::query_as(show).fetch_one(&pool).await.unwrap();
        assert_eq!(after, (String::new(), "0".to_owned()));
        pool.close().await;
    }

    #[pando_context::test]
    async fn nothing_runs_on_the_server_after_join(root: &Scope) {
        let (server, pool) = postgres(root.ctx(), "nothing_runs").await;
        let mut observer = sqlx::PgConnection::connect_with(&server.options()).await.unwrap();
        let request = root.ctx().child(&REQUEST);
        let mut transaction = Transaction::begin(request.ctx(), &pool, GRACE).await.unwrap();
        let pid = pid(&mut transaction).await;
        request
            .ctx()
            .spawn(&Kind::new("work"), |ctx| async move {
                let mut connection = transaction.connection().unwrap();
                let slow = sqlx::query("select pg_sleep(3600)").execute(&mut *connection);
                drop(ctx.run(slow).await);
            })
            .detach();
        let mut state = async || {
            let state = "select coalesce(state, '') || ': ' || query from pg_stat_activity where pid = $1";
            sqlx::query_scalar::<_, String>(state).bind(pid).fetch_one(&mut observer).await.unwrap()
        };
        let deadline = Instant::now() + GRACE;
        while state().await != "active: select pg_sleep(3600)" {
            assert!(Instant::now() < deadline, "the statement never ran");
        }
        let stopped = request.stop(Reason::requested("the test"), GRACE).await.unwrap();
        println!("a running statement interrupted, rolled back and given back after {:?}", stopped.after);
        let state = state().await;
        assert!(state.starts_with("idle: "), "{state}");
        observer.close().await.unwrap();
        pool.close().await;
    }

    #[pando_context::test]
    async fn a_server_that_hangs_costs_the_grace_and_the_connection(root: &Scope) {
        let (_database, pool) = postgres(root.ctx(), "hangs").await;
        let request = root.ctx().child(&REQUEST);
        let grace = Duration::from_millis(300);
        let mut transaction = Transaction::begin(request.ctx(), &pool, grace).await.unwrap();
        insert!(transaction, 1);
        let pid = pid(&mut transaction).await;
        let process = Pid::from_raw(pid).unwrap();
        kill_process(process, Signal::STOP).unwrap();

        let stopped = request.stop(Reason::detached("it does not answer"), GRACE).await.unwrap();
        println!("given up after {:?}, with a grace of {grace:?}", stopped.after);
        assert_eq!(pool.size(), 0, "closed, not given back");
        drop(transaction);

        // Once the process goes on, it finds its client gone and undoes what it did.
        kill_process(process, Signal::CONT).unwrap();
        let deadline = Instant::now() + GRACE;
        let alive = "select count(*) from pg_stat_activity where pid = $1";
        while sqlx::query_scalar::<_, i64>(alive).bind(pid).fetch_one(&pool).await.unwrap() > 0 {
            assert!(Instant::now() < deadline, "the server keeps the session");
            root.ctx().sleep(Duration::from_millis(10)).await.unwrap();
        }
        assert_eq!(items!(pool), [0_i64; 0]);
        pool.close().await;
    }

    async fn pid(transaction: &mut Transaction<sqlx::Postgres>) -> i32 {
        let connection = &mut *transaction.connection().unwrap();
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await.unwrap()
    }
}
