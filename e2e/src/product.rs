//! The product under test: the `pando` binary, its controller process and its user commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::eventually;
use crate::ledger::Ledger;
use crate::ports;
use crate::process::{self, Launch, Running};
use crate::progress::Progress;
use crate::workspace;

/// How long the controller may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// Name of the controller's process in the ledger.
const CONTROLLER: &str = "pando-controller";

/// What a controller is started with, beside its addresses and kubeconfig.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// More flags of `pando controller`.
    pub flags: Vec<String>,
    /// More environment variables.
    pub env: Vec<(String, String)>,
}

/// The built binary.
#[derive(Clone, Debug)]
pub struct Product {
    binary: PathBuf,
}

impl Product {
    /// Builds `pando` with the profile of everything else in development, or takes `$PANDO_BIN`. Blocks.
    ///
    /// # Errors
    /// When it does not compile; the compiler has said why on stderr.
    pub fn build(progress: &Progress) -> Result<Self> {
        Self::compile(progress, &[])
    }

    /// Builds `pando` as users get it, or takes `$PANDO_BIN`. Blocks.
    ///
    /// # Errors
    /// As [`Product::build`].
    pub fn build_for_release(progress: &Progress) -> Result<Self> {
        Self::compile(progress, &["--release"])
    }

    fn compile(progress: &Progress, profile: &[&str]) -> Result<Self> {
        if let Some(binary) = std::env::var_os("PANDO_BIN") {
            return Ok(Self { binary: binary.into() });
        }
        progress.say("building pando");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "-p", "pando", "--bin", "pando"])
            .args(profile)
            .arg("--message-format=json-render-diagnostics")
            .current_dir(workspace::root())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            bail!("pando does not compile ({}); see above", output.status);
        }
        let binary = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "pando")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .context("cargo did not say where it put pando")?;
        Ok(Self { binary })
    }

    /// Where it is.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs a user command to its end and gives its stdout back.
    ///
    /// # Errors
    /// When it fails, with what it said on stderr.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        let output = tokio::process::Command::new(&self.binary)
            .args(args)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        if !output.status.success() {
            bail!(
                "`pando {}` failed ({}): {}",
                args.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `pando join`.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn join(&self, name: &str, hub: &Path, member: &Path) -> Result<String> {
        let (hub, member) = (hub.display().to_string(), member.display().to_string());
        self.run(&["join", name, "--kubeconfig", &hub, "--cluster-kubeconfig", &member]).await
    }

    /// `pando unjoin`.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn unjoin(&self, name: &str, hub: &Path, member: &Path) -> Result<String> {
        let (hub, member) = (hub.display().to_string(), member.display().to_string());
        self.run(&["unjoin", name, "--kubeconfig", &hub, "--cluster-kubeconfig", &member]).await
    }

    /// Starts the controller and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with its log.
    pub async fn controller(
        &self,
        kubeconfig: &Path,
        start: &Start,
        logs: &Path,
        ledger: &Ledger,
    ) -> Result<Controller> {
        let (health, metrics, debug) = (ports::free()?, ports::free()?, ports::free()?);
        let mut args = vec![
            "controller".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--health-probe-bind-address=127.0.0.1:{health}"),
            format!("--metrics-bind-address=127.0.0.1:{metrics}"),
            format!("--debug-bind-address=127.0.0.1:{debug}"),
        ];
        args.extend(start.flags.iter().cloned());
        let mut env = vec![("RUST_BACKTRACE".to_owned(), "1".to_owned())];
        env.extend(start.env.iter().cloned());
        let running = ledger.spawn(Launch {
            name: CONTROLLER.to_owned(),
            program: self.binary.clone(),
            args,
            env,
            log: logs.join(format!("{CONTROLLER}.log")),
            ports: vec![health, metrics, debug],
            foundation: false,
        })?;
        let controller = Controller { running, health, metrics, debug };
        controller.ready().await?;
        Ok(controller)
    }
}

/// A controller process.
#[derive(Clone, Debug)]
pub struct Controller {
    running: Running,
    health: u16,
    metrics: u16,
    debug: u16,
}

impl Controller {
    /// The process.
    pub fn process(&self) -> &Running {
        &self.running
    }

    /// Text of a page of the health server, say `/readyz?verbose`, whatever its status.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn health(&self, path: &str) -> Result<Page> {
        page(self.health, path).await
    }

    /// Text of `/metrics`.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Page> {
        page(self.metrics, "/metrics").await
    }

    /// Text of a debug page, say `/debug/contexts`, whatever its status.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn debug(&self, path: &str) -> Result<Page> {
        page(self.debug, path).await
    }

    /// Where the debug pages are, as `pando debug --address` takes it.
    pub fn debug_address(&self) -> String {
        format!("127.0.0.1:{}", self.debug)
    }

    /// Waits until it is ready.
    async fn ready(&self) -> Result<()> {
        let ready = eventually::some(READY, "the controller to be ready", || async {
            self.running.check()?;
            let page = self.health("/readyz").await?;
            if page.status != 200 {
                bail!("/readyz says {}: {}", page.status, page.body.trim());
            }
            Ok(Some(()))
        });
        let ended = eventually::some(READY * 2, "the controller to end", || async { Ok(self.running.check().err()) });
        let outcome = tokio::select! {
            ready = ready => ready,
            ended = ended => Err(ended.unwrap_or_else(|error| error)),
        };
        outcome.with_context(|| format!("see {}", self.running.record.log.display()))
    }

    /// Kills it without warning (SIGKILL), and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&self) -> Result<()> {
        self.end(Duration::ZERO).await
    }

    /// Asks it to end (SIGTERM), and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn terminate(&self) -> Result<()> {
        self.end(process::GRACE * 3).await
    }

    async fn end(&self, grace: Duration) -> Result<()> {
        let record = self.running.record.clone();
        if grace.is_zero() {
            record.identity.signal(rustix::process::Signal::KILL);
        }
        let left = tokio::task::spawn_blocking(move || process::stop(&[record], grace)).await?;
        anyhow::ensure!(left.is_empty(), "the controller does not end");
        Ok(())
    }
}

/// An answer of one of the controller's own servers.
#[derive(Clone, Debug)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// The text.
    pub body: String,
}

/// A plain HTTP/1.0 request: the probes of a kubelet need no more, and neither do we.
async fn page(port: u16, path: &str) -> Result<Page> {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok(Page { status: status.context("not an HTTP answer")?, body: body.to_owned() })
    };
    tokio::time::timeout(Duration::from_secs(5), ask)
        .await
        .with_context(|| format!("127.0.0.1:{port}{path} does not answer"))?
}
