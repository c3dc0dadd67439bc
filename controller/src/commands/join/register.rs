//! The hub's side of joining: credentials first, then the Cluster that points at them, then its ownership of them.
//!
//! In this order the controller never sees a Cluster whose credentials are missing, and deleting the
//! Cluster removes its credentials.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use pando_api::cluster::{Cluster, ClusterSpec, LocalSecretReference, SyncMode};
use pando_api::names::ClusterName;
use pando_api::{annotations, labels};

use super::super::connection::{Hub, RequestError};
use super::super::terminal;
use super::admission::{self, Admission};
use super::member::{Token, Tokens};
use super::{Address, ClusterId, Error, undisturbed};
use crate::args::JoinArgs;

/// Writes credentials and Cluster; returns the Cluster as the hub holds it.
pub(super) async fn register(
    hub: &Hub,
    args: &JoinArgs,
    address: &Address,
    id: ClusterId,
    admission: Admission,
    tokens: &Tokens,
) -> Result<Cluster, Error> {
    let namespace = args.member.cluster_namespace.as_str();
    ensure_namespace(hub, namespace).await?;
    let known = match &admission {
        Admission::New => None,
        Admission::Refresh(cluster) => Some(cluster.as_ref()),
    };
    store(hub, args, address, tokens, known).await?;
    terminal::progress(format_args!(
        "hub: credentials are in {namespace}/{0} and {namespace}/{0}-impersonator",
        args.name
    ));

    let cluster = match &admission {
        Admission::New => {
            let mut cluster = Cluster::new(args.name.as_ref(), ClusterSpec::default());
            describe(&mut cluster.spec, args, address, &id);
            hub.create(&hub.all(), &cluster).await?
        }
        Admission::Refresh(known) => refresh(hub, args, address, &id, known).await?,
    };
    if known.is_none() {
        store(hub, args, address, tokens, Some(&cluster)).await?;
    }
    let done = if known.is_none() { "created" } else { "refreshed" };
    terminal::progress(format_args!("hub: cluster {} {done}, push mode, {}", args.name, address.endpoint));
    Ok(cluster)
}

/// Changes the Cluster as it is now: its status is written all the time, its taints at any time.
async fn refresh(
    hub: &Hub,
    args: &JoinArgs,
    address: &Address,
    id: &ClusterId,
    known: &Cluster,
) -> Result<Cluster, Error> {
    let clusters = hub.all::<Cluster>();
    undisturbed(async || {
        let now = admission::still(known, hub.find(&clusters, args.name.as_ref()).await?, id)?;
        let mut spec = now.spec.clone();
        describe(&mut spec, args, address, id);
        let mut patch = serde_json::json!({ "spec": spec });
        // What is empty now may have been set before: a merge patch removes only what it names.
        for field in ["insecureSkipTLSVerification", "proxyURL"] {
            if patch["spec"].get(field).is_none() {
                patch["spec"][field] = serde_json::Value::Null;
            }
        }
        Ok(hub.change(&clusters, &now, patch).await?)
    })
    .await
}

async fn ensure_namespace(hub: &Hub, name: &str) -> Result<(), RequestError> {
    let api = hub.all::<Namespace>();
    if hub.find(&api, name).await?.is_some() {
        return Ok(());
    }
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([(labels::SYSTEM.to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    match hub.create(&api, &namespace).await {
        Err(RequestError::Refused { code: 409, .. }) => Ok(()),
        created => created.map(|_| terminal::progress(format_args!("hub: namespace {name} created"))),
    }
}

/// Writes both secrets, owned by the Cluster once that exists.
async fn store(
    hub: &Hub,
    args: &JoinArgs,
    address: &Address,
    tokens: &Tokens,
    owner: Option<&Cluster>,
) -> Result<(), RequestError> {
    let api = hub.within::<Secret>(&args.member.cluster_namespace);
    let ca = address.ca_bundle.as_deref();
    let pairs = [
        (args.name.to_string(), &tokens.controller, ca),
        (impersonator_secret(&args.name), &tokens.impersonator, None),
    ];
    for (name, token, ca) in pairs {
        let secret = secret(name, &args.member.cluster_namespace, token, ca, owner);
        hub.apply(&api, &secret).await?;
    }
    Ok(())
}

/// Karmada 1.19's name for the secret of the impersonator's token.
fn impersonator_secret(cluster: &ClusterName) -> String {
    format!("{cluster}-impersonator")
}

/// Keys `token` and `caBundle`, as Karmada names them, and the life of the token.
pub(super) fn secret(
    name: String,
    namespace: &str,
    token: &Token,
    ca_bundle: Option<&str>,
    owner: Option<&Cluster>,
) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([("token".to_owned(), bytes(&token.secret))]);
    if let Some(bundle) = ca_bundle {
        data.insert("caBundle".to_owned(), bytes(bundle));
    }
    let issued = (annotations::TOKEN_ISSUED.to_owned(), token.issued.to_string());
    let expires = (annotations::TOKEN_EXPIRES.to_owned(), token.expires.to_string());
    Secret {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            annotations: Some(BTreeMap::from([issued, expires])),
            owner_references: owner.and_then(owned_by).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

fn owned_by(cluster: &Cluster) -> Option<OwnerReference> {
    cluster.owner_ref(&())
}

/// Sets what joining knows and leaves the rest, such as taints, as it is.
pub(super) fn describe(spec: &mut ClusterSpec, args: &JoinArgs, address: &Address, id: &ClusterId) {
    let reference =
        |name: String| Some(LocalSecretReference { namespace: args.member.cluster_namespace.clone(), name });
    spec.id = id.0.clone();
    spec.sync_mode = SyncMode::Push;
    spec.api_endpoint = address.endpoint.as_str().to_owned();
    spec.secret_ref = reference(args.name.to_string());
    spec.impersonator_secret_ref = reference(impersonator_secret(&args.name));
    spec.insecure_skip_tls_verification = address.insecure;
    spec.proxy_url = address.proxy_url.clone().unwrap_or_default();
    if let Some(provider) = &args.cluster_provider {
        spec.provider = provider.clone();
    }
    if let Some(region) = &args.cluster_region {
        spec.region = region.clone();
    }
    if !args.cluster_zones.is_empty() {
        spec.zones = args.cluster_zones.clone();
    }
}
