//! House rules that no compiler knows. Each failure says the rule, where it comes from and what to do.

mod dependencies;
mod source;
mod style;
mod tree;

use std::fmt::Write as _;

/// Ends a test with everything that breaks one rule.
#[track_caller]
fn hold(rule: &str, from: &str, remedy: &str, broken: &[String]) {
    if broken.is_empty() {
        return;
    }
    let mut text = format!("\n\nrule:    {rule}\nfrom:    {from}\nto do:   {remedy}\nbroken:\n");
    for place in broken {
        writeln!(text, "  - {place}").expect("a string takes any text");
    }
    panic!("{text}");
}
