//! From a Rust type to the schema of a CRD.
//!
//! Kubernetes accepts a dialect of JSON schema ("structural"): no references, no type lists, no
//! booleans in the place of schemas. Karmada's schemas come from Go types and know no `nullable`;
//! an absent field is absent. This pass turns what `schemars` writes into exactly that.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// The structural schema of `T`.
pub(crate) fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    clean(&mut schema);
    schema
}

/// Schema of a field that takes any JSON value.
pub(crate) fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// What `kubectl explain` says about every amount of a resource.
const QUANTITY: &str = "An amount of a resource: a number with an optional suffix, such as 500m, 2 or 8Gi.";

/// Brings one schema and everything below it into the dialect. Only keywords are touched, never the
/// names of properties: a property may well be called `default` or `title`.
fn clean(schema: &mut Value) {
    let Value::Object(keywords) = schema else {
        return;
    };
    drop_null(keywords);
    for foreign in ["title", "nullable", "unevaluatedProperties", "examples", "deprecated"] {
        keywords.remove(foreign);
    }
    if let Some(Value::String(text)) = keywords.get_mut("description") {
        *text = paragraphs(text);
    }
    if let Some(word) = keywords.remove("const") {
        keywords.insert("enum".to_owned(), Value::Array(vec![word]));
    }
    if keywords.get("default").is_some_and(Value::is_null) {
        keywords.remove("default");
    }
    if keywords.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        keywords.remove("format");
    }
    // `false` would forbid unknown fields, which Kubernetes prunes instead.
    if keywords.get("additionalProperties").is_some_and(Value::is_boolean) {
        keywords.remove("additionalProperties");
    }
    if keywords.contains_key("x-kubernetes-int-or-string") {
        quantity(keywords);
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(clean);
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(nested) = keywords.get_mut(nested) {
            clean(nested);
        }
    }
}

/// Joins the lines of a doc comment, which end where the source is wide enough. Lines that are
/// indented or are items of a list stay.
fn paragraphs(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.lines() {
        let flows = !joined.is_empty() && !joined.ends_with('\n') && line.starts_with(char::is_alphanumeric);
        match (joined.is_empty(), flows) {
            (true, _) => {}
            (false, true) => joined.push(' '),
            (false, false) => joined.push('\n'),
        }
        joined.push_str(line);
    }
    joined
}

/// `Option<T>` is "T or null" in JSON schema; here it is T, and the field is not required.
fn drop_null(keywords: &mut Map<String, Value>) {
    if let Some(Value::Array(alternatives)) = keywords.remove("anyOf") {
        let merged = alternatives.into_iter().filter_map(|alternative| match alternative {
            Value::Object(alternative) if alternative.get("type").is_none_or(|t| t != "null") => Some(alternative),
            _ => None,
        });
        for (keyword, value) in merged.flatten() {
            // What the field says about itself (its description) wins over what its type says.
            keywords.entry(keyword).or_insert(value);
        }
    }
    if let Some(Value::Array(types)) = keywords.get_mut("type") {
        types.retain(|name| name != "null");
        if let [single] = types.as_mut_slice() {
            let single = single.take();
            keywords.insert("type".to_owned(), single);
        }
    }
    if let Some(Value::Array(words)) = keywords.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

/// Go's schema of a quantity.
fn quantity(keywords: &mut Map<String, Value>) {
    let own = keywords.get("description").and_then(Value::as_str).filter(|text| text.len() < 500);
    let description = own.unwrap_or(QUANTITY).to_owned();
    keywords.remove("type");
    keywords.insert("description".to_owned(), description.into());
    keywords.insert("anyOf".to_owned(), serde_json::json!([{ "type": "integer" }, { "type": "string" }]));
    keywords.insert(
        "pattern".to_owned(),
        r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$".into(),
    );
}
