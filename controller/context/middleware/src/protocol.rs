//! How a protocol says what the tree says.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use pando_context::Stop;

use crate::deadline::{self, Malformed};

/// What a server's caller gets when its request cannot be served, in seconds until it may try again: another replica
/// can take it at once, and a restart takes about that long.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The words of a protocol for deadlines and stops. Implemented here, for [`Http`] and `Grpc`.
pub trait Protocol: sealed::Sealed + Send + Sync + 'static {
    /// How long the caller will wait.
    #[doc(hidden)]
    fn asked(head: &Parts) -> Result<Option<Duration>, Malformed>;

    /// The name of the request's context, unless the user has a better one.
    #[doc(hidden)]
    fn name(head: &Parts) -> String;

    /// The answer to a request whose bound cannot be read.
    #[doc(hidden)]
    fn malformed(error: &Malformed) -> Response<Bytes>;

    /// The answer in place of the handler's.
    #[doc(hidden)]
    fn stopped(version: Version, stop: &Stop) -> Response<Bytes>;

    /// What ends an answer whose body was cut off; `None`: nothing can, so the connection breaks.
    #[doc(hidden)]
    fn trailers(stop: &Stop) -> Option<HeaderMap>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Plain HTTP: 504 at the deadline, 503 when the server stops.
#[derive(Clone, Copy, Debug)]
pub struct Http;

impl sealed::Sealed for Http {}

impl Protocol for Http {
    fn asked(head: &Parts) -> Result<Option<Duration>, Malformed> {
        deadline::of_http(head)
    }

    fn name(head: &Parts) -> String {
        format!("{} {}", head.method, head.uri.path())
    }

    fn malformed(error: &Malformed) -> Response<Bytes> {
        text(StatusCode::BAD_REQUEST, error)
    }

    fn stopped(version: Version, stop: &Stop) -> Response<Bytes> {
        if stop.is_deadline() {
            return text(StatusCode::GATEWAY_TIMEOUT, stop);
        }
        let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, stop);
        answer.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        if version < Version::HTTP_2 {
            // The next try should not meet the same server on the same connection.
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    fn trailers(_: &Stop) -> Option<HeaderMap> {
        None
    }
}

fn text(status: StatusCode, why: &dyn std::fmt::Display) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(format!("{why}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
