//! Conditions: set by type, compared without their times.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use pando_api::conditions;

/// What a condition says, before it is known since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Type, as `Applied`.
    pub type_: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// Generation of the object this was judged on; `None` where Karmada writes none, so that a new generation alone
    /// causes no write.
    pub observed_generation: Option<i64>,
}

impl Verdict {
    /// It holds.
    pub fn holds(type_: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, conditions::TRUE, reason, message)
    }

    /// It does not hold.
    pub fn fails(type_: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, conditions::FALSE, reason, message)
    }

    /// Nobody can say.
    pub fn unknown(type_: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, conditions::UNKNOWN, reason, message)
    }

    fn new(type_: &'static str, status: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { type_, status, reason: reason.to_owned(), message: message.into(), observed_generation: None }
    }

    /// Judged on this generation.
    #[must_use]
    pub fn at_generation(mut self, generation: Option<i64>) -> Self {
        self.observed_generation = generation;
        self
    }

    /// The condition as of `since`.
    pub fn since(self, since: &Time) -> Condition {
        Condition {
            last_transition_time: since.clone(),
            message: self.message,
            observed_generation: self.observed_generation,
            reason: self.reason,
            status: self.status.to_owned(),
            type_: self.type_.to_owned(),
        }
    }
}

/// Sets a condition by its type and tells whether anything but a time changed. `lastTransitionTime` moves only when the
/// status does. Conditions of other types stay as they are, in their places.
pub fn set(conditions: &mut Vec<Condition>, verdict: Verdict, now: &Time) -> bool {
    let Some(there) = conditions.iter_mut().find(|condition| condition.type_ == verdict.type_) else {
        conditions.push(verdict.since(now));
        return true;
    };
    let since = if there.status == verdict.status { there.last_transition_time.clone() } else { now.clone() };
    let new = verdict.since(&since);
    let changed = !same_condition(there, &new);
    *there = new;
    changed
}

/// Takes the condition of a type away.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// The condition of a type.
pub fn find<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of a type is there and holds.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == conditions::TRUE)
}

/// Equal but for times and order.
pub fn same(left: &[Condition], right: &[Condition]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .all(|condition| find(right, &condition.type_).is_some_and(|other| same_condition(condition, other)))
}

fn same_condition(left: &Condition, right: &Condition) -> bool {
    let Condition { last_transition_time: _, message, observed_generation, reason, status, type_ } = left;
    (message, observed_generation, reason, status, type_)
        == (&right.message, &right.observed_generation, &right.reason, &right.status, &right.type_)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    fn applied() -> Vec<Condition> {
        vec![
            Verdict::holds("Other", "Fine", "").since(&at(1)),
            Verdict::holds("Applied", "AppliedSuccessful", "done").since(&at(2)),
        ]
    }

    #[test]
    fn a_new_type_is_appended() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, Verdict::holds("Applied", "AppliedSuccessful", "done"), &at(2)));
        assert_eq!(conditions, [Verdict::holds("Applied", "AppliedSuccessful", "done").since(&at(2))]);
    }

    #[test]
    fn saying_the_same_again_changes_nothing() {
        let mut conditions = applied();
        assert!(!set(&mut conditions, Verdict::holds("Applied", "AppliedSuccessful", "done"), &at(9)));
        assert_eq!(conditions, applied());
    }

    #[test]
    fn a_new_message_keeps_the_time() {
        let mut conditions = applied();
        assert!(set(&mut conditions, Verdict::holds("Applied", "AppliedSuccessful", "done again"), &at(9)));
        assert_eq!((conditions[1].message.as_str(), &conditions[1].last_transition_time), ("done again", &at(2)));
    }

    #[test]
    fn a_new_status_moves_the_time() {
        let mut conditions = applied();
        assert!(set(&mut conditions, Verdict::fails("Applied", "AppliedFailed", "no"), &at(9)));
        assert_eq!(conditions[1], Verdict::fails("Applied", "AppliedFailed", "no").since(&at(9)));
        assert_eq!(conditions[0], applied()[0]);
    }

    #[test]
    fn a_new_generation_is_a_change_where_one_is_recorded() {
        let mut conditions = Vec::new();
        let verdict = |generation| Verdict::holds("Scheduled", "Success", "").at_generation(Some(generation));
        assert!(set(&mut conditions, verdict(1), &at(1)));
        assert!(set(&mut conditions, verdict(2), &at(2)));
        assert_eq!((conditions[0].observed_generation, &conditions[0].last_transition_time), (Some(2), &at(1)));
    }

    #[test]
    fn a_condition_is_taken_away_by_its_type() {
        let mut conditions = applied();
        remove(&mut conditions, "Other");
        remove(&mut conditions, "Unheard");
        assert_eq!(conditions, &applied()[1..]);
    }

    #[test]
    fn times_and_order_do_not_count_when_comparing() {
        let mut later: Vec<_> = applied().into_iter().rev().collect();
        later[0].last_transition_time = at(99);
        assert!(same(&applied(), &later));
        later[0].reason = "Other".to_owned();
        assert!(!same(&applied(), &later));
        assert!(!same(&applied(), &applied()[..1]));
    }

    #[test]
    fn only_true_is_true() {
        assert!(is_true(&applied(), "Applied"));
        assert!(!is_true(&applied(), "Dispatching"));
        assert!(!is_true(&[Verdict::unknown("Ready", "X", "").since(&at(1))], "Ready"));
    }
}
