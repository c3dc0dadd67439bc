//! The other end of the debug server: one question to a controller.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pando_context::{Ctx, Kind};
use tokio::net::TcpStream;

use super::Purpose;

const ASK: Kind = Kind::new("ask");
const CONNECTION: Kind = Kind::new("connection");

/// How long a whole answer may take. The pages are made from memory.
const DEADLINE: Duration = Duration::from_secs(20);

/// The largest answer. A tree of a hundred thousand contexts has a tenth of it.
const LARGEST: usize = 256 << 20;

/// Why there is no answer. One line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error(
        "no controller answers at {address}: {cause}; is it running, and is this its {}?",
        Purpose::Debug.flag()
    )]
    Nobody {
        /// Where it was looked for.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Somebody listens there, and is no controller.
    #[error("what answers at {address} is no controller: {why}; is this its {}?", Purpose::Debug.flag())]
    Stranger {
        /// Who was asked.
        address: SocketAddr,
        /// What is wrong with the answer.
        why: String,
    },
    /// The controller says no.
    #[error("the controller at {address} refuses: {text}")]
    Refused {
        /// Who was asked.
        address: SocketAddr,
        /// Its own words.
        text: String,
    },
    /// No complete answer in time.
    #[error("the controller at {address} has not answered within {}s", DEADLINE.as_secs())]
    Late {
        /// Who was asked.
        address: SocketAddr,
    },
}

/// Gets a page of the debug server of the controller at this address, such as `/debug/contexts`.
///
/// # Errors
///
/// See [`AskError`].
pub async fn ask(
    ctx: &Ctx,
    address: SocketAddr,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<String, AskError> {
    let path = format!("{path}{}", query(parameters));
    let Ok(answer) = ctx.timeout(&ASK, DEADLINE, get(ctx, address, &path)).await else {
        return Err(AskError::Late { address });
    };
    answer
}

async fn get(ctx: &Ctx, address: SocketAddr, path: &str) -> Result<String, AskError> {
    let stranger = |error: &dyn std::error::Error| AskError::Stranger { address, why: error.to_string() };
    let stream = TcpStream::connect(address).await.map_err(|cause| AskError::Nobody { address, cause })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| stranger(&error))?;
    // Ends with the answer: its error, if any, is the answer's.
    ctx.spawn(&CONNECTION, |_| async move { drop(connection.await) }).detach();
    let request = Request::get(path)
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|error| stranger(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| stranger(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|error| stranger(&*error))?;
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    match status.as_u16() {
        200 => Ok(text),
        400 => Err(AskError::Refused { address, text: text.trim().to_owned() }),
        _ => Err(AskError::Stranger { address, why: format!("it says {status}") }),
    }
}

/// The parameters behind a question mark, with what has a meaning there escaped.
fn query(parameters: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    text.push(char::from(byte))
                }
                // Writing to a String does not fail.
                other => drop(write!(text, "%{other:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::query;

    #[test]
    fn what_is_typed_arrives_as_one_value() {
        assert_eq!(query(&[]), "");
        assert_eq!(
            query(&[("kind", "a&b=c é".to_owned()), ("depth", "3".to_owned())]),
            "?kind=a%26b%3Dc%20%C3%A9&depth=3"
        );
    }
}
