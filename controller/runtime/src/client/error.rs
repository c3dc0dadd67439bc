//! Why a request was given up here, and what the server may have made of it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hyper_util::client::legacy;
use pando_context::Stop;
use tower::BoxError;

use super::request::Verb;

/// What is known of a request that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent {
    /// It was never given to a connection: nothing happened, and it may be sent as it is.
    NotSent,
    /// It was on its way or the answer was. What it did is unknown: read before writing again.
    InFlight,
}

impl Sent {
    /// What is known after this error; `None` when the server has answered.
    pub fn of(error: &kube::Error) -> Option<Self> {
        match error {
            kube::Error::Service(_) | kube::Error::HyperError(_) => Some(Self::of_cause(error)),
            kube::Error::ReadEvents(_) => Some(Self::InFlight),
            _ => None,
        }
    }

    /// The same for an error whose request was not answered.
    pub(super) fn of_cause(error: &(dyn Error + 'static)) -> Self {
        find(error, |cause| {
            let ours = cause.downcast_ref::<RequestError>().map(RequestError::sent);
            // The making of a connection has failed: there was none to give the request to.
            let connecting = || cause.downcast_ref::<legacy::Error>().filter(|error| error.is_connect());
            ours.or_else(|| connecting().map(|_| Self::NotSent))
        })
        .unwrap_or(Self::InFlight)
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "nothing was sent",
            Self::InFlight => "the outcome is unknown",
        })
    }
}

/// Why a request of ours was given up here, not by the server. Found in kube's error with
/// [`RequestError::of`]; what it may have done is [`RequestError::sent`].
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No complete answer within the deadline.
    #[error("{verb} {resource}: {} within {within:?}", missing(*sent))]
    Deadline {
        /// What was asked.
        verb: Verb,
        /// Of which resource.
        resource: String,
        /// The deadline that applied.
        within: Duration,
        /// How far it came.
        sent: Sent,
    },
    /// A watch said nothing for too long.
    #[error("watch {resource}: silent for {silence:?}, the connection is taken to be dead")]
    Silent {
        /// Of which resource.
        resource: String,
        /// For how long.
        silence: Duration,
    },
    /// The answer is larger than allowed.
    #[error("{verb} {resource}: the answer has more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        verb: Verb,
        /// Of which resource.
        resource: String,
        /// The limit that applied.
        limit: u64,
    },
    /// No connection within the deadline.
    #[error("no connection to {endpoint} within {within:?}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// The deadline that applied.
        within: Duration,
    },
    /// The context in which the client lives has ended: the cluster was detached, or the process ends.
    #[error("the client was closed: {stop}")]
    Closed {
        /// Why.
        #[source]
        stop: Stop,
        /// How far the request came.
        sent: Sent,
    },
    /// The context of the caller has ended.
    #[error("the caller was stopped: {stop}")]
    Stopped {
        /// Why.
        #[source]
        stop: Stop,
        /// How far the request came.
        sent: Sent,
    },
    /// The connection could not be made, or broke.
    #[error("no answer: {source}")]
    Failed {
        /// How far the request came.
        sent: Sent,
        /// What the connection says.
        source: BoxError,
    },
}

/// What did not happen in time.
fn missing(sent: Sent) -> &'static str {
    match sent {
        Sent::NotSent => "not sent",
        Sent::InFlight => "no complete answer",
    }
}

impl RequestError {
    /// Finds this error in what kube made of it.
    pub fn of(error: &kube::Error) -> Option<&Self> {
        find(error, |cause| cause.downcast_ref())
    }

    /// What the server may have made of the request.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Deadline { sent, .. }
            | Self::Closed { sent, .. }
            | Self::Stopped { sent, .. }
            | Self::Failed { sent, .. } => *sent,
            Self::Connect { .. } => Sent::NotSent,
            Self::Silent { .. } | Self::TooLarge { .. } => Sent::InFlight,
        }
    }

    /// From what our own stack returns.
    pub(super) fn from_stack(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => *ours,
            Err(source) => Self::Failed { sent: Sent::of_cause(source.as_ref()), source },
        }
    }
}

/// The first cause, the error itself included, of which `what` makes something.
fn find<'a, T>(error: &'a (dyn Error + 'static), what: impl Fn(&'a (dyn Error + 'static)) -> Option<T>) -> Option<T> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = what(error) {
            return Some(found);
        }
        // An `io::Error` made of an error shows that one's source as its own, and skips the error itself.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}
