//! axum's side: the context as an argument of a handler.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use pando_context::Ctx;

/// The request's context, as an argument of a handler. Needs the [`crate::ContextLayer`].
#[derive(Clone, Debug)]
pub struct RequestCtx(pub Ctx);

/// A handler asks for its context, and the router has no [`crate::ContextLayer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this route has no context: add a ContextLayer to its router")]
pub struct NoContext;

impl IntoResponse for NoContext {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestCtx {
    type Rejection = NoContext;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, NoContext> {
        head.extensions.get().cloned().map(Self).ok_or(NoContext)
    }
}

/// For [`crate::ContextLayer::named`]: the route in place of the path, `GET /users/{id}`, where the layer was added with
/// `Router::layer` or `route_layer`; the path where no route matched.
pub fn matched_path(head: &Parts) -> String {
    let path = head.extensions.get::<MatchedPath>().map_or(head.uri.path(), MatchedPath::as_str);
    format!("{} {path}", head.method)
}
