//! B7, memory: what the controller keeps, idle, after bursts, and for each binding.

use std::time::Duration;

use anyhow::Result;

use super::burst::{Burst, Outcome};
use super::figures::{Row, Target, Unit};
use super::machine::Memory;
use super::objects::Shape;
use super::report::Report;
use super::rig::Rig;

/// How long the controller rests before its memory is read: freed pages go back with a delay.
const SETTLE: Duration = Duration::from_secs(5);
/// Times that memory is read, and how long between them.
const LOOKS: (u32, Duration) = (5, Duration::from_secs(1));
/// The most that may be resident without much to do, in MB.
const SMALL: f64 = 25.0;
/// The most for ten thousand bindings, in MB.
const LARGE: f64 = 60.0;
/// From this number of bindings on, the larger target holds.
const MANY: u32 = 5000;
/// What a binding on three members may keep: 1.1 KB, and 0.4 KB for each member.
const EACH: f64 = 2300.0;

/// Megabytes resident, read a few times, and what else is to say. Nothing when the processes are not known.
async fn look(rig: &Rig) -> Result<Option<(Vec<f64>, Memory)>> {
    rig.calm().await?;
    tokio::time::sleep(SETTLE).await;
    let mut resident = Vec::new();
    let mut last = None;
    for _ in 0..LOOKS.0 {
        let Some(memory) = rig.memory()? else {
            rig.progress.say("no processes are named (--pid), so there is no figure for memory");
            return Ok(None);
        };
        resident.push(megabytes(memory.resident));
        last = Some(memory);
        tokio::time::sleep(LOOKS.1).await;
    }
    Ok(last.map(|memory| (resident, memory)))
}

#[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn row(id: &str, what: String, at_most: Option<f64>, resident: Vec<f64>, memory: Memory) -> Row {
    let row = Row::median(id, what, Unit::Megabytes, resident).note(format!(
        "heap and stacks {:.1}, proportional {:.1}, peak {:.1}",
        megabytes(memory.anonymous),
        megabytes(memory.proportional),
        megabytes(memory.peak)
    ));
    match at_most {
        Some(at_most) => row.target(Target::amount(at_most)),
        None => row,
    }
}

/// With every member joined and nothing propagated. Gives the megabytes.
///
/// # Errors
/// When the controller does not run.
pub async fn idle(rig: &Rig, report: &mut Report) -> Result<Option<f64>> {
    let Some((resident, memory)) = look(rig).await? else { return Ok(None) };
    let base = super::figures::quantile(&resident, 0.5);
    let what = format!("controller resident, {} members, idle", rig.members.len());
    report.row(row("b7.idle", what, Some(SMALL), resident, memory))?;
    Ok(base)
}

/// After bursts whose objects are gone again.
///
/// # Errors
/// When the controller does not run.
pub async fn after_bursts(rig: &Rig, report: &mut Report, bursts: usize) -> Result<()> {
    let Some((resident, memory)) = look(rig).await? else { return Ok(()) };
    let what = format!("controller resident after {bursts} full bursts of B1");
    report.row(row("b7.after-b1", what, Some(SMALL), resident, memory))
}

/// On the wide rig.
///
/// # Errors
/// When the controller does not run.
pub async fn after_fleet(rig: &Rig, report: &mut Report, bindings: u32) -> Result<()> {
    let Some((resident, memory)) = look(rig).await? else { return Ok(()) };
    let members = rig.members.len();
    let what = format!("controller resident after {bindings} bindings x {members} came and went");
    report.row(row(&format!("b7.after-x{members}"), what, None, resident, memory))
}

/// With so many ConfigMap bindings, growing; `base` are the megabytes of an idle controller that was just started.
/// Gives the bursts that made them.
///
/// # Errors
/// When the controller does not run, or the objects do not arrive.
pub async fn sizes(rig: &Rig, report: &mut Report, sizes: &[u32], base: f64) -> Result<Vec<(u32, Outcome)>> {
    let space = Burst::prepare(rig, Shape::Lite, 0).await?;
    let (mut outcomes, mut first) = (Vec::new(), 0);
    for size in sizes.iter().copied() {
        if size <= first {
            continue;
        }
        let burst = Burst { first, count: size - first, ..space.clone() };
        let outcome = burst.run(rig).await?;
        let arrived = outcome.complete.is_some();
        outcomes.push((size, outcome));
        first = size;
        if !with(rig, report, size, base, arrived).await? {
            break;
        }
    }
    space.clear(rig).await?;
    Ok(outcomes)
}

/// The rows of one size: after the burst that made it, after a restart, and what a binding comes to. Says whether to go on.
async fn with(rig: &Rig, report: &mut Report, size: u32, base: f64, arrived: bool) -> Result<bool> {
    let at_most = if size >= MANY { LARGE } else { SMALL };
    let id = format!("b7.cm{size}");
    let what = format!("controller resident with {size} ConfigMap bindings x {}", rig.members.len());
    if !arrived {
        report.row(row(&id, what, Some(at_most), vec![], Memory::default()).note("did not arrive in time"))?;
        return Ok(false);
    }
    let Some((mut resident, memory)) = look(rig).await? else { return Ok(false) };
    report.row(row(&id, what.clone(), Some(at_most), resident.clone(), memory))?;
    if rig.restart().await?
        && let Some((again, memory)) = look(rig).await?
    {
        report.row(row(
            &format!("{id}.restart"),
            format!("{what}, restarted"),
            Some(at_most),
            again.clone(),
            memory,
        ))?;
        resident = again;
    }
    let bytes = resident.iter().map(|resident| (resident - base) * 1e6 / f64::from(size)).collect();
    let what = format!("for each of the {size} bindings, from {base:.1} MB without any");
    report.row(Row::median(format!("{id}.each"), what, Unit::Bytes, bytes).target(Target::amount(EACH)))?;
    Ok(true)
}
