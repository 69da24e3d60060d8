//! A Worker has little memory: what is read at once has few bytes, however large the values are.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use kv_migrations::kv::{Answer, BulkValue, KvError, MemoryStore, Request, Store};
use kv_migrations::{Backfill, BoxFuture, Fold, FoldOutput, Migration, Rekey};

use crate::service::{InitialEntry, Service};

const MIB: usize = 1024 * 1024;

/// Notes of each bulk read how many keys it had, and how many bytes its values.
#[derive(Clone)]
struct Reads {
    store: MemoryStore,
    keys: Arc<Mutex<Vec<usize>>>,
    most_bytes: Arc<Mutex<usize>>,
}

impl Reads {
    fn of(service: &Service) -> Self {
        Self { store: service.store.clone(), keys: Arc::default(), most_bytes: Arc::default() }
    }

    fn take_keys(&self) -> Vec<usize> {
        std::mem::take(&mut *self.keys.lock().unwrap())
    }

    fn most_bytes(&self) -> usize {
        *self.most_bytes.lock().unwrap()
    }
}

impl Store for Reads {
    fn call<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, KvError>> {
        Box::pin(async move {
            let answer = self.store.call(request).await;
            if let Ok(Answer::Values(values)) = &answer {
                let bytes = values.iter().map(|value| match value {
                    BulkValue::Found(value) => value.len(),
                    _ => 0,
                });
                let (bytes, mut most) = (bytes.sum(), self.most_bytes.lock().unwrap());
                *most = (*most).max(bytes);
                self.keys.lock().unwrap().push(values.len());
            }
            answer
        })
    }
}

/// A service with a number of users, each of whose values has this number of bytes.
fn users(number: usize, bytes: usize) -> Service {
    let value = "x".repeat(bytes);
    let users: Vec<InitialEntry> =
        (0..number).map(|n| InitialEntry::new(format!("user_{n:05}"), value.clone())).collect();
    Service::holding(&users, 10_000)
}

/// Lets the others run.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut has_yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn marking() -> Backfill {
    Backfill::new("user_", async |_, record, ()| Ok(record.put([record.value(), b"!"].concat()).await?))
}

fn backfill() -> Migration {
    Migration::backfill("long", "", marking())
}

fn fold() -> Migration {
    let bytes = |bytes: &mut usize, record: &kv_migrations::Record, (): &()| {
        *bytes += record.value().len();
        Ok(())
    };
    let fold = Fold::new("user_", usize::default, bytes, |bytes, ()| {
        Ok(vec![FoldOutput::new("bytes", bytes.to_string())])
    });
    Migration::fold("long", "", fold)
}

/// The reads of a migration from its first request to its last.
fn reads(service: &Service, migration: Migration) -> Reads {
    let reads = Reads::of(service);
    service.drive(&service.runner_on(reads.clone(), vec![migration])).expect("nothing fails");
    reads
}

#[test]
fn small_values_are_read_by_100_once_it_is_known_that_they_are_small() {
    for make in [backfill, fold] {
        let keys = reads(&users(1_000, 40), make()).take_keys();
        assert_eq!(keys, [4, 100, 100, 100, 100, 100, 100, 100, 100, 100, 96]);
    }
}

#[test]
fn of_large_values_no_more_are_read_at_once_than_have_four_mebibytes() {
    for (bytes, at_once) in [(100_000, 41), (250_000, 16), (500_000, 8), (1_000_000, 4)] {
        for make in [backfill, fold] {
            let reads = reads(&users(100, bytes), make());
            let keys = reads.take_keys();
            assert_eq!(keys.iter().sum::<usize>(), 100, "each is read once: {keys:?}");
            assert_eq!((keys[0], keys.iter().max()), (4, Some(&at_once)), "{bytes} bytes: {keys:?}");
            assert!(reads.most_bytes() <= 4 * MIB, "{bytes} bytes: {}", reads.most_bytes());
        }
    }
}

#[test]
fn values_of_more_than_two_mebibytes_are_read_one_by_one() {
    let service = users(8, 3 * MIB);
    let keys = reads(&service, backfill()).take_keys();
    assert_eq!(keys, [4, 1, 1, 1, 1]);
}

#[test]
fn of_values_that_are_read_singly_no_more_are_worked_on_at_once_either() {
    let service = users(20, 1_000_000);
    let working = Arc::new(Mutex::new((0_usize, 0)));
    let count = working.clone();
    let backfill = Backfill::new("user_", async move |_, record, ()| {
        {
            let (now, most) = &mut *count.lock().unwrap();
            *now += 1;
            *most = (*most).max(*now);
        }
        yield_now().await;
        count.lock().unwrap().0 -= 1;
        Ok(record.put("!").await?)
    });
    reads(&service, Migration::backfill("long", "", backfill.read_singly()));
    let most = working.lock().unwrap().1;
    assert!(most <= 4, "{most} at once");
}

#[test]
fn small_values_before_large_ones_are_forgotten_at_once() {
    let mut entries: Vec<InitialEntry> =
        (0..104).map(|n| InitialEntry::new(format!("user_{n:05}"), "x")).collect();
    let large = "x".repeat(200_000);
    entries.extend((104..404).map(|n| InitialEntry::new(format!("user_{n:05}"), large.clone())));
    let keys = reads(&Service::holding(&entries, 10_000), backfill()).take_keys();
    assert_eq!(keys[..3], [4, 100, 100], "nobody knows yet");
    assert_eq!(keys[3..].iter().max(), Some(&20), "{keys:?}");
}

/// The sweeps read both keys of each entry.
#[test]
fn a_rekey_reads_no_more_at_once_either() {
    for bytes in [40, 1_000_000] {
        let service = users(16, bytes);
        let rekey = Migration::rekey("long", "", Rekey::prefix("user_", "user:"));
        let reads = reads(&service, rekey);
        assert!(reads.most_bytes() <= 4 * MIB, "{bytes} bytes: {}", reads.most_bytes());
        if bytes == 40 {
            assert!(reads.take_keys().contains(&12), "all the others at once");
        }
        let moved = service.store.entries().iter().filter(|(key, _)| key.name.starts_with("user:")).count();
        assert_eq!(moved, 16);
    }
}

#[test]
fn a_batch_is_read_in_parts_while_nobody_knows_how_large_its_values_are() {
    let batches = || {
        let each = async |_: &_, records: &[kv_migrations::Record], (): &()| {
            for record in records {
                record.put([record.value(), b"!"].concat()).await?;
            }
            Ok(())
        };
        Migration::backfill("long", "", Backfill::in_batches("user_", 50, each))
    };
    let keys = reads(&users(150, 40), batches()).take_keys();
    assert_eq!(keys, [4, 46, 50, 50]);
    let reads = reads(&users(60, 1_000_000), batches());
    assert!(reads.most_bytes() <= 4 * MIB, "{}", reads.most_bytes());
}
