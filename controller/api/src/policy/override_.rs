//! `OverridePolicy` and `ClusterOverridePolicy`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ClusterAffinity, ResourceSelector};
use crate::omit;
use crate::resource::custom_resource;
use crate::schema::any_value;
use crate::words::words;

custom_resource! {
    /// Changes the objects of its namespace on their way to some clusters.
    pub struct OverridePolicy(NamespaceResourceScope) {
        /// What to change, and for which clusters.
        spec: OverrideSpec,
    }
    group: "policy.karmada.io", version: "v1alpha1", plural: "overridepolicies", short: ["op"],
    columns: [],
}

custom_resource! {
    /// Changes objects of any namespace, and cluster-wide ones, on their way to some clusters. It is
    /// applied before the OverridePolicies of the namespace.
    pub struct ClusterOverridePolicy(ClusterResourceScope) {
        /// What to change, and for which clusters.
        spec: OverrideSpec,
    }
    group: "policy.karmada.io", version: "v1alpha1", plural: "clusteroverridepolicies", short: ["cop"],
    columns: [],
}

/// What to change, and for which clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.overrideRules) || !(has(self.targetCluster) || (has(self.overriders) && (has(self.overriders.plaintext) || has(self.overriders.imageOverrider) || has(self.overriders.commandOverrider) || has(self.overriders.argsOverrider) || has(self.overriders.labelsOverrider) || has(self.overriders.annotationsOverrider) || has(self.overriders.fieldOverrider))))",
    "message": "overrideRules replaces targetCluster and overriders; use only overrideRules",
}]))]
pub struct OverrideSpec {
    /// The objects to change; without it all objects are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_selectors: Vec<ResourceSelector>,
    /// The changes, each for some clusters, applied in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub override_rules: Vec<RuleWithCluster>,
    /// Old way to name the clusters of the one set of changes in overriders; use overrideRules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<ClusterAffinity>,
    /// Old way to give one set of changes; use overrideRules.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub overriders: Overriders,
}

/// Changes for some clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleWithCluster {
    /// The clusters that get the changes; without it all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<ClusterAffinity>,
    /// The changes.
    pub overriders: Overriders,
}

/// Changes to an object. Their kinds are applied in a fixed order: image, command, args, labels,
/// annotations, field, plaintext.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overriders {
    /// Changes anywhere in the object by JSON patch (RFC 6902).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plaintext: Vec<PlaintextOverrider>,
    /// Changes to container images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_overrider: Vec<ImageOverrider>,
    /// Changes to the commands of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command_overrider: Vec<CommandArgsOverrider>,
    /// Changes to the arguments of containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args_overrider: Vec<CommandArgsOverrider>,
    /// Changes to the labels of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels_overrider: Vec<LabelAnnotationOverrider>,
    /// Changes to the annotations of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations_overrider: Vec<LabelAnnotationOverrider>,
    /// Changes inside JSON or YAML documents that the object holds as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub field_overrider: Vec<FieldOverrider>,
}

/// One JSON patch operation on the object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaintextOverrider {
    /// The place to change, a JSON pointer such as /spec/replicas.
    pub path: String,
    /// What to do there.
    pub operator: OverriderOperator,
    /// The new value, any JSON; none for remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<Value>,
}

/// A change to container images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageOverrider {
    /// Which image to change; without it those of all containers of the usual workloads (init
    /// containers not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate: Option<ImagePredicate>,
    /// The part of the image name to change; Tag stands for tag or digest.
    pub component: ImageComponent,
    /// What to do with the part.
    pub operator: OverriderOperator,
    /// The text to add or to put in place; needed except for remove.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub value: String,
}

/// Where an image name is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImagePredicate {
    /// The place of the image name, a JSON pointer.
    pub path: String,
}

/// A change to the command or the arguments of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandArgsOverrider {
    /// Name of the container.
    pub container_name: String,
    /// Whether the words are added at the end or removed.
    #[schemars(extend("enum" = ["add", "remove"]))]
    pub operator: OverriderOperator,
    /// The words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub value: Vec<String>,
}

/// A change to labels or annotations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelAnnotationOverrider {
    /// What to do with the keys; replace and remove touch only keys that are there.
    pub operator: OverriderOperator,
    /// The keys and their values; values do not matter for remove.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub value: BTreeMap<String, String>,
}

/// Changes inside a document that a field holds as text, such as a file in a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldOverrider {
    /// The field that holds the document, a JSON pointer such as /data/config.yaml.
    pub field_path: String,
    /// Changes, if the document is JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub json: Vec<PatchOperation>,
    /// Changes, if the document is YAML.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub yaml: Vec<PatchOperation>,
}

/// One change inside a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PatchOperation {
    /// The place to change, a JSON pointer that starts at the document.
    pub sub_path: String,
    /// What to do there.
    pub operator: OverriderOperator,
    /// The new value, any JSON; none for remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub value: Option<Value>,
}

words! {
    /// What a change does.
    pub enum OverriderOperator {
        /// Adds, or replaces what is there.
        Add = "add",
        /// Removes.
        Remove = "remove",
        /// Replaces what must be there.
        Replace = "replace",
    }

    /// A part of an image name.
    pub enum ImageComponent {
        /// The host, such as registry.example:5000.
        Registry = "Registry",
        /// The path, such as library/nginx.
        Repository = "Repository",
        /// The tag or the digest.
        Tag = "Tag",
    }
}
