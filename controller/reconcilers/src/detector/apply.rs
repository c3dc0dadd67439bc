//! What the detector writes.

use pando_context::Ctx;
use pando_core::detect::{BindingStep, Plan};

use super::observe::Observed;
use crate::env::Env;
use crate::hub;

/// The marks first: they travel with the template, so Works rendered before them would be rendered twice.
pub(super) async fn plan(ctx: &Ctx, env: &Env, observed: &Observed, plan: &Plan) -> Result<(), hub::Error> {
    let template = observed.template.key();
    if let (Some(marks), Some(followed)) =
        (&plan.marks, env.stores.templates.kind(&template.api_version, &template.kind))
    {
        env.hub.patch(ctx, &followed.store, &template.key, marks).await?;
    }
    let bindings = env.stores.bindings.of(&observed.binding_key);
    match &plan.binding {
        BindingStep::Keep => Ok(()),
        BindingStep::Create(binding) => env.hub.create(ctx, bindings, &observed.binding_key, binding.as_ref()).await,
        BindingStep::Change(patch) => env.hub.patch(ctx, bindings, &observed.binding_key, patch).await,
    }
}
