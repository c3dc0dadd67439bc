//! Why work was stopped, and the small words that name a context.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::Instant;

/// What sort of work a context stands for: `cluster`, `reconcile`, `call`.
///
/// A kind is a constant of the program, so that trees and metrics have a bounded set of them; what
/// distinguishes two contexts of one kind is their name ([`crate::Ctx::child_named`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(&'static str);

impl Kind {
    /// A kind with this word, in lower case and without spaces.
    pub const fn new(word: &'static str) -> Self {
        Self(word)
    }

    /// The word.
    pub const fn as_str(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How a context is called: its kind and, where there are several of the kind, its name.
///
/// Prints as `kind` or `kind/name`. A clone shares the name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    kind: Kind,
    name: Option<Arc<str>>,
}

impl Label {
    pub(crate) fn new(kind: Kind, name: Option<Arc<str>>) -> Self {
        Self { kind, name }
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name, if the context was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{}/{name}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

/// 128 bits that tie together what belongs to one piece of work, in logs and across processes.
///
/// Prints as the 32 hex digits of the W3C `traceparent` header. A context has the trace of its
/// parent unless it starts a new one ([`crate::Derive::new_trace`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

impl TraceId {
    /// A trace id from outside, say from a `traceparent` header.
    pub const fn from_u128(id: u128) -> Self {
        Self(id)
    }

    /// The bits.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The `n`th trace that starts below this one. The same seed gives the same traces, which is
    /// what lets a simulation replay its logs.
    pub(crate) fn nth(self, n: u64) -> Self {
        let high = split_mix((self.0 >> 64) as u64 ^ n.rotate_left(32));
        let low = split_mix((self.0 as u64).wrapping_add(high) ^ n);
        Self((u128::from(high) << 64) | u128::from(low))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
pub(crate) fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

/// The classes of reasons: what a program may decide on. The text of a [`Reason`] is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ReasonKind {
    /// The cluster (or whatever the context stood for) was detached on purpose.
    Detached,
    /// The process is no longer the leader and must not write.
    LeaderLost,
    /// The process was asked to end.
    Shutdown,
    /// The deadline of the context or of one above it passed.
    Deadline,
    /// The [`crate::Scope`] was dropped: its owner returned, failed or panicked.
    OwnerDropped,
    /// Another part of the same fan-out failed and the rest is of no use.
    SiblingFailed,
    /// The client that asked for the work went away.
    ClientGone,
    /// Somebody asked for it; the text says who and why.
    Requested,
}

impl ReasonKind {
    /// The word used in logs and as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::LeaderLost => "leader_lost",
            Self::Shutdown => "shutdown",
            Self::Deadline => "deadline",
            Self::OwnerDropped => "owner_dropped",
            Self::SiblingFailed => "sibling_failed",
            Self::ClientGone => "client_gone",
            Self::Requested => "requested",
        }
    }
}

impl fmt::Display for ReasonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a context was cancelled. Stored once, where the cancel happened; every descendant that this
/// cancel reached shares it.
#[derive(Debug)]
pub struct Reason {
    kind: ReasonKind,
    text: Cow<'static, str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    stamp: Option<Stamp>,
}

/// Where and when a reason was used.
#[derive(Debug)]
struct Stamp {
    origin: Label,
    trace: TraceId,
    at: Instant,
}

impl Reason {
    /// A reason with a text for people: one line, lower case, naming who or what.
    pub fn new(kind: ReasonKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, text: text.into(), source: None, stamp: None }
    }

    /// [`ReasonKind::Detached`] with this text.
    pub fn detached(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ReasonKind::Detached, text)
    }

    /// [`ReasonKind::Shutdown`] with this text.
    pub fn shutdown(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ReasonKind::Shutdown, text)
    }

    /// [`ReasonKind::Requested`] with this text.
    pub fn requested(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ReasonKind::Requested, text)
    }

    /// Adds the error that led to the cancel.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The class of the reason.
    pub fn kind(&self) -> ReasonKind {
        self.kind
    }

    /// The text for people; may be empty.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The context that was cancelled first, at or above the one that reports this reason. `None`
    /// only before the reason was given to a cancel.
    pub fn origin(&self) -> Option<&Label> {
        self.stamp.as_ref().map(|stamp| &stamp.origin)
    }

    /// The trace of the context that was cancelled first. `None` only before the reason was used.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.stamp.as_ref().map(|stamp| stamp.trace)
    }

    /// When the cancel happened. `None` only before the reason was used.
    pub fn at(&self) -> Option<Instant> {
        self.stamp.as_ref().map(|stamp| stamp.at)
    }

    pub(crate) fn stamped(mut self, origin: &Label, trace: TraceId) -> Arc<Self> {
        self.stamp = Some(Stamp { origin: origin.clone(), trace, at: Instant::now() });
        Arc::new(self)
    }
}

impl From<ReasonKind> for Reason {
    fn from(kind: ReasonKind) -> Self {
        Self::new(kind, "")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(stamp) = &self.stamp {
            write!(f, " at {}", stamp.origin)?;
        }
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Reason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

/// Work ended because its context did, not because it failed.
///
/// A `Stop` is no fault of the work: it is not logged as an error, counts as no failure and earns no
/// back-off. What a request in flight had done when it was dropped is *unknown*, not "nothing": read
/// before writing again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Stop {
    /// Somebody cancelled this context or one above it.
    #[error("stopped: {0}")]
    Cancelled(Arc<Reason>),
    /// The deadline of this context or of one above it passed, or could not have been met.
    #[error("stopped: {0}")]
    Deadline(Arc<Reason>),
}

impl Stop {
    /// Why.
    pub fn reason(&self) -> &Arc<Reason> {
        match self {
            Self::Cancelled(reason) | Self::Deadline(reason) => reason,
        }
    }

    /// Whether time ran out, in contrast to somebody's decision.
    pub fn is_deadline(&self) -> bool {
        matches!(self, Self::Deadline(_))
    }
}

impl From<Arc<Reason>> for Stop {
    fn from(reason: Arc<Reason>) -> Self {
        match reason.kind {
            ReasonKind::Deadline => Self::Deadline(reason),
            ReasonKind::Detached
            | ReasonKind::LeaderLost
            | ReasonKind::Shutdown
            | ReasonKind::OwnerDropped
            | ReasonKind::SiblingFailed
            | ReasonKind::ClientGone
            | ReasonKind::Requested => Self::Cancelled(reason),
        }
    }
}
