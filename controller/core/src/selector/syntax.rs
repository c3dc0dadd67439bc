//! The syntax of label keys and values, as the Kubernetes API server checks it.

/// What is wrong with a label (or annotation) key; `None` when it is valid.
///
/// A key is a name of at most 63 characters, optionally with a DNS subdomain of at most 253 before a slash.
#[must_use]
pub fn label_key_problem(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.is_empty() || name.len() > 63 || !is_word(name) {
        return Some(format!(
            "{key:?} is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit"
        ));
    }
    match prefix {
        Some(prefix) if !is_dns_subdomain(prefix) => Some(format!(
            "{key:?} is not a label key: before the slash there must be a lower-case DNS name like example.com"
        )),
        _ => None,
    }
}

/// What is wrong with a label value; `None` when it is valid. The empty value is.
#[must_use]
pub fn label_value_problem(value: &str) -> Option<String> {
    let valid = value.is_empty() || value.len() <= 63 && is_word(value);
    (!valid).then(|| {
        format!("{value:?} is not a label value: use up to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit")
    })
}

/// Letters, digits, '-', '_' and '.', with a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && ends_well(text.chars().next())
        && ends_well(text.chars().next_back())
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            is_word(label) && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        })
}
