//! What makes a struct a custom resource.
//!
//! kube's derive macro ties one spec type to one kind. Here two kinds share a spec
//! (PropagationPolicy and ClusterPropagationPolicy, the bindings, the override policies), and the
//! schema goes through our own pass (see `schema.rs`), so the few lines it would write are here.

/// Declares a custom resource: struct, serde, `kube_core::Resource` and its CRD.
macro_rules! custom_resource {
    (@scope NamespaceResourceScope) => { "Namespaced" };
    (@scope ClusterResourceScope) => { "Cluster" };
    (
        $(#[$meta:meta])*
        pub struct $kind:ident($scope:ident) {
            $(#[$spec_meta:meta])* spec: $spec:ty,
            $($(#[$status_meta:meta])* status: $status:ty,)?
        }
        group: $group:literal, version: $version:literal, plural: $plural:literal, short: $short:expr,
        columns: $columns:expr,
    ) => {
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        $(#[$meta])*
        pub struct $kind {
            /// Name, labels, annotations and the other standard fields.
            #[serde(default)]
            #[schemars(skip)]
            pub metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            $(#[$spec_meta])*
            pub spec: $spec,
            $(
                $(#[$status_meta])*
                #[serde(default)]
                pub status: Option<$status>,
            )?
        }

        impl $kind {
            /// An object of this kind with a name and a spec and nothing else.
            #[must_use]
            pub fn new(name: &str, spec: $spec) -> Self {
                let mut object = Self { spec, ..Self::default() };
                object.metadata.name = Some(name.to_owned());
                object
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                let mut object = serializer.serialize_struct(stringify!($kind), 5)?;
                object.serialize_field("apiVersion", concat!($group, "/", $version))?;
                object.serialize_field("kind", stringify!($kind))?;
                object.serialize_field("metadata", &self.metadata)?;
                object.serialize_field("spec", &self.spec)?;
                $(
                    if let Some(status) = &self.status {
                        object.serialize_field::<$status>("status", status)?;
                    }
                )?
                object.end()
            }
        }

        impl kube_core::Resource for $kind {
            type DynamicType = ();
            type Scope = kube_core::$scope;

            fn kind(&(): &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }

            fn group(&(): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version(&(): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }

            fn api_version(&(): &()) -> std::borrow::Cow<'_, str> {
                concat!($group, "/", $version).into()
            }

            fn plural(&(): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }

        impl kube_core::object::HasSpec for $kind {
            type Spec = $spec;

            fn spec(&self) -> &Self::Spec {
                &self.spec
            }

            fn spec_mut(&mut self) -> &mut Self::Spec {
                &mut self.spec
            }
        }

        $(
            impl kube_core::object::HasStatus for $kind {
                type Status = $status;

                fn status(&self) -> Option<&Self::Status> {
                    self.status.as_ref()
                }

                fn status_mut(&mut self) -> &mut Option<Self::Status> {
                    &mut self.status
                }
            }
        )?

        impl $crate::crds::Definition for $kind {
            const SCOPE: &'static str = $crate::resource::custom_resource!(@scope $scope);
            const SHORT_NAMES: &'static [&'static str] = &$short;
            const COLUMNS: &'static [$crate::crds::Column] = &$columns;
            const STATUS: bool = {
                const STATUS_TYPES: &[&str] = &[$(stringify!($status))?];
                !STATUS_TYPES.is_empty()
            };
        }
    };
}

pub(crate) use custom_resource;
