//! What the simulation promises itself: the same seed gives the same world, and every planted defect is found.

use std::collections::BTreeSet;

use kv_migrations::sabotage::Defect;
use simulation::campaign::{Campaign, replay};
use simulation::tally::Tally;
use simulation::trace::Tracing;

/// Enough worlds for each defect to show.
const SEEDS: u64 = 2_000;

fn campaign(defect: Option<Defect>) -> Campaign {
    Campaign { from: 0, seeds: SEEDS, threads: 2, defect, continues: true }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    for seed in 0..200 {
        let (one, other) = (replay(seed, None, Tracing::On), replay(seed, None, Tracing::On));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

#[test]
fn a_trace_does_not_change_the_world() {
    for seed in 0..200 {
        let (traced, untraced) = (replay(seed, None, Tracing::On), replay(seed, None, Tracing::Off));
        assert_eq!(traced.tally, untraced.tally, "seed {seed}");
    }
}

#[test]
fn without_a_defect_no_invariant_is_violated() {
    let report = campaign(None).run(|_| {});
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.figures.worlds(), SEEDS);
}

/// The names of the invariants that are violated with this defect.
fn violated_by(defect: Defect) -> BTreeSet<&'static str> {
    campaign(Some(defect)).run(|_| {}).findings.into_keys().collect()
}

#[test]
fn a_mark_before_the_end_is_found() {
    let violated = violated_by(Defect::MarkBeforeFinish);
    assert!(violated.contains("runs_mark_only_what_they_finished"), "{violated:?}");
    assert!(violated.contains("marked_migrations_are_done"), "{violated:?}");
}

#[test]
fn a_deletion_before_the_copy_is_verified_is_found() {
    let violated = violated_by(Defect::DeleteBeforeVerify);
    assert!(violated.contains("only_copied_entries_are_deleted"), "{violated:?}");
}

#[test]
fn an_instance_that_keeps_running_without_the_lease_is_found() {
    let violated = violated_by(Defect::NoFencing);
    assert!(violated.contains("one_step_at_a_time"), "{violated:?}");
}

#[test]
fn a_coordinator_that_trusts_the_markers_in_kv_is_found() {
    let violated = violated_by(Defect::StaleLedger);
    assert!(violated.contains("applied_migrations_do_not_run_again"), "{violated:?}");
}

#[test]
fn a_request_that_leaves_nothing_for_two_seconds_is_found() {
    let violated = violated_by(Defect::LateCheckpoint);
    assert!(violated.contains("worlds_whose_requests_are_cut_off_end"), "{violated:?}");
}

#[test]
fn an_older_release_that_finishes_the_run_of_a_newer_one_is_found() {
    let violated = violated_by(Defect::OlderReleaseFinishes);
    assert!(violated.contains("finished_runs_applied_what_was_asked_for"), "{violated:?}");
}

#[test]
fn an_alarm_that_never_gives_up_on_a_damaged_row_is_found() {
    let violated = violated_by(Defect::RetryUnreadable);
    assert!(violated.contains("alarms_end"), "{violated:?}");
}

#[test]
fn a_copy_that_is_older_than_what_a_live_service_wrote_is_found() {
    let violated = violated_by(Defect::UnverifiedCopies);
    assert!(violated.contains("only_copied_entries_are_deleted"), "{violated:?}");
}

/// Only where entries are under way while a checkpoint is written, and the request is cut off before they are done.
#[test]
fn a_position_that_is_ahead_of_entries_under_way_is_found() {
    let violated = violated_by(Defect::PositionAhead);
    assert!(violated.contains("marked_migrations_are_done"), "{violated:?}");
}

#[test]
fn a_table_that_is_loaded_again_is_found() {
    let violated = violated_by(Defect::TableReloaded);
    // The runner mostly notices that the mapping has changed, and refuses to go on.
    assert!(violated.contains("runs_without_faults_succeed"), "{violated:?}");
}

#[test]
fn an_entry_that_is_mapped_only_once_is_found() {
    let violated = violated_by(Defect::MappedOnce);
    assert!(violated.contains("data_is_as_without_faults"), "{violated:?}");
}

#[test]
fn a_copy_that_stays_under_an_outdated_key_is_found() {
    let violated = violated_by(Defect::OutdatedCopiesStay);
    assert!(violated.contains("data_is_as_without_faults"), "{violated:?}");
}

/// With a nonce it is not the same when it is made again: the re-key fails at its own copy.
#[test]
fn a_changed_copy_of_which_nothing_is_recorded_is_found() {
    let violated = violated_by(Defect::UnrecordedCopies);
    assert!(violated.contains("runs_without_faults_succeed"), "{violated:?}");
}

#[test]
fn an_entry_that_is_left_without_a_word_is_found() {
    let violated = violated_by(Defect::LeftUnreported);
    assert!(violated.contains("left_entries_are_reported"), "{violated:?}");
}

#[test]
fn a_choice_of_the_wrong_entry_is_found() {
    let violated = violated_by(Defect::FirstChosen);
    assert!(violated.contains("only_copied_entries_are_deleted"), "{violated:?}");
}

/// It is left, as one whose new key was taken after the survey.
#[test]
fn an_entry_that_does_not_give_way_is_found() {
    let violated = violated_by(Defect::NewForgotten);
    assert!(violated.contains("marked_migrations_are_done"), "{violated:?}");
}

#[test]
fn entries_of_a_second_prefix_that_stay_are_found() {
    let violated = violated_by(Defect::FirstPrefixOnly);
    assert!(violated.contains("marked_migrations_are_done"), "{violated:?}");
}

#[test]
fn operations_of_one_request_and_of_several_interleave() {
    let tallies: Vec<Tally> = (0..100).map(|seed| replay(seed, None, Tracing::Off).tally).collect();
    assert!(tallies.iter().filter(|tally| tally.interleaved_within).count() > 50, "of one request");
    assert!(tallies.iter().filter(|tally| tally.interleaved_between).count() > 25, "of several");
}
