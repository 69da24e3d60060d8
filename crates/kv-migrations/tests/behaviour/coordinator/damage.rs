//! Rows that are damaged, or of another release: every route answers, nothing goes on for ever, and there is a way out.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Either, LocalBoxFuture, select};
use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{Caller, Coordinator, CoordinatorError, RowChange, Storage};
use kv_migrations::{Backfill, BoxError, Migration, State, Until};

use crate::object::{Object, marking};
use crate::service::good;

const USERS: u32 = 55;
/// More than any of these runs needs.
const MAX_ALARMS: u32 = 2_000;

type Situation = (&'static str, fn(&Object));

/// What an object may be doing when a row is damaged.
const SITUATIONS: [Situation; 7] = [
    ("all is applied, and copies are refused", |object| {
        let coordinator = object.instance_on(refusing(object), migrations());
        object
            .serve(&coordinator, coordinator.run_pending(&Caller::default().queued()))
            .expect("it succeeds");
    }),
    ("a run is between two steps, and copies are refused", |object| {
        object.migrate(&object.instance_on(refusing(object), migrations())).expect("nothing fails");
    }),
    ("a run is paused", |object| {
        let coordinator = object.instance(migrations()).with_writes_per_day(10_000);
        object.migrate(&coordinator).expect("nothing fails");
        object.serve(&coordinator, coordinator.pause("002", &Caller::default())).expect("it is under way");
    }),
    ("a step was cut off", |object| {
        let coordinator = object.instance(migrations()).with_writes_per_day(10_000);
        object.migrate(&coordinator).expect("nothing fails");
        object.serve_for(Duration::from_millis(1_100), &coordinator, std::future::pending::<()>());
    }),
    ("a run waits to be retried", |object| {
        let breaking = Backfill::new("user_", async |_, record, (): &()| {
            if record.key().name == "user_050" {
                return Err(BoxError::from("boom"));
            }
            Ok(record.put([record.value(), b"+"].concat()).await?)
        });
        let coordinator = object.instance(vec![good("001"), Migration::backfill("002", "", breaking)]);
        object.migrate(&coordinator).expect("the first step succeeds");
        object.pass(&coordinator, Duration::from_secs(4));
    }),
    ("a rollback is between two steps", |object| {
        let coordinator = object.instance(migrations()).with_writes_per_day(10_000);
        object
            .serve(&coordinator, coordinator.run_pending(&Caller::default().queued()))
            .expect("it succeeds");
        object.serve(&coordinator, coordinator.rollback("002", &Caller::default())).expect("it begins");
    }),
    ("a rollback of several is between two steps", |object| {
        let coordinator = object.instance(migrations()).with_writes_per_day(10_000);
        object
            .serve(&coordinator, coordinator.run_pending(&Caller::default().queued()))
            .expect("it succeeds");
        object
            .serve(&coordinator, coordinator.rollback_until(&Until::End, &Caller::default()))
            .expect("it begins");
    }),
];

fn migrations() -> Vec<Migration> {
    vec![good("001"), marking("002")]
}

/// KV refuses markers until the object is served again.
fn refusing(object: &Object) -> impl kv_migrations::kv::Store + use<> {
    object.refusing_markers(&Arc::new(AtomicBool::new(true)))
}

/// What a row may hold in place of what it held.
fn damages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let truncated = (0..4).map(|quarter| bytes[..bytes.len() * quarter / 4].to_vec());
    let others = [
        "{}",
        "[]",
        "null",
        "x",
        "\u{0}",
        "[1]",
        "[1,{}]",
        "[1,[]]",
        "[1,null]",
        "[1,\"x\"]",
        "[1,[\"x\"]]",
        "[1,-1]",
        "[1,4000000000]",
        "[1,18446744073709551615]",
        "[2,{\"later\":true}]",
        "[4000000000,{}]",
    ];
    let nested = "[".repeat(100_000);
    let numbers = ["0", "-1", "4000000000", "18446744073709551615", "1e300"];
    truncated
        .chain(others.iter().map(|other| other.as_bytes().to_vec()))
        .chain([nested.into_bytes(), vec![0xff, 0xfe]])
        .chain(numbers.iter().map(|number| with_numbers(bytes, number)))
        .collect()
}

/// The row with this number in place of every number outside of text, but for its version.
fn with_numbers(bytes: &[u8], number: &str) -> Vec<u8> {
    let (mut changed, mut is_text, mut is_number) = (Vec::new(), false, false);
    for (index, &byte) in bytes.iter().enumerate() {
        let is_escaped = index > 0 && bytes[index - 1] == b'\\';
        is_text ^= byte == b'"' && !is_escaped;
        if is_text || index < "[1,".len() || !byte.is_ascii_digit() {
            is_number = false;
            changed.push(byte);
        } else if !is_number {
            is_number = true;
            changed.extend(number.as_bytes());
        }
    }
    changed
}

/// An instance that is asked for everything.
struct Asked<'a> {
    object: &'a Object,
    coordinator: Coordinator,
    row: &'a str,
    situation: String,
    alarms: Cell<u32>,
    was_named: AtomicBool,
}

impl Asked<'_> {
    /// Asks, with a time limit, while alarms are called. An error of the storage has to name the row.
    fn ask<T>(
        &self,
        what: &str,
        work: LocalBoxFuture<'_, Result<T, CoordinatorError>>,
    ) -> Result<T, CoordinatorError> {
        let Self { object, coordinator, row, situation, .. } = self;
        let alarms = object.runtime.call_alarms(async || {
            self.alarms.update(|alarms| alarms + 1);
            assert!(self.alarms.get() < MAX_ALARMS, "its alarms do not end: {situation}: {what}");
            coordinator.alarm().await
        });
        let limit = pin!(object.time.sleep(Duration::from_hours(3)));
        let (limited, alarms) = (pin!(select(work, limit)), pin!(alarms));
        let answer = object.time.run(select(limited, alarms));
        let Either::Left((Either::Left((answer, _)), _)) = answer else {
            panic!("it never answers: {situation}: {what}");
        };
        if let Err(CoordinatorError::Storage(error)) = &answer {
            self.was_named.store(true, Ordering::Relaxed);
            assert_eq!(error.unreadable_row(), Some(*row), "{situation}: {what}");
            let remedy = if row.starts_with("marker/") { "/reset" } else { "/cancel" };
            assert!(error.to_string().contains(remedy), "{error}: {situation}: {what}");
        }
        answer
    }

    fn ask_everything(&self) {
        let (caller, queued) = (Caller::default(), Caller::default().queued());
        let it = &self.coordinator;
        self.ask("status", it.status().boxed_local()).ok();
        self.ask("history", async { it.history() }.boxed_local()).ok();
        self.ask("migrate", it.run_pending(&caller).boxed_local()).ok();
        self.ask("pause", it.pause("002", &caller).boxed_local()).ok();
        self.ask("resume", it.resume("002", &caller).boxed_local()).ok();
        self.ask("migrate and wait", it.run_pending(&queued).boxed_local()).ok();
        self.ask("rollback", it.rollback("001", &queued).boxed_local()).ok();
        self.ask("history", async { it.history() }.boxed_local()).ok();
    }

    /// What somebody does who reads the errors, or does it all to be sure.
    fn get_out(&self) {
        let (caller, it) = (Caller::default(), &self.coordinator);
        for id in ["001", "002"] {
            self.ask("cancel", it.cancel(id, &caller).boxed_local()).ok();
        }
        self.ask("a minute", self.object.time.sleep(Duration::from_mins(1)).map(Ok).boxed_local()).ok();
        for id in ["001", "002"] {
            self.ask("reset", it.reset(id, &caller).boxed_local()).ok();
        }
    }
}

#[test]
fn whatever_a_row_holds_every_route_answers_and_there_is_a_way_out() {
    let mut cases = 0;
    for (number, (situation, bring_about)) in SITUATIONS.into_iter().enumerate() {
        let brought_about = || {
            let object = Object::new().with_users(USERS);
            bring_about(&object);
            object
        };
        let rows = brought_about().storage.list("").expect("memory does not fail");
        for (row_number, (row, bytes)) in rows.into_iter().enumerate() {
            // Every fifth of the damages for each row, and others for the next row.
            for damaged in damages(&bytes).into_iter().skip((number + row_number) % 5).step_by(5) {
                cases += 1;
                let object = brought_about();
                object.storage.write(&[RowChange::put(&row, damaged.clone())]).expect("memory does not fail");
                let shown = String::from_utf8_lossy(&damaged).chars().take(300).collect::<String>();
                let asked = Asked {
                    object: &object,
                    coordinator: object.instance(migrations()).with_writes_per_day(10_000),
                    row: &row,
                    situation: format!("{situation}, and the row `{row}` holds `{shown}`"),
                    alarms: Cell::new(0),
                    was_named: AtomicBool::new(false),
                };
                if cases % 2 == 0 {
                    asked.ask_everything();
                }
                asked.get_out();

                let situation = &asked.situation;
                let was_named = asked.was_named.load(Ordering::Relaxed);
                // Copies that succeed delete that row, whatever it holds.
                let is_logged =
                    || row == "mirror" || object.log.lines().iter().any(|line| line.contains(&row));
                assert!(!was_named || is_logged(), "the log does not name the row: {situation}");
                let caller = Caller::default().queued();
                let run = asked.coordinator.run_pending(&caller).boxed_local();
                if let Err(error) = asked.ask("migrate afterwards", run) {
                    panic!("there is no way out: {error}: {situation}");
                }
                object.pass(&asked.coordinator, Duration::from_mins(1));
                let states = ["001", "002"].map(|id| object.state(&asked.coordinator, id));
                assert_eq!(states, [State::Applied; 2], "{situation}");
                assert_eq!(object.marked(), USERS as usize, "{situation}");
            }
        }
    }
    assert!(cases > 300, "{cases}");
}
