//! Events for users: what was decided about an object, once per decision.
//!
//! ```text
//! record() ──seen lately?──► bounded queue ──token──► POST core/v1 Event
//!     └ never waits, never fails      └ full: dropped   ├ refused: dropped
//!                                                       └ 429, 5xx, away: rests, tries again, then dropped
//! ```
//!
//! Events are a courtesy. They have a budget of their own, are written by one task beside the
//! reconciles, and whatever goes wrong with them is a number in a metric and never an error.

mod budget;
mod recent;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use pando_context::{Ctx, Instant, Kind, Stop, Task};
use tokio::sync::mpsc;

use self::budget::Budget;
use self::recent::Recent;
use crate::backoff::Backoff;
use crate::budget::Outcome;
use crate::clock::Clock;
use crate::metrics::{EventFate, Metrics};

/// Who reports.
const COMPONENT: &str = "pando-controller";

const RECORDER: Kind = Kind::new("events");
const WRITE: Kind = Kind::new("write-event");

/// Events that wait for their token. More are dropped.
const QUEUED: usize = 512;

/// Events per second in the long run, and at once after a quiet time.
const RATE: u32 = 5;
const BURST: u32 = 50;

/// How long an event is not repeated.
const MEMORY: Duration = Duration::from_secs(600);

/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often one event is tried while the server is busy or away, and the rests between.
const ATTEMPTS: u32 = 3;
const REST: Backoff = Backoff::new(Duration::from_secs(1), LONGEST_REST);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The API server's limit for the message of an event, in bytes.
const MESSAGE_LIMIT: usize = 1024;

/// The longest part of an object's name that leaves room for `.` and 16 hex digits in a name of at
/// most 253 bytes.
const NAME_LIMIT: usize = 253 - 17;

/// Whether an event is news or a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Something was done.
    Normal,
    /// Something is not as it should be.
    Warning,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events. Cheap to clone; all clones share one budget and one memory.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: mpsc::Sender<Note>,
    recent: Mutex<Recent>,
    metrics: Metrics,
}

/// An event on its way.
#[derive(Debug)]
struct Note {
    about: ObjectReference,
    level: Level,
    reason: String,
    message: String,
}

/// Refers to an object, for an event about it.
pub fn about<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

impl Recorder {
    /// A recorder, and the task in `ctx` that writes for it. When the context ends, what has not
    /// been written is dropped.
    #[track_caller]
    pub fn start(ctx: &Ctx, client: Client, clock: Arc<dyn Clock>, metrics: Metrics) -> (Self, Task<()>) {
        let (queue, notes) = mpsc::channel(QUEUED);
        let recent = Mutex::new(Recent::new(MEMORY));
        let shared = Arc::new(Shared { queue, recent, metrics: metrics.clone() });
        let task = ctx.spawn(&RECORDER, |ctx| async move {
            Writer { ctx, client, clock, metrics, sequence: 0 }.run(notes).await;
        });
        (Self { shared }, task)
    }

    /// A recorder that writes nothing, for tests and for commands that only look.
    pub fn disabled() -> Self {
        let (queue, _) = mpsc::channel(1);
        let recent = Mutex::new(Recent::new(MEMORY));
        Self { shared: Arc::new(Shared { queue, recent, metrics: Metrics::new() }) }
    }

    /// Records an event about an object, unless the same (object, reason, message) was recorded in
    /// the last ten minutes. Returns at once; an event that cannot be written is counted and
    /// dropped.
    ///
    /// `reason` is a constant in CamelCase, Karmada's where Karmada has one. `message` is one line
    /// for people; beyond 1024 bytes it is cut.
    pub fn record(&self, about: &ObjectReference, level: Level, reason: &str, message: &str) {
        let key = recent::key(about, reason, message);
        let fresh = self.recent(|recent| recent.insert(key, Instant::now()));
        if !fresh {
            return self.shared.metrics.event(EventFate::Repeated);
        }
        let note = Note { about: about.clone(), level, reason: reason.to_owned(), message: message.to_owned() };
        if self.shared.queue.try_send(note).is_err() {
            // Not written, so not said: the next time is the first time.
            self.recent(|recent| recent.remove(key));
            self.shared.metrics.event(EventFate::OverBudget);
        }
    }

    fn recent<R>(&self, change: impl FnOnce(&mut Recent) -> R) -> R {
        change(&mut self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Writer {
    ctx: Ctx,
    client: Client,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    sequence: u64,
}

impl Writer {
    /// Writes until the context ends or the last recorder is gone.
    async fn run(mut self, mut notes: mpsc::Receiver<Note>) {
        let mut budget = Budget::new(RATE, BURST, Instant::now());
        while let Some(note) = notes.recv().await {
            while let Err(wait) = budget.take(Instant::now()) {
                if self.ctx.sleep(wait).await.is_err() {
                    return;
                }
            }
            if self.write(note).await.is_err() {
                return;
            }
        }
    }

    /// Writes an event. While the server is busy or away it rests first and tries again a few times; meanwhile the
    /// queue fills up and further events are dropped.
    async fn write(&mut self, note: Note) -> Result<(), Stop> {
        self.sequence += 1;
        let event = event(note, self.clock.as_ref(), self.sequence);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api = Api::<Event>::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams::default();
        for attempt in 1..=ATTEMPTS {
            let reply = match self.ctx.timeout(&WRITE, WRITE_TIMEOUT, api.create(&parameters, &event)).await {
                Ok(reply) => reply,
                Err(stop) => {
                    self.refused(&event, &stop);
                    return self.ctx.check();
                }
            };
            let rest = match Outcome::of(&reply) {
                Outcome::Later(asked) => asked.min(LONGEST_REST),
                Outcome::Overloaded | Outcome::Late | Outcome::Unreachable => REST.delay(attempt),
                Outcome::Answered | Outcome::Abandoned => Duration::ZERO,
            };
            match reply {
                Ok(_) => self.metrics.event(EventFate::Written),
                Err(error) if rest.is_zero() || attempt == ATTEMPTS => self.refused(&event, &error),
                Err(_) => {
                    self.ctx.sleep(rest).await?;
                    continue;
                }
            }
            return self.ctx.sleep(rest).await;
        }
        Ok(())
    }

    fn refused(&self, event: &Event, error: &dyn std::error::Error) {
        self.metrics.event(EventFate::Refused);
        let name = event.metadata.name.as_deref().unwrap_or_default();
        tracing::debug!(event = name, %error, "event not written");
    }
}

/// The object that goes to the API server. Events about cluster-scoped objects live in `default`,
/// as everywhere in Kubernetes.
fn event(note: Note, clock: &dyn Clock, sequence: u64) -> Event {
    let now = clock.now();
    let object = note.about.name.as_deref().unwrap_or_default();
    // Time makes it unique over restarts, the sequence within one process.
    let unique = (now.as_nanosecond() as u64).wrapping_add(sequence);
    let name = format!("{}.{unique:016x}", cut(object, NAME_LIMIT));
    let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: note.about,
        type_: Some(note.level.as_str().to_owned()),
        reason: Some(note.reason),
        message: Some(cut(&note.message, MESSAGE_LIMIT).to_owned()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(String::new()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        event_time: None::<MicroTime>,
        count: Some(1),
        ..Event::default()
    }
}

/// The longest beginning of a text that is at most so many bytes and ends with a whole character.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
