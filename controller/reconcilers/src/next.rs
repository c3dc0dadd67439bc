//! From core's [`Next`] to the runtime's action. The one place where the two meet: `runtime` may not know `core`.

use pando_core::next::Next;
use pando_runtime::controller::Action;

/// What the controller does with the key now.
#[must_use]
pub fn action(next: Next) -> Action {
    next.delay().map_or(Action::Done, Action::After)
}
