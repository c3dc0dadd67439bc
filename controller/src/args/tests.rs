#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    Cli::from_invocation(line.split(' ').map(OsString::from)).map_err(|error| error.to_string())
}

fn controller(flags: &str) -> ControllerArgs {
    match parse(format!("pando controller {flags}").trim()).unwrap().command {
        Command::Controller(args) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn defaults_are_karmadas() {
    let args = controller("");
    assert_eq!(args.cluster_status_update_frequency.get(), Duration::from_secs(10));
    assert_eq!(args.cluster_failure_threshold.get(), Duration::from_secs(30));
    assert_eq!(args.cluster_success_threshold.get(), Duration::from_secs(30));
    assert_eq!(args.health_probe_bind_address.get().unwrap().to_string(), "0.0.0.0:10357");
    assert_eq!(args.metrics_bind_address.get().unwrap().to_string(), "0.0.0.0:8080");
    assert_eq!(args.concurrency.concurrent_work_syncs, 5);
    assert_eq!(args.concurrency.concurrent_namespace_syncs, 1);
    assert!(args.skipped_propagating_namespaces.iter().any(|skipped| skipped.pattern().matches("kube-system")));
    assert_eq!(args.log_filter(), "info");
}

#[test]
fn a_log_filter_wins_over_a_verbosity() {
    assert_eq!(controller("-v 4").log_filter(), "debug");
    assert_eq!(controller("--v=8").log_filter(), "trace");
    assert_eq!(controller("--v=8 --log-level warn").log_filter(), "warn");
}

#[test]
fn durations_are_read_and_printed_as_go_does() {
    for (text, nanos, printed) in [
        ("0", 0, "0s"),
        ("10s", 10_000_000_000, "10s"),
        ("1h30m", 5_400_000_000_000, "1h30m"),
        ("250ms", 250_000_000, "250ms"),
        ("1.5s", 1_500_000_000, "1.5s"),
        ("1m0.25s", 60_250_000_000, "1m0.25s"),
        ("1500us", 1_500_000, "1500us"),
        (".5h", 1_800_000_000_000, "30m"),
    ] {
        let read: GoDuration = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(read.get(), Duration::from_nanos(nanos), "{text}");
        assert_eq!(read.to_string(), printed, "{text}");
    }
}

#[test]
fn what_go_would_refuse_is_refused() {
    for text in ["", "10", "s", "10 s", "-1s", "1d", "1..5s", "1s2", "99999999999h"] {
        assert!(text.parse::<GoDuration>().is_err(), "{text:?}");
    }
}

#[test]
fn addresses_are_read_as_go_programs_take_them() {
    for (text, expected) in [
        (":8080", Some("0.0.0.0:8080")),
        ("127.0.0.1:0", Some("127.0.0.1:0")),
        ("localhost:9", Some("127.0.0.1:9")),
        ("[::1]:9", Some("[::1]:9")),
        ("0", None),
        ("off", None),
    ] {
        let read: BindAddress = text.parse().unwrap();
        assert_eq!(read.get().map(|address| address.to_string()).as_deref(), expected, "{text}");
    }
    for text in ["8080", "example.com:80", ":99999", "1.2.3.4"] {
        assert!(text.parse::<BindAddress>().is_err(), "{text}");
    }
}

#[test]
fn a_namespace_pattern_matches_whole_names_only() {
    let skipped: SkippedNamespace = "kube-.*".parse().unwrap();
    assert!(skipped.pattern().matches("kube-system"));
    assert!(!skipped.pattern().matches("my-kube-system"));
    let either: SkippedNamespace = "a|b".parse().unwrap();
    assert!(!either.pattern().matches("ab") && either.pattern().matches("b"));
    assert!("kube-(".parse::<SkippedNamespace>().is_err());
}

#[test]
fn kinds_are_skipped_by_group_version_or_kind() {
    let given: SkippedApis =
        "batch;networking.k8s.io/v1beta1;apps/v1/Deployment,StatefulSet;v1/Node,v1/Pod".parse().unwrap();
    let mut skipped = pando_core::policy_match::Skipped::default();
    given.add_to(&mut skipped);
    for (api_version, kind, expected) in [
        ("batch/v1", "Job", true),
        ("networking.k8s.io/v1beta1", "Ingress", true),
        ("networking.k8s.io/v1", "Ingress", false),
        ("apps/v1", "StatefulSet", true),
        ("apps/v1", "DaemonSet", false),
        ("v1", "Pod", true),
        ("v1", "ConfigMap", false),
    ] {
        assert_eq!(skipped.skips_kind(api_version, kind), expected, "{api_version} {kind}");
    }
    for text in ["apps/v1/deployment", "apps/one", "/v1", "a/v1/B/C,d"] {
        assert!(text.parse::<SkippedApis>().is_err(), "{text}");
    }
}

#[test]
fn feature_gates_are_read_as_kubernetes_reads_them() {
    for (flags, expected) in [
        ("", false),
        ("--feature-gates=PropagationPolicyPreemption=true", true),
        ("--feature-gates PropagationPolicyPreemption=T,", true),
        ("--feature-gates=PropagationPolicyPreemption=1,PropagationPolicyPreemption=0", false),
        ("--feature-gates=PropagationPolicyPreemption=false --feature-gates=PropagationPolicyPreemption=true", true),
        ("--feature-gates=AllAlpha=true", true),
        ("--feature-gates=PropagationPolicyPreemption=false,AllAlpha=true", false),
        ("--feature-gates=AllBeta=true", false),
    ] {
        assert_eq!(gates(&controller(flags).feature_gates).policy_preemption, expected, "{flags}");
    }
    let refused = |text: &str| text.parse::<FeatureGates>().unwrap_err().to_string();
    insta::assert_snapshot!(refused("Failover=true"), @"unrecognized feature gate Failover; known are AllAlpha, AllBeta, PropagationPolicyPreemption");
    insta::assert_snapshot!(refused("PropagationPolicyPreemption"), @"PropagationPolicyPreemption has no value; write PropagationPolicyPreemption=true or PropagationPolicyPreemption=false");
    insta::assert_snapshot!(refused("AllAlpha=yes"), @"AllAlpha=yes is neither true nor false; write AllAlpha=true or AllAlpha=false");
}

#[test]
fn a_member_address_must_keep_the_token_secret() {
    let read = |text: &str| text.parse::<Endpoint>();
    assert_eq!(read("https://10.0.0.1:6443/").unwrap().as_str(), "https://10.0.0.1:6443");
    for text in ["http://10.0.0.1", "https://", "https://u:p@h", "https://h?x=1", "10.0.0.1:6443", "nonsense url"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_cluster_name_that_derived_names_could_not_hold_is_refused() {
    let refused = parse(&format!("pando join {} --cluster-kubeconfig f", "a".repeat(49))).unwrap_err();
    assert!(refused.contains("48"), "{refused}");
}

#[test]
fn as_a_kubectl_plugin_the_help_says_so() {
    let help = parse("/usr/local/bin/kubectl-pando join --help").unwrap_err();
    assert!(help.contains("Usage: kubectl pando join"), "{help}");
}
