//! Kubeconfig files and clients made from them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::pki;

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A client certificate.
    Certificate(pki::Identity),
    /// A bearer token.
    Token(String),
}

/// Writes a kubeconfig with one context, readable for its owner only, and gives its path back.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, cluster: &str, server: &str, authority: &str, credential: &Credential) -> Result<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let encode = |text: &str| STANDARD.encode(text.as_bytes());
    let user: Value = match credential {
        Credential::Certificate(identity) => json!({
            "client-certificate-data": encode(&identity.certificate),
            "client-key-data": encode(&identity.key),
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": cluster, "cluster": {
            "server": server,
            "certificate-authority-data": encode(authority),
        }}],
        "users": [{ "name": cluster, "user": user }],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": cluster } }],
        "current-context": cluster,
    });
    let text = serde_yaml::to_string(&content)?;
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path.to_owned())
}

/// A client from a kubeconfig file.
///
/// # Errors
/// When the file cannot be read or is not valid.
pub async fn client(path: &Path) -> Result<Client> {
    // Both TLS backends of the dependency tree are `ring`; a second call finds it installed.
    drop(rustls::crypto::ring::default_provider().install_default());
    let kubeconfig =
        Kubeconfig::read_from(path).with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("{} is not a usable kubeconfig", path.display()))?;
    Ok(Client::try_from(config)?)
}
