//! Installing Pando on a hub: definitions, namespaces, rights, and the controller's identity.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::Scope;
use kube::{Api, Client, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::eventually;
use crate::kubeconfig::{self, Credential};
use crate::provider::Cluster;

/// Namespace of Pando's own objects on the hub.
pub const SYSTEM: &str = "karmada-system";
/// Namespace of the members' credentials on the hub.
pub const CLUSTERS: &str = "karmada-cluster";
/// The controller's ServiceAccount in [`SYSTEM`].
pub const ACCOUNT: &str = "pando-controller";
/// Field manager of what is installed.
const MANAGER: &str = "pando-install";
/// How long the controller's token is valid. A demo may stay for a while.
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;
/// How long a new kind may take until it is served.
const SERVED: Duration = Duration::from_secs(60);
/// The garbage collector looks for new kinds every 30 s.
const COLLECTION: Duration = Duration::from_secs(100);

/// The controller's user name on the hub, as audit logs show it.
pub fn controller_user() -> String {
    format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}")
}

/// The controller's user name in a member.
pub fn member_user(member: &str) -> String {
    format!("system:serviceaccount:{CLUSTERS}:karmada-{member}")
}

/// Every object in the YAML files of a folder, files in order of their names.
///
/// # Errors
/// When the folder has none, or a file is not YAML.
pub fn read_folder(folder: &Path) -> Result<Vec<Value>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} holds no YAML file", folder.display());
    let mut objects = Vec::new();
    for file in files {
        objects.extend(read_file(&file)?);
    }
    Ok(objects)
}

/// Every object in a YAML file.
///
/// # Errors
/// When it cannot be read or is not YAML.
pub fn read_file(file: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).with_context(|| format!("{} is not YAML", file.display())))
        // A comment alone, say a licence, is a null document.
        .filter(|value| !matches!(value, Ok(Value::Null)))
        .collect()
}

/// Applies an object on the server's side; asks the server which resource its kind is.
///
/// # Errors
/// When the kind is not served or the object is refused.
pub async fn apply(client: &Client, object: &Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    let types = object.types.clone().context("an object without kind")?;
    let kind = GroupVersionKind::try_from(&types)?;
    let (resource, capabilities) =
        kube::discovery::pinned_kind(client, &kind).await.with_context(|| format!("{} is not served", types.kind))?;
    let namespaced = capabilities.scope == Scope::Namespaced;
    let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
    let api: Api<DynamicObject> = match namespaced {
        true => Api::namespaced_with(client.clone(), &namespace, &resource),
        false => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams::apply(MANAGER).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await
        .with_context(|| format!("cannot apply {} {}", types.kind, object.name_any()))
}

/// Applies definitions and waits until all of them are served.
///
/// # Errors
/// When one is refused or not served in time.
pub async fn definitions(client: &Client, definitions: &[Value]) -> Result<()> {
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let params = PatchParams::apply(MANAGER).force();
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().context("a definition without name")?;
        api.patch(name, &params, &Patch::Apply(definition))
            .await
            .with_context(|| format!("cannot apply the definition {name}"))?;
    }
    for definition in definitions {
        served(client, &api, definition).await?;
    }
    Ok(())
}

/// Waits until a definition is established *and* its objects can be listed: the API server rebuilds
/// the storage of a new kind for a moment after it has called it established.
async fn served(client: &Client, api: &Api<DynamicObject>, definition: &Value) -> Result<()> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let name = text("/metadata/name");
    let (group, version) = (text("/spec/group"), text("/spec/versions/0/name"));
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: text("/spec/names/kind").to_owned(),
        plural: text("/spec/names/plural").to_owned(),
    };
    let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    eventually::some(SERVED, &format!("{name} to be served"), || async {
        let seen = api.get(name).await?;
        let conditions = seen.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let established = conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True");
        anyhow::ensure!(established, "conditions {conditions:?}");
        Ok(Some(objects.list(&ListParams::default().limit(1)).await.map(drop)?))
    })
    .await
}

/// Installs what a controller needs on a hub whose definitions are there (its namespaces, account and
/// rights), and writes the controller's kubeconfig: its own ServiceAccount with its own rights, never the administrator's.
///
/// # Errors
/// When an object is refused.
pub async fn rights(hub: &Cluster, rbac: &[Value], kubeconfig: &Path) -> Result<()> {
    for object in rbac {
        apply(&hub.client, object).await?;
    }
    let token = token(&hub.client).await?;
    let server = match &hub.relay {
        Some(relay) => format!("https://{}", relay.address()),
        None => hub.server.clone(),
    };
    kubeconfig::write(kubeconfig, &hub.name, &server, &hub.authority, &Credential::Token(token))?;
    Ok(())
}

/// A token for the controller's ServiceAccount.
async fn token(client: &Client) -> Result<String> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), SYSTEM);
    let request = serde_json::from_value(json!({
        "metadata": {},
        "spec": { "audiences": [], "expirationSeconds": TOKEN_SECONDS },
    }))?;
    let answer = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await
        .with_context(|| format!("cannot get a token for the ServiceAccount {SYSTEM}/{ACCOUNT}"))?;
    let status = answer.status.context("a token answer without token")?;
    Ok(status.token)
}

/// Waits until the hub's garbage collector knows our kinds: a Work whose owner is gone is collected.
///
/// # Errors
/// When it is not collected in time.
pub async fn garbage_is_collected(hub: &Client) -> Result<()> {
    const PROBE: &str = "pando-collector-probe";
    let owners = Api::<ConfigMap>::default_namespaced(hub.clone());
    let owner: ConfigMap = serde_json::from_value(json!({ "metadata": { "name": PROBE } }))?;
    let owner = owners.create(&PostParams::default(), &owner).await?;
    let uid = owner.metadata.uid.context("an object without uid")?;
    owners.delete(PROBE, &DeleteParams::default()).await?;

    let works = Api::<DynamicObject>::default_namespaced_with(
        hub.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("work.karmada.io", "v1alpha1", "Work")),
    );
    let probe: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "work.karmada.io/v1alpha1",
        "kind": "Work",
        "metadata": {
            "name": PROBE,
            "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": PROBE, "uid": uid }],
        },
        "spec": { "workload": { "manifests": [] } },
    }))?;
    works.create(&PostParams::default(), &probe).await?;
    let works = &works;
    eventually::some(COLLECTION, "the hub's garbage collector to know Works", || async move {
        Ok(works.get_opt(PROBE).await?.is_none().then_some(()))
    })
    .await
}
