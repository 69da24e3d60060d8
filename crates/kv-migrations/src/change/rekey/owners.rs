//! Which old key each new key belongs to, of which there can be many, all as hashes.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A new key and its old key.
type Owner = (u64, u64);

/// How many parts there are: as many as the first byte of a hash has values.
const PARTS: usize = 1 << 8;

/// By how many owners a part grows. A vector that doubles takes up to three times as much as it holds.
const GROWTH: usize = 64;

/// For each new key its old key.
///
/// In memory an owner takes little more than its 16 bytes: hashes are spread evenly, so that sorted vectors do as well as a
/// `BTreeMap`, which takes half as much again, and three times as much while it is read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Owners {
    /// By the first byte of the new key's hash, each in the order of the hashes. Empty before the first one is inserted.
    parts: Vec<Vec<Owner>>,
    len: usize,
}

impl Owners {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Sets the old key of a new key. Returns the one before.
    pub(super) fn insert(&mut self, new: u64, old: u64) -> Option<u64> {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Vec::new);
        }
        let part = self.parts.get_mut(part_of(new))?;
        match place(part, new) {
            Ok(place) => part.get_mut(place).map(|(_, before)| std::mem::replace(before, old)),
            Err(place) => {
                if part.len() == part.capacity() {
                    part.reserve_exact(GROWTH);
                }
                part.insert(place, (new, old));
                self.len += 1;
                None
            }
        }
    }

    /// Removes a new key, if it belongs to this old key.
    pub(super) fn remove(&mut self, new: u64, old: u64) {
        if let Some(part) = self.parts.get_mut(part_of(new))
            && let Ok(place) = place(part, new)
            && part.get(place) == Some(&(new, old))
        {
            part.remove(place);
            self.len -= 1;
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "one byte is left")]
fn part_of(new: u64) -> usize {
    (new >> 56) as usize
}

/// Where the new key is in a part, or where it belongs.
fn place(part: &[Owner], new: u64) -> Result<usize, usize> {
    part.binary_search_by_key(&new, |owner| owner.0)
}

/// In the order of the new keys: a hash takes its eight bytes, or fewer as the distance to the one before.
impl Serialize for Owners {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut before = 0;
        let owners = Counted { iterator: self.parts.iter().flatten(), len: self.len };
        serializer.collect_seq(owners.map(|(new, old)| {
            let distance = new.wrapping_sub(before);
            before = *new;
            (distance, old.to_le_bytes())
        }))
    }
}

/// An iterator that knows how many there are: postcard writes the number first.
struct Counted<I> {
    iterator: I,
    len: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<Self::Item> {
        self.iterator.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<'de> Deserialize<'de> for Owners {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OwnersVisitor)
    }
}

/// Reads one after the other: beside a vector of all of them there is no room.
struct OwnersVisitor;

impl<'de> Visitor<'de> for OwnersVisitor {
    type Value = Owners;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("owners")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Owners, A::Error> {
        let (mut owners, mut before) = (Owners::default(), 0_u64);
        while let Some((distance, old)) = sequence.next_element::<(u64, [u8; 8])>()? {
            before = before.wrapping_add(distance);
            owners.insert(before, u64::from_le_bytes(old));
        }
        Ok(owners)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn owners(pairs: impl IntoIterator<Item = Owner>) -> Owners {
        let mut owners = Owners::default();
        for (new, old) in pairs {
            owners.insert(new, old);
        }
        owners
    }

    #[test]
    fn owners_come_back_and_take_15_bytes_each_where_there_are_many() {
        let many = owners((1..=250_000).map(|number| (hash(number), hash(!number))));
        let extremes = owners([(0, u64::MAX), (u64::MAX, 0)]);
        for owners in [Owners::default(), extremes, many] {
            let bytes = postcard::to_allocvec(&owners).unwrap();
            let number = owners.len();
            assert!(bytes.len() <= 20 + 15 * number, "{number} owners: {} bytes", bytes.len());
            assert_eq!(postcard::from_bytes(&bytes), Ok(owners), "{number} owners");
        }
    }

    #[test]
    fn a_checkpoint_has_them_in_the_order_of_the_new_keys() {
        #[derive(Deserialize)]
        struct Written(Vec<(u64, [u8; 8])>);

        let bytes = postcard::to_allocvec(&owners([(u64::MAX, 1), (3, 2), (1 << 60, 3)])).unwrap();
        let Written(written) = postcard::from_bytes(&bytes).unwrap();
        let expected = [(3, 2_u64), ((1 << 60) - 3, 3), (u64::MAX - (1 << 60), 1)];
        assert_eq!(written, expected.map(|(distance, old)| (distance, old.to_le_bytes())));
    }

    #[test]
    fn it_is_a_map() {
        let (mut owners, mut model) = (Owners::default(), BTreeMap::new());
        for number in 0..20_000_u64 {
            let (new, old) = (hash(hash(number) % 700), number % 5);
            if number % 3 == 0 {
                owners.remove(new, old);
                if model.get(&new) == Some(&old) {
                    model.remove(&new);
                }
            } else {
                assert_eq!(owners.insert(new, old), model.insert(new, old), "{number}");
            }
            assert_eq!(owners.len(), model.len(), "{number}");
        }
        assert!(owners.parts.iter().flatten().copied().eq(model), "in the same order");
    }

    #[test]
    fn an_owner_takes_little_more_than_its_16_bytes() {
        let owners = owners((1..=250_000).map(|number| (hash(number), number)));
        let room: usize = owners.parts.iter().map(Vec::capacity).sum();
        assert!(room <= 250_000 + PARTS * GROWTH, "{room} places");
    }
}
