//! What a read found: there, not there, or unknown.

use thiserror::Error;

/// What a read found.
///
/// Deleting because something is [`Absent`](Seen::Absent) is allowed; because it is [`Unreadable`](Seen::Unreadable) it
/// is impossible: no function leads from one to the other, and [`into_found`](Seen::into_found) turns a failed read
/// into an error that ends the reconcile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is there.
    Found(T),
    /// The server answered, and it is not there.
    Absent,
    /// Nobody knows: the read failed.
    Unreadable(ReadFailure),
}

/// A read that failed, as a value: which object, and why.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("cannot read {object}: {cause}")]
pub struct ReadFailure {
    /// What was read, as a person names it: `Deployment default/web in bj-prod`.
    pub object: String,
    /// What went wrong, in one line.
    pub cause: String,
}

impl ReadFailure {
    /// A failure to read `object` because of `cause`.
    pub fn new(object: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { object: object.into(), cause: cause.into() }
    }
}

impl<T> Seen<T> {
    /// The object, or `None` when it is certainly not there.
    ///
    /// # Errors
    ///
    /// The [`ReadFailure`] when nobody knows.
    pub fn into_found(self) -> Result<Option<T>, ReadFailure> {
        match self {
            Self::Found(found) => Ok(Some(found)),
            Self::Absent => Ok(None),
            Self::Unreadable(failure) => Err(failure),
        }
    }

    /// The same answer about a part of the object.
    pub fn map<U>(self, part: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Found(found) => Seen::Found(part(found)),
            Self::Absent => Seen::Absent,
            Self::Unreadable(failure) => Seen::Unreadable(failure),
        }
    }

    /// The same answer by reference.
    pub fn as_ref(&self) -> Seen<&T> {
        match self {
            Self::Found(found) => Seen::Found(found),
            Self::Absent => Seen::Absent,
            Self::Unreadable(failure) => Seen::Unreadable(failure.clone()),
        }
    }

    /// Whether the server said that it is there.
    pub fn is_found(&self) -> bool {
        matches!(self, Self::Found(_))
    }

    /// Whether the server said that it is not there. `false` when the read failed.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// Whether the read failed.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }
}

/// From a successful look-up: `None` means absent. Never use it on a look-up that may have failed.
impl<T> From<Option<T>> for Seen<T> {
    fn from(looked_up: Option<T>) -> Self {
        looked_up.map_or(Self::Absent, Self::Found)
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadFailure, Seen};

    fn refused() -> ReadFailure {
        ReadFailure::new("Work karmada-es-bj/web", "connection refused")
    }

    #[test]
    fn a_failed_read_is_an_error_and_not_an_absence() {
        let seen: Seen<u8> = Seen::Unreadable(refused());
        assert!(!seen.is_absent() && !seen.is_found() && seen.is_unreadable());
        assert_eq!(seen.into_found(), Err(refused()));
    }

    #[test]
    fn an_answered_read_is_there_or_not() {
        assert_eq!(Seen::Found(7).into_found(), Ok(Some(7)));
        assert_eq!(Seen::<u8>::Absent.into_found(), Ok(None));
        assert_eq!(Seen::from(Some(7)), Seen::Found(7));
        assert_eq!(Seen::<u8>::from(None), Seen::Absent);
    }

    #[test]
    fn looking_at_a_part_does_not_change_the_answer() {
        assert_eq!(Seen::Found(7).map(|n| n + 1), Seen::Found(8));
        assert_eq!(Seen::<u8>::Absent.map(|n| n + 1), Seen::Absent);
        assert_eq!(Seen::<u8>::Unreadable(refused()).map(|n| n + 1), Seen::Unreadable(refused()));
        assert_eq!(Seen::Found(7).as_ref(), Seen::Found(&7));
    }

    #[test]
    fn a_failure_names_the_object_and_the_cause() {
        assert_eq!(refused().to_string(), "cannot read Work karmada-es-bj/web: connection refused");
    }
}
