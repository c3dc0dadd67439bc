#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::{Method, StatusCode};
use http_body_util::BodyStream;

use super::*;
use crate::pki::Authority;

/// A server that says who asked for what, behind a relay; and a client of that relay.
struct Rig {
    relay: HttpRelay,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

/// What the server answers: the peer's certificate or token, the path, and the request's body.
async fn echo(request: Request<Incoming>, certified: bool) -> Result<Response<Body>, Error> {
    let token = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("nobody");
    let who = if certified { "certificate".to_owned() } else { token.to_owned() };
    let path = request.uri().path().to_owned();
    if path == "/apis" {
        let groups = serde_json::json!({ "groups": [{ "name": "apps" }, { "name": "batch" }] });
        return Ok(Response::new(body::full(groups.to_string())));
    }
    if path == "/open" {
        let begin = futures::stream::iter([Ok(http_body::Frame::data("begin".into()))]);
        let open = begin.chain(futures::stream::pending());
        return Ok(Response::new(body::passed(
            http_body_util::StreamBody::new(open).map_err(std::convert::identity::<Error>),
        )));
    }
    let body = request.into_body().collect().await?.to_bytes();
    let text = format!("{who} {path} {}", String::from_utf8_lossy(&body));
    Ok(Response::builder().header("x-answer", "real").body(body::full(text))?)
}

async fn rig(name: &str, certificate: bool) -> Rig {
    let dir = std::env::temp_dir().join(format!("pando-http-relay-{}-{name}", std::process::id()));
    let authority = Authority::create(&dir, name).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let upstream = Upstream {
        server: listener.local_addr().unwrap(),
        authority: authority.pem().to_owned(),
        shown: authority.server_identity("relay", &["127.0.0.1"]).unwrap(),
        speaker: authority.client("speaker", None).unwrap(),
    };
    let relay = HttpRelay::start(&upstream).await.unwrap();
    let tls = acceptor(&upstream).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let stream = tls.accept(stream).await.unwrap();
                let certified = stream.get_ref().1.peer_certificates().is_some();
                let service =
                    service_fn(
                        move |request| async move { echo(request, certified).await.map_err(std::io::Error::other) },
                    );
                let server = auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    let client = Onward::new(&upstream).unwrap().client(certificate);
    Rig { relay, client }
}

impl Rig {
    async fn send(&self, method: Method, path: &str) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.relay.address()))
            .header("authorization", "Bearer abc")
            .header("user-agent", "tester/1")
            .body(body::full("hello"))
            .unwrap();
        self.client.request(request).await.unwrap()
    }

    async fn text(&self, method: Method, path: &str) -> String {
        let body = self.send(method, path).await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    fn answer_by(&self, when: When, fault: Fault) -> Faulty<'_> {
        self.relay.answer_by(vec![Rule::new(when, fault)])
    }
}

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

#[tokio::test]
async fn without_rules_everything_passes_and_is_recorded() {
    let rig = rig("passes", false).await;
    let mark = rig.relay.record().mark();
    assert_eq!(rig.text(Method::POST, MAPS).await, format!("Bearer abc {MAPS} hello"));
    let answer = rig.send(Method::GET, &format!("{MAPS}/one")).await;
    assert_eq!(answer.headers()["x-answer"], "real");
    drop(answer);
    let seen = rig.relay.record().since(mark);
    let verbs: Vec<_> = seen.iter().map(|exchange| (exchange.call.verb, exchange.status, exchange.faulty)).collect();
    assert_eq!(verbs, [(Verb::Create, Some(200), false), (Verb::Get, Some(200), false)]);
    let call = &seen[1].call;
    assert_eq!((&*call.namespace, &*call.resource, &*call.name), ("shop", "configmaps", "one"));
    assert_eq!(call.agent, "tester/1");
}

#[tokio::test]
async fn who_shows_a_certificate_is_spoken_for() {
    let rig = rig("certificate", true).await;
    assert_eq!(rig.text(Method::GET, MAPS).await, format!("certificate {MAPS} hello"));
}

#[tokio::test]
async fn a_rule_answers_before_or_after_the_server_for_what_it_selects_only() {
    let rig = rig("rules", false).await;
    let slow_down = Answer::status(429, "TooManyRequests", "slow down").retry_after("86400");
    let faulty = rig.relay.answer_by(vec![
        Rule::new(
            When::verbs(&[Verb::Create]).path("configmaps$").unwrap().after(1).times(1),
            Fault::Answer(slow_down),
        ),
        Rule::new(When::verbs(&[Verb::Patch]), Fault::AnswerAfter(Answer::text(503, "later"))),
        Rule::new(When::any().agent("somebody else"), Fault::Silence),
    ]);
    let status = |answer: Response<Incoming>| answer.status();
    assert_eq!(status(rig.send(Method::POST, MAPS).await), StatusCode::OK, "the first passes");
    let refused = rig.send(Method::POST, MAPS).await;
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::TOO_MANY_REQUESTS, &"86400".parse().unwrap())
    );
    assert_eq!(status(rig.send(Method::POST, MAPS).await), StatusCode::OK, "the third passes");
    assert_eq!(rig.text(Method::PATCH, MAPS).await, "later");
    drop(faulty);
    assert_eq!(status(rig.send(Method::PATCH, MAPS).await), StatusCode::OK, "the rules are gone");
}

#[tokio::test]
async fn bodies_are_cut_dripped_and_closed() {
    let rig = rig("bodies", false).await;
    {
        let _faulty = rig.answer_by(When::any(), Fault::Truncate(6));
        assert_eq!(rig.text(Method::GET, "/readyz").await, "Bearer");
    }
    {
        let _faulty = rig.answer_by(When::any(), Fault::Trickle);
        let mut body = BodyStream::new(rig.send(Method::GET, "/readyz").await.into_body());
        let start = Instant::now();
        assert_eq!(body.next().await.unwrap().unwrap().into_data().unwrap(), "B");
        assert!(start.elapsed() >= Duration::from_millis(900));
    }
    {
        let _faulty = rig.answer_by(When::any(), Fault::CloseAfter(Duration::from_millis(100)));
        let start = Instant::now();
        assert_eq!(rig.text(Method::GET, "/open").await, "begin", "what came until then");
        assert!(start.elapsed() >= Duration::from_millis(90));
    }
    {
        let _faulty = rig.answer_by(When::any(), Fault::WithoutGroup("apps".to_owned()));
        assert_eq!(rig.text(Method::GET, "/apis").await, r#"{"groups":[{"name":"batch"}]}"#);
    }
}

#[tokio::test]
async fn lists_without_end_go_on() {
    let rig = rig("endless", false).await;
    {
        let _faulty = rig.answer_by(When::any(), Fault::Endless);
        let mut body = BodyStream::new(rig.send(Method::GET, MAPS).await.into_body());
        let mut read = 0;
        while read < 10 << 20 {
            read += body.next().await.unwrap().unwrap().into_data().unwrap().len();
        }
    }
    let _faulty = rig.answer_by(When::any(), Fault::EndlessPages);
    let pages = [rig.text(Method::GET, MAPS).await, rig.text(Method::GET, MAPS).await];
    let [first, second] = pages.map(|page| serde_json::from_str::<serde_json::Value>(&page).unwrap());
    assert!(second["metadata"]["continue"].is_string());
    assert_ne!(first["items"][0]["metadata"]["name"], second["items"][0]["metadata"]["name"]);
}

#[tokio::test]
async fn open_requests_are_counted_by_client_and_end_with_their_client() {
    let rig = rig("flights", false).await;
    let record = rig.relay.record();
    let mark = record.mark();
    let faulty = rig.answer_by(When::any(), Fault::Silence);
    {
        let three = futures::future::join_all([0; 3].map(|_| rig.send(Method::GET, MAPS)));
        assert!(tokio::time::timeout(Duration::from_millis(500), three).await.is_err());
    }
    drop(faulty);
    assert_eq!(record.peak(mark), 3);
    crate::eventually::some(Duration::from_secs(5), "the given up requests to end", || async {
        Ok(record.since(mark).iter().all(|exchange| exchange.ended.is_some()).then_some(()))
    })
    .await
    .unwrap();
    let mark = record.mark();
    rig.text(Method::GET, MAPS).await;
    assert_eq!(record.peak(mark), 1);
}

#[tokio::test]
async fn a_watch_is_no_request_in_flight() {
    let rig = rig("watch", false).await;
    let _faulty = rig.answer_by(When::verbs(&[Verb::Watch]), Fault::Silence);
    let mark = rig.relay.record().mark();
    let path = format!("{MAPS}?watch=true");
    let open = tokio::time::timeout(Duration::from_millis(300), rig.send(Method::GET, &path)).await;
    assert!(open.is_err());
    assert_eq!(rig.relay.record().peak(mark), 0);
}
