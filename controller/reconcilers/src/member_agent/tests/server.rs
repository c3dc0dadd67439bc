//! A small API server in memory: the verbs that arrows 4 and 5 use, with the rules that matter for them (versions,
//! preconditions, apply that removes what only we owned, finalizers, watches). Anything else is refused loudly.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::channel::mpsc;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use serde_json::{Map, Value, json};

/// No server answers with this status here: it stands for none at all.
const HANGS: StatusCode = StatusCode::IM_A_TEAPOT;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Verb and path to status, Retry-After (seconds) and body; `None` answers as usual.
type Fault = Box<dyn Fn(&str, &str) -> Option<(u16, Option<u64>, String)> + Send>;

/// One server. Clones are the same one.
#[derive(Clone)]
pub(super) struct Server(Arc<Mutex<State>>);

impl Default for Server {
    fn default() -> Self {
        // No API server that serves anything is at revision 0.
        Self(Arc::new(Mutex::new(State { revision: 100, ..State::default() })))
    }
}

#[derive(Default)]
struct State {
    revision: u64,
    /// Path of the object → object.
    objects: BTreeMap<String, Value>,
    /// What our POST said of each object.
    posted: BTreeMap<String, Value>,
    /// What our applies last said of each object.
    applied: BTreeMap<String, Value>,
    watchers: Vec<(String, Option<String>, mpsc::UnboundedSender<Bytes>)>,
    log: Vec<String>,
    /// Reads of single objects.
    reads: Vec<String>,
    silent: bool,
    /// Lists and watches of this plural are forbidden.
    unwatchable: Option<&'static str>,
    /// Asked first: verb and path to status, Retry-After and body. Status 0: no answer at all.
    fault: Option<Fault>,
    /// The fault comes after the write took effect.
    late: bool,
    /// What a proxy in between answers to reads of single objects, with 404.
    page: Option<&'static str>,
}

impl Server {
    /// A client of it.
    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                if server.0.lock().unwrap().silent {
                    return std::future::pending().await;
                }
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let content =
                    parts.headers.get(http::header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
                let answer = server.0.lock().unwrap().answer(
                    &parts.method,
                    &parts.uri,
                    content.as_deref().unwrap_or_default(),
                    &body,
                );
                if answer.status() == HANGS {
                    return std::future::pending().await;
                }
                Ok::<_, Infallible>(answer)
            }
        });
        Client::new(service, "default")
    }

    /// The object at a path.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// Somebody else changes an object.
    pub(super) fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        let mut object = state.objects[path].clone();
        edit(&mut object);
        state.store(path, object, "MODIFIED");
    }

    /// Somebody else creates an object.
    pub(super) fn put(&self, path: &str, object: Value) {
        let mut state = self.0.lock().unwrap();
        let object = state.born(object, None);
        state.store(path, object, "ADDED");
    }

    /// Somebody else deletes an object.
    pub(super) fn delete(&self, path: &str) {
        self.0.lock().unwrap().delete(path);
    }

    /// The writes since the last call, as `VERB path`.
    pub(super) fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }

    /// The reads of single objects since the last call.
    pub(super) fn reads(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().reads)
    }

    /// A proxy answers reads of single objects from now on, or no longer does.
    pub(super) fn answer_reads_with(&self, page: Option<&'static str>) {
        self.0.lock().unwrap().page = page;
    }

    /// Requests are answered like this from now on, where it says so. `late`: after they took effect.
    pub(super) fn fail(
        &self,
        late: bool,
        fault: impl Fn(&str, &str) -> Option<(u16, Option<u64>, String)> + Send + 'static,
    ) {
        let mut state = self.0.lock().unwrap();
        state.fault = Some(Box::new(fault));
        state.late = late;
    }

    /// Requests are answered as usual again.
    pub(super) fn heal(&self) {
        self.0.lock().unwrap().fault = None;
    }

    /// The right to list and watch a plural is taken away, and with it the watches that run, or all rights are back.
    pub(super) fn forbid_watching(&self, plural: Option<&'static str>) {
        let mut state = self.0.lock().unwrap();
        state.unwatchable = plural;
        state.watchers.retain(|(collection, _, _)| plural.is_none_or(|plural| !collection.ends_with(plural)));
    }

    /// Connections hang from now on, or work again.
    pub(super) fn silence(&self, silent: bool) {
        self.0.lock().unwrap().silent = silent;
    }
}

impl State {
    fn answer(&mut self, method: &Method, uri: &http::Uri, content: &str, body: &[u8]) -> Answer {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(plural) = self.unwatchable
            && method == Method::GET
            && path.ends_with(&format!("/{plural}"))
        {
            let text = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": format!("cannot list {plural}")});
            return failure(403, None, text.to_string());
        }
        let verb = match (method, content) {
            (&Method::GET, _) if query.contains("watch=true") => return self.watch(path, query),
            (&Method::GET, _) if is_collection(path) => return self.list(path, query),
            (&Method::GET, _) => "GET",
            (&Method::POST, _) => "CREATE",
            (&Method::PATCH, "application/json-patch+json") => "CONVERT",
            (&Method::PATCH, "application/apply-patch+yaml") => "APPLY",
            (&Method::PATCH, "application/merge-patch+json") => "MERGE",
            (&Method::DELETE, _) => "DELETE",
            _ => panic!("not a verb of ours: {method} {content} {uri}"),
        };
        let fault = self.fault.as_ref().and_then(|fault| fault(verb, path));
        if let Some((code, retry, text)) = fault.filter(|_| !(self.late && verb != "GET")) {
            match verb {
                "GET" => self.reads.push(path.to_owned()),
                _ => self.log.push(format!("{verb} {path} {code}")),
            }
            return failure(code, retry, text);
        }
        if verb == "GET" {
            self.reads.push(path.to_owned());
            if let Some(page) = self.page {
                let body = BodyExt::boxed(Full::new(Bytes::from_static(page.as_bytes())));
                return Response::builder().status(StatusCode::NOT_FOUND).body(body).unwrap();
            }
        }
        let result = match verb {
            "GET" => self.objects.get(path).cloned().ok_or_else(|| not_found(path)),
            "CREATE" => self.create(path, body),
            "CONVERT" => self.convert(path, &body),
            "APPLY" => self.apply(path, &body),
            "MERGE" => self.merge(path, &body),
            _ => self.remove(path, &body),
        };
        if verb != "GET" {
            let refused = result.as_ref().err().map(|(code, _)| format!(" {code}")).unwrap_or_default();
            self.log.push(format!("{verb} {path}{refused}"));
        }
        if let Some((code, retry, text)) = self.fault.as_ref().and_then(|fault| fault(verb, path)) {
            return failure(code, retry, text);
        }
        match result {
            Ok(object) => reply(StatusCode::OK, &object),
            Err((code, status)) => reply(StatusCode::from_u16(code).unwrap(), &status),
        }
    }

    fn create(&mut self, collection: &str, body: Value) -> Result<Value, (u16, Value)> {
        let path = format!("{collection}/{}", body["metadata"]["name"].as_str().unwrap());
        if let Some(namespace) = body["metadata"]["namespace"].as_str().filter(|_| collection.contains("/namespaces/"))
            && !self.objects.contains_key(&format!("/api/v1/namespaces/{namespace}"))
        {
            return Err((404, json!({"reason": "NotFound", "details": {"kind": "namespaces", "name": namespace}})));
        }
        if self.objects.contains_key(&path) {
            return Err((409, json!({"reason": "AlreadyExists", "code": 409})));
        }
        self.posted.insert(path.clone(), body.clone());
        let object = self.born(body, Some("Update"));
        Ok(self.store(&path, object, "ADDED"))
    }

    fn born(&mut self, mut object: Value, operation: Option<&str>) -> Value {
        object["metadata"]["uid"] = json!(format!("uid-{}", self.revision + 1));
        let ours = operation.map(|operation| json!({"manager": "pando", "operation": operation, "fieldsV1": {}}));
        object["metadata"]["managedFields"] = ours.into_iter().collect();
        object
    }

    fn convert(&mut self, path: &str, patch: &Value) -> Result<Value, (u16, Value)> {
        let mut object = self.objects.get(path).cloned().ok_or_else(|| not_found(path))?;
        if patch[0]["value"] != object["metadata"]["resourceVersion"] {
            return Err((422, json!({"reason": "Invalid", "message": "the server rejected our request"})));
        }
        *object.pointer_mut(patch[1]["path"].as_str().unwrap()).unwrap() = patch[1]["value"].clone();
        if let Some(posted) = self.posted.remove(path) {
            self.applied.insert(path.to_owned(), posted);
        }
        Ok(self.store(path, object, "MODIFIED"))
    }

    fn apply(&mut self, path: &str, body: &Value) -> Result<Value, (u16, Value)> {
        let mut object = self
            .objects
            .get(path)
            .cloned()
            .ok_or_else(|| (409, json!({"reason": "Conflict", "message": "uid mismatch"})))?;
        if body["metadata"]["uid"] != object["metadata"]["uid"] {
            return Err((422, json!({"reason": "Invalid", "details": {"causes": [{"field": "metadata.uid"}]}})));
        }
        if let Some(before) = self.applied.insert(path.to_owned(), body.clone()) {
            for field in ["spec", "data"] {
                subtract(&mut object[field], &before[field], &body[field]);
            }
        }
        let mut wanted = body.clone();
        wanted["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        add(&mut object, &wanted);
        Ok(self.store(path, object, "MODIFIED"))
    }

    fn merge(&mut self, path: &str, patch: &Value) -> Result<Value, (u16, Value)> {
        let (path, status) = path.strip_suffix("/status").map_or((path, false), |path| (path, true));
        let mut object = self.objects.get(path).cloned().ok_or_else(|| not_found(path))?;
        let version = &patch["metadata"]["resourceVersion"];
        if version.is_string() && *version != object["metadata"]["resourceVersion"] {
            return Err((409, json!({"reason": "Conflict", "code": 409})));
        }
        if status {
            object["status"] = patch["status"].clone();
        } else {
            merge(&mut object, patch);
        }
        Ok(self.store(path, object, "MODIFIED"))
    }

    fn remove(&mut self, path: &str, options: &Value) -> Result<Value, (u16, Value)> {
        let object = self.objects.get(path).ok_or_else(|| not_found(path))?;
        for field in ["uid", "resourceVersion"] {
            if options["preconditions"][field] != object["metadata"][field] {
                return Err((409, json!({"reason": "Conflict", "code": 409})));
            }
        }
        self.delete(path);
        Ok(self.objects.get(path).cloned().unwrap_or_else(|| json!({"kind": "Status", "status": "Success"})))
    }

    fn delete(&mut self, path: &str) {
        let mut object = self.objects[path].clone();
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        self.store(path, object, "MODIFIED");
    }

    /// Puts an object in place with a new version, or ends it when nothing holds it any more, and tells the watchers.
    fn store(&mut self, path: &str, mut object: Value, event: &str) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        let gone = object["metadata"]["deletionTimestamp"].is_string() && !held;
        let before =
            if gone { self.objects.remove(path) } else { self.objects.insert(path.to_owned(), object.clone()) };
        for (collection, label, watcher) in &self.watchers {
            let (was, is) = (before.as_ref().is_some_and(|before| has(before, label)), !gone && has(&object, label));
            let event = match (was, is) {
                _ if !covers(collection, path) => continue,
                (false, false) => continue,
                (true, false) => "DELETED",
                (false, true) => "ADDED",
                (true, true) => event,
            };
            // As every API server writes it: the type first.
            let line = format!("{{\"type\":\"{event}\",\"object\":{object}}}\n");
            watcher.unbounded_send(line.into()).ok();
        }
        object
    }

    fn list(&self, collection: &str, query: &str) -> Answer {
        let label = label(query);
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(path, object)| covers(collection, path) && has(object, &label))
            .map(|(_, object)| object)
            .collect();
        reply(
            StatusCode::OK,
            &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self.revision.to_string()}, "items": items}),
        )
    }

    fn watch(&mut self, collection: &str, query: &str) -> Answer {
        let (sender, receiver) = mpsc::unbounded();
        self.watchers.push((collection.to_owned(), label(query), sender));
        let body = StreamBody::new(receiver.map(|line| Ok(Frame::data(line))));
        Response::new(BodyExt::boxed(body))
    }
}

fn failure(code: u16, retry: Option<u64>, text: String) -> Answer {
    let mut response = Response::builder().status(if code == 0 { HANGS.as_u16() } else { code });
    if let Some(seconds) = retry {
        response = response.header(http::header::RETRY_AFTER, seconds);
    }
    response.body(BodyExt::boxed(Full::new(Bytes::from(text)))).unwrap()
}

fn reply(code: StatusCode, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string()));
    Response::builder().status(code).body(BodyExt::boxed(body)).unwrap()
}

fn not_found(path: &str) -> (u16, Value) {
    (404, json!({"reason": "NotFound", "code": 404, "message": format!("{path} not found")}))
}

fn is_collection(path: &str) -> bool {
    let plurals = [
        "configmaps",
        "deployments",
        "namespaces",
        "works",
        "resourcebindings",
        "clusterresourcebindings",
        "clusters",
        "things",
        "customresourcedefinitions",
    ];
    plurals.iter().any(|plural| path.ends_with(&format!("/{plural}")))
}

/// Does a list or watch of `collection` (of all namespaces, or of one) show the object at `path`?
fn covers(collection: &str, path: &str) -> bool {
    let Some((root, plural)) = collection.rsplit_once('/') else { return false };
    let Some((place, _)) = path.rsplit_once('/') else { return false };
    place.starts_with(root) && place.ends_with(&format!("/{plural}"))
}

fn label(query: &str) -> Option<String> {
    let selector = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector="))?;
    Some(selector.replace("%2F", "/").replace("%3D", "=").split('=').next()?.to_owned())
}

fn has(object: &Value, label: &Option<String>) -> bool {
    label.as_ref().is_none_or(|label| object["metadata"]["labels"][label].is_string())
}

fn add(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                add(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn subtract(object: &mut Value, before: &Value, now: &Value) {
    let (Value::Object(fields), Value::Object(before)) = (object, before) else { return };
    let nothing = Map::new();
    let now = now.as_object().unwrap_or(&nothing);
    for (key, value) in before {
        match now.get(key) {
            None => drop(fields.remove(key)),
            Some(kept) => fields.get_mut(key).into_iter().for_each(|field| subtract(field, value, kept)),
        }
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return *into = patch.clone() };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
