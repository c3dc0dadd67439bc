//! Figures: samples, what they sum up to, and what they are held against.

use std::fmt;

use serde::Serialize;

/// The floor that targets are written for: POST/s of one API server with 16 requests in flight.
pub const REFERENCE_FLOOR: f64 = 500.0;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millis,
    /// Millions of bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Bytes.
    #[serde(rename = "B")]
    Bytes,
    /// Requests a second.
    #[serde(rename = "/s")]
    PerSecond,
    /// Requests a minute.
    #[serde(rename = "/min")]
    PerMinute,
    /// A number of requests.
    #[serde(rename = "requests")]
    Requests,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Megabytes => "MB",
            Self::Bytes => "B",
            Self::PerSecond => "/s",
            Self::PerMinute => "/min",
            Self::Requests => "requests",
        })
    }
}

/// The most that a figure may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Target {
    /// On a machine of [`REFERENCE_FLOOR`], in the figure's unit.
    pub at_most: f64,
    /// Whether a slower machine may take longer in proportion. Times scale; bytes and requests do not.
    pub scales: bool,
}

impl Target {
    /// A time, which depends on the machine.
    pub const fn time(at_most: f64) -> Self {
        Self { at_most, scales: true }
    }

    /// An amount that no machine changes.
    pub const fn amount(at_most: f64) -> Self {
        Self { at_most, scales: false }
    }

    /// The target for a machine of this floor (POST/s at 16 in flight). Without a known floor it is taken as written.
    pub fn on(&self, floor: Option<f64>) -> f64 {
        match floor {
            Some(floor) if self.scales && floor > 0.0 => self.at_most * REFERENCE_FLOOR / floor,
            _ => self.at_most,
        }
    }
}

/// One result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which one, say `b1.full.exist`; stable, for comparing runs.
    pub id: String,
    /// In words.
    pub what: String,
    /// What [`Row::samples`] count.
    pub unit: Unit,
    /// Every sample, in the order of measuring. None when it could not be brought to its end.
    pub samples: Vec<f64>,
    /// The part of the samples (0 to 1) that lies at or below [`Row::value`]: 0.5 for a median.
    pub quantile: f64,
    /// What it is held against, if anything.
    pub target: Option<Target>,
    /// What a reader must know beside it, mostly empty.
    pub note: String,
}

impl Row {
    /// The median of these samples.
    pub fn median(id: impl Into<String>, what: impl Into<String>, unit: Unit, samples: Vec<f64>) -> Self {
        Self { id: id.into(), what: what.into(), unit, samples, quantile: 0.5, target: None, note: String::new() }
    }

    /// Another part of the samples than their half.
    #[must_use]
    pub fn at(mut self, quantile: f64) -> Self {
        self.quantile = quantile;
        self
    }

    /// With a target.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// With something to know beside it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The result; none without samples.
    pub fn value(&self) -> Option<f64> {
        quantile(&self.samples, self.quantile)
    }

    /// Whether the target is met on a machine of this floor; none without target. What has no result has missed it.
    pub fn met(&self, floor: Option<f64>) -> Option<bool> {
        let target = self.target?;
        Some(self.value().is_some_and(|value| value <= target.on(floor)))
    }

    /// The line a person reads.
    pub fn line(&self, floor: Option<f64>) -> String {
        let unit = self.unit;
        let value = self.value().map_or("no result".to_owned(), |value| format!("{} {unit}", short(value)));
        let spread = match self.samples.as_slice() {
            [] | [_] => String::new(),
            all => {
                let (low, high) = (quantile(all, 0.25).unwrap_or(0.0), quantile(all, 0.75).unwrap_or(0.0));
                format!("({}-{}, n={})", short(low), short(high), all.len())
            }
        };
        let verdict = match (self.target, self.met(floor)) {
            (Some(target), Some(met)) => {
                let scaled = match target.scales && floor.is_some() {
                    true => format!("scaled <= {}", short(target.on(floor))),
                    false => String::new(),
                };
                let word = if met { "met" } else { "not met" };
                format!("target <= {:<7} {scaled:<16} {word}", format!("{} {unit}", short(target.at_most)))
            }
            _ => String::new(),
        };
        let note = if self.note.is_empty() { String::new() } else { format!("  {}", self.note) };
        let line = format!("{:<20} {:<56} {value:>12} {spread:<22} {verdict}{note}", self.id, self.what);
        line.trim_end().to_owned()
    }
}

/// Three digits that count, without zeros at the end.
pub fn short(value: f64) -> String {
    let digits = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The sample below or at which a part (0 to 1) of all samples lies (nearest rank); none without samples.
pub fn quantile(samples: &[f64], part: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
    let rank = (part.clamp(0.0, 1.0) * sorted.len() as f64).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of samples")]
    let index = (rank as usize).max(1) - 1;
    sorted.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_sample_and_not_between_two() {
        let samples: Vec<f64> = (1..=200).map(f64::from).rev().collect();
        assert_eq!(quantile(&samples, 0.5), Some(100.0));
        assert_eq!(quantile(&samples, 0.99), Some(198.0));
        assert_eq!(quantile(&samples, 1.0), Some(200.0));
        assert_eq!(quantile(&samples, 0.0), Some(1.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn times_scale_with_the_floor_and_amounts_do_not() {
        assert_eq!(Target::time(10.0).on(Some(250.0)), 20.0);
        assert_eq!(Target::time(10.0).on(Some(1000.0)), 5.0);
        assert_eq!(Target::time(10.0).on(None), 10.0);
        assert_eq!(Target::amount(25.0).on(Some(250.0)), 25.0);
    }

    #[test]
    fn a_row_is_met_at_its_scaled_target_and_missed_without_a_result() {
        let row = |samples| Row::median("b1", "x", Unit::Seconds, samples).target(Target::time(10.0));
        assert_eq!(row(vec![12.0]).met(Some(500.0)), Some(false));
        assert_eq!(row(vec![12.0]).met(Some(400.0)), Some(true));
        assert_eq!(row(vec![]).met(Some(500.0)), Some(false));
        assert_eq!(Row::median("b0", "x", Unit::PerSecond, vec![1.0]).met(None), None);
    }

    #[test]
    fn a_line_names_figure_target_scaled_target_and_verdict() {
        let row = Row::median("b1.full.exist", "423 objects exist", Unit::Seconds, vec![9.0, 8.0, 30.0])
            .target(Target::time(10.0));
        let line = row.line(Some(400.0));
        for part in ["b1.full.exist", "423 objects exist", "9 s", "(8-30, n=3)", "target <= 10 s", "scaled <= 12.5"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(line.ends_with(" met") && !line.contains("not met"), "{line}");
        assert!(row.line(Some(1000.0)).ends_with("not met"));
    }

    #[test]
    fn figures_have_three_digits_that_count() {
        assert_eq!([0.123, 1.0, 12.34, 30.0, 274.6, 100.0].map(short), ["0.12", "1", "12.3", "30", "275", "100"]);
    }
}
