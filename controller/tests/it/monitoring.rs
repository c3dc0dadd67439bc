//! What is deployed for monitoring fits what the process measures.

use std::collections::BTreeSet;

use pando_context::Scope;
use pando_runtime::metrics::Metrics;
use serde_yaml::Value;

fn rules() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring/alerts.yaml");
    let text = std::fs::read_to_string(path).expect("the alert rules");
    let file: Value = serde_yaml::from_str(&text).expect("YAML");
    let groups = file["groups"].as_sequence().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_sequence().expect("rules").clone()).collect()
}

fn text<'a>(rule: &'a Value, key: &str) -> &'a str {
    rule[key].as_str().unwrap_or_else(|| panic!("{key} is missing in {rule:?}"))
}

/// The names of our metrics in an expression, as Prometheus stores them.
fn names(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("pando_")).collect()
}

#[pando_context::test]
async fn alerts_ask_for_metrics_that_exist(root: &Scope) {
    let metrics = Metrics::new();
    metrics.watch_contexts(root.ctx());
    let page = metrics.encode().expect("metrics");
    let types: BTreeSet<(&str, &str)> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let has = |name: &str| {
        let of_type = |suffix, kind| name.strip_suffix(suffix).is_some_and(|name| types.contains(&(name, kind)));
        types.contains(&(name, "gauge")) || of_type("_total", "counter") || of_type("_bucket", "histogram")
    };
    let rules = rules();
    assert!(rules.len() >= 2, "growing and stuck contexts");
    for rule in &rules {
        let names = names(text(rule, "expr"));
        assert!(!names.is_empty(), "{rule:?}");
        for name in names {
            assert!(has(name), "{}: no metric {name} in\n{page}", text(rule, "alert"));
        }
    }
}

#[test]
fn each_alert_says_what_is_wrong_and_what_to_do() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        let alert = text(&rule, "alert").to_owned();
        for note in ["summary", "description"] {
            assert!(text(&rule["annotations"], note).ends_with('.') || note == "description", "{alert}: {note}");
        }
        assert!(["info", "warning", "critical"].contains(&text(&rule["labels"], "severity")), "{alert}");
        let expression = text(&rule, "expr");
        for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
            assert_eq!(expression.matches(open).count(), expression.matches(close).count(), "{alert}: {expression}");
        }
        assert!(seen.insert(alert.clone()), "{alert} is there twice");
    }
}
