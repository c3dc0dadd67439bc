//! The live tree as a page: text for people, JSON for programs, and filters for both.
//!
//! | parameter | shows |
//! |---|---|
//! | `cluster=bj-prod` | what runs for a member |
//! | `kind=call` | contexts of a kind |
//! | `state=stopping`, `state=active` | what is cancelled and has not ended, or is not cancelled |
//! | `older=30s` | what is at least so old |
//! | `depth=3` | so many levels |
//! | `format=json` | everything that is known of each |
//!
//! Filters add up; what stands above a match is shown with it. Of more than 200 equal children a few are shown, and the
//! others as a count.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pando_context::Filter;

use super::debug::Debug;

/// Answers `/debug/contexts`.
pub(super) async fn contexts(State(debug): State<Debug>, Query(parameters): Query<Vec<(String, String)>>) -> Response {
    let (format, filters): (Vec<_>, Vec<_>) = parameters.into_iter().partition(|(name, _)| name == "format");
    let json = match format.last().map_or("text", |(_, format)| format) {
        "text" => false,
        "json" => true,
        other => return refused(&format!("format={other}: expected text or json")),
    };
    let filter = match Filter::parse(filters) {
        Ok(filter) => filter,
        Err(error) => return refused(&error.to_string()),
    };
    let tree = debug.contexts.dump_where(&filter);
    if json {
        return Json(tree).into_response();
    }
    let is_match = tree.nodes().iter().any(|node| node.matched);
    if is_match { tree.to_string().into_response() } else { String::new().into_response() }
}

fn refused(text: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response()
}
