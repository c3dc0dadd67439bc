//! B13, amounts: requests of the controller under test, which no machine makes faster or slower.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::burst::Outcome;
use super::figures::{Row, Target, Unit};
use super::machine;
use super::objects::Shape;
use super::report::{Report, say};
use super::requests::{Counts, Marks, Requests};
use super::rig::Rig;
use crate::audit::Entry;

/// How long an idle federation is listened to.
const LISTEN: Duration = Duration::from_secs(60);
/// Requests a minute that an idle member may cost.
const IDLE: f64 = 8.0;

/// Hub writes that an application may cost on `members` members: 2N + 4 for each object, N + 2 more for the one
/// further status that a workload settles on.
fn hub_writes(shape: Shape, members: f64) -> f64 {
    let (object, settled) = (2.0 * members + 4.0, members + 2.0);
    match shape {
        Shape::Full => 3.0 * object + settled,
        Shape::Deployment => object + settled,
        Shape::Lite => object,
    }
}

/// Writes of bursts by application.
///
/// # Errors
/// When the report cannot be written.
#[expect(clippy::cast_precision_loss, reason = "numbers of requests and members")]
pub fn of_burst(rig: &Rig, report: &mut Report, name: &str, shape: Shape, outcomes: &[Outcome]) -> Result<()> {
    let members = rig.members.len() as f64;
    let objects = shape.kinds().len() as f64;
    let per_app = |count: fn(&Counts) -> usize| -> Vec<f64> {
        outcomes.iter().map(|outcome| count(&outcome.counts) as f64 / f64::from(outcome.apps)).collect()
    };
    let totals = |count: fn(&Counts) -> usize| -> Vec<f64> {
        outcomes.iter().map(|outcome| count(&outcome.counts) as f64).collect()
    };
    let rows = [
        Row::median(
            format!("b13.{name}.hub"),
            "hub writes an app, Events and policy marks apart",
            Unit::Requests,
            per_app(|counts| counts.hub_writes),
        )
        .target(Target::amount(hub_writes(shape, members))),
        Row::median(
            format!("b13.{name}.events"),
            "Events an app on the hub",
            Unit::Requests,
            per_app(|counts| counts.hub_events),
        ),
        Row::median(
            format!("b13.{name}.member"),
            format!("writes an app in all {members} members"),
            Unit::Requests,
            per_app(|counts| counts.member_writes),
        )
        .target(Target::amount(objects * members)),
        Row::median(
            format!("b13.{name}.409"),
            "conflicts (409) of a whole burst",
            Unit::Requests,
            totals(|counts| counts.conflicts),
        )
        .at(1.0)
        .target(Target::amount(0.0)),
        Row::median(
            format!("b13.{name}.refused"),
            "other refusals (4xx, 5xx) of a whole burst",
            Unit::Requests,
            totals(|counts| counts.refusals),
        )
        .at(1.0),
    ];
    for row in rows.into_iter().chain(processor(name, objects * members, outcomes)) {
        report.row(row)?;
    }
    if let Some(last) = outcomes.last() {
        for (place, counts) in [("hub", &last.counts.hub), ("members", &last.counts.members)] {
            let list: Vec<String> = counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
            say(&format!("    {place}: {}", list.join(", ")));
        }
    }
    Ok(())
}

/// Processor seconds until the statuses of a burst were complete, for a thousand objects in members: of everything but
/// the load, and of the controller alone.
fn processor(name: &str, objects: f64, outcomes: &[Outcome]) -> [Row; 2] {
    let samples = |chosen: fn(&str) -> bool| -> Vec<f64> {
        let sum = |outcome: &Outcome| -> f64 {
            outcome.spent.iter().filter(|(what, _)| chosen(what)).map(|(_, seconds)| seconds).sum()
        };
        outcomes.iter().map(|outcome| sum(outcome) * 1000.0 / (objects * f64::from(outcome.apps))).collect()
    };
    let row = |part: &str, what: &str, chosen: fn(&str) -> bool| {
        let what = format!("processor seconds of {what} for 1,000 objects in members");
        Row::median(format!("b13.{name}.{part}"), what, Unit::Seconds, samples(chosen))
    };
    [
        row("cpu", "everything", |what| what != machine::OURS),
        row("cpu-own", "the controller", |what| what.ends_with("controller") && !what.contains(' ')),
    ]
}

/// Every request of an idle federation, reads as well.
///
/// # Errors
/// When a log cannot be read.
#[expect(clippy::cast_precision_loss, reason = "numbers of requests and members")]
pub async fn idle(rig: &Rig, report: &mut Report, quick: bool) -> Result<()> {
    let members = rig.members.len();
    let listen = if quick { LISTEN / 6 } else { LISTEN };
    rig.progress.say(format_args!("listening to {members} idle members for {listen:?}"));
    let marks = Marks::now(rig)?;
    tokio::time::sleep(listen).await;
    let Requests { hub, members: of_members } = marks.requests(rig)?;
    let minute = |count: usize| count as f64 * 60.0 / listen.as_secs_f64();
    let rows = [
        ("hub", "requests of the idle controller on the hub", minute(hub.len()), None),
        (
            "members",
            "requests of the idle controller in all members",
            minute(of_members.len()),
            Some(IDLE * members as f64),
        ),
    ];
    for (place, what, rate, target) in rows {
        let row = Row::median(
            format!("b13.idle.x{members}.{place}"),
            format!("{what}, {members} members"),
            Unit::PerMinute,
            vec![rate],
        );
        report.row(match target {
            Some(target) => row.target(Target::amount(target)),
            None => row,
        })?;
    }
    for (place, entries) in [("hub", &hub), ("members", &of_members)] {
        say(&format!("    {place}: {}", by_question(entries)));
    }
    Ok(())
}

/// Requests by what they asked.
fn by_question(entries: &[Entry]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        let resource = if entry.resource.is_empty() { "no resource" } else { &entry.resource };
        let slash = if entry.subresource.is_empty() { "" } else { "/" };
        *counts.entry(format!("{} {resource}{slash}{}", entry.verb, entry.subresource)).or_default() += 1;
    }
    let list: Vec<String> = counts.into_iter().map(|(what, count)| format!("{what} {count}")).collect();
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_the_one_of_the_architecture() {
        assert_eq!(hub_writes(Shape::Lite, 3.0), 10.0);
        assert_eq!(hub_writes(Shape::Deployment, 3.0), 15.0);
        assert_eq!(hub_writes(Shape::Full, 3.0), 35.0);
        assert_eq!(hub_writes(Shape::Lite, 12.0), 28.0);
    }
}
