//! Durations as Go prints and reads them, because Karmada's flags do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A span of time that is never negative, written as in Go: `10s`, `1h30m`, `250ms`, `1.5s`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GoDuration(Duration);

impl GoDuration {
    /// The value.
    pub(crate) const fn get(self) -> Duration {
        self.0
    }
}

/// A duration that cannot be read; the text says what can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write numbers with units ns, us, ms, s, m or h, such as 10s or 1h30m")]
pub(crate) struct InvalidDuration(String);

impl FromStr for GoDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        parts(text).map(Self).ok_or_else(|| InvalidDuration(text.to_owned()))
    }
}

fn parts(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len()));
        total = total.checked_add(part(number, unit)?)?;
        rest = tail;
    }
    Some(total)
}

/// One number with its unit, exact to the nanosecond.
fn part(number: &str, unit: &str) -> Option<Duration> {
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 15 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let nanos = whole.checked_mul(unit)?.checked_add(fraction.checked_mul(unit)? / scale)?;
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let seconds = self.0.as_secs();
        if nanos < 1_000_000_000 {
            return match nanos {
                n if n % 1_000_000 == 0 => write!(f, "{}ms", n / 1_000_000),
                n if n % 1_000 == 0 => write!(f, "{}us", n / 1_000),
                n => write!(f, "{n}ns"),
            };
        }
        let (hours, minutes, left) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        match self.0.subsec_nanos() {
            0 if left > 0 => write!(f, "{left}s"),
            0 => Ok(()),
            part => write!(f, "{left}.{}s", format!("{part:09}").trim_end_matches('0')),
        }
    }
}
