//! What it takes to call a member, from sources that are not trusted.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Uri};
use kube::Config;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::ClientError;

/// Endpoint, trust and token of a member.
///
/// Built from these values only. A kubeconfig would also name files and programs, and whoever may
/// write a cluster's secret must not read our files or run programs here.
#[derive(Clone)]
pub struct Credentials {
    endpoint: Uri,
    roots: Option<Vec<Vec<u8>>>,
    insecure: bool,
    token: Token,
}

impl Credentials {
    /// Checks the parts. `endpoint` is an `https` URL (`http` only for a loopback address: the
    /// token must not travel in the clear) without user, query or fragment; without a `ca_bundle`
    /// (PEM) the system's authorities are trusted. `insecure` switches certificate checks off.
    pub fn new(endpoint: &str, ca_bundle: Option<&[u8]>, token: &str, insecure: bool) -> Result<Self, ClientError> {
        let roots = match ca_bundle {
            Some(pem) if !insecure => Some(certificates(pem)?),
            _ => None,
        };
        Ok(Self { endpoint: parse_endpoint(endpoint)?, roots, insecure, token: Token::new(token)? })
    }

    /// The token, which can be replaced while clients use it.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    pub(super) fn config(&self) -> Config {
        let mut config = Config::new(self.endpoint.clone());
        config.root_cert.clone_from(&self.roots);
        config.accept_invalid_certs = self.insecure;
        config
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = self.roots.as_ref().map(Vec::len);
        f.debug_struct("Credentials")
            .field("endpoint", &self.endpoint)
            .field("roots", &roots)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

/// A bearer token that can be replaced while clients use it: the next request takes the new one.
/// Clones share it.
#[derive(Clone)]
pub struct Token(Arc<ArcSwap<HeaderValue>>);

impl Token {
    /// Takes a token as it stands in a secret; surrounding white space is dropped.
    pub fn new(token: &str) -> Result<Self, ClientError> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(bearer(token)?))))
    }

    /// Puts another token in place; returns false when it is the same one. On an error the old one
    /// stays.
    pub fn replace(&self, token: &str) -> Result<bool, ClientError> {
        let new = bearer(token)?;
        let old = self.0.load();
        if **old == new {
            return Ok(false);
        }
        self.0.store(Arc::new(new));
        Ok(true)
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::clone(&self.0.load())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ClientError> {
    let token = token.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(ClientError::Token);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn parse_endpoint(endpoint: &str) -> Result<Uri, ClientError> {
    let refuse = |why| ClientError::Endpoint { endpoint: endpoint.to_owned(), why };
    // `Uri` drops a fragment silently and keeps a user: both are looked for in the text, and the
    // text with a password is not repeated.
    if endpoint.contains('@') {
        return Err(ClientError::Endpoint { endpoint: "…@…".to_owned(), why: "it must not carry a user" });
    }
    if endpoint.contains(['?', '#']) {
        return Err(refuse("it must not carry a query or fragment"));
    }
    let uri: Uri = endpoint.parse().map_err(|_| refuse("it is not a URL"))?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(host) => Ok(uri),
        Some("http") => Err(refuse("the token would be sent in clear text, use https")),
        _ => Err(refuse("it is not an https URL")),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
}

/// The certificates of a PEM bundle, each of them checked to be usable as a root.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, ClientError> {
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| ClientError::CaBundle(error.to_string()))?;
        roots.add(certificate.clone()).map_err(|error| ClientError::CaBundle(error.to_string()))?;
        certificates.push(certificate.to_vec());
    }
    if certificates.is_empty() {
        return Err(ClientError::CaBundle("it holds no PEM certificate".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    fn refused(endpoint: &str) -> String {
        Credentials::new(endpoint, None, "t", false).unwrap_err().to_string()
    }

    #[test]
    fn a_token_never_leaves_over_plain_http_but_to_this_machine() {
        assert!(refused("http://10.0.0.1:6443").contains("clear text"));
        assert!(refused("http://127.0.0.1.example.org").contains("clear text"));
        Credentials::new("http://127.0.0.1:8080", None, "t", false).unwrap();
        Credentials::new("http://[::1]:8080", None, "t", false).unwrap();
        Credentials::new("https://member.example.org:6443/base", None, "t", false).unwrap();
    }

    #[test]
    fn endpoints_that_hide_something_are_refused_without_repeating_it() {
        assert!(!refused("https://user:secret@host").contains("secret"));
        for endpoint in ["https://host?x=1", "https://host#x", "ftp://host", "host:6443", "", "https://"] {
            assert!(refused(endpoint).contains("cannot be used"), "{endpoint}");
        }
    }

    #[test]
    fn tokens_are_trimmed_checked_and_never_printed() {
        let token = Token::new(" abc\n").unwrap();
        assert_eq!(token.header(), "Bearer abc");
        assert!(token.header().is_sensitive());
        assert!(!token.replace("abc").unwrap());
        assert!(token.replace("def").unwrap());
        for bad in ["", "  ", "a b", "a\u{7f}b", "a\r\nX: y"] {
            assert!(token.replace(bad).is_err(), "{bad:?}");
        }
        assert_eq!(token.header(), "Bearer def");
        assert!(!format!("{:?}", Credentials::new("https://h", None, "def", true).unwrap()).contains("def"));
    }

    #[test]
    fn a_bundle_without_certificates_is_an_error_not_the_systems_trust() {
        for pem in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(Credentials::new("https://h", Some(pem), "t", false), Err(ClientError::CaBundle(_))));
        }
    }
}
