//! The address of a member's API server, as a Cluster object may hold it.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// An `https` URL with a host and without user, query or trailing slash.
///
/// Karmada 1.19 validates `spec.apiEndpoint` likewise; plain http is refused here because the
/// controller would send the member's token over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl Endpoint {
    /// The URL as it goes into `spec.apiEndpoint`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A URL that a Cluster object may not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} cannot be the address of a member: {why}; write it as https://HOST:PORT")]
pub(crate) struct InvalidEndpoint {
    url: String,
    why: &'static str,
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidEndpoint { url: text.to_owned(), why };
        let uri: Uri = text.parse().map_err(|_| invalid("it is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(invalid("the member's token may only travel over https"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(invalid("it has no host"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(invalid("it holds a user name"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(invalid("it holds a query or fragment"));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
