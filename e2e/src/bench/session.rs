//! One run of the command: which rigs are started, and what is measured on them in which order.

use std::path::Path;

use anyhow::Result;

use super::amounts;
use super::arguments::Arguments;
use super::arguments::Benchmark::{B0, B1, B2, B7, B13};
use super::burst::{Burst, Outcome};
use super::figures::{Row, Target, Unit};
use super::floor;
use super::latency;
use super::machine::Conditions;
use super::memory;
use super::objects::Shape;
use super::report::{Report, say};
use super::rig::{Rig, Workshop};
use crate::parts::Source;
use crate::product::Product;
use crate::progress::Progress;
use crate::provider::Role;

/// Applications of a burst.
const APPS: u32 = 47;
/// ConfigMaps of the small burst: three for each application.
const FEW: u32 = 141;
/// ConfigMaps of the large burst.
const MANY: u32 = 1000;
/// The width for which B1 and B2 have targets.
const WIDTH: usize = 3;

/// Measures what is asked for. Gives the number of rows without result.
///
/// # Errors
/// When a rig does not start, or something on it cannot be measured.
pub(super) async fn run(arguments: Arguments, home: &Path, progress: &Progress) -> Result<usize> {
    let (quiet, external) = (progress.clone(), arguments.external);
    let (parts, product) = tokio::task::spawn_blocking(move || {
        let parts = Source::standard()?.ensure(&quiet, None)?;
        let product = (!external).then(|| Product::build_for_release(&quiet)).transpose()?;
        Ok::<_, anyhow::Error>((parts, product))
    })
    .await??;
    let conditions = Conditions::look(Some(&parts), product.as_ref());
    print(&conditions);
    let mut report = Report::new(conditions, arguments.json.clone(), !arguments.quick);
    let workshop = Workshop { arguments, home: home.to_owned(), parts, product, progress: progress.clone() };
    let arguments = &workshop.arguments;

    floor::measure(&workshop, &mut report, arguments.wants(B0)).await?;
    if arguments.wants_any(&[B1, B2, B7, B13]) {
        let rig = Rig::start(&workshop, "rig", arguments.members, Role::Member).await?;
        on_workloads(&rig, arguments, &mut report).await?;
        rig.stop().await?;
    }
    if arguments.fleet > 0 && arguments.wants_any(&[B1, B2, B13]) {
        let rig = Rig::start(&workshop, "fleet", arguments.fleet, Role::Bare).await?;
        on_fleet(&rig, arguments, &mut report).await?;
        rig.stop().await?;
    }
    Ok(report.incomplete())
}

/// Everything that needs members with workloads.
async fn on_workloads(rig: &Rig, arguments: &Arguments, report: &mut Report) -> Result<()> {
    let (apps, quick) = (arguments.scaled(APPS), arguments.quick);
    rig.calm().await?;
    let idle = if arguments.wants(B7) { memory::idle(rig, report).await? } else { None };
    if arguments.wants(B13) {
        amounts::idle(rig, report, quick).await?;
    }
    if arguments.wants_any(&[B0, B1]) {
        floor::workloads(rig, report, apps).await?;
    }
    if arguments.wants_any(&[B1, B7, B13]) {
        let full = Series { name: "full", shape: Shape::Full, count: apps, times: times(10.0, Some(22.0)) };
        let deploy = Series { name: "deploy", shape: Shape::Deployment, count: apps, times: times(5.0, Some(17.0)) };
        let few = Series { name: "cm141", shape: Shape::Lite, count: arguments.scaled(FEW), times: times(4.0, None) };
        if !quick {
            rig.progress.say("warming up: one burst that does not count");
            once(rig, &full).await?;
        }
        for (index, series) in [full, deploy, few].iter().enumerate() {
            // Memory is read after the full ones.
            if index > 0 && !arguments.wants_any(&[B1, B13]) {
                continue;
            }
            let outcomes = repeat(rig, arguments, series).await?;
            if arguments.wants(B1) {
                series.report(rig, report, &outcomes)?;
            }
            if arguments.wants(B7) && index == 0 {
                memory::after_bursts(rig, report, outcomes.len() + usize::from(!quick)).await?;
            }
            if arguments.wants(B13) {
                amounts::of_burst(rig, report, series.name, series.shape, &outcomes)?;
            }
            keep_profile(arguments, report, series.name, &outcomes)?;
        }
    }
    if arguments.wants(B2) {
        one_by_one(rig, arguments, report).await?;
    }
    let with_sizes = idle.is_some() && !arguments.sizes.is_empty();
    if let Some(base) = idle.filter(|_| with_sizes) {
        let sizes: Vec<u32> = arguments.sizes.iter().map(|size| arguments.scaled(*size)).collect();
        let outcomes = memory::sizes(rig, report, &sizes, base).await?;
        for (size, outcome) in &outcomes {
            keep_profile(arguments, report, &format!("cm{size}"), std::slice::from_ref(outcome))?;
        }
        let first = outcomes.first().filter(|(size, _)| *size == arguments.scaled(MANY));
        if let Some((_, outcome)) = first.filter(|_| arguments.wants(B1)) {
            many(arguments).report(rig, report, std::slice::from_ref(outcome))?;
        }
    }
    // Memory was measured with the same burst, if it was measured at that size.
    if arguments.wants(B1) && !(with_sizes && arguments.sizes.first() == Some(&MANY)) {
        let series = many(arguments);
        let outcome = once(rig, &series).await?;
        series.report(rig, report, std::slice::from_ref(&outcome))?;
        keep_profile(arguments, report, series.name, &[outcome])?;
    }
    Ok(())
}

/// What needs many members, and no workloads.
async fn on_fleet(rig: &Rig, arguments: &Arguments, report: &mut Report) -> Result<()> {
    rig.calm().await?;
    if arguments.wants(B13) {
        amounts::idle(rig, report, arguments.quick).await?;
    }
    if arguments.wants(B2) {
        one_by_one(rig, arguments, report).await?;
    }
    if arguments.wants(B1) {
        let series = many(arguments);
        let outcome = once(rig, &series).await?;
        series.report(rig, report, std::slice::from_ref(&outcome))?;
        memory::after_fleet(rig, report, series.count).await?;
        keep_profile(arguments, report, "cm1000 on the fleet", &[outcome])?;
    }
    Ok(())
}

const fn times(exist: f64, complete: Option<f64>) -> Times {
    Times { exist, complete }
}

fn many(arguments: &Arguments) -> Series {
    let count = arguments.scaled(MANY);
    Series { name: "cm1000", shape: Shape::Lite, count, times: times(40.0, None) }
}

/// Targets in seconds, for three members.
#[derive(Clone, Copy, Debug)]
struct Times {
    exist: f64,
    complete: Option<f64>,
}

/// A burst that is repeated.
#[derive(Clone, Copy, Debug)]
struct Series {
    name: &'static str,
    shape: Shape,
    count: u32,
    times: Times,
}

impl Series {
    fn report(&self, rig: &Rig, report: &mut Report, outcomes: &[Outcome]) -> Result<()> {
        let members = rig.members.len();
        let id = |part: &str| match members {
            WIDTH => format!("b1.{}.{part}", self.name),
            other => format!("b1.{}x{other}.{part}", self.name),
        };
        let what = match self.shape {
            Shape::Full => "apps (Deployment, Service, ConfigMap)",
            Shape::Deployment => "Deployments",
            Shape::Lite => "ConfigMaps",
        };
        let objects = usize::try_from(self.count)? * self.shape.kinds().len() * members;
        let judged = |row: Row, target: Option<f64>| match target.filter(|_| members == WIDTH) {
            Some(target) => row.target(Target::time(target)),
            None => row,
        };
        let samples = |time: fn(&Outcome) -> Option<f64>| outcomes.iter().filter_map(time).collect::<Vec<_>>();
        let exist = samples(|outcome| outcome.exist);
        let what = format!("{} {what} x {members}", self.count);
        report.row(judged(
            Row::median(id("exist"), format!("{what}: {objects} objects exist"), Unit::Seconds, exist),
            Some(self.times.exist),
        ))?;
        let complete = samples(|outcome| outcome.complete);
        report.row(judged(
            Row::median(id("status"), format!("{what}: statuses complete"), Unit::Seconds, complete),
            self.times.complete,
        ))
    }
}

async fn once(rig: &Rig, series: &Series) -> Result<Outcome> {
    let burst = Burst::prepare(rig, series.shape, series.count).await?;
    let outcome = burst.run(rig).await?;
    burst.clear(rig).await?;
    Ok(outcome)
}

async fn repeat(rig: &Rig, arguments: &Arguments, series: &Series) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for _ in 0..arguments.scaled(u32::from(arguments.runs)) {
        outcomes.push(once(rig, series).await?);
    }
    Ok(outcomes)
}

async fn one_by_one(rig: &Rig, arguments: &Arguments, report: &mut Report) -> Result<()> {
    let members = rig.members.len();
    let samples = arguments.scaled(u32::from(arguments.samples));
    rig.progress.say(format_args!("timing {samples} ConfigMaps one by one to {members} members"));
    let measured = latency::measure(rig, samples).await?;
    let (half, most) = match members {
        WIDTH => (Some(30.0), Some(80.0)),
        12 => (Some(40.0), Some(120.0)),
        _ => (None, None),
    };
    for (part, name, target) in [(0.5, "p50", half), (0.99, "p99", most)] {
        let what = format!("one ConfigMap x {members}: POST until it is in the last member, {name}");
        let row = Row::median(format!("b2.x{members}.{name}"), what, Unit::Millis, measured.exist.clone()).at(part);
        report.row(match target {
            Some(target) => row.target(Target::time(target)),
            None => row,
        })?;
    }
    let what = format!("one ConfigMap x {members}: POST until the binding says so");
    report.row(Row::median(format!("b2.x{members}.status"), what, Unit::Millis, measured.complete.clone()))?;
    report.profile(&format!("b2 x {members}"), measured.profile())?;
    if arguments.profile {
        say(&measured.print());
    }
    Ok(())
}

fn keep_profile(arguments: &Arguments, report: &mut Report, name: &str, outcomes: &[Outcome]) -> Result<()> {
    for (index, outcome) in outcomes.iter().enumerate() {
        report.profile(&format!("{name} {}", index + 1), outcome.profile())?;
    }
    if let Some(last) = outcomes.last().filter(|_| arguments.profile) {
        say(&format!("  where the time of the last burst of {name} went:\n{}", last.print()));
    }
    Ok(())
}

pub(super) fn print(conditions: &Conditions) {
    let Conditions { cores, processor, memory_kib, kernel, load_before, contender, commit, .. } = conditions;
    say(&format!("# {contender}, commit {commit}"));
    say(&format!("# {cores} x {processor}, {} MiB, Linux {kernel}, load before {load_before}", memory_kib / 1024));
    let parts: Vec<&str> = conditions.parts.values().map(String::as_str).collect();
    if !parts.is_empty() {
        say(&format!("# {}", parts.join("; ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_that_were_promised() {
        assert_eq!((APPS, FEW, MANY, WIDTH), (47, 141, 1000, 3));
        assert_eq!(usize::try_from(APPS).unwrap_or(0) * Shape::Full.kinds().len() * WIDTH, 423);
    }
}
