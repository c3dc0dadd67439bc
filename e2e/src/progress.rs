//! Progress lines on stderr, with the time since the start.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Writes `[  12.3 s] text` lines. Cheap to clone; clones share the start.
#[derive(Clone, Debug)]
pub struct Progress {
    start: Instant,
    sink: Sink,
}

#[derive(Clone, Debug)]
enum Sink {
    Stderr,
    File(Arc<std::fs::File>),
    Nowhere,
}

impl Progress {
    /// To stderr.
    pub fn stderr() -> Self {
        Self::to(Sink::Stderr)
    }

    /// To a log file.
    pub fn file(file: std::fs::File) -> Self {
        Self::to(Sink::File(Arc::new(file)))
    }

    /// To nowhere.
    pub fn silent() -> Self {
        Self::to(Sink::Nowhere)
    }

    fn to(sink: Sink) -> Self {
        Self { start: Instant::now(), sink }
    }

    /// One line.
    pub fn say(&self, text: impl std::fmt::Display) {
        let line = format!("[{:6.1} s] {text}\n", self.start.elapsed().as_secs_f64());
        // Progress is a courtesy: a closed pipe must not stop the work.
        drop(match &self.sink {
            Sink::Stderr => std::io::stderr().write_all(line.as_bytes()),
            Sink::File(file) => (&**file).write_all(line.as_bytes()),
            Sink::Nowhere => Ok(()),
        });
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
