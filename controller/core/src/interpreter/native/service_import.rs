//! `multicluster.x-k8s.io/v1alpha1` ServiceImport: a Service of other clusters, as this cluster sees it.

use serde_json::Value;

use crate::{
    interpreter::{Dependency, Kind},
    manifest::text,
};

/// Prefix of the Service that stands for the imported one.
const DERIVED: &str = "derived";

pub(super) const KIND: Kind =
    Kind { dependencies: Some(needs), ..Kind::of("multicluster.x-k8s.io/v1alpha1", "ServiceImport") };

/// The derived Service, and its endpoints.
fn needs(template: &Value) -> Vec<Dependency> {
    let Some(name) = text(template, &["metadata", "name"]) else { return Vec::new() };
    let service = format!("{DERIVED}-{name}");
    vec![
        Dependency::core(template, "Service", &service),
        Dependency::labelled(
            template,
            "discovery.k8s.io/v1",
            "EndpointSlice",
            ("kubernetes.io/service-name", &service),
        ),
    ]
}
