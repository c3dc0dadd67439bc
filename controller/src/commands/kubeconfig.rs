//! Which cluster a command talks to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::args::HubArgs;

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A kubeconfig that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file named on the command line cannot be read.
    #[error("cannot use kubeconfig {}: {source}", file.display())]
    File {
        /// As given.
        file: PathBuf,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// No file was named, and none of the usual places has one.
    #[error("no kubeconfig for the hub: pass --kubeconfig FILE or set KUBECONFIG ({source})")]
    Nowhere {
        /// What the last place tried said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The context does not exist or leads nowhere.
    #[error("cannot use context {} of {from}: {source}", context.as_deref().unwrap_or("(current)"))]
    Context {
        /// The context asked for; none means the current one.
        context: Option<String>,
        /// Where it was looked up.
        from: String,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
}

/// The hub's connection data: `--kubeconfig`, then `KUBECONFIG`, then `~/.kube/config`, then the pod's identity.
///
/// # Errors
///
/// When what was asked for cannot be read, or nothing was asked for and nothing is there.
pub(crate) async fn hub_config(args: &HubArgs) -> Result<Config, Error> {
    if let Some(file) = &args.kubeconfig {
        return Ok(from_file(file, args.context.as_deref()).await?.config);
    }
    match Kubeconfig::read() {
        Ok(found) => {
            let from = "the default kubeconfig";
            Ok(select(found, args.context.as_deref(), from).await?.config)
        }
        Err(absent) if args.context.is_some() => Err(Error::Nowhere { source: absent.into() }),
        Err(_) => Config::incluster().map(tuned).map_err(|error| Error::Nowhere { source: error.into() }),
    }
}

/// Connection data together with what [`Config`] does not keep of the file.
pub(crate) struct Selected {
    /// What to connect with.
    pub(crate) config: Config,
    /// The proxy that the *file* names; `config` also holds the one of the environment.
    pub(crate) proxy_url: Option<String>,
}

/// Connection data of one file.
///
/// # Errors
///
/// When the file or the context cannot be used.
pub(crate) async fn from_file(file: &Path, context: Option<&str>) -> Result<Selected, Error> {
    let kubeconfig = Kubeconfig::read_from(file)
        .map_err(|source| Error::File { file: file.to_owned(), source: Box::new(source) })?;
    select(kubeconfig, context, &file.display().to_string()).await
}

async fn select(kubeconfig: Kubeconfig, context: Option<&str>, from: &str) -> Result<Selected, Error> {
    let proxy_url = proxy_url(&kubeconfig, context);
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|source| Error::Context {
        context: context.map(str::to_owned),
        from: from.to_owned(),
        source: Box::new(source),
    })?;
    Ok(Selected { config: tuned(config), proxy_url })
}

fn proxy_url(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let named = kubeconfig.contexts.iter().find(|named| named.name == context)?;
    let cluster = &named.context.as_ref()?.cluster;
    let named = kubeconfig.clusters.iter().find(|named| &named.name == cluster)?;
    named.cluster.as_ref()?.proxy_url.clone()
}

/// Our own deadlines and no hidden retries: kube's retry layer would repeat any verb.
fn tuned(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT);
    config.default_retry = false;
    config
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    const TWO: &str = r#"
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: a, cluster: {server: "https://a:1"}}
- {name: b, cluster: {server: "https://b:2", proxy-url: "http://proxy:3128"}}
contexts:
- {name: one, context: {cluster: a, user: u, namespace: team}}
- {name: two, context: {cluster: b, user: u}}
users:
- {name: u, user: {token: t}}
"#;

    #[pando_context::test]
    async fn a_context_selects_its_cluster_and_proxy() {
        let one = select(Kubeconfig::from_yaml(TWO).unwrap(), None, "test").await.unwrap();
        assert_eq!(one.config.cluster_url.to_string(), "https://a:1/");
        assert_eq!(one.config.default_namespace, "team");
        assert_eq!(one.proxy_url, None);
        let two = select(Kubeconfig::from_yaml(TWO).unwrap(), Some("two"), "test").await.unwrap();
        assert_eq!(two.config.cluster_url.to_string(), "https://b:2/");
        assert_eq!(two.proxy_url.as_deref(), Some("http://proxy:3128"));
        assert!(!two.config.default_retry);
    }

    #[pando_context::test]
    async fn an_unknown_context_is_named_with_its_file() {
        let refused = select(Kubeconfig::from_yaml(TWO).unwrap(), Some("three"), "a.yaml").await;
        let message = refused.err().unwrap().to_string();
        assert!(message.starts_with("cannot use context three of a.yaml:"), "{message}");
    }
}
