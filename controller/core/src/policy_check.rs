//! What is wrong with a policy, and what of it this release does not do.
//!
//! * [`invalid_propagation`] and [`invalid_overrides`] hold the rules of Karmada's admission webhooks (and of the API server, where a
//!   selector would silently select nothing). The controller applies them too: an object may be older than the webhook.
//! * [`not_built_in_propagation`] and [`not_built_in_overrides`] name every field that is not acted on yet, so that none is ignored
//!   silently. [`Effect::Hold`] means that going on could ship wrong content or to a wrong place.
//! * [`defaulted`] fills in what the webhook would.

use std::fmt;

use crate::selector::Problem;

mod defaults;
mod not_built;
mod overrides;
mod placement;
mod propagation;
#[cfg(test)]
mod tests;

pub use defaults::defaulted;
pub use not_built::{missing_overrides, not_built_in_overrides, not_built_in_propagation, placement_not_built};
pub use overrides::invalid_overrides;
pub(crate) use overrides::is_sound_selector;
pub use placement::{invalid_affinity, invalid_placement};
pub use propagation::invalid_propagation;

/// A rule that an object breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as a path in the object: `spec.placement.clusterAffinities[1].affinityName`.
    pub field: String,
    /// The cause and the fix, in one line.
    pub message: String,
}

impl Invalid {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// A problem inside the selector at `path`.
    fn below(path: &str, problem: Problem) -> Self {
        Self::new(format!("{path}.{}", problem.path), problem.message)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A field that is set and not acted on in this release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The field, as a path in the policy: `spec.placement.spreadConstraints`.
    pub field: &'static str,
    /// What follows from it.
    pub effect: Effect,
}

/// What an unsupported field means for the templates of its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// They are propagated; a Warning event says what will not happen.
    Warn,
    /// They are propagated; a Warning event names the feature gate with which it would be acted on.
    Off {
        /// Its name.
        gate: &'static str,
    },
    /// They are held back, and a condition names the field: without it the result would be wrong.
    Hold,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field;
        match self.effect {
            Effect::Warn => write!(f, "{field} has no effect in this release"),
            Effect::Off { gate } => {
                write!(f, "{field} has no effect: it needs the controller's --feature-gates={gate}=true")
            }
            Effect::Hold => {
                write!(f, "{field} is not supported by this release, and ignoring it could do harm: remove it to go on")
            }
        }
    }
}

/// All of several, as one line for a condition or an event.
#[must_use]
pub fn one_line<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Only those that hold templates back.
#[must_use]
pub fn holding(gaps: &[Unsupported]) -> Vec<Unsupported> {
    gaps.iter().filter(|gap| gap.effect == Effect::Hold).cloned().collect()
}
