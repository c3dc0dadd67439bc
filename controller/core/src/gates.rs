//! What is off until somebody turns it on, under Karmada's names.

/// The gate of [`Gates::policy_preemption`].
pub const POLICY_PREEMPTION: &str = "PropagationPolicyPreemption";

/// What is turned on. The default is Karmada 1.19's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Whether a policy that says `preemption: Always` takes templates from others. Alpha and off in Karmada 1.19, where
    /// such policies are inert: acting on them unasked would move what runs.
    pub policy_preemption: bool,
}
