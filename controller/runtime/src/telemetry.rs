//! The log of the process.
//!
//! One line per event on stderr, as text for people or as JSON for machines. The span of a reconcile gives each line
//! of it its `controller`, `key` and `trace`, and its `reason` once it was cancelled. Contents of objects are never
//! logged: they may be secret.

#[cfg(test)]
pub(crate) mod captured;

use std::str::FromStr;
use std::sync::Arc;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line, with the fields of the spans at the top level of `span`.
    Json,
}

impl FromStr for Format {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<Self, TelemetryError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(TelemetryError::Format(text.to_owned())),
        }
    }
}

/// Why the log could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a format.
    #[error("log format {0:?} is not known: use text or json")]
    Format(String),
    /// Not a filter.
    #[error("log filter {filter:?} cannot be read: {source}; use for example info or info,kube=debug")]
    Filter {
        /// What was asked for.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// There is a log already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] TryInitError),
    /// The log has gone.
    #[error("the log filter cannot be changed any more: {0}")]
    Gone(#[from] reload::Error),
}

/// Changes what is logged while the process runs. Cheap to clone.
#[derive(Clone)]
pub struct LogFilter {
    handle: Arc<dyn Reload>,
}

trait Reload: Send + Sync {
    fn set(&self, filter: EnvFilter) -> Result<(), reload::Error>;
    fn get(&self) -> Option<String>;
}

impl<S: 'static> Reload for reload::Handle<EnvFilter, S> {
    fn set(&self, filter: EnvFilter) -> Result<(), reload::Error> {
        self.reload(filter)
    }

    fn get(&self) -> Option<String> {
        self.with_current(ToString::to_string).ok()
    }
}

impl LogFilter {
    /// Replaces the filter.
    ///
    /// # Errors
    ///
    /// If the filter cannot be read; the old one then stays.
    pub fn set(&self, filter: &str) -> Result<(), TelemetryError> {
        self.handle.set(parse(filter)?).map_err(TelemetryError::from)
    }

    /// The filter in force.
    pub fn get(&self) -> String {
        self.handle.get().unwrap_or_default()
    }
}

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogFilter({})", self.get())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder().parse(filter).map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })
}

/// Sets up the log of the process. `filter` is a level (`info`) or directives by target
/// (`info,pando_runtime=debug,hyper=warn`).
///
/// # Errors
///
/// If the filter cannot be read, or if there is a log already.
pub fn init(format: Format, filter: &str) -> Result<LogFilter, TelemetryError> {
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(parse(filter)?);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::registry()
        .with(filter)
        .with(lines(format, std::io::stderr, colours).with_filter(filter_fn(|it| is_safe(it.target(), *it.level()))))
        .try_init()?;
    Ok(LogFilter { handle: Arc::new(handle) })
}

/// Whether an event can be logged whatever the filter says: kube's client writes the whole body of an answer that it
/// cannot decode into a warning, and the body may be a Secret's.
fn is_safe(target: &str, level: Level) -> bool {
    !target.starts_with("kube_client") || level == Level::ERROR
}

/// One line for each event, into this writer.
pub(crate) fn lines<S, W>(format: Format, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn bodies_that_the_client_cannot_decode_are_never_logged() {
        assert!(!is_safe("kube_client::client", Level::WARN));
        assert!(!is_safe("kube_client::client", Level::DEBUG));
        assert!(is_safe("pando_runtime::watch", Level::WARN));
    }

    #[test]
    fn formats_are_read_and_others_named() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        let error = "xml".parse::<Format>().unwrap_err().to_string();
        assert_eq!(error, "log format \"xml\" is not known: use text or json");
    }

    #[test]
    fn the_filter_can_be_changed_and_a_bad_one_changes_nothing() {
        let (_layer, handle) = reload::Layer::<EnvFilter, Registry>::new(parse("info").unwrap());
        let filter = LogFilter { handle: Arc::new(handle) };
        filter.set("warn,kube=debug").unwrap();
        assert!(filter.set("kube=loud").is_err());
        assert_eq!(filter.get(), "kube=debug,warn");
    }
}
