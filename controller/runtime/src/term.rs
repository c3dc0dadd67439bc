//! The right to write.

use std::marker::PhantomData;

/// Proof that this process may write: every mutating call takes one by reference.
///
/// Until leases exist there is one process and one term, so this is a constant of no size. Once the
/// lease is there it will carry the lease's epoch and end with it; the calls that take it will not
/// change.
#[derive(Debug, Clone)]
pub struct Term {
    _private: PhantomData<()>,
}

impl Term {
    /// The term of a process that runs without leader election.
    pub const fn constant() -> Self {
        Self { _private: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::Term;

    #[test]
    fn the_constant_term_costs_nothing() {
        assert_eq!(size_of_val(&Term::constant()), 0);
    }
}
