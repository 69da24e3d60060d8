//! What the migrations took, beside the least that they could have taken.

use std::collections::BTreeSet;
use std::time::Duration;

use super::places::Place;
use super::run::Run;
use super::{ID_BY_COUNTRY, ID_INDEX, ID_NORMALISE};

/// Keys in a page of a list.
const PAGE: u64 = 1_000;
/// Values in one read.
const BULK: u64 = 100;

pub(super) fn print(run: &Run, places: &[Place], time: Duration) {
    let countries: BTreeSet<&str> = places.iter().map(|place| place.country.as_str()).collect();
    let (places, countries) = (places.len() as u64, countries.len() as u64);
    println!("{places} places in {countries} countries\n");
    println!(
        "{:15} {:>8} {:>10} {:>10} {:>7} {:>8}",
        "", "requests", "operations", "least", "ratio", "seconds"
    );
    for applied in &run.applied {
        let (requests, least) =
            (run.requests.get(&applied.id).copied().unwrap_or(0), least(&applied.id, places, countries));
        let ratio = ratio(applied.operations, least);
        println!(
            "{:15} {requests:>8} {:>10} {least:>10} {ratio:>7} {:>8}",
            applied.id,
            applied.operations,
            applied.duration_ms / 1_000
        );
    }
    let requests: u64 = run.requests.values().sum();
    println!(
        "{:15} {requests:>8} {:>10} {:>10} {:>7} {:>8}",
        "in all",
        run.operations,
        "",
        "",
        time.as_secs()
    );
    println!(
        "\nThe least: a list for {PAGE} keys, a read for {BULK} values (a re-key reads them one by one, to move \
         them byte for byte), a write and a delete for each entry."
    );
    println!(
        "In all: of the requests that were answered, with reading and writing the markers; the seconds are those on \
         the wall, with the pauses that `Retry-After` asks for."
    );
    let kills = run.kills.join(", ");
    println!(
        "The server was killed {} times in the middle of a request: {kills}. What such a request did after its last \
         checkpoint is not counted: at most the 900 operations that a request may make.",
        run.kills.len()
    );
}

fn least(id: &str, places: u64, countries: u64) -> u64 {
    let (lists, reads) = (places.div_ceil(PAGE), places.div_ceil(BULK));
    match id {
        ID_NORMALISE => lists + reads + places,
        ID_BY_COUNTRY => lists + 3 * places,
        ID_INDEX => lists + reads + countries,
        _ => 0,
    }
}

/// With three digits.
fn ratio(operations: u64, least: u64) -> String {
    let thousandths = operations * 1_000 / least.max(1);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}
