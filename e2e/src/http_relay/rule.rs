//! Which requests are answered wrongly, and how.

use std::time::Duration;

use anyhow::{Context as _, Result};
use regex::Regex;
use serde_json::{Value, json};

use super::call::{Call, Verb};

/// Selects requests.
#[derive(Clone, Debug, Default)]
pub struct When {
    verbs: Vec<Verb>,
    path: Option<Regex>,
    query: Option<String>,
    agent: Option<String>,
    skip: usize,
    times: Option<usize>,
}

impl When {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests with one of these verbs.
    pub fn verbs(verbs: &[Verb]) -> Self {
        Self { verbs: verbs.to_vec(), ..Self::default() }
    }

    /// Every request for objects: neither discovery nor probes.
    pub fn objects() -> Self {
        use Verb::{Create, Delete, Get, List, Patch, Update, Watch};
        Self::verbs(&[Get, List, Watch, Create, Update, Patch, Delete])
    }

    /// Only those whose path (without query) this regular expression finds something in.
    ///
    /// # Errors
    /// When it is none.
    pub fn path(mut self, pattern: &str) -> Result<Self> {
        self.path = Some(Regex::new(pattern).with_context(|| format!("{pattern:?} is no regular expression"))?);
        Ok(self)
    }

    /// Only those whose query contains this.
    #[must_use]
    pub fn query(mut self, part: &str) -> Self {
        self.query = Some(part.to_owned());
        self
    }

    /// Only those of clients whose name contains this.
    #[must_use]
    pub fn agent(mut self, part: &str) -> Self {
        self.agent = Some(part.to_owned());
        self
    }

    /// Not the first `count` of them.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// At most `count` of them.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    fn selects(&self, call: &Call) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&call.verb))
            && self.path.as_ref().is_none_or(|path| path.is_match(&call.path))
            && self.query.as_ref().is_none_or(|query| call.query.contains(query.as_str()))
            && self.agent.as_ref().is_none_or(|agent| call.agent.contains(agent.as_str()))
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer; the server never hears of the request.
    Answer(Answer),
    /// This answer, after the server has carried the request out.
    AnswerAfter(Answer),
    /// The server's answer, ended in an orderly way after so many bytes of its body.
    Truncate(usize),
    /// The server's head, then its body at one byte a second.
    Trickle,
    /// A list that never ends: items, for as long as somebody reads.
    Endless,
    /// A list of endlessly many pages, each of them complete.
    EndlessPages,
    /// The server's answer, ended in an orderly way after this time. For watches.
    CloseAfter(Duration),
    /// The server hears of the request this much later.
    Delay(Duration),
    /// No answer, ever. The server never hears of the request.
    Silence,
    /// The server's answer to `/apis` without this group.
    WithoutGroup(String),
}

/// An answer that no server gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers by name.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A Kubernetes `Status`, as API servers answer failures.
    pub fn status(code: u16, reason: &str, message: &str) -> Self {
        Self::json(code, &status(code, reason, message))
    }

    /// A JSON document.
    pub fn json(code: u16, document: &Value) -> Self {
        Self {
            status: code,
            headers: vec![("content-type", "application/json".to_owned())],
            body: document.to_string(),
        }
    }

    /// Plain text, as an API server answers paths that it does not know.
    pub fn text(code: u16, body: &str) -> Self {
        Self {
            status: code,
            headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
            body: body.to_owned(),
        }
    }

    /// The login page of something in front of the API server; with a redirection status it points elsewhere.
    pub fn login_page(code: u16) -> Self {
        let mut answer = Self::text(code, "<!DOCTYPE html><html><title>Sign in</title><form>password</form></html>\n");
        answer.headers = vec![("content-type", "text/html; charset=utf-8".to_owned())];
        if (300..400).contains(&code) {
            answer.headers.push(("location", "https://login.example.com/".to_owned()));
        }
        answer
    }

    /// The event by which a server ends a watch whose version it has forgotten.
    pub fn gone_event() -> Self {
        let event = json!({ "type": "ERROR", "object": status(410, "Expired", "too old resource version: 1 (2)") });
        let mut answer = Self::json(200, &event);
        answer.body.push('\n');
        answer
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: &str) -> Self {
        self.headers.push(("retry-after", seconds.to_owned()));
        self
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

/// A selection and what becomes of it.
#[derive(Clone, Debug)]
pub struct Rule {
    when: When,
    fault: Fault,
    seen: usize,
}

impl Rule {
    /// Requests that `when` selects have this fault.
    pub fn new(when: When, fault: Fault) -> Self {
        Self { when, fault, seen: 0 }
    }

    /// The fault that this request has, if any. Counts it.
    fn judge(&mut self, call: &Call) -> Option<Fault> {
        if !self.when.selects(call) {
            return None;
        }
        self.seen += 1;
        let nth = self.seen.checked_sub(self.when.skip + 1)?;
        self.when.times.is_none_or(|times| nth < times).then(|| self.fault.clone())
    }
}

/// The fault of the first rule that selects the request. Rules behind it do not count it.
pub(super) fn judge(rules: &mut [Rule], call: &Call) -> Option<Fault> {
    rules.iter_mut().find_map(|rule| rule.judge(call))
}
