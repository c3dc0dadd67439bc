//! Feature gates, in the grammar of Kubernetes' components: `NAME=BOOL`, joined by commas; the last word counts.

use std::str::FromStr;

use pando_core::gates::{Gates, POLICY_PREEMPTION};

/// Everything that is alpha, unless it is named itself.
const ALL_ALPHA: &str = "AllAlpha";
/// Everything that is beta: nothing at present.
const ALL_BETA: &str = "AllBeta";
const KNOWN: [&str; 3] = [ALL_ALPHA, ALL_BETA, POLICY_PREEMPTION];

/// One value of `--feature-gates`, which may be given several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FeatureGates(Vec<(&'static str, bool)>);

/// A value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidGates {
    /// No `=`.
    #[error("{0} has no value; write {0}=true or {0}=false")]
    NoValue(String),
    /// Neither true nor false.
    #[error("{gate}={value} is neither true nor false; write {gate}=true or {gate}=false")]
    NotABool {
        /// Which one.
        gate: String,
        /// What was given.
        value: String,
    },
    /// Nobody knows it.
    #[error("unrecognized feature gate {0}; known are {known}", known = KNOWN.join(", "))]
    Unknown(String),
}

impl FromStr for FeatureGates {
    type Err = InvalidGates;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::trim).filter(|gate| !gate.is_empty()).map(gate).collect::<Result<_, _>>().map(Self)
    }
}

fn gate(text: &str) -> Result<(&'static str, bool), InvalidGates> {
    let (gate, value) = text.split_once('=').ok_or_else(|| InvalidGates::NoValue(text.to_owned()))?;
    let (gate, value) = (gate.trim(), value.trim());
    let known = KNOWN.into_iter().find(|known| *known == gate).ok_or_else(|| InvalidGates::Unknown(gate.to_owned()))?;
    // What Go's ParseBool reads.
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok((known, true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok((known, false)),
        _ => Err(InvalidGates::NotABool { gate: gate.to_owned(), value: value.to_owned() }),
    }
}

/// What all values together turn on.
pub(crate) fn gates(given: &[FeatureGates]) -> Gates {
    let last = |name: &str| {
        let named = given.iter().flat_map(|FeatureGates(gates)| gates).rev();
        named.into_iter().find(|(gate, _)| *gate == name).map(|(_, value)| *value)
    };
    Gates { policy_preemption: last(POLICY_PREEMPTION).or_else(|| last(ALL_ALPHA)).unwrap_or_default() }
}
