//! Damages rows of an object's storage, as a bug, another release or a person may.

use std::rc::Rc;

use kv_migrations::clock::Clock;
use kv_migrations::coordinator::{RowChange, Storage};

use super::object::Object;
use crate::random::Random;

/// Damages a row a few times, at any moment while clients ask.
pub async fn damage_rows(object: Rc<Object>) {
    let (world, random) = (&object.world, &object.world.random);
    for _ in 0..random.pick([1, 1, 2, 4]) {
        let max_pause = random.pick([500, 10_000, 120_000]);
        world.time.sleep(random.milliseconds(0..=max_pause)).await;
        let rows = object.runtime.list("").unwrap_or_default();
        if rows.is_empty() {
            continue;
        }
        let (name, bytes) = &rows[random.below(rows.len())];
        let damaged = damaged(random, bytes);
        let is_removed = damaged.is_none();
        let (change, shown) = match damaged {
            None => (RowChange::delete(name), "removed".to_owned()),
            Some(bytes) => {
                let shown = String::from_utf8_lossy(&bytes).into_owned();
                (RowChange::put(name, bytes), shown)
            }
        };
        world.monitor.trace.add(|| format!("DAMAGE: the row `{name}` is {shown}"));
        if object.runtime.write(&[change]).is_ok() {
            world.monitor.row_damaged(name, is_removed);
        }
    }
    object.remove_client();
}

/// What a row holds in place of these bytes; `None` if it is removed.
fn damaged(random: &Random, bytes: &[u8]) -> Option<Vec<u8>> {
    let others =
        ["", "{}", "[]", "null", "x", "[1]", "[1,{}]", "[1,[]]", "[1,null]", "[1,-1]", "[1,4000000000]"];
    match random.between(0..=4) {
        0 => None,
        1 => Some(bytes[..random.below(bytes.len() + 1)].to_vec()),
        2 => Some([b"[2,", bytes.strip_prefix(b"[1,").unwrap_or(bytes)].concat()),
        3 => {
            let number = random.pick(["0", "-1", "4000000000", "18446744073709551615"]);
            Some(with_numbers(bytes, number))
        }
        _ => Some(random.pick(others).into()),
    }
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
