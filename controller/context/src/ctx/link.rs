//! What a call between two contexts needs: which of them contains the other, and names without copies.

use std::sync::Arc;

use super::{Ctx, Derive};

impl Ctx {
    /// Whether this is `other` or lies below it: then `other`'s join waits for what runs here.
    pub fn is_within(&self, other: &Self) -> bool {
        other.node.contains(&self.node)
    }
}

impl Derive<'_> {
    /// A name within the kind that many contexts share, without a copy for each.
    pub fn named_shared(mut self, name: Arc<str>) -> Self {
        self.name = Some(name);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Kind, Scope};

    #[test]
    fn a_context_is_within_itself_and_those_above_it() {
        let root = Scope::root("root");
        let (a, b) = (root.ctx().child(&Kind::new("a")), root.ctx().child(&Kind::new("b")));
        let below = a.ctx().child(&Kind::new("below"));
        assert!(below.ctx().is_within(root.ctx()) && below.ctx().is_within(a.ctx()) && a.ctx().is_within(a.ctx()));
        assert!(!below.ctx().is_within(b.ctx()) && !a.ctx().is_within(below.ctx()));
    }

    #[test]
    fn a_shared_name_is_not_copied() {
        let root = Scope::root("root");
        let name: Arc<str> = "patch works".into();
        let call = root.ctx().derive(&Kind::new("call")).named_shared(Arc::clone(&name)).scope();
        assert_eq!(call.ctx().label().to_string(), "call/patch works");
        assert!(std::ptr::eq(call.ctx().label().name().unwrap_or_default(), &*name));
    }
}
