//! Objects as YAML that kubectl reads back to the same value.
//!
//! kubectl reads YAML 1.1, where a bare `yes`, `on` or `0777` is not the string it looks like. So
//! a string is bare only where no YAML reader could take it for anything else, and quoted as in JSON otherwise.

use serde_json::Value;

/// The document, without a leading `---`.
pub(crate) fn render(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => object(&mut text, map, 0),
        Value::Array(items) if !items.is_empty() => array(&mut text, items, 0),
        other => {
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
    text
}

fn object(text: &mut String, map: &serde_json::Map<String, Value>, depth: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        // The first key of a list item stands behind its dash.
        if index > 0 || !text.ends_with("- ") {
            indent(text, depth);
        }
        text.push_str(&string(key));
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                object(text, inner, depth + 1);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                array(text, items, depth);
            }
            other => push_scalar(text, other),
        }
    }
}

fn array(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(text, depth);
        text.push('-');
        match item {
            Value::Object(map) if !map.is_empty() => {
                text.push(' ');
                object(text, map, depth + 1);
            }
            Value::Array(inner) if !inner.is_empty() => {
                text.push('\n');
                array(text, inner, depth + 1);
            }
            other => push_scalar(text, other),
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn push_scalar(text: &mut String, value: &Value) {
    text.push(' ');
    text.push_str(&scalar(value));
    text.push('\n');
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        // Numbers, booleans, null and empty collections are the same in JSON and YAML.
        other => other.to_string(),
    }
}

fn string(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

/// Starts with a letter, holds nothing that means something in YAML, and is no word of YAML 1.1.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '/'))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn objects_look_as_in_kubectl() {
        let value = json!({
            "kind": "Cluster",
            "metadata": {"name": "bj-prod", "labels": {"on": "yes", "tier": "a"}, "finalizers": []},
            "spec": {"zones": ["z1", "2"], "taints": [{"key": "k", "effect": "NoSchedule"}], "nested": [["a"], []]},
            "replicas": 10,
        });
        insta::assert_snapshot!(render(&value), @r#"
        kind: Cluster
        metadata:
          finalizers: []
          labels:
            "on": "yes"
            tier: a
          name: bj-prod
        replicas: 10
        spec:
          nested:
          -
            - a
          - []
          taints:
          - effect: NoSchedule
            key: k
          zones:
          - z1
          - "2"
        "#);
    }

    #[test]
    fn every_value_is_read_back_as_it_was() {
        for value in [
            json!({"a": ["yes", "0777", "1e3", "", " x", "a: b", "- c", "#d", "tab\t", "two\nlines", "ünï", "~", "null"]}),
            json!([{"a": {"b": [[{"c": 1}], {}]}}, [], [[1, 2], [3]]]),
            json!("plain"),
            json!({}),
            json!({"x": {"y": {"z": [{"k": {"l": "m"}, "n": [1.5, -3, true, null]}]}}}),
        ] {
            let text = render(&value);
            let read: Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(read, value, "{text}");
        }
    }
}
