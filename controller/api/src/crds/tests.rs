#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

const STALE: &str = "run `UPDATE_CRDS=1 cargo test -p pando-api crds` and commit the folder crds/";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds")
}

fn wanted() -> BTreeMap<String, String> {
    all().iter().map(|crd| (file_name(crd), yaml(crd))).collect()
}

#[test]
fn committed_crds_are_those_of_the_types() {
    let (folder, wanted) = (folder(), wanted());
    if std::env::var_os("UPDATE_CRDS").is_some_and(|value| value == "1") {
        for (name, text) in &wanted {
            std::fs::write(folder.join(name), text).expect("crds/ is writable");
        }
    }
    for (name, text) in &wanted {
        let committed = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(committed == *text, "crds/{name} is stale: {STALE}");
    }
    let files: BTreeSet<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, wanted.keys().cloned().collect(), "crds/ holds other files than expected: {STALE}");
}

/// Calls `visit` with the path and value of every schema below a kind's schema.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            walk(&format!("{path}.{name}"), property, visit);
        }
    }
    for (keyword, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(nested) = schema.get(keyword) {
            walk(&format!("{path}{mark}"), nested, visit);
        }
    }
}

fn walk_all(mut visit: impl FnMut(&str, &Value)) {
    for crd in all() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|v| v.open_api_v3_schema.as_ref()).expect("a schema");
            walk(&crd.spec.names.kind, &serde_json::to_value(schema).unwrap(), &mut visit);
        }
    }
}

#[test]
fn kubectl_explain_has_a_sentence_for_every_kind_and_field() {
    let mut silent = Vec::new();
    walk_all(|path, schema| {
        let element = path.ends_with("[]") || path.ends_with("{}");
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        if !element && !text.ends_with(['.', ')', '"', '>', '`']) {
            silent.push(format!("{path}: {text:?}"));
        }
    });
    assert!(silent.is_empty(), "give these fields a doc sentence:\n{}", silent.join("\n"));
}

#[test]
fn descriptions_are_for_people_at_a_terminal() {
    walk_all(|path, schema| {
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        assert!(!text.contains("[`") && !text.contains("](crate"), "{path} holds a rustdoc link: {text}");
    });
}

#[test]
fn schemas_are_structural_and_know_no_null() {
    walk_all(|path, schema| {
        for foreign in ["nullable", "$ref", "oneOf", "allOf", "not", "title", "$schema", "definitions"] {
            assert!(schema.get(foreign).is_none(), "{path} has {foreign}");
        }
        let any = schema.get("x-kubernetes-preserve-unknown-fields").is_some()
            || schema.get("x-kubernetes-int-or-string").is_some();
        assert!(any || schema.get("type").is_some_and(Value::is_string), "{path} has no type: {schema}");
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        assert!(!format.starts_with("uint"), "{path} has format {format}");
        let words = schema.get("enum").and_then(Value::as_array);
        assert!(words.is_none_or(|words| words.iter().all(Value::is_string)), "{path} has an enum of no words");
    });
}

#[test]
fn no_schema_fell_back_to_accepting_everything() {
    walk_all(|path, schema| {
        if !path.contains('.') {
            assert_eq!(schema["required"], serde_json::json!(["spec"]), "{path}");
            assert_eq!(schema.get("x-kubernetes-preserve-unknown-fields"), None, "{path}");
        }
    });
}

/// The defaults that an API server fills in: Karmada's, and no others.
#[test]
fn schema_defaults_are_karmadas() {
    let mut defaults = BTreeMap::new();
    walk_all(|path, schema| {
        if let Some(default) = schema.get("default") {
            defaults.insert(path.to_owned(), default.to_string());
        }
    });
    let text: Vec<String> = defaults.iter().map(|(path, default)| format!("{path} = {default}")).collect();
    insta::assert_snapshot!(text.join("\n"));
}

/// Which fields a user must give. Karmada's YAML applies unchanged only if this is Karmada's list.
#[test]
fn required_fields_are_karmadas() {
    let mut lines = Vec::new();
    walk_all(|path, schema| {
        if let Some(required) = schema.get("required")
            && !path.starts_with("ClusterO")
            && !path.starts_with("ClusterP")
            && !path.starts_with("ClusterR")
        {
            lines.push(format!("{path}: {required}"));
        }
    });
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Everything beyond types: words, bounds, rules, open schemas.
#[test]
fn validations_are_as_reviewed() {
    let mut lines = Vec::new();
    walk_all(|path, schema| {
        for keyword in [
            "enum",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "pattern",
            "format",
            "x-kubernetes-validations",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-list-type",
            "x-kubernetes-map-type",
        ] {
            // The cluster-wide twins share their types with the namespaced kinds.
            let twin = ["ClusterO", "ClusterP", "ClusterR"].iter().any(|prefix| path.starts_with(prefix));
            if !twin
                && let Some(value) = schema.get(keyword)
                && schema.get("x-kubernetes-int-or-string").is_none()
            {
                lines.push(format!("{path}: {keyword} = {value}"));
            }
        }
    });
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn kinds_short_names_and_columns_are_those_of_karmada() {
    let mut lines = Vec::new();
    for crd in all() {
        let (names, version) = (&crd.spec.names, &crd.spec.versions[0]);
        assert_eq!(names.categories.as_deref(), Some(&["karmada-io".to_owned()][..]));
        assert_eq!(crd.metadata.name, Some(format!("{}.{}", names.plural, crd.spec.group)));
        let columns: Vec<String> = version
            .additional_printer_columns
            .iter()
            .flatten()
            .map(|column| format!("{}{}", column.name, if column.priority == Some(1) { "(wide)" } else { "" }))
            .collect();
        lines.push(format!(
            "{} {}/{} {} short {:?} status {} columns {}",
            names.kind,
            crd.spec.group,
            version.name,
            crd.spec.scope,
            names.short_names.as_deref().unwrap_or_default(),
            version.subresources.is_some(),
            columns.join(" "),
        ));
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    Cluster cluster.karmada.io/v1alpha1 Cluster short [] status true columns VERSION MODE READY ZONES(wide) REGION(wide) PROVIDER(wide) API-ENDPOINT(wide) PROXY-URL(wide) AGE
    ClusterOverridePolicy policy.karmada.io/v1alpha1 Cluster short ["cop"] status false columns 
    ClusterPropagationPolicy policy.karmada.io/v1alpha1 Cluster short ["cpp"] status false columns CONFLICT-RESOLUTION PRIORITY AGE
    OverridePolicy policy.karmada.io/v1alpha1 Namespaced short ["op"] status false columns 
    PropagationPolicy policy.karmada.io/v1alpha1 Namespaced short ["pp"] status false columns CONFLICT-RESOLUTION PRIORITY AGE
    ClusterResourceBinding work.karmada.io/v1alpha2 Cluster short ["crb"] status true columns SCHEDULED FULLYAPPLIED AGE
    ResourceBinding work.karmada.io/v1alpha2 Namespaced short ["rb"] status true columns SCHEDULED FULLYAPPLIED AGE
    Work work.karmada.io/v1alpha1 Namespaced short ["wk"] status true columns WORKLOAD-KIND APPLIED AGE
    "#);
}
