//! How long a caller will wait, as it says in the head of its request.

use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;

/// The query parameter with which Kubernetes API servers bound their own callers and their calls of webhooks.
const PARAMETER: &str = "timeout";

/// The header that proxies and hand-written clients use for the same.
const HEADER: &str = "x-request-timeout";

/// gRPC's own header.
const GRPC: &str = "grpc-timeout";

/// What of a value that cannot be read is repeated to its sender, in characters.
const REPEATED: usize = 40;

/// A bound that was asked for and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} {value:?} is not a duration: send {expected}")]
pub struct Malformed {
    place: &'static str,
    value: String,
    expected: &'static str,
}

impl Malformed {
    fn new(place: &'static str, value: &str, expected: &'static str) -> Self {
        Self { place, value: value.chars().take(REPEATED).collect(), expected }
    }
}

/// The tightest of the bounds in the head of an HTTP request.
pub(crate) fn of_http(head: &Parts) -> Result<Option<Duration>, Malformed> {
    let parameter = parameter(head.uri.query().unwrap_or_default())
        .map(|value| {
            go_duration(value).ok_or_else(|| Malformed::new("the parameter timeout", value, "one such as 10s or 1m30s"))
        })
        .transpose()?;
    let header = header(&head.headers, HEADER)
        .map(|value| {
            let seconds = || value.parse().ok().map(Duration::from_secs);
            go_duration(value)
                .or_else(seconds)
                .ok_or_else(|| Malformed::new("the header x-request-timeout", value, "one such as 10s, or seconds"))
        })
        .transpose()?;
    Ok([parameter, header, of_grpc(&head.headers)?].into_iter().flatten().min())
}

/// The bound in the head of a gRPC request.
pub(crate) fn of_grpc(headers: &HeaderMap) -> Result<Option<Duration>, Malformed> {
    header(headers, GRPC)
        .map(|value| {
            grpc_timeout(value)
                .ok_or_else(|| Malformed::new("the header grpc-timeout", value, "up to 8 digits and one of HMSmun"))
        })
        .transpose()
}

/// The first value of a header. One that is not text is read as something that no format admits.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

/// The first value of the parameter; an empty one is none, as in Go's `url.Values`.
fn parameter(query: &str) -> Option<&str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == PARAMETER).map(|(_, value)| value).find(|value| !value.is_empty())
}

/// A duration as Go writes it, of any sign but minus: `300ms`, `1.5h`, `2h45m`, `0`. (The format of
/// `time.ParseDuration`, with its upper end of 2⁶³-1 nanoseconds.)
pub fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u128 = match unit {
            "ns" => 1,
            // The micro sign and the Greek letter look alike.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(number(whole)?.checked_mul(unit)?)?;
        // Digits below a nanosecond of the largest unit change nothing.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        nanos = nanos.checked_add(number(fraction)?.checked_mul(unit)? / scale)?;
        rest = after;
    }
    let nanos = i64::try_from(nanos).ok()?;
    Some(Duration::from_nanos(nanos.unsigned_abs()))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The value of some digits, or of none; `None` where they are too many for any duration.
fn number(digits: &str) -> Option<u128> {
    if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok().map(u128::from) }
}

/// A duration as gRPC writes it: at most eight digits and a unit, one of `H`, `M`, `S`, `m`, `u`, `n`. (gRPC over
/// HTTP/2, "Timeout".)
pub fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let value = text.strip_suffix(unit)?;
    if value.is_empty() || value.len() > 8 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = value.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let known = [
            ("0", 0),
            ("0s", 0),
            ("10s", 10_000_000_000),
            ("+1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("7ns", 7),
            ("0.0000000009s", 0),
            ("1h1ns", 3_600_000_000_001),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ];
        for (text, nanos) in known {
            assert_eq!(go_duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        let broken =
            ["", "+", "-1s", "10", "s", ".s", "1x", "1 s", "1s ", "10sec", "9223372036854775808ns", "9999999h"];
        for text in broken {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }

    #[test]
    fn grpc_timeouts_have_eight_digits_and_a_unit() {
        let known = [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("0S", Duration::ZERO),
        ];
        for (text, duration) in known {
            assert_eq!(grpc_timeout(text), Some(duration), "{text}");
        }
        for text in ["", "S", "1", "1s", "+1S", "-1S", "1.5S", "123456789S", "1é", "１S"] {
            assert_eq!(grpc_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn the_tightest_of_several_bounds_counts() {
        let all = [("x-request-timeout", "3"), ("grpc-timeout", "4S")];
        assert_eq!(of_http(&head("/a?timeout=5s", &all)), Ok(Some(Duration::from_secs(3))));
        assert_eq!(of_http(&head("/a?x=1&timeout=2s&timeout=1s", &all)), Ok(Some(Duration::from_secs(2))));
        assert_eq!(of_http(&head("/a?timeout=", &[])), Ok(None));
        assert_eq!(of_http(&head("/a?timeoutSeconds=1", &[])), Ok(None));
        assert_eq!(of_http(&head("/a", &[("x-request-timeout", "1m")])), Ok(Some(Duration::from_secs(60))));
    }

    #[test]
    fn a_bound_that_cannot_be_read_is_named_to_its_sender() {
        let error = of_http(&head("/a?timeout=soon", &[])).unwrap_err().to_string();
        assert_eq!(error, "the parameter timeout \"soon\" is not a duration: send one such as 10s or 1m30s");
        let long = "x".repeat(5000);
        let error = of_http(&head("/a", &[("x-request-timeout", &long)])).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
        assert!(of_http(&head("/a", &[("grpc-timeout", "1")])).is_err());
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_makes_the_readers_panic(text in "\\PC{0,40}") {
            go_duration(&text);
            grpc_timeout(&text);
        }

        #[test]
        fn what_go_prints_is_read_back(seconds in 0_u64..1_000_000, nanos in 0_u64..1_000_000_000) {
            let text = format!("{}h{}m{}.{nanos:09}s", seconds / 3600, seconds / 60 % 60, seconds % 60);
            let expected = Duration::from_secs(seconds) + Duration::from_nanos(nanos);
            prop_assert_eq!(go_duration(&text), Some(expected));
        }
    }
}
