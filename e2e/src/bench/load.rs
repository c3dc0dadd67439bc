//! The load: objects, and sending many of them at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use super::objects::Kind;
use crate::provider::Cluster;

/// Requests in flight of a burst: as many as the targets' floor is measured with.
pub const IN_FLIGHT: usize = 16;
/// No request of ours may take longer.
const DEADLINE: Duration = Duration::from_secs(60);
/// But for the deletion of a collection: an API server deletes one object after another before it answers.
const DELETION: Duration = Duration::from_secs(900);

/// A client without compression (it would cost the machine more than it saves) and without hidden retries.
///
/// # Errors
/// When the kubeconfig cannot be used.
pub async fn client(cluster: &Cluster) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(&cluster.admin_kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.disable_compression = true;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// A request that is ready to go.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    content: &'static str,
    body: Vec<u8>,
}

impl Call {
    /// Creates an object.
    ///
    /// # Errors
    /// When it has no kind that benchmarks know.
    pub fn create(object: &Value) -> Result<Self> {
        Self::post(Kind::of(object)?.collection(object["metadata"]["namespace"].as_str()), object)
    }

    /// Creates an object of any kind in the collection of this path.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn post(path: String, object: &Value) -> Result<Self> {
        Ok(Self { method: Method::POST, path, content: "application/json", body: serde_json::to_vec(object)? })
    }

    /// Merges into an object.
    ///
    /// # Errors
    /// When the patch cannot be written as JSON.
    pub fn merge(path: String, patch: &Value) -> Result<Self> {
        let content = "application/merge-patch+json";
        Ok(Self { method: Method::PATCH, path, content, body: serde_json::to_vec(patch)? })
    }

    /// Deletes an object, or every object of a collection.
    pub fn delete(path: String) -> Self {
        Self { method: Method::DELETE, path, content: "application/json", body: vec![] }
    }

    /// Sends it and waits for the answer.
    ///
    /// # Errors
    /// When it is refused or there is no answer in time.
    pub async fn send(self, client: &Client) -> Result<()> {
        let what = format!("{} {}", self.method, self.path);
        let deadline = if self.method == Method::DELETE { DELETION } else { DEADLINE };
        let request = Request::builder().method(self.method).uri(&self.path).header("content-type", self.content);
        let answer = tokio::time::timeout(deadline, client.request_text(request.body(self.body)?)).await;
        answer.with_context(|| format!("{what}: no answer within {deadline:?}"))?.context(what)?;
        Ok(())
    }
}

/// Sends calls, this many in flight, in their order. Gives the time of the last answer.
///
/// # Errors
/// At the first that fails.
pub async fn send_all(client: &Client, calls: Vec<Call>, in_flight: usize) -> Result<Instant> {
    let running = calls.into_iter().map(|call| call.send(client));
    stream::iter(running).buffer_unordered(in_flight).try_collect::<()>().await?;
    Ok(Instant::now())
}

/// Reads an object or a list; none when it is not there.
///
/// # Errors
/// When the server does not answer or refuses.
pub async fn read(client: &Client, path: &str) -> Result<Option<Value>> {
    let request = Request::get(path).body(Vec::new())?;
    match client.request::<Value>(request).await {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {path}")),
    }
}

/// Names of the objects of a kind in a namespace.
///
/// # Errors
/// As [`read`].
pub async fn names(client: &Client, kind: Kind, namespace: &str) -> Result<Vec<String>> {
    let request = Request::get(kind.collection(Some(namespace)))
        .header("accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        .body(Vec::new())?;
    let list: Value = client.request(request).await?;
    let items = list["items"].as_array().into_iter().flatten();
    Ok(items.filter_map(|item| item["metadata"]["name"].as_str().map(str::to_owned)).collect())
}
