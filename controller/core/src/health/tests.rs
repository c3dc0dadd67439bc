#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn lost() -> Probe {
    Probe::NoAnswer { cause: "connection refused".to_owned() }
}

fn stored(probe: &Probe) -> Hysteresis {
    Hysteresis::from_stored(Some(&probe.verdict().since(&Time(at(0)))))
}

fn status(publish: &Publish) -> &'static str {
    match publish {
        Publish::Now(verdict) => verdict.status,
        Publish::Hold { .. } => "held",
    }
}

fn run(mut member: Hysteresis, probes: &[(i64, Probe)]) -> Vec<&'static str> {
    probes.iter().map(|(second, probe)| status(&member.observe(probe, at(*second), &Thresholds::default()))).collect()
}

#[test]
fn the_first_observation_of_a_new_cluster_is_believed() {
    assert_eq!(run(Hysteresis::default(), &[(0, Probe::Ok)]), ["True"]);
    assert_eq!(run(Hysteresis::default(), &[(0, lost())]), ["False"]);
}

#[test]
fn an_outage_is_published_after_thirty_seconds() {
    let probes = [(0, lost()), (10, lost()), (20, Probe::NotOk), (29, lost()), (30, lost())];
    assert_eq!(run(stored(&Probe::Ok), &probes), ["held", "held", "held", "held", "False"]);
}

#[test]
fn one_good_answer_starts_the_window_again() {
    let probes = [(0, lost()), (20, lost()), (25, Probe::Ok), (31, lost()), (60, lost()), (61, lost())];
    assert_eq!(run(stored(&Probe::Ok), &probes), ["held", "held", "True", "held", "held", "False"]);
}

#[test]
fn recovery_takes_thirty_seconds_too() {
    let probes = [(0, Probe::Ok), (29, Probe::Ok), (30, Probe::Ok), (31, Probe::Ok)];
    assert_eq!(run(stored(&lost()), &probes), ["held", "held", "True", "True"]);
}

#[test]
fn another_reason_for_the_same_status_is_published_at_once() {
    let mut member = stored(&lost());
    let Publish::Now(verdict) = member.observe(&Probe::NotOk, at(1), &Thresholds::default()) else { panic!() };
    assert_eq!(verdict.reason, "ClusterNotReady");
}

#[test]
fn a_takeover_during_a_blip_flips_nothing() {
    assert_eq!(run(stored(&Probe::Ok), &[(0, lost()), (5, Probe::Ok)]), ["held", "True"]);
}

#[test]
fn after_an_unknown_status_the_first_answer_counts() {
    let mut unknown = Probe::Ok.verdict().since(&Time(at(0)));
    unknown.status = "Unknown".to_owned();
    assert_eq!(run(Hysteresis::from_stored(Some(&unknown)), &[(0, lost())]), ["False"]);
}

#[test]
fn holding_names_the_time_of_the_flip() {
    let mut member = stored(&Probe::Ok);
    assert_eq!(member.observe(&lost(), at(3), &Thresholds::default()), Publish::Hold { until: at(33) });
    assert_eq!(member.observe(&lost(), at(20), &Thresholds::default()), Publish::Hold { until: at(33) });
}

#[test]
fn a_clock_that_jumps_back_flips_nothing_early() {
    assert_eq!(run(stored(&Probe::Ok), &[(100, lost()), (-1000, lost()), (129, lost())]), ["held", "held", "held"]);
}

#[test]
fn verdicts_are_karmadas() {
    let text = [Probe::Ok, Probe::NotOk, lost(), Probe::CollectionFailed { cause: "timeout".to_owned() }]
        .map(|probe| probe.verdict())
        .map(|verdict| format!("{}={} {}: {}", verdict.type_, verdict.status, verdict.reason, verdict.message))
        .join("\n");
    insta::assert_snapshot!(text, @r"
    Ready=True ClusterReady: cluster is healthy and ready to accept workloads
    Ready=False ClusterNotReady: cluster is reachable but health endpoint responded without ok
    Ready=False ClusterNotReachable: cluster is not reachable: connection refused
    Ready=False StatusCollectionFailed: failed to collect the cluster status: timeout
    ");
}

proptest! {
    /// Whatever the probes say: between two published flips lies at least the threshold.
    #[test]
    fn flips_are_never_closer_than_the_threshold(answers in proptest::collection::vec((1..20i64, any::<bool>()), 1..60)) {
        let mut member = stored(&Probe::Ok);
        let (mut second, mut published, mut last_flip) = (0, "True", None);
        for (pause, ok) in answers {
            second += pause;
            let probe = if ok { Probe::Ok } else { lost() };
            if let Publish::Now(verdict) = member.observe(&probe, at(second), &Thresholds::default())
                && verdict.status != published
            {
                if let Some(last) = last_flip {
                    prop_assert!(second - last >= 30, "flips at {last} and {second}");
                }
                (published, last_flip) = (verdict.status, Some(second));
            }
        }
    }
}
