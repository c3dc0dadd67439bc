//! From a Cluster object and its secret to clients of the member.
//!
//! Everything is built by hand from an URL, a certificate bundle and a token. A kubeconfig is never read here: its `exec`,
//! `tokenFile` and certificate paths would let whoever may write a Secret run programs and read files of this process.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use pando_api::cluster::Cluster;
use pando_context::Ctx;
use pando_runtime::client::{ClientError, Credentials, Limits, Requests, Stack, Trouble};
use secrecy::{ExposeSecret, SecretString};

use crate::breaker::Sign;
use crate::gate::Gate;
use crate::gateway;

/// Keys of a cluster's secret (Karmada 1.19).
pub const TOKEN: &str = "token";
/// See [`TOKEN`].
pub const CA_BUNDLE: &str = "caBundle";

/// Why a cluster cannot be connected. Never an outage: nothing is moved away because of it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// `spec.apiEndpoint` is empty.
    #[error("spec.apiEndpoint is empty: set it to the https URL of the member's API server")]
    NoEndpoint,
    /// `spec.proxyURL` is set, and a direct connection would not be what was asked for.
    #[error("spec.proxyURL is not supported yet: reach the member directly and remove it")]
    Proxy,
    /// The secret has no token.
    #[error("secret {secret} has no {TOKEN:?}: put the token of the member's service account there")]
    NoToken {
        /// Namespace and name.
        secret: String,
    },
    /// Endpoint, certificates or token are not usable.
    #[error("{0} (from the Cluster's spec and its secret)")]
    Unusable(#[from] ClientError),
}

/// The checked connection parameters of a member.
#[derive(Debug)]
pub struct Connection {
    credentials: Credentials,
    token: SecretString,
    fingerprint: u64,
}

impl Connection {
    /// Reads the parameters out of a Cluster and the secret that its `spec.secretRef` names.
    ///
    /// Without `caBundle` (and without the insecure flag) the system's certificate authorities count, as in Karmada 1.19.
    ///
    /// # Errors
    /// See [`Refused`]: each says what to change.
    pub fn new(cluster: &Cluster, secret: &Secret) -> Result<Self, Refused> {
        let spec = &cluster.spec;
        if spec.api_endpoint.is_empty() {
            return Err(Refused::NoEndpoint);
        }
        if !spec.proxy_url.is_empty() {
            return Err(Refused::Proxy);
        }
        let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
        let Some(token) = value(TOKEN).and_then(|token| std::str::from_utf8(token).ok()) else {
            let meta = &secret.metadata;
            let secret = format!(
                "{}/{}",
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default()
            );
            return Err(Refused::NoToken { secret });
        };
        let bundle = value(CA_BUNDLE).filter(|bundle| !bundle.is_empty());
        let insecure = spec.insecure_skip_tls_verification;
        let credentials = Credentials::new(&spec.api_endpoint, bundle, token, insecure)?;
        let mut hasher = DefaultHasher::new();
        (&spec.api_endpoint, bundle, insecure).hash(&mut hasher);
        Ok(Self { credentials, token: SecretString::from(token.to_owned()), fingerprint: hasher.finish() })
    }

    /// Equal for parameters between which connections can be kept: everything but the token.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Puts this connection's token under the living clients of `other`. False when it is the same one.
    pub(crate) fn hand_token_to(&self, other: &Credentials) -> Result<bool, Refused> {
        Ok(other.token().replace(self.token.expose_secret())?)
    }

    /// Two clients with connections of their own (requests, watches), all of whose tasks live under `ctx`.
    /// What the connections notice by themselves is told to `gate`.
    pub(crate) fn open(&self, ctx: &Ctx, gate: &Arc<Gate>) -> Result<(Requests, Client), Refused> {
        let gate = Arc::clone(gate);
        let stack = Stack::for_member(&self.credentials).limits(limits()).on_trouble(move |trouble| {
            gate.sign(match trouble {
                Trouble::PingLost => Sign::Dead,
                Trouble::WatchBroken => Sign::Broken,
            });
        });
        Ok((stack.requests(ctx)?, stack.client(ctx)?))
    }
}

/// Bounds of a member's clients. Requests have the deadline of their caller; these are for watches.
pub(crate) fn limits() -> Limits {
    Limits { mutate: gateway::DEADLINE, read: gateway::DEADLINE, ..Limits::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_in_result, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    fn connection(spec: &serde_json::Value, data: &[(&str, &str)]) -> Result<Connection, Refused> {
        let cluster = json!({"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "bj-prod"}, "spec": spec});
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut secret = Secret { data: Some(data.collect()), ..Secret::default() };
        secret.metadata.namespace = Some("karmada-cluster".into());
        secret.metadata.name = Some("bj-prod".into());
        let cluster: Cluster = serde_json::from_value(cluster).expect("a Cluster");
        Connection::new(&cluster, &secret)
    }

    fn at(endpoint: &str, token: &str) -> Connection {
        let spec = json!({"syncMode": "Push", "apiEndpoint": endpoint, "insecureSkipTLSVerification": true});
        connection(&spec, &[("token", token)]).unwrap()
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        let spec = |endpoint: &str| json!({"syncMode": "Push", "apiEndpoint": endpoint});
        assert!(matches!(connection(&spec(""), &[("token", "t")]), Err(Refused::NoEndpoint)));
        let error = connection(&spec("https://a:1"), &[]).unwrap_err();
        assert!(error.to_string().contains("karmada-cluster/bj-prod"), "{error}");
        assert!(matches!(
            connection(&spec("https://a:1"), &[("token", " ")]),
            Err(Refused::Unusable(ClientError::Token))
        ));
        assert!(matches!(
            connection(&spec("http://10.0.0.1"), &[("token", "t")]),
            Err(Refused::Unusable(ClientError::Endpoint { .. }))
        ));
        let proxied = json!({"syncMode": "Push", "apiEndpoint": "https://a:1", "proxyURL": "http://p:1"});
        assert!(matches!(connection(&proxied, &[("token", "t")]), Err(Refused::Proxy)));
    }

    #[test]
    fn another_token_keeps_the_connection_another_endpoint_does_not() {
        assert_eq!(at("https://a:1", "x").fingerprint(), at("https://a:1", "y").fingerprint());
        assert_ne!(at("https://a:1", "x").fingerprint(), at("https://b:1", "x").fingerprint());
    }

    #[test]
    fn nothing_of_a_token_is_printed() {
        assert!(!format!("{:?}", at("https://a:1", "hunter2")).contains("hunter2"));
    }
}
