//! Repetitions, medians and lines.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How much is done for a figure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Samples of which the median counts.
    pub repetitions: usize,
    /// Operations of a sample are divided by this.
    pub divide: usize,
    /// Larger trees than this are left out.
    pub largest: usize,
}

impl Effort {
    /// What is published.
    pub const FULL: Self = Self { repetitions: 5, divide: 1, largest: usize::MAX };
    /// Enough to see that it works, in about a second a case.
    pub const QUICK: Self = Self { repetitions: 3, divide: 50, largest: 10_000 };
}

/// Where samples become figures.
#[derive(Debug)]
pub struct Figures {
    effort: Effort,
    sink: fn(&str),
    names: Vec<String>,
}

impl Figures {
    /// With this effort; each figure is a line to `sink`.
    pub fn new(effort: Effort, sink: fn(&str)) -> Self {
        Self { effort, sink, names: Vec::new() }
    }

    /// What was measured so far.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Of these sizes, those that are not too much effort.
    pub fn sizes(&self, all: &[usize]) -> Vec<usize> {
        all.iter().copied().filter(|size| *size <= self.effort.largest).collect()
    }

    /// Operations to do for a sample, of so many in full.
    pub fn operations(&self, full: usize) -> usize {
        (full / self.effort.divide).max(1)
    }

    /// As many samples as the effort asks for.
    pub fn samples<T>(&self, one: impl FnMut() -> T) -> Vec<T> {
        std::iter::repeat_with(one).take(self.effort.repetitions).collect()
    }

    /// Keeps the median of the samples.
    pub fn put(&mut self, name: &str, size: impl Display, unit: &str, mut samples: Vec<f64>) {
        samples.sort_unstable_by(f64::total_cmp);
        if let Some(median) = samples.get(samples.len() / 2) {
            self.names.push(format!("{name}/{size}"));
            (self.sink)(&format!("{name}/{size} {unit} {median:.3}"));
        }
    }

    /// Measures an operation: nanoseconds of processor time.
    pub fn operation(&mut self, name: &str, size: impl Display, full: usize, mut operation: impl FnMut()) {
        let count = self.operations(full);
        let samples = self.samples(|| {
            let watch = Stopwatch::start();
            for _ in 0..count {
                operation();
            }
            nanos_each(watch.time(), count)
        });
        self.put(name, size, "ns", samples);
    }
}

/// Processor time of the thread that started it. What one thread does takes as long on a quiet machine, and this does
/// not grow when others want the processor.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Duration);

impl Stopwatch {
    /// From now on.
    pub fn start() -> Self {
        Self(thread_time())
    }

    /// Since the start, on the same thread.
    pub fn time(self) -> Duration {
        thread_time().saturating_sub(self.0)
    }
}

/// Nanoseconds for each of so many.
#[expect(clippy::cast_precision_loss, reason = "a measurement")]
pub fn nanos_each(all: Duration, count: usize) -> f64 {
    all.as_nanos() as f64 / count as f64
}

/// Microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// One line on stdout. A reader that went away is no reason to fail.
pub fn print(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
