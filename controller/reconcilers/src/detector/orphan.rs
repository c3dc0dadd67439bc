//! Bindings whose template is gone. Garbage collection takes them by their owner reference, within a second or two; but it
//! gives up for minutes where the kind of the template was not served when it looked (a CRD that is removed and installed
//! again), and a template that was made again waits for the binding of its predecessor to go.
//!
//! So what it has not taken after its head start goes here, if a read of the hub proves that the template is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pando_api::work::Binding;
use pando_context::{Ctx, Instant};
use pando_core::next::Next;
use pando_runtime::store::{Key, Store};

use crate::env::Env;
use crate::hub;
use crate::template::{Template, TemplateKey};

/// How long garbage collection may take before its work is done here.
const HEAD_START: Duration = Duration::from_secs(10);

/// Since when bindings have been seen without their template: by key, with the uid of the template.
#[derive(Clone, Default)]
pub struct Orphans(Arc<Mutex<BTreeMap<Key, (String, Instant)>>>);

impl Orphans {
    fn since(&self, binding: &Key, template: &str) -> Instant {
        let mut orphans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || (template.to_owned(), Instant::now());
        let (known, since) = orphans.entry(binding.clone()).or_insert_with(fresh);
        if known != template {
            (*known, *since) = fresh();
        }
        *since
    }

    fn forget(&self, binding: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(binding);
    }
}

/// Deletes the binding of an earlier object under the template's key, once nobody else has. `live` is the uid of the
/// template that is there now; `None` when there certainly is none.
pub(super) async fn tend(ctx: &Ctx, env: &Env, key: &TemplateKey, live: Option<&str>) -> Result<Next, hub::Error> {
    let binding_key = key.binding_key();
    let binding = env.stores.bindings.get(&binding_key);
    let found = binding.as_deref().and_then(|binding| Some((binding, forsaken(binding, key, live)?)));
    let Some((binding, template)) = found else {
        env.orphans.forget(&binding_key);
        return Ok(Next::await_change());
    };
    let left = HEAD_START.saturating_sub(env.orphans.since(&binding_key, template).elapsed());
    if !left.is_zero() {
        return Ok(Next::after(left));
    }
    let meta = &binding.metadata;
    let (Some(uid), Some(version)) = (&meta.uid, &meta.resource_version) else { return Ok(Next::await_change()) };
    let Some(followed) = env.stores.templates.kind(&key.api_version, &key.kind) else {
        return Ok(Next::await_change());
    };
    let is_gone = match followed.kind.namespaced == key.key.namespace.is_some() {
        true => env.hub.is_gone(ctx, &followed.store, &key.key, template).await?,
        // The kind was installed again in another scope: no path leads to what it held before, and nothing of that is left.
        false => !holds(&followed.store, template),
    };
    if is_gone {
        tracing::info!(binding = %binding_key, template = %key, "the template is gone and garbage collection has not taken its binding: it goes now");
        env.hub.delete(ctx, env.stores.bindings.of(&binding_key), &binding_key, uid, version).await?;
    }
    Ok(Next::after(HEAD_START))
}

/// Whether an object of this uid is there, or may be.
fn holds(store: &Store<Template>, uid: &str) -> bool {
    let mut holds = !store.is_complete(None);
    let seen = store.visit(None, |object| holds |= object.meta.uid.as_deref() == Some(uid));
    holds || seen.is_err()
}

/// The uid of the object that owns the binding, if that is an earlier one of this key. A binding without an owner was
/// left behind on purpose (`--cascade=orphan`).
fn forsaken<'b>(binding: &'b Binding, key: &TemplateKey, live: Option<&str>) -> Option<&'b str> {
    let meta = &binding.metadata;
    let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let is_of_key = TemplateKey::of(&binding.spec.resource) == *key;
    (is_of_key && meta.deletion_timestamp.is_none() && live != Some(owner.uid.as_str())).then_some(&owner.uid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use kube::core::ApiResource;
    use serde_json::{Value, json};

    use super::*;

    fn key() -> TemplateKey {
        let key = Key::namespaced("shop", "one");
        TemplateKey { api_version: "example.io/v1".to_owned(), kind: "Widget".to_owned(), key }
    }

    fn binding(metadata: Value) -> Binding {
        let resource =
            json!({"apiVersion": "example.io/v1", "kind": "Widget", "namespace": "shop", "name": "one", "uid": "u-1"});
        serde_json::from_value(json!({"metadata": metadata, "spec": {"resource": resource}})).unwrap()
    }

    fn owned() -> Value {
        json!({"name": "one-widget", "namespace": "shop", "ownerReferences": [
            {"apiVersion": "example.io/v1", "kind": "Widget", "name": "one", "uid": "u-1", "controller": true},
        ]})
    }

    #[test]
    fn a_binding_is_forsaken_when_its_owner_is_not_the_template_that_is_there() {
        let binding = binding(owned());
        assert_eq!(forsaken(&binding, &key(), None), Some("u-1"));
        assert_eq!(forsaken(&binding, &key(), Some("u-2")), Some("u-1"));
        assert_eq!(forsaken(&binding, &key(), Some("u-1")), None);
    }

    #[test]
    fn a_binding_that_was_left_behind_on_purpose_or_goes_already_is_not() {
        assert_eq!(forsaken(&binding(json!({"name": "one-widget", "namespace": "shop"})), &key(), None), None);
        let mut going = owned();
        going["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(forsaken(&binding(going), &key(), None), None);
        let other = TemplateKey { kind: "Gadget".to_owned(), ..key() };
        assert_eq!(
            forsaken(&binding(owned()), &other, None),
            None,
            "the name of a binding may be that of two templates"
        );
    }

    #[test]
    fn of_a_kind_that_is_not_listed_yet_nothing_is_known_to_be_gone() {
        let store: Store<Template> = Store::new(ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&()));
        assert!(holds(&store, "u-1"));
    }

    #[test]
    fn the_head_start_begins_anew_for_each_template() {
        let orphans = Orphans::default();
        let place = Key::namespaced("shop", "one-widget");
        let first = orphans.since(&place, "u-1");
        assert_eq!(orphans.since(&place, "u-1"), first);
        assert!(orphans.since(&place, "u-2") >= first);
        orphans.forget(&place);
        assert!(orphans.0.lock().unwrap().is_empty());
    }
}
