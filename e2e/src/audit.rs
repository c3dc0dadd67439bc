//! The API servers' audit logs: who did what, exactly counted by the server itself.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::Deserialize;

/// An audit log in the JSON form of `audit.k8s.io/v1`, level Metadata.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

/// A point in a log: everything before it happened earlier.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    /// Authenticated user.
    pub user: String,
    /// The client's own name.
    pub agent: String,
    /// API group, empty for core.
    pub group: String,
    /// Plural resource, empty for non-resource requests.
    pub resource: String,
    /// Sub-resource, mostly empty.
    pub subresource: String,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Object name; of a create the one that the object carries.
    pub name: String,
    /// HTTP status.
    pub code: u16,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// When the server received it, by its own clock.
    pub received: Timestamp,
    /// When the answer was complete, by the same clock.
    pub answered: Timestamp,
}

impl Entry {
    /// Whether the request changed (or was accepted to change) something.
    pub fn is_write(&self) -> bool {
        let verb = matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        // Access and token reviews are questions, though they are posted.
        let question = self.resource.ends_with("reviews");
        verb && !question && !self.dry_run && self.code < 400
    }

    /// Whether it is about the status of an object.
    pub fn is_status(&self) -> bool {
        self.subresource == "status"
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verb, user, resource, subresource, namespace, name, code, .. } = self;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(f, "{code} {verb} {resource}{slash}{subresource} {namespace}/{name} by {user}")
    }
}

/// One line for each entry, for assertion messages.
pub fn print<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    entries.into_iter().map(|entry| format!("  {entry}\n")).collect()
}

impl AuditLog {
    /// The log in this file, which the server writes.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn mark(&self) -> Result<Mark> {
        let length = std::fs::metadata(&self.path)
            .with_context(|| format!("cannot read the audit log {}", self.path.display()))?
            .len();
        Ok(Mark(length))
    }

    /// Every request answered since then. A server writes its entry before the answer leaves.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else, or when the server has begun a new file since the mark.
    pub fn since(&self, mark: Mark) -> Result<Vec<Entry>> {
        let mut file =
            File::open(&self.path).with_context(|| format!("cannot read the audit log {}", self.path.display()))?;
        ensure!(
            file.metadata()?.len() >= mark.0,
            "the audit log {} was full and has begun anew; what happened since the mark is lost",
            self.path.display()
        );
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // What follows the last newline is being written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().filter_map(|line| parse(line).transpose()).collect()
    }

    /// Writes since then by users that `by` accepts.
    ///
    /// # Errors
    /// As [`AuditLog::since`].
    pub fn writes_since(&self, mark: Mark, by: impl Fn(&str) -> bool) -> Result<Vec<Entry>> {
        let mut entries = self.since(mark)?;
        entries.retain(|entry| entry.is_write() && by(&entry.user));
        Ok(entries)
    }
}

/// One line; none for stages before the answer.
fn parse(line: &str) -> Result<Option<Entry>> {
    let event: Event = serde_json::from_str(line).with_context(|| format!("not an audit event: {line}"))?;
    if event.stage != "ResponseComplete" && event.stage != "Panic" {
        return Ok(None);
    }
    let reference = event.object_ref.unwrap_or_default();
    Ok(Some(Entry {
        verb: event.verb,
        // Impersonation acts as the impersonated user.
        user: event.impersonated_user.unwrap_or(event.user).username.unwrap_or_default(),
        agent: event.user_agent.unwrap_or_default(),
        group: reference.api_group.unwrap_or_default(),
        resource: reference.resource.unwrap_or_default(),
        subresource: reference.subresource.unwrap_or_default(),
        namespace: reference.namespace.unwrap_or_default(),
        name: reference.name.unwrap_or_default(),
        code: event.response_status.and_then(|status| status.code).unwrap_or(0),
        dry_run: event.request_uri.contains("dryRun=All"),
        received: event.request_received_timestamp,
        answered: event.stage_timestamp,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    user_agent: Option<String>,
    object_ref: Option<Reference>,
    response_status: Option<Status>,
    #[serde(default)]
    request_received_timestamp: Timestamp,
    #[serde(default)]
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    resource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    api_group: Option<String>,
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn event(verb: &str, resource: &str, code: u16, uri: &str) -> String {
        format!(
            r#"{{"kind":"Event","stage":"ResponseComplete","requestURI":"{uri}","verb":"{verb}","user":{{"username":"ann"}},"userAgent":"test","objectRef":{{"resource":"{resource}","namespace":"ns","name":"n","apiGroup":"apps","subresource":"status"}},"responseStatus":{{"code":{code}}}}}"#
        )
    }

    #[test]
    fn only_answered_changes_are_writes() {
        let write = |verb, resource, code, uri| parse(&event(verb, resource, code, uri)).unwrap().unwrap().is_write();
        assert!(write("patch", "deployments", 200, "/apis"));
        assert!(write("create", "deployments", 201, "/apis"));
        assert!(!write("patch", "deployments", 409, "/apis"));
        assert!(!write("get", "deployments", 200, "/apis"));
        assert!(!write("patch", "deployments", 200, "/apis?dryRun=All"));
        assert!(!write("create", "subjectaccessreviews", 201, "/apis"));
    }

    #[test]
    fn entries_print_what_a_reader_needs() {
        let entry = parse(&event("patch", "deployments", 200, "/")).unwrap().unwrap();
        assert_eq!(entry.to_string(), "200 patch deployments/status ns/n by ann");
        assert!(entry.is_status());
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let path = std::env::temp_dir().join(format!("pando-audit-{}", std::process::id()));
        let first = event("get", "pods", 200, "/");
        std::fs::write(&path, format!("{first}\n")).unwrap();
        let log = AuditLog::new(&path);
        let mark = log.mark().unwrap();
        let second = event("create", "pods", 201, "/");
        std::fs::write(&path, format!("{first}\n{second}\n{{\"half")).unwrap();
        let entries = log.since(mark).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].verb, "create");
        std::fs::remove_file(path).unwrap();
    }
}
