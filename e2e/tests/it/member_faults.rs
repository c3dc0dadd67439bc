//! A member's API fails in every way that APIs fail: the others do not notice, nothing is lost, somebody says why, and it
//! ends by itself.
//!
//! The rows are those of the fault catalogue of the design (M: member API, N: network). What has to hold in each of them is
//! in [`stage`]; the API server is a real one, and what stands between it and the controller is
//! [`pando_e2e::http_relay`] or [`pando_e2e::relay`].

mod bulkhead;
mod contents;
mod latency;
mod stage;

use std::time::Duration;

use anyhow::{Result, ensure};
use pando_e2e::http_relay::{Answer, Fault, Rule, Verb, When};
use pando_e2e::process;
use pando_e2e::relay::Mode;

pub(crate) use self::bulkhead::a_black_holed_member_costs_the_others_nothing;
pub(crate) use self::contents::{
    a_definition_removed_and_installed_again_gets_its_objects_back, a_group_that_is_not_served_loses_no_object,
    a_namespace_that_does_not_end_holds_up_no_other, an_object_that_somebody_holds_names_its_holder,
};
use self::stage::{Expected, Stage};
use crate::world::World;

const WRITES: [Verb; 3] = [Verb::Create, Verb::Patch, Verb::Delete];
const NO_ANSWER: &[&str] = &["no answer", "reachable", "timed out"];
const NOT_KUBERNETES: &[&str] = &["not a kubernetes"];

/// A process that does nothing until this is dropped.
pub(crate) struct Stopped(process::Identity);

impl Stopped {
    pub(crate) fn stop(identity: process::Identity) -> Self {
        identity.signal(process::Signal::STOP);
        Self(identity)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.signal(process::Signal::CONT);
    }
}

/// Objects change, then requests are answered by `rules` for a while.
async fn answers(world: &World, tag: &'static str, expected: Expected, rules: Vec<Rule>) -> Result<()> {
    let stage = Stage::open(world, tag).await?;
    stage.endures(expected, || stage.http.answer_by(rules)).await
}

/// As [`answers`]; open watches are broken first, so that they come under the rules, too.
async fn answers_anew(world: &World, tag: &'static str, expected: Expected, rules: Vec<Rule>) -> Result<()> {
    let stage = Stage::open(world, tag).await?;
    let fault = || {
        let faulty = stage.http.answer_by(rules);
        stage.relay.reset();
        faulty
    };
    stage.endures(expected, fault).await
}

fn refusal(code: u16, reason: &str, message: &str) -> Fault {
    Fault::Answer(Answer::status(code, reason, message))
}

/// Nothing is wrong: what stands in between changes nothing, and costs little.
pub(crate) async fn a_relay_without_rules_changes_nothing(world: &World) -> Result<()> {
    let stage = Stage::open(world, "transparent").await?;
    let target = [stage.faulty];
    let through = latency::edits(stage.federation, &target, &stage.map("changed"), 40).await?;
    stage.relay.lead_to(stage.server()?);
    stage.watches_again().await?;
    let straight = latency::edits(stage.federation, &target, &stage.map("changed"), 40).await?;
    println!("    straight: {straight}; through the HTTP relay: {through}");
    ensure!(through.p50 < straight.p50 * 3 + Duration::from_millis(50), "{through}, without the relay {straight}");
    stage.relay.lead_to(stage.http.address());
    let mark = stage.http.record().mark();
    stage.endures(Expected::told(&[]), || ()).await?;
    let faulty: Vec<_> = stage.http.record().since(mark).into_iter().filter(|exchange| exchange.faulty).collect();
    ensure!(faulty.is_empty(), "no rule was set: {faulty:?}");
    Ok(())
}

/// M9: connections are accepted, and nothing is ever said.
pub(crate) async fn a_silent_member_is_waited_for(world: &World) -> Result<()> {
    answers_anew(world, "silence", Expected::told(NO_ANSWER), vec![Rule::new(When::any(), Fault::Silence)]).await
}

/// M9, M11: the process is stopped; the kernel goes on accepting for it.
pub(crate) async fn a_stopped_api_server_goes_on_where_it_was(world: &World) -> Result<()> {
    let stage = Stage::open(world, "stopped").await?;
    stage.relay.lead_to(stage.server()?);
    stage.watches_again().await?;
    let process = stage.federation.process(stage.faulty, "kube-apiserver")?;
    stage.endures(Expected::told(NO_ANSWER), || Stopped::stop(process)).await
}

/// M12, N8: a byte a second on the line, TLS and all.
pub(crate) async fn a_line_of_one_byte_a_second_is_given_up(world: &World) -> Result<()> {
    let stage = Stage::open(world, "slow").await?;
    stage.endures(Expected::told(NO_ANSWER), || stage.relay.disturbed(Mode::Slow)).await
}

/// M12: a prompt head, then a body of one byte a second.
pub(crate) async fn answers_of_one_byte_a_second_end_at_their_deadline(world: &World) -> Result<()> {
    let rules = vec![Rule::new(When::objects(), Fault::Trickle)];
    answers(world, "trickle", Expected::told(NO_ANSWER), rules).await
}

/// M30: every connection is reset in the middle of what it carries.
pub(crate) async fn connections_reset_half_way_lose_nothing(world: &World) -> Result<()> {
    let stage = Stage::open(world, "resets").await?;
    stage.endures(Expected::told(&["reset", "reachable"]), || stage.relay.disturbed(Mode::ResetAfter(3000))).await
}

/// C, M6: the token is not accepted any more.
pub(crate) async fn a_refused_token_is_called_so(world: &World) -> Result<()> {
    let rules = vec![Rule::new(When::any(), refusal(401, "Unauthorized", "Unauthorized"))];
    answers(world, "unauthorized", Expected::told(&["401"]), rules).await
}

/// M6: one verb is forbidden; the others go on.
pub(crate) async fn a_forbidden_verb_is_named_and_the_others_go_on(world: &World) -> Result<()> {
    let stage = Stage::open(world, "forbidden").await?;
    let message = "configmaps is forbidden: User \"x\" cannot patch resource \"configmaps\" in API group \"\"";
    let rules = vec![Rule::new(When::verbs(&[Verb::Patch]), refusal(403, "Forbidden", message))];
    {
        let _faulty = stage.http.answer_by(rules.clone());
        stage.something_comes_and_goes().await?;
    }
    stage.endures(Expected::told(&["grant \"patch\" on configmaps"]), || stage.http.answer_by(rules)).await
}

/// M1: a rival is always faster.
pub(crate) async fn conflicts_on_every_write_are_reported_until_they_end(world: &World) -> Result<()> {
    let message =
        "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version";
    let rules = vec![Rule::new(When::verbs(&[Verb::Patch, Verb::Delete]), refusal(409, "Conflict", message))];
    answers(world, "conflicts", Expected::told(&["changed meanwhile", "conflict"]), rules).await
}

/// M3: the server has forgotten the version of every watch.
pub(crate) async fn watches_whose_version_is_gone_list_without_haste(world: &World) -> Result<()> {
    let rules = vec![Rule::new(When::verbs(&[Verb::Watch]), Fault::Answer(Answer::gone_event()))];
    answers_anew(world, "gone", Expected::gone_around(Verb::Watch), rules).await
}

/// M3: the server forgets a list while it is being read, page by page.
pub(crate) async fn a_list_that_expires_half_way_removes_nothing(world: &World) -> Result<()> {
    let expired = refusal(410, "Expired", "The provided continue parameter is too old");
    let rules = vec![
        Rule::new(When::verbs(&[Verb::Watch]), Fault::Answer(Answer::gone_event())),
        Rule::new(When::verbs(&[Verb::List]).query("continue="), expired),
        Rule::new(When::verbs(&[Verb::List]), Fault::EndlessPages),
    ];
    answers_anew(world, "expired", Expected::gone_around(Verb::List), rules).await
}

/// M4: the member asks for a pause of a second.
pub(crate) async fn a_request_to_slow_down_is_granted(world: &World) -> Result<()> {
    let busy = Answer::status(429, "TooManyRequests", "the server has received too many requests").retry_after("1");
    let rules = vec![Rule::new(When::objects(), Fault::Answer(busy))];
    answers(world, "throttled", Expected::told(&["slow down", "429", "too many"]), rules).await
}

/// M4: the member asks for a pause of a day. It gets half a minute.
pub(crate) async fn a_request_to_slow_down_for_a_day_is_granted_half_a_minute(world: &World) -> Result<()> {
    let busy = Answer::text(429, "Too many requests, please try again later.\n").retry_after("86400");
    let rules = vec![Rule::new(When::verbs(&WRITES), Fault::Answer(busy))];
    answers(world, "throttled-long", Expected::told(&["slow down", "429", "too many"]), rules).await
}

/// M5: the server fails before it does anything.
pub(crate) async fn writes_that_fail_are_reported_and_repeated(world: &World) -> Result<()> {
    let failure = refusal(500, "InternalError", "etcdserver: request timed out");
    answers(world, "failing", Expected::told(&["500"]), vec![Rule::new(When::verbs(&WRITES), failure)]).await
}

/// M2, M5: the server does what it is asked and says that it failed.
pub(crate) async fn writes_that_took_effect_are_not_repeated(world: &World) -> Result<()> {
    let failure = Fault::AnswerAfter(Answer::status(503, "ServiceUnavailable", "the leader has changed"));
    answers(world, "after", Expected::gone_around(Verb::Create), vec![Rule::new(When::verbs(&WRITES), failure)]).await
}

/// M13: answers end in the middle of a word.
pub(crate) async fn answers_cut_short_are_no_answers(world: &World) -> Result<()> {
    use Verb::{Create, Delete, Get, List, Patch};
    let rules = vec![Rule::new(When::verbs(&[Create, Delete, Get, List, Patch]), Fault::Truncate(100))];
    answers(world, "cut-short", Expected::told(&["not a kubernetes", "json", "eof"]), rules).await
}

/// M32: something else answers in the place of the API server.
pub(crate) async fn a_login_page_is_no_api_server(world: &World) -> Result<()> {
    let rules = vec![Rule::new(When::any(), Fault::Answer(Answer::login_page(200)))];
    answers(world, "page", Expected::told(NOT_KUBERNETES), rules).await
}

/// M29: everything is redirected to another host.
pub(crate) async fn a_redirection_is_not_followed(world: &World) -> Result<()> {
    let rules = vec![Rule::new(When::any(), Fault::Answer(Answer::login_page(302)))];
    answers(world, "redirected", Expected::told(NOT_KUBERNETES), rules).await
}

/// Everything is watched anew and has to be listed, and lists are answered so. Memory is bounded.
async fn lists(world: &World, tag: &'static str, rate: f64, answer: Fault) -> Result<()> {
    let stage = Stage::open(world, tag).await?;
    let before = stage.memory()?;
    let fault = || {
        let faulty = stage.http.answer_by(vec![
            Rule::new(When::verbs(&[Verb::Watch]), Fault::Answer(Answer::gone_event())),
            Rule::new(When::verbs(&[Verb::List]), answer),
        ]);
        stage.relay.reset();
        faulty
    };
    stage.endures(Expected { rate, ..Expected::gone_around(Verb::List) }, fault).await?;
    let peak = stage.memory_peak()?;
    println!("    resident memory {before} MiB before, {peak} MiB at most");
    ensure!(peak < before + 500, "the controller took {peak} MiB of memory");
    Ok(())
}

/// M14: lists that never end.
pub(crate) async fn a_list_without_end_takes_no_memory(world: &World) -> Result<()> {
    lists(world, "endless", 15.0, Fault::Endless).await
}

/// M14: lists of endlessly many pages.
pub(crate) async fn a_list_of_endlessly_many_pages_takes_no_memory(world: &World) -> Result<()> {
    // Each page is a request of its own, and comes after 20 ms.
    lists(world, "pages", 200.0, Fault::EndlessPages).await
}

/// M17: lists are empty, and the objects are there all the same.
pub(crate) async fn an_empty_list_loses_no_object(world: &World) -> Result<()> {
    let empty =
        serde_json::json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": [] });
    // Each object that seems to be gone is looked for once.
    lists(world, "empty", 60.0, Fault::Answer(Answer::json(200, &empty))).await
}

/// M15: the server closes every watch after a tenth of a second.
pub(crate) async fn watches_that_close_at_once_are_opened_without_haste(world: &World) -> Result<()> {
    let rules = vec![Rule::new(When::verbs(&[Verb::Watch]), Fault::CloseAfter(Duration::from_millis(100)))];
    answers_anew(world, "closing", Expected::gone_around(Verb::Watch), rules).await
}
