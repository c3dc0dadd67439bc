//! A PostgreSQL server of the tests' own: Debian's package, a fresh cluster in a temporary folder, a socket in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use pando_context::{Ctx, Instant};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// Where Debian's package puts the programs of each major version.
const PACKAGES: &str = "/usr/lib/postgresql";

/// Debian's user with the fewest rights. PostgreSQL's programs refuse to run as root.
const NOBODY: u32 = 65_534;

/// Runs the server until the pipe to its standard input is closed, which happens when the test process ends, however that
/// comes about; then removes its files.
const UNTIL_INPUT_ENDS: &str = r#"folder=$1; shift; "$@" & server=$!; cat; kill -QUIT $server; wait; rm -rf "$folder""#;

/// How long the server may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);

const USER: &str = "tester";

/// A server that runs for as long as the test process.
pub(crate) struct Postgres {
    folder: PathBuf,
    /// Holds the pipe.
    _shell: Child,
}

impl Postgres {
    pub(crate) fn get() -> &'static Self {
        static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);
        &SERVER
    }

    fn start() -> Self {
        let programs = programs();
        // Short: the path of a socket has at most 107 bytes.
        let folder = std::env::temp_dir().join(format!("pando-pg-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        if is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = folder.join("data");
        let made = unprivileged(&programs.join("initdb"), &folder)
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--no-locale", "--username", USER, "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let log = fs::File::create(folder.join("log")).unwrap();
        let shell = unprivileged(Path::new("/bin/sh"), &folder)
            .args(["-c", UNTIL_INPUT_ENDS, "sh"])
            .arg(&folder)
            .arg(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, _shell: shell }
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass().socket(&self.folder).username(USER).database("postgres")
    }

    /// Connections to a schema of the test's own; waits for the server to be there.
    pub(crate) async fn pool(&self, ctx: &Ctx, schema: &str) -> PgPool {
        let options = self.options().options([("search_path", schema)]);
        let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let deadline = Instant::now() + START;
        let pool = loop {
            match pool.clone().connect_with(options.clone()).await {
                Ok(pool) => break pool,
                Err(error) if Instant::now() > deadline => {
                    let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                    panic!("PostgreSQL does not answer: {error}\n{log}");
                }
                Err(_) => ctx.sleep(Duration::from_millis(20)).await.unwrap(),
            }
        };
        // Names are the tests' own.
        let make = format!("drop schema if exists {schema} cascade; create schema {schema}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&pool).await.unwrap();
        pool
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program without this process's rights and environment, in a folder that it may enter.
fn unprivileged(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// The programs of the newest installed version.
fn programs() -> PathBuf {
    let versions = fs::read_dir(PACKAGES).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let servers = versions.filter(|programs| programs.join("initdb").is_file() && programs.join("postgres").is_file());
    let newest = servers.max_by_key(|programs| {
        let version = programs.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    newest.unwrap_or_else(|| panic!("no PostgreSQL server under {PACKAGES}: install Debian's package `postgresql`"))
}
