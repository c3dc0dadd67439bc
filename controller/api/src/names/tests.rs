#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

#[test]
fn work_names_are_those_karmada_gives() {
    assert_eq!(work_name(Some("default"), "Deployment", "nginx"), "nginx-687f7fb96f");
    assert_eq!(work_name(Some("default"), "Service", "nginx"), "nginx-64b7849b5");
}

#[test]
fn work_names_tell_kinds_and_namespaces_apart() {
    let names = [
        work_name(Some("default"), "Service", "nginx"),
        work_name(Some("other"), "Service", "nginx"),
        work_name(Some("default"), "Deployment", "nginx"),
        work_name(None, "Service", "nginx"),
    ];
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert_eq!(work_name(Some(""), "ClusterRole", "x"), work_name(None, "ClusterRole", "x"));
}

#[test]
fn names_of_roles_lose_their_colons_and_capitals() {
    assert_eq!(binding_name("ClusterRole", "system:Node"), "system.node-clusterrole");
    assert!(work_name(None, "ClusterRole", "system:Node").starts_with("system.node-"));
    assert_eq!(binding_name("Deployment", "nginx"), "nginx-deployment");
}

#[test]
fn fnv_matches_its_published_vectors() {
    assert_eq!(fnv1a32(""), 0x811c_9dc5);
    assert_eq!(fnv1a32("a"), 0xe40c_292c);
    assert_eq!(fnv1a32("foobar"), 0xbf9c_f968);
}

#[test]
fn parity_of_uids_is_that_of_the_scheduler() {
    assert_eq!(fnv1a32("a") % 2, 0);
    assert_eq!(fnv1a32("b") % 2, 1);
    assert_eq!(fnv1a32("abc") % 2, 1);
}

#[test]
fn safe_encode_maps_each_decimal_digit() {
    assert_eq!(safe_encode(0), "4", "byte 48 of '0' is 21 modulo 27");
    assert_eq!(safe_encode(1_234_567_890).len(), 10);
    assert!(safe_encode(u32::MAX).bytes().all(|b| SAFE_ALPHABET.contains(&b)));
}

#[test]
fn cluster_names_are_dns_labels_of_at_most_48_characters() {
    for good in ["a", "bj-prod", "0", "a".repeat(48).as_str()] {
        assert_eq!(ClusterName::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", "A", "a.b", "-a", "a-", "a_b", "a b", "ä", "a/b", "a".repeat(49).as_str()] {
        assert!(ClusterName::parse(bad).is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn refused_names_are_quoted_with_the_cause_and_the_cure() {
    let text = |input: &str| ClusterName::parse(input).unwrap_err().to_string();
    assert_eq!(text(""), r#"invalid cluster name "": a name needs at least one character"#);
    assert_eq!(
        text("BJ"),
        r#"invalid cluster name "BJ": character 'B' is not allowed, use lower case letters, digits and '-'"#
    );
    assert_eq!(text("bj-"), r#"invalid cluster name "bj-": start and end it with a lower case letter or a digit"#);
    assert!(text(&"a".repeat(49)).ends_with("it has 49 characters, use at most 48"));
    assert!(text("a\nb").contains(r"a\nb"), "control characters are escaped");
}

#[test]
fn execution_namespaces_lead_back_to_their_cluster() {
    let cluster = ClusterName::parse("bj-prod").unwrap();
    let namespace = cluster.execution_namespace();
    assert_eq!(namespace.as_str(), "karmada-es-bj-prod");
    assert_eq!(namespace.cluster(), cluster);
    assert_eq!(ExecutionNamespace::parse("karmada-es-bj-prod"), Some(namespace));
    assert_eq!(ExecutionNamespace::parse("karmada-es-"), None);
    assert_eq!(ExecutionNamespace::parse("default"), None);
}

#[test]
fn a_cluster_whose_name_starts_with_the_prefix_is_still_found() {
    let cluster = ClusterName::parse("karmada-es-x").unwrap();
    assert_eq!(cluster.execution_namespace().cluster(), cluster);
}

#[test]
fn reserved_namespaces_are_the_installations_own() {
    for reserved in ["karmada-system", "karmada-cluster", "karmada-es-bj", "karmada-es-"] {
        assert!(is_reserved_namespace(reserved), "{reserved}");
    }
    for free in ["default", "kube-system", "karmada", "my-karmada-es-x"] {
        assert!(!is_reserved_namespace(free), "{free}");
    }
}
