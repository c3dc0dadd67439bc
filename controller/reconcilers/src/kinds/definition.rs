//! CRDs, as far as they hint at what discovery will say: whose kind, which versions, established or not.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use pando_core::kinds;
use pando_runtime::store::{Record, decode_error};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A CRD without its schemas, which are a hundred times its size.
#[derive(Debug, PartialEq)]
pub(super) struct Definition {
    meta: ObjectMeta,
    is_established: bool,
    defines: kinds::Definition,
}

impl Definition {
    /// The resource of CRDs themselves.
    pub(super) fn resource() -> ApiResource {
        ApiResource::erase::<CustomResourceDefinition>(&())
    }

    /// What it makes the hub serve, once it is established.
    pub(super) fn established(&self) -> Option<&kinds::Definition> {
        self.is_established.then_some(&self.defines)
    }
}

impl Record for Definition {
    fn decode(_: &ApiResource, raw: &RawValue) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Object {
            metadata: ObjectMeta,
            spec: Spec,
            #[serde(default)]
            status: Status,
        }
        #[derive(Deserialize)]
        struct Spec {
            group: String,
            names: Names,
            #[serde(default)]
            versions: Vec<Version>,
        }
        #[derive(Deserialize)]
        struct Names {
            kind: String,
        }
        #[derive(Deserialize)]
        struct Version {
            name: String,
            #[serde(default)]
            served: bool,
        }
        #[derive(Default, Deserialize)]
        struct Status {
            /// Null in the moment of creation.
            conditions: Option<Vec<Condition>>,
        }
        #[derive(Deserialize)]
        struct Condition {
            #[serde(rename = "type")]
            type_: String,
            status: String,
        }
        let Object { metadata, spec, status } =
            serde_json::from_str(raw.get()).map_err(|error| decode_error(&error))?;
        // What kubectl and others write into annotations is often as large as the schemas.
        let meta = ObjectMeta {
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            deletion_timestamp: metadata.deletion_timestamp,
            finalizers: metadata.finalizers,
            ..ObjectMeta::default()
        };
        let versions = spec.versions.into_iter().filter(|version| version.served).map(|version| version.name).collect();
        let is_established = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Established" && condition.status == "True");
        let defines = kinds::Definition { group: spec.group, kind: spec.names.kind, versions };
        Ok(Self { meta, is_established, defines })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_established_definition_makes_the_hub_serve_something() {
        let decode = |established: &str| {
            let object = json!({
                "metadata": {"name": "widgets.example.io", "resourceVersion": "1", "annotations": {"large": "x"}},
                "spec": {"group": "example.io", "names": {"kind": "Widget", "plural": "widgets"}, "scope": "Namespaced", "versions": [
                    {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
                    {"name": "v1beta1", "served": false, "storage": false},
                ]},
                "status": {"conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": established}]},
            });
            let raw = RawValue::from_string(object.to_string()).unwrap();
            Definition::decode(&Definition::resource(), &raw).unwrap()
        };
        assert_eq!(decode("False").established(), None);
        let definition = decode("True");
        let established = definition.established().unwrap();
        assert_eq!((established.group.as_str(), established.kind.as_str()), ("example.io", "Widget"));
        assert_eq!(established.versions, ["v1"]);
        assert_eq!(definition.meta.annotations, None);
        let new = r#"{"metadata":{"name":"x"},"spec":{"group":"g","names":{"kind":"K"},"versions":[]},"status":{"conditions":null}}"#;
        let new = RawValue::from_string(new.to_owned()).unwrap();
        assert_eq!(Definition::decode(&Definition::resource(), &new).unwrap().established(), None);
    }
}
