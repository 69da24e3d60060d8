//! How a checkpoint keeps the owners of new keys, of which there can be many: a hash takes its eight bytes, or fewer as the
//! distance to the one before.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(
    owners: &BTreeMap<u64, u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut before = 0;
    serializer.collect_seq(owners.iter().map(|(new, old)| {
        let distance = new.wrapping_sub(before);
        before = *new;
        (distance, old.to_le_bytes())
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<u64, u64>, D::Error> {
    let mut before: u64 = 0;
    let owners = Vec::<(u64, [u8; 8])>::deserialize(deserializer)?.into_iter().map(|(distance, old)| {
        before = before.wrapping_add(distance);
        (before, u64::from_le_bytes(old))
    });
    Ok(owners.collect())
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct State(#[serde(with = "super")] BTreeMap<u64, u64>);

    #[test]
    fn owners_come_back_and_take_15_bytes_each_where_there_are_many() {
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let many = (1..=250_000).map(|number| (hash(number), hash(!number))).collect();
        let extremes = BTreeMap::from([(0, u64::MAX), (u64::MAX, 0)]);
        for owners in [BTreeMap::new(), extremes, many] {
            let state = State(owners);
            let bytes = postcard::to_allocvec(&state).unwrap();
            let number = state.0.len();
            assert!(bytes.len() <= 20 + 15 * number, "{number} owners: {} bytes", bytes.len());
            assert_eq!(postcard::from_bytes(&bytes), Ok(state), "{number} owners");
        }
    }
}
