#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use pando_api::{names::ClusterName, policy::ClusterAffinity};
use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::{
    Labels, Mismatch, cluster_matches, field_selector_problems, label_key_problem, label_selector_problems,
    label_value_problem, selects,
};
use crate::cluster_facts::{ClusterFacts, ServedApis};

fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_yaml::from_str(text).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A cluster in Beijing, at Ali, in two zones.
fn bj() -> ClusterFacts {
    ClusterFacts {
        name: ClusterName::parse("bj-prod").unwrap(),
        labels: labels(&[("tier", "prod"), ("gpu", "")]),
        provider: Some("ali".to_owned()),
        region: Some("beijing".to_owned()),
        zones: ["bj-1", "bj-2"].map(str::to_owned).into(),
        taints: Vec::new(),
        apis: ServedApis::default(),
        is_deleting: false,
        is_ready: true,
    }
}

#[test]
fn label_selectors_select_as_in_kubernetes() {
    let labels = labels(&[("tier", "prod"), ("gpu", "")]);
    for (selector, expected) in [
        ("{}", true),
        ("matchLabels: {tier: prod}", true),
        ("matchLabels: {tier: prod, gpu: ''}", true),
        ("matchLabels: {tier: test}", false),
        ("matchLabels: {missing: ''}", false),
        ("matchExpressions: [{key: tier, operator: In, values: [test, prod]}]", true),
        ("matchExpressions: [{key: tier, operator: In, values: [test]}]", false),
        ("matchExpressions: [{key: missing, operator: In, values: ['']}]", false),
        ("matchExpressions: [{key: tier, operator: NotIn, values: [test]}]", true),
        ("matchExpressions: [{key: tier, operator: NotIn, values: [prod]}]", false),
        ("matchExpressions: [{key: missing, operator: NotIn, values: [prod]}]", true),
        ("matchExpressions: [{key: gpu, operator: Exists}]", true),
        ("matchExpressions: [{key: missing, operator: Exists}]", false),
        ("matchExpressions: [{key: gpu, operator: DoesNotExist}]", false),
        ("matchExpressions: [{key: missing, operator: DoesNotExist}]", true),
        ("{matchLabels: {tier: prod}, matchExpressions: [{key: gpu, operator: DoesNotExist}]}", false),
        // not valid: nothing is selected
        ("matchExpressions: [{key: tier, operator: in, values: [prod]}]", false),
        ("matchExpressions: [{key: missing, operator: NotIn}]", false),
        ("matchExpressions: [{key: tier, operator: Exists, values: [prod]}]", false),
    ] {
        assert_eq!(selects(&yaml(selector), &labels), expected, "{selector}");
    }
}

#[test]
fn problems_of_label_selectors_name_the_field_the_cause_and_the_fix() {
    let selector: LabelSelector = yaml(
        "
matchLabels: {'-bad': ok, good: 'not ok'}
matchExpressions:
- {key: tier, operator: in, values: [prod]}
- {key: tier, operator: In}
- {key: tier, operator: Exists, values: [prod]}
- {key: 'Example.com/tier', operator: NotIn, values: ['a b']}
- {key: fine, operator: DoesNotExist}
",
    );
    let text: Vec<String> =
        label_selector_problems(&selector).into_iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    matchLabels[-bad]: "-bad" is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    matchLabels[good]: "not ok" is not a label value: use up to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    matchExpressions[0].operator: unknown operator "in": use In, NotIn, Exists or DoesNotExist
    matchExpressions[1].values: In needs at least one value
    matchExpressions[2].values: Exists takes no values: remove them
    matchExpressions[3].key: "Example.com/tier" is not a label key: before the slash there must be a lower-case DNS name like example.com
    matchExpressions[3].values: "a b" is not a label value: use up to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    "#);
}

#[test]
fn valid_label_selectors_have_no_problems() {
    for selector in [
        "{}",
        "matchLabels: {app.kubernetes.io/name: web, tier: ''}",
        "matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}, {key: x, operator: Exists}]",
    ] {
        assert_eq!(label_selector_problems(&yaml(selector)), [], "{selector}");
    }
}

#[test]
fn label_syntax_is_that_of_kubernetes() {
    for key in ["a", "A_b.c-9", "example.com/a", &"x".repeat(63), &format!("{}/a", "x".repeat(253))] {
        assert_eq!(label_key_problem(key), None, "{key}");
    }
    for key in [
        "",
        "/a",
        "a/",
        "a/b/c",
        "-a",
        "a-",
        "ä",
        "Example.com/a",
        "a..b/c",
        &"x".repeat(64),
        &format!("{}/a", "x".repeat(254)),
    ] {
        assert!(label_key_problem(key).is_some(), "{key}");
    }
    for value in ["", "a", "A_b.c-9", &"x".repeat(63)] {
        assert_eq!(label_value_problem(value), None, "{value}");
    }
    for value in ["-", "a b", "a-", "a/b", &"x".repeat(64)] {
        assert!(label_value_problem(value).is_some(), "{value}");
    }
}

#[test]
fn a_cluster_affinity_matches_by_all_its_parts() {
    let field = |key: &str| Err(Mismatch::Field { key: key.to_owned() });
    for (affinity, expected) in [
        ("{}", Ok(())),
        ("clusterNames: [bj-prod, sh-prod]", Ok(())),
        ("clusterNames: [sh-prod]", Err(Mismatch::NotNamed)),
        ("{clusterNames: [bj-prod], exclude: [bj-prod]}", Err(Mismatch::Excluded)),
        ("exclude: [sh-prod]", Ok(())),
        ("labelSelector: {matchLabels: {tier: prod}}", Ok(())),
        ("labelSelector: {matchLabels: {tier: test}}", Err(Mismatch::Labels)),
        ("{labelSelector: {matchLabels: {tier: prod}}, clusterNames: [sh-prod]}", Err(Mismatch::NotNamed)),
        ("fieldSelector: {matchExpressions: [{key: provider, operator: In, values: [aws, ali]}]}", Ok(())),
        ("fieldSelector: {matchExpressions: [{key: provider, operator: NotIn, values: [ali]}]}", field("provider")),
        ("fieldSelector: {matchExpressions: [{key: region, operator: In, values: [shanghai]}]}", field("region")),
        ("fieldSelector: {matchExpressions: [{key: zone, operator: In, values: [bj-2, bj-3]}]}", Ok(())),
        ("fieldSelector: {matchExpressions: [{key: zone, operator: In, values: [bj-3]}]}", field("zone")),
        ("fieldSelector: {matchExpressions: [{key: zone, operator: NotIn, values: [bj-1]}]}", field("zone")),
        ("fieldSelector: {matchExpressions: [{key: zone, operator: NotIn, values: [bj-3]}]}", Ok(())),
        ("fieldSelector: {matchExpressions: [{key: planet, operator: NotIn, values: [mars]}]}", field("planet")),
        ("fieldSelector: {matchExpressions: [{key: region, operator: Exists}]}", field("region")),
    ] {
        assert_eq!(cluster_matches(&yaml(affinity), &bj()), expected, "{affinity}");
    }
}

#[test]
fn a_cluster_without_a_region_is_in_none() {
    let nowhere = ClusterFacts { provider: None, region: None, zones: [].into(), ..bj() };
    for key in ["provider", "region", "zone"] {
        let affinity = |operator: &str| -> ClusterAffinity {
            yaml(&format!("fieldSelector: {{matchExpressions: [{{key: {key}, operator: {operator}, values: [x]}}]}}"))
        };
        assert!(cluster_matches(&affinity("In"), &nowhere).is_err(), "{key}");
        assert!(cluster_matches(&affinity("NotIn"), &nowhere).is_ok(), "{key}");
    }
}

#[test]
fn problems_of_field_selectors_name_the_field_the_cause_and_the_fix() {
    let affinity: ClusterAffinity = yaml(
        "fieldSelector: {matchExpressions: [{key: planet, operator: Exists}, {key: zone, operator: In, values: [a]}]}",
    );
    let problems = field_selector_problems(&affinity.field_selector.unwrap().match_expressions);
    let text: Vec<String> = problems.into_iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    matchExpressions[0].key: unknown cluster field "planet": use provider, region or zone
    matchExpressions[0].operator: unsupported operator "Exists": use In or NotIn
    matchExpressions[0].values: at least one value is needed
    "#);
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[a-c]", "[x-z]", 0..4)
}

proptest! {
    #[test]
    fn a_selector_made_from_labels_selects_them_and_their_supersets(own in any_labels(), more in any_labels()) {
        let selector = LabelSelector { match_labels: Some(own.clone()), match_expressions: None };
        let mut superset = more;
        superset.extend(own.clone());
        prop_assert!(selects(&selector, &own) && selects(&selector, &superset));
    }

    #[test]
    fn in_and_not_in_are_opposites(labels in any_labels(), key in "[a-d]", values in prop::collection::vec("[x-z]", 1..3)) {
        let selector = |operator| -> LabelSelector {
            let expression = serde_json::json!({"key": key, "operator": operator, "values": values});
            serde_json::from_value(serde_json::json!({"matchExpressions": [expression]})).unwrap()
        };
        prop_assert_ne!(selects(&selector("In"), &labels), selects(&selector("NotIn"), &labels));
    }
}
