//! The image overrider: registry, repository, and tag or digest of an image, each replaced, extended or removed.

use pando_api::policy::{ImageComponent, ImageOverrider, OverriderOperator};
use serde_json::Value;

use super::{Problem, pod_spec_path};

const OVERRIDER: &str = "imageOverrider";

/// Changes the image at the predicate's path, or of all containers (never init containers) without a predicate.
pub(super) fn apply(overrider: &ImageOverrider, object: &mut Value) -> Result<(), Problem> {
    let paths = match &overrider.predicate {
        Some(predicate) => vec![predicate.path.clone()],
        None => image_paths(object),
    };
    for path in paths {
        let fail = |cause: &str| Problem { overrider: OVERRIDER, path: path.clone(), cause: cause.to_owned() };
        let at = object.pointer_mut(&path).ok_or_else(|| fail("there is no such field"))?;
        let text = at.as_str().ok_or_else(|| fail("the field is not a string"))?;
        let mut image = Image::parse(text).ok_or_else(|| fail("the field is not an image reference"))?;
        image.change(overrider).map_err(fail)?;
        *at = Value::from(image.to_string());
    }
    Ok(())
}

fn image_paths(object: &Value) -> Vec<String> {
    let Some(pod) = pod_spec_path(object) else {
        return Vec::new();
    };
    let containers = object.pointer(&format!("{pod}/containers")).and_then(Value::as_array).map_or(0, Vec::len);
    (0..containers).map(|position| format!("{pod}/containers/{position}/image")).collect()
}

/// `[registry/]repository[:tag][@digest]`. As in Karmada everything before the first slash is the registry. Unlike there, a
/// digest beside a tag stays: it is what pins the content, wherever that comes from.
struct Image {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Image {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(char::is_whitespace) {
            return None;
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) if is_digest(digest) => (name, Some(digest)),
            Some(_) => return None,
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].rfind(':') {
            Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
            None => (name, None),
        };
        let (registry, repository) = name.split_once('/').unwrap_or(("", name));
        if repository.is_empty() || tag.is_some_and(|tag| !is_tag(tag)) {
            return None;
        }
        Some(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    fn change(&mut self, overrider: &ImageOverrider) -> Result<(), &'static str> {
        let changed = |part: &str| match overrider.operator {
            OverriderOperator::Add => format!("{part}{}", overrider.value),
            OverriderOperator::Replace => overrider.value.clone(),
            OverriderOperator::Remove => String::new(),
        };
        match overrider.component {
            ImageComponent::Registry => self.registry = changed(&self.registry),
            ImageComponent::Repository => {
                self.repository = changed(&self.repository);
                if self.repository.is_empty() {
                    return Err("no repository would be left");
                }
            }
            ImageComponent::Tag => {
                // The digest of another tag would pin the old content: one of the two is left.
                let text = changed(self.tag.as_deref().or(self.digest.as_deref()).unwrap_or_default());
                (self.tag, self.digest) = match text.as_str() {
                    "" => (None, None),
                    tag if is_tag(tag) => (Some(text), None),
                    digest if is_digest(digest) => (None, Some(text)),
                    _ => return Err("the result is neither a tag nor a digest"),
                };
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.registry.is_empty() {
            write!(f, "{}/", self.registry)?;
        }
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// `[\w][\w.-]{0,127}`, the grammar of the distribution project.
fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm.chars().all(|c| c.is_ascii_alphanumeric() || "+._-".contains(c))
            && hex.len() >= 32
            && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}
