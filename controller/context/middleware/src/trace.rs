//! The trace that a request belongs to: W3C Trace Context, header `traceparent`.

use std::fmt;

use http::HeaderMap;
use pando_context::TraceId;

const HEADER: &str = "traceparent";

/// What a `traceparent` header says.
///
/// The request's context has its trace; the rest is a value of the context: `ctx.get::<TraceParent>()`.
///
/// ```
/// use pando_context_middleware::TraceParent;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let parent = TraceParent::parse(text).unwrap();
/// assert_eq!(parent.trace().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert_eq!(parent.to_string(), text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace: TraceId,
    span: u64,
    sampled: bool,
}

impl TraceParent {
    /// A trace and a span of it. `None` if one of them is zero, which the standard does not admit.
    pub fn new(trace: TraceId, span: u64, sampled: bool) -> Option<Self> {
        (trace.as_u128() != 0 && span != 0).then_some(Self { trace, span, sampled })
    }

    /// The trace.
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// The caller's span; the standard calls it parent id.
    pub fn span(&self) -> u64 {
        self.span
    }

    /// Whether the caller may have recorded its part of the trace.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Reads the header's value, strictly: lower-case digits, no zero ids, version `ff` refused. Of a later version
    /// than 00 the parts that 00 knows are read, if what follows is set off by a dash.
    pub fn parse(text: &str) -> Option<Self> {
        let head = text.get(..55)?;
        let rest = text.get(55..)?;
        let mut parts = head.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || version.len() != 2 || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
            return None;
        }
        let version = hex(version)?;
        let known = version == 0 && rest.is_empty();
        let later = version != 0 && version != 0xff && (rest.is_empty() || rest.starts_with('-'));
        if !known && !later {
            return None;
        }
        let sampled = hex(flags)? & 1 == 1;
        Self::new(TraceId::from_u128(hex(trace)?), u64::try_from(hex(span)?).ok()?, sampled)
    }

    /// Reads the header. Two of them are as good as none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).into_iter();
        let only = values.next()?.to_str().ok()?;
        if values.next().is_some() { None } else { Self::parse(only.trim()) }
    }
}

/// Digits of the standard: lower case only.
fn hex(text: &str) -> Option<u128> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if lower { u128::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn what_the_standard_refuses_is_refused() {
        let none = "0".repeat(32);
        let broken = [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{none}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("0-0{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("00-{TRACE}-{SPAN}-\u{e9}"),
        ];
        for text in broken {
            assert_eq!(TraceParent::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for text in [format!("01-{TRACE}-{SPAN}-03"), format!("cc-{TRACE}-{SPAN}-01-what-ever")] {
            let parent = TraceParent::parse(&text).unwrap();
            assert_eq!((parent.trace().to_string().as_str(), parent.is_sampled()), (TRACE, true));
            assert_eq!(parent.span(), 0x00f0_67aa_0ba9_02b7);
        }
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, format!("00-{TRACE}-{SPAN}-00").parse().unwrap());
        assert!(TraceParent::of(&headers).is_some_and(|parent| !parent.is_sampled()));
        headers.append(HEADER, format!("00-{TRACE}-{SPAN}-00").parse().unwrap());
        assert_eq!(TraceParent::of(&headers), None);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let parent = TraceParent::new(TraceId::from_u128(trace), span, sampled).unwrap();
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
        }

        #[test]
        fn nothing_that_is_sent_makes_the_reader_panic(text in "\\PC{0,80}") {
            TraceParent::parse(&text);
        }
    }
}
