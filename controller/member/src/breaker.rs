//! Whether a member is worked with: the one state machine that calls, connections and probes drive. A value.
//!
//! ```text
//!                    probe: ok                       probe: ok
//!   Connecting ─────────────────────► Connected ◄───────────────── Lost
//!        │                               │                          ▲
//!        └───────────── probe: not ok ───┴── probe: not ok ─────────┤
//!                                        └── PING unanswered, or ───┘
//!                                            3 calls in a row without an answer that makes sense
//! ```
//!
//! Calls can only open it. Closing takes a probe that began after it opened, and which also asks whether it is still the
//! cluster that joined.

/// Calls in a row without an answer after which a member counts as lost. With calls beside each other that is one deadline.
pub const STRIKES: u32 = 3;

/// Why a member is lost, in the classes that are put right in different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No connection, or no answer in time.
    Unreachable,
    /// Its API server says that it is not well.
    Unhealthy,
    /// It does not accept our token.
    Unauthorized,
    /// What answers is no Kubernetes API server.
    NotKubernetes,
    /// It is not the cluster that joined, or does not say which it is.
    Doubted,
}

/// How the link to a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not probed since it was attached.
    Connecting,
    /// The last probe was answered by an API server that can be worked with, and that is the cluster which joined; and the
    /// calls since then were not all in vain.
    Connected,
    /// It cannot be worked with at present; work for it is kept, not retried object by object.
    Lost {
        /// In which class.
        why: Why,
        /// Why, in one line.
        cause: String,
    },
}

impl State {
    /// A word for metrics and debug pages.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Lost { .. } => "lost",
        }
    }
}

/// What a call or a connection says about the member as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// An API server answered, whatever it said.
    Answered,
    /// It answered, and the answer is that it is not well (502, 503, 504): worth a probe.
    Unwell,
    /// No answer, no connection, no log-in, or an answer that no API server gives.
    Strike(Why, String),
    /// A long-lived connection (a watch) broke: worth a probe.
    Broken,
    /// A write was not answered in time: the member, or an admission webhook of one kind that hangs. Worth a probe.
    Slow,
    /// The connection's PING was not answered.
    Dead,
}

/// What is to be done after something was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Stays,
    /// A probe is due now.
    Suspect,
    /// The member was lost by this.
    Opened,
    /// It is lost for another reason than before.
    Renamed,
    /// The member can be worked with from now on.
    Closed,
}

/// The breaker of one member.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    strikes: u32,
    opened: u64,
    /// The class that the last probe of a lost member found in place of the one that is told.
    other: Option<Why>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Connecting, strikes: 0, opened: 0, other: None }
    }
}

impl Breaker {
    /// The present state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Is it known to work at present?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Connected
    }

    /// Why nothing is to be sent, if so.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        match &self.state {
            State::Lost { cause, .. } => Some(cause),
            State::Connecting | State::Connected => None,
        }
    }

    /// Would an answer change nothing?
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.state != State::Connected || self.strikes == 0
    }

    /// How often the member was lost.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Takes in what a call or connection says. While the member is lost that is old news.
    pub fn sign(&mut self, sign: Sign) -> Turn {
        if self.state != State::Connected {
            return Turn::Stays;
        }
        match sign {
            Sign::Answered => {
                self.strikes = 0;
                Turn::Stays
            }
            Sign::Unwell => {
                self.strikes = 0;
                Turn::Suspect
            }
            Sign::Broken | Sign::Slow => Turn::Suspect,
            Sign::Strike(why, cause) => {
                self.strikes += 1;
                if self.strikes < STRIKES {
                    return Turn::Suspect;
                }
                self.open(why, format!("{STRIKES} calls in a row failed, the last one: {cause}"))
            }
            Sign::Dead => self.open(Why::Unreachable, "the connection is dead: its PING was not answered".to_owned()),
        }
    }

    /// Takes in what a probe found which began when the member had been lost `opened` times.
    pub fn probed(&mut self, found: State, opened: u64) -> Turn {
        match (&self.state, found) {
            (_, State::Connecting) => Turn::Stays,
            // It answers: calls that were not answered say something about themselves.
            (State::Connected, State::Connected) => {
                self.strikes = 0;
                Turn::Stays
            }
            (State::Connecting | State::Connected, State::Lost { why, cause }) => self.open(why, cause),
            // It was lost while the probe was under way, which perhaps did not even ask who answers.
            (State::Lost { .. }, State::Connected) if opened != self.opened => Turn::Suspect,
            (State::Connecting | State::Lost { .. }, State::Connected) => {
                (self.strikes, self.other) = (0, None);
                self.state = State::Connected;
                Turn::Closed
            }
            (State::Lost { why: told, .. }, State::Lost { why, cause }) => {
                // Other words for the same are no news, and one probe of another mind may be one of two servers behind
                // an address: what the second in a row says as well is told.
                let before = self.other.take();
                if why == *told {
                    return Turn::Stays;
                }
                if before != Some(why) {
                    self.other = Some(why);
                    return Turn::Stays;
                }
                self.state = State::Lost { why, cause };
                Turn::Renamed
            }
        }
    }

    fn open(&mut self, why: Why, cause: String) -> Turn {
        (self.strikes, self.other) = (0, None);
        self.opened += 1;
        self.state = State::Lost { why, cause };
        Turn::Opened
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    fn strike() -> Sign {
        Sign::Strike(Why::Unreachable, "no answer within 5s".into())
    }

    fn lost(cause: &str) -> State {
        State::Lost { why: Why::Unreachable, cause: cause.into() }
    }

    fn unauthorized() -> State {
        State::Lost { why: Why::Unauthorized, cause: "401".into() }
    }

    impl Breaker {
        /// A probe that began just now.
        fn finds(&mut self, found: State) -> Turn {
            self.probed(found, self.opened)
        }
    }

    fn connected() -> Breaker {
        let mut breaker = Breaker::default();
        assert_eq!(breaker.finds(State::Connected), Turn::Closed);
        breaker
    }

    #[test]
    fn three_calls_in_a_row_without_an_answer_are_a_lost_member() {
        let mut breaker = connected();
        assert_eq!([strike(), strike()].map(|sign| breaker.sign(sign)), [Turn::Suspect; 2]);
        assert_eq!(breaker.sign(Sign::Answered), Turn::Stays, "an answer in between forgives");
        assert_eq!(
            [strike(), strike(), strike()].map(|sign| breaker.sign(sign)),
            [Turn::Suspect, Turn::Suspect, Turn::Opened]
        );
        assert!(breaker.lost().unwrap().contains("no answer within 5s"));
    }

    #[test]
    fn an_unanswered_ping_is_enough_and_a_broken_watch_is_only_suspicious() {
        let mut breaker = connected();
        assert_eq!([Sign::Broken, Sign::Unwell].map(|sign| breaker.sign(sign)), [Turn::Suspect; 2]);
        assert_eq!(breaker.sign(Sign::Dead), Turn::Opened);
        assert_eq!(breaker.opened(), 1);
    }

    #[test]
    fn the_first_reason_stays_and_only_a_probe_closes() {
        let mut breaker = connected();
        assert_eq!(breaker.finds(lost("no route")), Turn::Opened);
        for sign in [Sign::Answered, strike(), Sign::Dead] {
            assert_eq!(breaker.sign(sign), Turn::Stays);
        }
        assert_eq!(breaker.finds(lost("another")), Turn::Stays);
        assert_eq!(breaker.lost(), Some("no route"));
        assert_eq!(breaker.finds(State::Connected), Turn::Closed);
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_member_that_was_never_probed_is_neither_connected_nor_lost_by_calls() {
        let mut breaker = Breaker::default();
        for sign in [Sign::Answered, strike(), strike(), strike(), Sign::Dead] {
            assert_eq!(breaker.sign(sign), Turn::Stays);
        }
        assert_eq!(breaker.finds(lost("no route")), Turn::Opened);
    }

    #[test]
    fn a_probe_that_was_under_way_when_the_member_was_lost_does_not_close() {
        let mut breaker = connected();
        let began = breaker.opened();
        assert_eq!(breaker.sign(Sign::Dead), Turn::Opened);
        assert_eq!(breaker.probed(State::Connected, began), Turn::Suspect);
        assert!(breaker.lost().is_some());
        assert_eq!(breaker.finds(State::Connected), Turn::Closed);
    }

    #[test]
    fn writes_without_an_answer_and_calls_between_healthy_probes_do_not_open() {
        let mut breaker = connected();
        for _ in 0..10 {
            assert_eq!(breaker.sign(Sign::Slow), Turn::Suspect);
            assert_eq!([strike(), strike()].map(|sign| breaker.sign(sign)), [Turn::Suspect; 2]);
            assert_eq!(breaker.finds(State::Connected), Turn::Stays);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_reason_of_another_class_is_told_when_two_probes_in_a_row_find_it() {
        let mut breaker = connected();
        breaker.finds(lost("connection reset"));
        for found in [unauthorized(), lost("no route"), unauthorized()] {
            assert_eq!(breaker.finds(found), Turn::Stays, "two servers behind one address");
        }
        assert_eq!(breaker.lost(), Some("connection reset"));
        assert_eq!(breaker.finds(unauthorized()), Turn::Renamed);
        assert_eq!((breaker.lost(), breaker.opened()), (Some("401"), 1));
        assert_eq!(breaker.finds(unauthorized()), Turn::Stays);
    }

    #[derive(Clone, Debug)]
    enum Told {
        Sign(Sign),
        Probe(bool),
    }

    fn told() -> impl Strategy<Value = Told> {
        prop_oneof![
            3 => Just(Told::Sign(Sign::Answered)),
            3 => Just(Told::Sign(strike())),
            1 => Just(Told::Sign(Sign::Dead)),
            1 => Just(Told::Sign(Sign::Unwell)),
            1 => Just(Told::Sign(Sign::Broken)),
            1 => Just(Told::Sign(Sign::Slow)),
            2 => any::<bool>().prop_map(Told::Probe),
        ]
    }

    proptest! {
        #[test]
        fn every_turn_says_what_happened_and_only_probes_close(history in proptest::collection::vec(told(), 1..100)) {
            let mut breaker = Breaker::default();
            for step in history {
                let before = breaker.clone();
                let (turn, by_probe) = match step {
                    Told::Sign(sign) => (breaker.sign(sign), false),
                    Told::Probe(true) => (breaker.finds(State::Connected), true),
                    Told::Probe(false) => (breaker.finds(lost("not ok")), true),
                };
                let (was, is) = (before.is_closed(), breaker.is_closed());
                prop_assert_eq!(turn == Turn::Closed, !was && is);
                prop_assert_eq!(turn == Turn::Opened, before.lost().is_none() && breaker.lost().is_some());
                prop_assert_eq!(breaker.opened() - before.opened(), u64::from(turn == Turn::Opened));
                prop_assert!(by_probe || was || !is, "only a probe closes");
                if let (Some(first), Some(now)) = (before.lost(), breaker.lost()) {
                    prop_assert_eq!(first, now, "the first reason stays");
                }
            }
        }
    }
}
