//! Feeding a [`Store`] from the API server, for ever.
//!
//! kube-runtime's `watcher` does the listing and watching; this module decides what it runs over
//! and what to do when it fails:
//!
//! * It runs over [`Item`], which takes any object and is decoded afterwards, so that one object
//!   that cannot be read is one fault and everything else goes on.
//! * Lists are quorum reads in pages, whatever the options: the store's rules need a list to be no
//!   older than what was asked before it (`resourceVersion=0` and streaming lists from version 0 do
//!   not promise that).
//! * kube's watcher retries a watch that cannot be started with the same version for ever. Where
//!   that cannot help (the version is gone, or in the future after a restore, or a frame was not
//!   readable and so an event is lost), it is thrown away and started anew with a list.
//! * Written objects whose echo does not come are read once
//!   ([`Table::pending`](crate::store::table::Table::pending)).

mod item;
mod pauses;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::{Stream, StreamExt};
use kube::api::{Api, ListParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Error as ClientError};
use pando_context::{Ctx, Instant, Stop};
use tokio::sync::Notify;

pub use self::item::Item;
use self::item::Unplaced;
use self::pauses::Pauses;
use crate::store::{Fault, Key, Pending, Record, Revision, Store, Verdict};

/// Pause between two looks at writes without an echo and at a watch that has been failing.
const TICK: Duration = Duration::from_secs(5);
/// How many writes without an echo are read in one tick; the others wait for the next.
const CONFIRMATIONS: usize = 16;
/// A watch that has been tried again and has not failed for so many ticks is taken to work: a quiet
/// one says nothing.
const QUIET_TICKS: u32 = 3;
/// After so many refusals to continue a watch it starts anew with a list. A server that is away or
/// overloaded refuses nothing: when it is back, the watch goes on where it was, and no list adds to
/// its load.
const PATIENCE: u32 = 8;

/// What a watch selects, and its pace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// One namespace, or all of them.
    pub namespace: Option<String>,
    /// A label selector in Kubernetes' syntax, for example `karmada.io/managed=true`.
    pub labels: Option<String>,
    /// A field selector in Kubernetes' syntax.
    pub fields: Option<String>,
    /// Objects per list page, at least 1.
    pub page_size: u32,
    /// How long the server keeps one watch request open, in whole seconds. A dead connection is
    /// noticed 5 s later at the latest.
    pub timeout: Duration,
    /// A list with more objects is given up and begun anew after a pause: a server that always has
    /// another page would fill the memory. What was known before stays.
    pub most_objects: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: None,
            labels: None,
            fields: None,
            page_size: 500,
            timeout: Duration::from_secs(75),
            most_objects: 1_000_000,
        }
    }
}

/// How a watch is doing.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// What it is at.
    pub phase: Phase,
    /// When the phase began.
    pub since: Option<Instant>,
    /// When the server last said something about an object, or a list was complete.
    pub last_progress: Option<Instant>,
    /// When the watch last failed with an answer about this very kind: no right to it, not served, no such version. `None` where
    /// it failed otherwise since: a server that is away, is busy, or does not know us.
    pub denied: Option<Instant>,
}

/// What a watch is at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Phase {
    /// It was not started.
    #[default]
    Idle,
    /// It reads the list.
    Listing,
    /// It follows the changes.
    Watching,
    /// The last attempt failed, for this reason; it tries again by itself.
    Failing(String),
}

/// Feeds `store` with the objects that `options` select, until `ctx` ends: that is the only way
/// this returns.
pub async fn run<T: Record>(ctx: Ctx, client: Client, store: Store<T>, options: Options) -> Stop {
    run_woken(ctx, client, store, options, Arc::default()).await
}

/// [`run`], and a pause after a failure ends when `wake` tells those who wait: for who knows that the server is back.
pub async fn run_woken<T: Record>(
    ctx: Ctx,
    client: Client,
    store: Store<T>,
    options: Options,
    wake: Arc<Notify>,
) -> Stop {
    let feed = Feed { ctx: &ctx, client, store, options, wake };
    match feed.run().await {
        Ok(never) => match never {},
        Err(stop) => stop,
    }
}

struct Feed<'a, T> {
    ctx: &'a Ctx,
    client: Client,
    store: Store<T>,
    options: Options,
    wake: Arc<Notify>,
}

/// How the present run of kube's watcher is going.
#[derive(Default)]
struct Course {
    /// A list is under way.
    listing: bool,
    /// Objects of the list so far.
    listed: usize,
    /// Refusals since the last event.
    refusals: u32,
    /// Ticks in a row without an event or a failure.
    quiet_ticks: u32,
    /// Writes that had no echo at the last tick.
    pending: Vec<Pending>,
}

impl<T: Record> Feed<'_, T> {
    async fn run(&self) -> Result<Infallible, Stop> {
        let mut pauses = Pauses::default();
        loop {
            self.follow(&mut pauses).await?;
            self.pause(pauses.next()).await?;
        }
    }

    /// Waits so long, or until somebody knows that the server is back.
    async fn pause(&self, pause: Duration) -> Result<(), Stop> {
        let (pause, woken) = (pin!(self.ctx.sleep(pause)), pin!(self.wake.notified()));
        match select(pause, woken).await {
            Either::Left((slept, _)) => slept,
            Either::Right(((), _)) => self.ctx.check(),
        }
    }

    /// Lists, then watches. Returns when that has to begin again with a list.
    async fn follow(&self, pauses: &mut Pauses) -> Result<(), Stop> {
        let mut events = pin!(watcher(self.api(), self.config()));
        let mut course = Course::default();
        loop {
            match self.next(&mut events).await? {
                None => {
                    self.tick(&mut course).await?;
                }
                Some(Ok(event)) => {
                    course.quiet_ticks = 0;
                    let began = matches!(event, Event::Init);
                    if self.take(event, &mut course) == Verdict::Relist {
                        tracing::warn!(kind = self.kind(), "the watch broke its order, listing again");
                        return Ok(());
                    }
                    if !began {
                        course.refusals = 0;
                    }
                    if course.listed > self.options.most_objects {
                        self.give_up_list();
                        return Ok(());
                    }
                }
                Some(Err(error)) => {
                    course.quiet_ticks = 0;
                    course.refusals += u32::from(is_refusal(&error));
                    self.failed(&error);
                    if course.refusals >= PATIENCE || cannot_continue(&error) {
                        return Ok(());
                    }
                    let pause = if is_unreached(&error) { pauses.unreached() } else { pauses.next() };
                    self.pause(pause).await?;
                }
            }
        }
    }

    /// The next event, or `None` when a tick has passed without one.
    async fn next<S: Stream + Unpin>(&self, events: &mut S) -> Result<Option<S::Item>, Stop> {
        let tick = pin!(self.ctx.sleep(TICK));
        match select(events.next(), tick).await {
            Either::Left((Some(event), _)) => {
                self.ctx.check()?;
                Ok(Some(event))
            }
            // kube's watcher never ends by itself.
            Either::Left((None, tick)) => tick.await.map(|()| None),
            Either::Right((slept, _)) => slept.map(|()| None),
        }
    }

    fn take(&self, event: Event<Item>, course: &mut Course) -> Verdict {
        let store = &self.store;
        let unplaced = |lost: Unplaced| (Verdict::Accepted, store.unplaced(lost.key, lost.uid, lost.error));
        let (verdict, fault) = match event {
            Event::Init => {
                course.listing = true;
                course.listed = 0;
                store.list_begins();
                if !matches!(store.health().phase, Phase::Failing(_)) {
                    self.phase(Phase::Listing);
                }
                return Verdict::Accepted;
            }
            Event::InitApply(item) => {
                course.listed += 1;
                match item.observe(store.resource()) {
                    Ok(seen) => (Verdict::Accepted, store.listed(seen)),
                    Err(lost) => unplaced(lost),
                }
            }
            Event::InitDone => {
                course.listing = false;
                course.listed = 0;
                if store.list_ends() == Verdict::Rewound {
                    tracing::error!(
                        kind = self.kind(),
                        "the API server shows older objects than before (restored from a backup?), its list is believed"
                    );
                }
                (Verdict::Accepted, None)
            }
            Event::Apply(item) => match item.observe(store.resource()) {
                Ok(seen) => store.applied(seen),
                Err(lost) => unplaced(lost),
            },
            Event::Delete(item) => match item.observe_end() {
                Ok(seen) => (store.deleted(seen), None),
                // Its version is invalid: without a place in the order, only a list can tell.
                Err(_) => (Verdict::Relist, None),
            },
        };
        if let Some(fault) = fault {
            self.report(&fault);
        }
        store.note_health(|health| health.last_progress = Some(Instant::now()));
        self.phase(if course.listing { Phase::Listing } else { Phase::Watching });
        verdict
    }

    /// Time has passed without an event: looks after writes without an echo, and notices that a
    /// watch works again.
    async fn tick(&self, course: &mut Course) -> Result<(), Stop> {
        course.pending = self.confirm(&course.pending).await?;
        course.quiet_ticks += 1;
        let failing = matches!(self.store.health().phase, Phase::Failing(_));
        if failing && !course.listing && course.quiet_ticks >= QUIET_TICKS {
            course.refusals = 0;
            tracing::info!(kind = self.kind(), "watch works again");
            self.phase(Phase::Watching);
        }
        Ok(())
    }

    /// Reads the writes whose echo has been missing for a whole tick. Returns those to look at in
    /// the next one.
    async fn confirm(&self, before: &[Pending]) -> Result<Vec<Pending>, Stop> {
        let now = self.store.pending();
        let overdue = now.iter().filter(|pending| before.contains(pending)).take(CONFIRMATIONS);
        for pending in overdue {
            match self.ctx.run(self.look_up(&pending.key)).await? {
                Ok(Some((at, item))) => {
                    let seen = item.and_then(|item| item.observe(self.store.resource()).ok());
                    self.store.confirm(pending, at, seen);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(kind = self.kind(), key = %pending.key, %error, "a write without an echo cannot be read");
                }
            }
        }
        Ok(now)
    }

    /// The object as the server has it at some revision from now on, if the options select it. It
    /// is a list of one: unlike a GET, a list says at which revision it was made, obeys the
    /// selectors, and is a quorum read just the same (the server looks up a name directly).
    async fn look_up(&self, key: &Key) -> Result<Option<(Revision, Option<Item>)>, ClientError> {
        let mut fields = format!("metadata.name={}", key.name);
        if let Some(selected) = &self.options.fields {
            fields.push(',');
            fields.push_str(selected);
        }
        let params = ListParams {
            label_selector: self.options.labels.clone(),
            field_selector: Some(fields),
            ..ListParams::default()
        };
        let mut list = self.api_of(key.namespace()).list(&params).await?;
        let at = list.metadata.resource_version.as_deref().map(Revision::parse);
        Ok(at.and_then(Result::ok).map(|at| (at, list.items.pop())))
    }

    /// The list has no end: what it has brought so far is dropped.
    fn give_up_list(&self) {
        self.store.list_begins();
        self.fails(format!("the list has more than {} objects and was given up", self.options.most_objects));
    }

    fn failed(&self, error: &watcher::Error) {
        self.fails(one_line(error));
        self.store.note_health(|health| health.denied = is_denied(error).then(Instant::now));
    }

    fn fails(&self, text: String) {
        let news = !matches!(self.store.health().phase, Phase::Failing(known) if known == text);
        if news && !self.ctx.is_cancelled() {
            tracing::warn!(kind = self.kind(), error = text, "watch failed, trying again");
        }
        self.phase(Phase::Failing(text));
    }

    fn report(&self, fault: &Fault) {
        tracing::error!(kind = self.kind(), key = %fault.key, uid = %fault.uid, version = %fault.revision, error = fault.error,
            "this object cannot be read and is left alone until it is changed");
    }

    fn phase(&self, phase: Phase) {
        self.store.note_health(|health| {
            if health.phase != phase {
                health.phase = phase;
                health.since = Some(Instant::now());
            }
        });
    }

    fn kind(&self) -> &str {
        &self.store.resource().kind
    }

    fn api(&self) -> Api<Item> {
        self.api_of(self.options.namespace.as_deref())
    }

    fn api_of(&self, namespace: Option<&str>) -> Api<Item> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, self.store.resource()),
            None => Api::all_with(self.client.clone(), self.store.resource()),
        }
    }

    fn config(&self) -> watcher::Config {
        let seconds = u32::try_from(self.options.timeout.as_secs()).unwrap_or(u32::MAX).max(1);
        watcher::Config {
            label_selector: self.options.labels.clone(),
            field_selector: self.options.fields.clone(),
            timeout: Some(seconds),
            list_semantic: watcher::ListSemantic::MostRecent,
            initial_list_strategy: watcher::InitialListStrategy::ListWatch,
            page_size: Some(self.options.page_size.max(1)),
            bookmarks: true,
        }
    }
}

/// True when kube's watcher would go on in a way that cannot succeed, or has lost an event.
fn cannot_continue(error: &watcher::Error) -> bool {
    match error {
        // 400: the server does not take the version; 404: the kind is not served now; 410: the
        // version is gone; 504: it is in the future.
        watcher::Error::WatchStartFailed(ClientError::Api(status)) => matches!(status.code, 400 | 404 | 410 | 504),
        // A frame that was not JSON, or not an event: nobody knows what it said.
        watcher::Error::WatchFailed(ClientError::SerdeError(_) | ClientError::LinesCodecMaxLineLengthExceeded) => true,
        _ => false,
    }
}

/// The server has answered, and the answer is no.
fn is_refusal(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(ClientError::Api(status)) => {
            (400..500).contains(&status.code) && status.code != 429
        }
        _ => false,
    }
}

/// The server has answered, and what it says is about the kind.
fn is_denied(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(ClientError::Api(status))
        | watcher::Error::WatchStartFailed(ClientError::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    (400..500).contains(&code) && !matches!(code, 401 | 408 | 429)
}

/// No answer came, or it broke off.
fn is_unreached(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(ClientError::Service(_) | ClientError::HyperError(_))
            | watcher::Error::WatchStartFailed(ClientError::Service(_) | ClientError::HyperError(_))
            | watcher::Error::WatchFailed(ClientError::Service(_) | ClientError::HyperError(_))
    )
}

fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    // kube appends the whole status object, which says nothing more and is different each time it is printed.
    let end = text.find(" (Status {").unwrap_or(text.len());
    text[..end].replace('\n', " ")
}
