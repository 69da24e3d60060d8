//! What the migrations took, beside the least that they could have taken.

use std::collections::BTreeSet;
use std::time::Duration;

use super::places::Place;
use super::run::{Applied, Run};
use super::{ID_BY_COUNTRY, ID_INDEX, ID_NORMALISE};

/// Keys in a page of a list.
const PAGE: u64 = 1_000;
/// Values in one read.
const BULK: u64 = 100;

/// Operations in one request, by default.
const BUDGET: u64 = 900;

/// What the figures mean.
const LEGEND: &str = "
The least: a list for 1,000 keys, a read for 100 values (a re-key reads one by one, to move them byte for byte), a
write and a delete for each entry. The ratio is to that: of what was counted, and with 900 operations more for each
killed request, since what such a request did after its last checkpoint is not counted. A migration that was done with
what another one left of its request has no request of its own. In all: the operations of the requests that were
answered, those on the markers included, and the time on the wall, with the pauses that `Retry-After` asks for.";

pub(super) fn print(run: &Run, places: &[Place], time: Duration) {
    let countries: BTreeSet<&str> = places.iter().map(|place| place.country.as_str()).collect();
    let (places, countries) = (places.len() as u64, countries.len() as u64);
    println!("{places} places in {countries} countries\n");
    row("", ["requests", "operations", "least", "ratio", "at most", "seconds"]);
    for Applied { id, duration_ms, operations } in &run.applied {
        let requests = run.requests.get(id).copied().unwrap_or(0);
        let least = least(id, places, countries);
        let kills = run.kills.iter().filter(|(migration, _)| migration == id).count() as u64;
        let at_most = operations + kills * BUDGET;
        row(
            id,
            [
                &requests.to_string(),
                &operations.to_string(),
                &least.to_string(),
                &ratio(*operations, least),
                &ratio(at_most, least),
                &(duration_ms / 1_000).to_string(),
            ],
        );
    }
    let requests: u64 = run.requests.values().sum();
    let (requests, operations) = (requests.to_string(), run.operations.to_string());
    row("in all", [&requests, &operations, "", "", "", &time.as_secs().to_string()]);
    println!("{LEGEND}");
    let kills: Vec<String> = run.kills.iter().map(|(id, phase)| format!("{id} ({phase})")).collect();
    println!("\nKilled in the middle of {} requests: {}", kills.len(), kills.join(", "));
}

fn row(title: &str, [requests, operations, least, ratio, at_most, seconds]: [&str; 6]) {
    println!("{title:15} {requests:>8} {operations:>10} {least:>8} {ratio:>6} {at_most:>7} {seconds:>8}");
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
