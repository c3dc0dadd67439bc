//! The promises, on real API servers: one federation, started when the first test needs it.
//!
//! A harness of its own, because a federation is shared, tests take turns with it, and it must be gone at
//! the end. Where what follows counts everything in it, it is replaced ([`ANEW`]). It understands `--list`, names to
//! filter by, `--exact` and `--skip`, and prints results as
//! cargo's own harness does. Each module is a promise; each test has namespaces of its own.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "tests, outside the product's context tree"
)]

mod budget;
mod contexts;
mod deletion;
mod detach_scale;
mod detaching;
mod drift;
mod faults;
mod hub_faults;
mod input;
mod kinds;
mod leaving;
mod member_faults;
mod members;
mod objects;
mod outage;
mod overriding;
mod policies;
mod policy;
mod provider;
mod records;
mod restart;
mod split;
mod status;
mod subject;
mod sweep;
mod workloads;
mod world;
mod writing;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use world::World;

/// No promise takes longer, however slow the machine; sweeps that are asked for may.
fn limit() -> Duration {
    let minutes = if std::env::var_os("PANDO_SLOW").is_some() { 90 } else { 6 };
    Duration::from_secs(60 * minutes)
}

/// Modules that begin with a new federation: their tests count requests and writes that grow with whatever others have left
/// in it.
const ANEW: [&str; 2] = ["member_faults", "sweep"];

#[derive(Clone, Copy)]
struct Test {
    name: &'static str,
    run: fn(&World) -> BoxFuture<'_, Result<()>>,
}

/// `module::function` for each function.
macro_rules! tests {
    ($($module:ident: [$($function:ident),* $(,)?]),* $(,)?) => {
        vec![$($(Test {
            name: concat!(stringify!($module), "::", stringify!($function)),
            run: |world| Box::pin($module::$function(world)),
        }),*),*]
    };
}

/// Every test, in running order: what needs the lone member and no federation first (the tests of the rig end it), what disturbs
/// the federation last.
#[expect(clippy::too_many_lines, reason = "a table")]
fn tests() -> Vec<Test> {
    tests! {
        detach_scale: [
            a_busy_member_is_gone_when_its_detach_returns,
            a_detach_takes_less_than_its_grace_every_time,
            a_member_attached_and_detached_again_and_again_leaves_nothing,
            a_call_between_members_ends_when_either_goes,
        ],
        provider: [
            a_member_runs_pods_and_jobs,
            the_relay_disturbs_the_controllers_view_only,
            a_hub_knows_our_kinds_and_runs_nothing,
            a_component_that_dies_is_noticed_with_its_log,
            a_deleted_cluster_leaves_nothing_but_logs,
            a_killed_run_leaves_nothing,
        ],
        split: [
            the_founding_policy_gives_five_three_two,
            other_weights_give_two_three_five,
            thirteen_replicas_give_six_four_three,
            the_hub_runs_no_template_itself,
        ],
        drift: [
            a_deleted_deployment_is_back_within_two_seconds,
            an_image_edited_by_hand_is_reverted,
            replicas_under_the_retain_label_are_kept,
            an_environment_variable_removed_from_the_template_disappears,
        ],
        deletion: [
            a_deleted_template_is_removed_everywhere,
            a_foreign_object_of_the_same_name_is_left_alone,
        ],
        overriding: [
            overriders_change_the_members_that_they_name,
        ],
        policy: [
            suspended_dispatching_writes_nothing_until_it_is_resumed,
            preserved_objects_stay_when_their_template_goes,
            services_secrets_and_config_maps_arrive_as_they_are,
            no_secret_is_logged_or_measured,
            the_controller_shows_its_health_and_metrics,
            the_command_line_shows_clusters_and_bindings,
        ],
        input: [
            an_unknown_cluster_is_named_and_the_others_are_placed,
            what_is_not_built_yet_holds_the_template_and_says_so,
            an_object_that_a_member_refuses_is_reported_without_a_storm,
        ],
        writing: [
            a_namespace_deleted_in_a_member_comes_back_with_its_objects,
            a_member_that_mutates_our_writes_is_not_written_in_a_loop,
        ],
        budget: [
            a_new_config_map_costs_ten_hub_and_three_member_writes,
            only_pando_writes_propagated_objects,
        ],
        status: [
            a_flapping_pod_costs_few_writes_and_ends_right,
            a_container_that_crashed_in_a_member_is_shown_running_again,
            what_somebody_else_writes_into_a_status_is_set_right,
            a_member_that_cannot_be_read_is_unknown_since_then_and_heals,
        ],
        workloads: [
            a_divided_job_is_done_in_shares_and_completes_as_one,
            stateful_sets_and_daemon_sets_report_readiness,
            a_change_that_a_job_cannot_take_is_reported_without_a_storm,
            what_members_make_of_any_kind_survives_an_edit_and_is_not_written_again,
        ],
        outage: [
            a_reset_connection_is_opened_again,
            a_silent_member_loses_nothing_and_delays_nobody,
        ],
        members: [
            an_object_costs_a_post_then_convert_and_apply_then_applies,
            a_field_edited_by_hand_is_reverted,
            a_field_of_another_manager_stays,
            an_object_without_our_label_is_out_of_our_hands,
            an_object_that_apply_refuses_is_updated_all_the_same,
            replicas_that_an_autoscaler_owns_stay,
            more_replicas_are_one_write_on_the_hub_and_one_in_the_member,
            a_foreign_object_is_adopted_by_overwrite_only,
            an_object_of_another_federation_is_never_touched,
            a_service_keeps_its_address_over_changes,
            a_stranger_in_the_place_of_ours_survives_the_template,
        ],
        policies: [
            a_field_that_is_not_built_holds_what_runs,
            a_deleted_policy_leaves_what_it_placed,
            a_policy_that_selects_no_more_lets_go,
            an_override_cannot_make_it_another_object,
            the_policy_of_higher_priority_wins,
            a_cluster_policy_claims_a_cluster_scoped_object_and_lets_it_go,
            a_policy_preempts_once_it_outranks_the_owner,
            two_policies_claiming_in_turn_a_hundred_times_settle_without_loss,
            a_namespace_comes_to_the_members_and_stays_there,
            the_api_server_refuses_contradictions_in_our_words,
        ],
        faults: [
            a_member_that_was_cut_off_gets_what_it_missed,
            a_member_that_was_silent_gets_what_it_missed,
        ],
        hub_faults: [
            a_hub_whose_api_server_is_killed_goes_on_where_it_was,
            a_hub_that_is_silent_for_a_while_loses_no_change,
            a_slow_hub_costs_time_and_no_more_writes,
            a_member_whose_api_server_is_killed_gets_what_it_missed,
            a_template_deleted_while_its_binding_is_written_leaves_nothing,
        ],
        member_faults: [
            a_relay_without_rules_changes_nothing,
            watches_whose_version_is_gone_list_without_haste,
            conflicts_on_every_write_are_reported_until_they_end,
            writes_that_fail_are_reported_and_repeated,
            writes_that_took_effect_are_not_repeated,
            a_list_that_expires_half_way_removes_nothing,
            answers_cut_short_are_no_answers,
            a_forbidden_verb_is_named_and_the_others_go_on,
            an_object_that_somebody_holds_names_its_holder,
            a_list_without_end_takes_no_memory,
            a_namespace_that_does_not_end_holds_up_no_other,
            a_definition_removed_and_installed_again_gets_its_objects_back,
            a_list_of_endlessly_many_pages_takes_no_memory,
            a_request_to_slow_down_for_a_day_is_granted_half_a_minute,
            an_empty_list_loses_no_object,
            answers_of_one_byte_a_second_end_at_their_deadline,
            a_group_that_is_not_served_loses_no_object,
            watches_that_close_at_once_are_opened_without_haste,
            a_request_to_slow_down_is_granted,
            a_refused_token_is_called_so,
            a_login_page_is_no_api_server,
            a_redirection_is_not_followed,
            a_silent_member_is_waited_for,
            connections_reset_half_way_lose_nothing,
            a_line_of_one_byte_a_second_is_given_up,
            a_stopped_api_server_goes_on_where_it_was,
            a_black_holed_member_costs_the_others_nothing,
        ],
        kinds: [
            any_kind_propagates_reports_and_cleans_up,
            a_policy_may_come_before_the_definition_of_its_kind,
            a_definition_removed_on_the_hub_and_installed_again_goes_on,
            a_kind_that_may_not_be_listed_is_named_and_the_others_go_on,
        ],
        restart: [
            a_killed_controller_starts_again_without_a_write,
            a_controller_told_to_end_does_so_in_order,
        ],
        contexts: [
            the_tree_goes_from_the_process_to_each_call,
            the_page_takes_filters_and_refuses_what_it_does_not_know,
            a_member_that_leaves_takes_its_whole_subtree_along,
        ],
        detaching: [
            an_unjoin_says_what_it_will_do_does_it_and_reports,
            what_holds_a_deleted_cluster_is_named_until_force_leaves_it_behind,
            a_black_holed_member_is_waited_for_and_keeps_everything_when_forced,
            a_stopped_member_is_waited_for_and_leaves_when_it_goes_on,
        ],
        sweep: [
            killed_after_a_write_of_a_propagation_a_scale_or_a_deletion_it_ends_the_same,
            killed_after_a_write_of_an_unjoin_it_ends_the_same,
        ],
        leaving: [
            an_unjoined_member_keeps_only_namespaces_and_others_take_over,
            a_member_that_left_joins_again,
        ],
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse(std::env::args().skip(1));
    let (chosen, others): (Vec<Test>, Vec<Test>) = tests().into_iter().partition(|test| arguments.chooses(test.name));
    if arguments.list {
        for test in &chosen {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let start = Instant::now();
    println!("\nrunning {} tests", chosen.len());
    let failures = runtime.block_on(run(&chosen));
    if !failures.is_empty() {
        println!("\nfailures:");
        for name in &failures {
            println!("    {name}");
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failures.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failures.len(),
        failures.len(),
        others.len(),
        start.elapsed().as_secs_f64()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

async fn run(chosen: &[Test]) -> Vec<&'static str> {
    let mut world = World::new();
    let mut failures = Vec::new();
    let mut module = "";
    for test in chosen {
        let start = Instant::now();
        let of = test.name.split("::").next().unwrap_or_default();
        if std::mem::replace(&mut module, of) != of
            && ANEW.contains(&of)
            && let Err(error) = world.renew().await
        {
            println!("test {of} ... FAILED\nthe former federation does not end: {error:#}");
            failures.push(test.name);
        }
        let outcome = AssertUnwindSafe(tokio::time::timeout(limit(), (test.run)(&world)))
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Ok(Err(anyhow!("{}", message(&*panic)))))
            .unwrap_or_else(|_| Err(anyhow!("not done within {:?}", limit())));
        let took = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("test {} ... ok ({took:.1} s)", test.name),
            Err(error) => {
                println!("test {} ... FAILED ({took:.1} s)\n{error:#}", test.name);
                println!("{}", world.explain(test.name).await);
                failures.push(test.name);
            }
        }
    }
    if let Err(error) = world.stop(failures.is_empty()).await {
        println!("test the_rig_stops_everything ... FAILED\n{error:?}");
        failures.push("the_rig_stops_everything");
    }
    failures
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked")
}

/// The part of libtest's command line that people use.
#[derive(Default)]
struct Arguments {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut all = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => all.list = true,
                "--exact" => all.exact = true,
                "--skip" => all.skip.extend(words.next()),
                "--test-threads" | "--format" | "--color" | "-Z" => drop(words.next()),
                flag if flag.starts_with('-') => {}
                _ => all.filters.push(word),
            }
        }
        all
    }

    fn chooses(&self, name: &str) -> bool {
        let is = |pattern: &String| {
            if self.exact { name == pattern } else { name.contains(pattern.as_str()) }
        };
        (self.filters.is_empty() || self.filters.iter().any(is)) && !self.skip.iter().any(is)
    }
}
