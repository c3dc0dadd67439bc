//! What a pod names: ConfigMaps, Secrets, its account, its claims (Karmada 1.19, `GetDependenciesFromPodTemplate`).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::list;
use crate::manifest::text;

/// An object that another one needs in the same cluster: by name, or all that have certain labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// `group/version`, or only the version for the core group.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; `None` for cluster-scoped objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name; `None` when the labels select.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `matchLabels` of the selector; `None` when it is one object by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<MatchLabels>,
}

/// A label selector that only has `matchLabels`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchLabels {
    /// All of these, exactly.
    pub match_labels: BTreeMap<String, String>,
}

/// Every namespace of every cluster has this one, with the cluster's own content.
const ROOT_CA: &str = "kube-root-ca.crt";
/// As [`ROOT_CA`].
const DEFAULT_ACCOUNT: &str = "default";

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Where a volume names a Secret. Those that name a namespace, too, mean one of their own.
const SECRETS_OF_VOLUMES: [&str; 10] = [
    "/secret/secretName",
    "/azureFile/secretName",
    "/cephfs/secretRef/name",
    "/cinder/secretRef/name",
    "/csi/nodePublishSecretRef/name",
    "/flexVolume/secretRef/name",
    "/iscsi/secretRef/name",
    "/rbd/secretRef/name",
    "/scaleIO/secretRef/name",
    "/storageos/secretRef/name",
];

impl Dependency {
    /// One object of the core group, in the namespace of `owner`.
    pub(super) fn core(owner: &Value, kind: &str, name: &str) -> Self {
        Self::named(owner, "v1", kind, name)
    }

    /// One object in the namespace of `owner`.
    pub(super) fn named(owner: &Value, api_version: &str, kind: &str, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::of_kind(owner, api_version, kind) }
    }

    /// All objects with a label in the namespace of `owner`.
    pub(super) fn labelled(owner: &Value, api_version: &str, kind: &str, label: (&str, &str)) -> Self {
        let match_labels = BTreeMap::from([(label.0.to_owned(), label.1.to_owned())]);
        Self { label_selector: Some(MatchLabels { match_labels }), ..Self::of_kind(owner, api_version, kind) }
    }

    fn of_kind(owner: &Value, api_version: &str, kind: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: text(owner, &["metadata", "namespace"]).map(str::to_owned),
            name: None,
            label_selector: None,
        }
    }
}

/// What the pod spec at `pointer` of `owner` names. Beyond Karmada, what every cluster has of its own is left out.
pub(super) fn of_pod(owner: &Value, pointer: &str) -> Vec<Dependency> {
    let Some(spec) = owner.pointer(pointer) else { return Vec::new() };
    let mut found = Found { owner, all: Vec::new() };
    found.account(spec);
    for secret in list(spec, "imagePullSecrets") {
        found.named("Secret", secret.get("name"));
    }
    for container in CONTAINERS.iter().flat_map(|field| list(spec, field)) {
        found.environment(container);
    }
    for volume in list(spec, "volumes") {
        found.volume(volume);
    }
    found.all
}

struct Found<'a> {
    owner: &'a Value,
    all: Vec<Dependency>,
}

impl Found<'_> {
    fn named(&mut self, kind: &str, name: Option<&Value>) {
        let Some(name) = name.and_then(Value::as_str).filter(|name| !name.is_empty()) else { return };
        if (kind, name) != ("ConfigMap", ROOT_CA) {
            self.all.push(Dependency::core(self.owner, kind, name));
        }
    }

    fn account(&mut self, spec: &Value) {
        let account = spec.get("serviceAccountName").filter(|account| account.as_str() != Some(DEFAULT_ACCOUNT));
        self.named("ServiceAccount", account);
    }

    fn environment(&mut self, container: &Value) {
        for variable in list(container, "env") {
            self.named("ConfigMap", variable.pointer("/valueFrom/configMapKeyRef/name"));
            self.named("Secret", variable.pointer("/valueFrom/secretKeyRef/name"));
        }
        for source in list(container, "envFrom") {
            self.named("ConfigMap", source.pointer("/configMapRef/name"));
            self.named("Secret", source.pointer("/secretRef/name"));
        }
    }

    fn volume(&mut self, volume: &Value) {
        self.named("ConfigMap", volume.pointer("/configMap/name"));
        self.named("PersistentVolumeClaim", volume.pointer("/persistentVolumeClaim/claimName"));
        for pointer in SECRETS_OF_VOLUMES {
            self.named("Secret", volume.pointer(pointer));
        }
        for source in volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten() {
            self.named("ConfigMap", source.pointer("/configMap/name"));
            self.named("Secret", source.pointer("/secret/name"));
        }
    }
}
