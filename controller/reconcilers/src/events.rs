//! Events on templates and bindings.

use k8s_openapi::api::core::v1::ObjectReference;
use pando_api::work::{BINDING_API_VERSION, Binding};
use pando_core::detect::Notice;

use crate::env::Env;
use crate::template::Template;

pub use pando_runtime::events::Level;

/// The reference of a template, for its events.
#[must_use]
pub fn of_template(template: &Template) -> ObjectReference {
    ObjectReference {
        api_version: Some(template.api_version.clone()),
        kind: Some(template.kind.clone()),
        namespace: template.meta.namespace.clone(),
        name: template.meta.name.clone(),
        uid: template.meta.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The reference of a binding, for its events.
#[must_use]
pub fn of_binding(binding: &Binding) -> ObjectReference {
    ObjectReference {
        api_version: Some(BINDING_API_VERSION.to_owned()),
        kind: Some(binding.kind().to_owned()),
        namespace: binding.metadata.namespace.clone(),
        name: binding.metadata.name.clone(),
        uid: binding.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// Tells people what a decision noticed.
pub fn tell(env: &Env, about: &ObjectReference, notice: &Notice) {
    let level = if notice.is_warning { Level::Warning } else { Level::Normal };
    env.events.record(about, level, notice.reason, &notice.message);
}
