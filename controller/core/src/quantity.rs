//! Kubernetes resource quantities, exactly: `"1000m"` equals `"1"`, `"1Gi"` equals `"1024Mi"`.
//!
//! API servers rewrite quantities into a canonical form, so comparing them as text would see drift where there is none.
//! Grammar and suffixes are those of `k8s.io/apimachinery/pkg/api/resource`: an optional sign, digits with an optional
//! point, then nothing, a binary suffix (`Ki` … `Ei`), a decimal one (`n` … `E`) or an exponent (`e3`, `E-2`).

use thiserror::Error;

/// A quantity in billionths. Ordered and compared by value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    nanos: i128,
}

/// Text that is not a quantity.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not a quantity: {problem}")]
pub struct InvalidQuantity {
    text: String,
    problem: &'static str,
}

const NANOS: i128 = 1_000_000_000;
const NOT_A_NUMBER: &str = "write a number like 1, 0.5, 100m or 2Gi";
const UNKNOWN_SUFFIX: &str = "the suffix must be one of n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or an exponent like e3";
const TOO_LARGE: &str = "it is larger than any resource";

impl Quantity {
    /// Parses a quantity. What is smaller than a billionth is rounded away from zero, as Kubernetes does.
    ///
    /// # Errors
    ///
    /// [`InvalidQuantity`] when the text is none, or does not fit 128 bits of billionths.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        match nanos(text) {
            Ok(nanos) => Ok(Self { nanos }),
            Err(problem) => Err(InvalidQuantity { text: text.to_owned(), problem }),
        }
    }

    /// A whole number.
    #[must_use]
    pub const fn of(units: i64) -> Self {
        Self { nanos: units as i128 * NANOS }
    }

    /// The value in billionths.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.nanos
    }
}

/// Whether two texts mean the same: as quantities when both are some, else letter by letter.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a == b || matches!((Quantity::parse(a), Quantity::parse(b)), (Ok(a), Ok(b)) if a == b)
}

fn nanos(text: &str) -> Result<i128, &'static str> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(NOT_A_NUMBER);
    }
    let (factor, exponent) = scale(suffix)?;
    // Trailing zeroes say nothing, and would only overflow.
    let fraction = fraction.trim_end_matches('0');
    let digits = [whole.trim_start_matches('0'), fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let shift = exponent + 9 - i32::try_from(fraction.len()).map_err(|_| TOO_LARGE)?;
    let magnitude = shifted(digits, factor, shift)?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// `digits · factor · 10^shift`, rounded up to a whole number.
fn shifted(digits: &str, factor: i128, shift: i32) -> Result<i128, &'static str> {
    // More digits below the point than 128 bits can hold: only the first ones count, the rest rounds up.
    const KEPT: usize = 28;
    let cut = digits.len().saturating_sub(KEPT);
    let (kept, lost) = digits.split_at(digits.len() - cut);
    let shift = shift + i32::try_from(cut).map_err(|_| TOO_LARGE)?;
    if cut > 0 && shift >= 0 {
        return Err(TOO_LARGE);
    }
    let mantissa: i128 = kept.parse().map_err(|_| TOO_LARGE)?;
    let product = mantissa.checked_mul(factor).ok_or(TOO_LARGE)?;
    if shift >= 0 {
        return power_of_ten(shift).and_then(|power| product.checked_mul(power)).ok_or(TOO_LARGE);
    }
    let rest_lost = lost.bytes().any(|digit| digit != b'0');
    match power_of_ten(-shift) {
        Some(power) => Ok(product / power + i128::from(product % power != 0 || rest_lost)),
        None => Ok(1), // non-zero, and smaller than anything representable
    }
}

fn power_of_ten(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

/// The suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Result<(i128, i32), &'static str> {
    Ok(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or(UNKNOWN_SUFFIX)?;
            // Larger exponents could only overflow; a bound keeps the arithmetic on them safe.
            let exponent: i32 = exponent.parse().map_err(|_| UNKNOWN_SUFFIX)?;
            (1, exponent.clamp(-1_000_000, 1_000_000))
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::{NANOS, Quantity, same};

    #[test]
    fn different_spellings_of_one_value_are_the_same() {
        for (a, b) in [
            ("1000m", "1"),
            ("1Gi", "1024Mi"),
            ("1k", "1000"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("1E", "1000P"),
            ("0.5", "500m"),
            (".5", "0.50"),
            ("5.", "5"),
            ("+5", "5"),
            ("-0", "0"),
            ("1.5Gi", "1536Mi"),
            ("2e-3", "2m"),
            ("100n", "0.1u"),
            ("007", "7"),
            ("0e999999999", "0"),
        ] {
            assert!(same(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn different_values_differ() {
        for (a, b) in [("1", "1m"), ("1M", "1Mi"), ("1", "-1"), ("1E", "1Ei"), ("0", "1n")] {
            assert!(!same(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_compared_as_text() {
        assert!(same("25%", "25%"));
        assert!(!same("25%", "25.0%"));
        assert!(!same("1", "one"));
    }

    #[test]
    fn values_are_ordered() {
        let mut sorted = ["1Gi", "1G", "-1", "1n", "999m", "1", "0"].map(|text| (Quantity::parse(text).unwrap(), text));
        sorted.sort();
        assert_eq!(sorted.map(|(_, text)| text), ["-1", "0", "1n", "999m", "1", "1G", "1Gi"]);
        assert!(Quantity::of(3) < Quantity::parse("3001m").unwrap());
    }

    #[test]
    fn fractions_of_a_billionth_round_away_from_zero() {
        assert_eq!(Quantity::parse("0.1n").unwrap().nanos(), 1);
        assert_eq!(Quantity::parse("-0.1n").unwrap().nanos(), -1);
        assert_eq!(Quantity::parse("1.0000000001").unwrap().nanos(), NANOS + 1);
        assert_eq!(Quantity::parse("1e-400").unwrap().nanos(), 1);
        assert_eq!(Quantity::parse(&format!("0.{}1", "0".repeat(400))).unwrap().nanos(), 1);
    }

    #[test]
    fn errors_quote_the_text_and_say_what_to_write() {
        let message = |text| Quantity::parse(text).unwrap_err().to_string();
        for none in ["", "-", ".", "m", "1.2.3", "--1", "ten"] {
            assert!(message(none).ends_with("write a number like 1, 0.5, 100m or 2Gi"), "{none:?}: {}", message(none));
        }
        for suffix in ["1K", "1mi", "1 Gi", "1e", "1e1.5", "25%", "1é"] {
            assert!(message(suffix).contains("the suffix must be one of"), "{suffix:?}: {}", message(suffix));
        }
        assert_eq!(message("1e40"), "\"1e40\" is not a quantity: it is larger than any resource");
        assert!(message("1e999999999").contains("larger"));
    }

    fn any_suffix() -> impl Strategy<Value = (&'static str, i128)> {
        let suffixes: Vec<(&'static str, i128)> = vec![
            ("n", 1),
            ("u", 1_000),
            ("m", 1_000_000),
            ("", NANOS),
            ("k", 1_000 * NANOS),
            ("M", 1_000_000 * NANOS),
            ("Ki", 1024 * NANOS),
            ("Mi", 1024 * 1024 * NANOS),
            ("Gi", 1024 * 1024 * 1024 * NANOS),
        ];
        prop::sample::select(suffixes)
    }

    /// Mostly what looks like a quantity.
    fn any_text() -> impl Strategy<Value = String> {
        let alphabet: Vec<char> = "-+.0123456789eEnumkKMGTPi é".chars().collect();
        prop::collection::vec(prop::sample::select(alphabet), 0..60).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn a_whole_number_times_its_suffix(number in any::<i64>(), (suffix, nanos) in any_suffix()) {
            let parsed = Quantity::parse(&format!("{number}{suffix}")).unwrap();
            prop_assert_eq!(parsed.nanos(), i128::from(number) * nanos);
        }

        #[test]
        fn moving_the_point_is_dividing_by_a_power_of_ten(number in any::<u32>(), places in 0..9u32) {
            let unit = 10_u32.pow(places);
            let (whole, rest, width) = (number / unit, number % unit, places as usize);
            let text = if places == 0 { number.to_string() } else { format!("{whole}.{rest:0width$}") };
            prop_assert_eq!(Quantity::parse(&text).unwrap().nanos(), i128::from(number) * NANOS / i128::from(unit));
        }

        #[test]
        fn order_is_the_order_of_values(a in -10_000..10_000i64, b in -10_000..10_000i64) {
            let [x, y] = [a, b].map(|number| Quantity::parse(&format!("{number}m")).unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }

        #[test]
        fn any_text_is_answered(text in any_text()) {
            if let Ok(parsed) = Quantity::parse(&text) {
                let nanos = format!("{}n", parsed.nanos());
                prop_assert!(same(&text, &nanos), "{text} is {nanos}");
            }
        }
    }
}
