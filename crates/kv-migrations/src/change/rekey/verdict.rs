//! Decides what becomes of an entry and its copy: pure.

/// How often an earlier copy, or something else, may be seen at a new key, each time later by KV's delay, before it counts
/// as what is really there.
pub(super) const MAX_SIGHTINGS: u32 = 3;

/// What was read of an entry and of its new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Whether the entry is as it was when it was copied.
    pub(super) is_unchanged: bool,
    pub(super) at_new_key: AtNewKey,
    /// How many sweeps of this batch came before.
    pub(super) sweeps: u32,
}

/// What is at the new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtNewKey {
    Nothing,
    /// The same value, metadata and expiration.
    SameEntry,
    /// The same value and metadata, with another expiration.
    OtherExpiration {
        is_our_copy: bool,
    },
    /// Another value or other metadata.
    OtherContent {
        is_our_copy: bool,
    },
}

/// What becomes of the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The new key has the entry, or something newer that the service wrote: the old key may be deleted.
    Proven,
    /// The copy is the same, but it is not known to be ours: another run may have made it, or the service wrote both. It
    /// counts as our copy from now on, and the next sweep looks again.
    Adopt,
    /// KV may still show an earlier copy: the next sweep looks again.
    LookAgain,
    /// The entry has changed since it was copied, or the copy is missing.
    CopyAgain,
    /// Something else is at the new key.
    Collide,
}

pub(super) fn verdict(evidence: Evidence) -> Verdict {
    let Evidence { is_unchanged, at_new_key, sweeps } = evidence;
    let (is_our_copy, has_other_content) = match at_new_key {
        AtNewKey::Nothing => return Verdict::CopyAgain,
        AtNewKey::SameEntry => return if is_unchanged { Verdict::Proven } else { Verdict::Adopt },
        AtNewKey::OtherExpiration { is_our_copy } => (is_our_copy, false),
        AtNewKey::OtherContent { is_our_copy } => (is_our_copy, true),
    };
    match (is_unchanged, is_our_copy) {
        (true, true) if sweeps < MAX_SIGHTINGS => Verdict::LookAgain,
        (true, false) => Verdict::Proven,
        (false, false) if has_other_content => Verdict::Collide,
        (true, true) | (false, _) => Verdict::CopyAgain,
    }
}

/// The verdict where both keys stay and the service writes both: what it put at the new key itself is left.
pub(super) fn verdict_of_copying(evidence: Evidence) -> Verdict {
    match (verdict(evidence), evidence.at_new_key) {
        (Verdict::Adopt, _) | (Verdict::CopyAgain, AtNewKey::OtherExpiration { is_our_copy: false }) => {
            Verdict::Proven
        }
        (verdict, _) => verdict,
    }
}

/// The verdict where both keys stay and copies are changed on their way: what is at the new key is ours or the service's,
/// which knows alone what belongs there.
pub(super) fn verdict_of_changed_copying(evidence: Evidence) -> Verdict {
    match evidence.at_new_key {
        AtNewKey::OtherContent { is_our_copy: false } => Verdict::Proven,
        _ => verdict_of_copying(evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: bool = true;
    const FOREIGN: bool = false;

    fn rows() -> Vec<(AtNewKey, [Verdict; 4])> {
        use AtNewKey::{Nothing, OtherContent, OtherExpiration, SameEntry};
        use Verdict::{Adopt, Collide, CopyAgain, LookAgain, Proven};
        vec![
            // at the new key                            unchanged  unchanged, late  changed  changed, late
            (Nothing, [CopyAgain, CopyAgain, CopyAgain, CopyAgain]),
            (SameEntry, [Proven, Proven, Adopt, Adopt]),
            (OtherExpiration { is_our_copy: OURS }, [LookAgain, CopyAgain, CopyAgain, CopyAgain]),
            (OtherExpiration { is_our_copy: FOREIGN }, [Proven, Proven, CopyAgain, CopyAgain]),
            (OtherContent { is_our_copy: OURS }, [LookAgain, CopyAgain, CopyAgain, CopyAgain]),
            (OtherContent { is_our_copy: FOREIGN }, [Proven, Proven, Collide, Collide]),
        ]
    }

    #[test]
    fn every_row_of_the_table() {
        for (at_new_key, expected) in rows() {
            let situations = [
                (true, MAX_SIGHTINGS - 1),
                (true, MAX_SIGHTINGS),
                (false, MAX_SIGHTINGS - 1),
                (false, MAX_SIGHTINGS),
            ];
            for ((is_unchanged, sweeps), expected) in situations.into_iter().zip(expected) {
                let evidence = Evidence { is_unchanged, at_new_key, sweeps };
                assert_eq!(verdict(evidence), expected, "{evidence:?}");
            }
        }
    }

    #[test]
    fn where_both_keys_stay_only_our_own_copies_are_written_again() {
        for (at_new_key, verdicts) in rows() {
            for (number, verdict) in verdicts.into_iter().enumerate() {
                let sweeps = if number % 2 == 0 { MAX_SIGHTINGS - 1 } else { MAX_SIGHTINGS };
                let evidence = Evidence { is_unchanged: number < 2, at_new_key, sweeps };
                let is_of_service = matches!(
                    at_new_key,
                    AtNewKey::OtherExpiration { is_our_copy: FOREIGN }
                        | AtNewKey::OtherContent { is_our_copy: FOREIGN }
                );
                let expected = match verdict {
                    Verdict::Adopt => Verdict::Proven,
                    Verdict::CopyAgain if is_of_service => Verdict::Proven,
                    verdict => verdict,
                };
                assert_eq!(verdict_of_copying(evidence), expected, "{evidence:?}");
            }
        }
    }

    #[test]
    fn nothing_is_deleted_while_the_new_key_holds_nothing_or_a_copy_that_is_not_the_same() {
        for (at_new_key, verdicts) in rows() {
            let is_at_risk = matches!(
                at_new_key,
                AtNewKey::Nothing
                    | AtNewKey::OtherExpiration { is_our_copy: OURS }
                    | AtNewKey::OtherContent { is_our_copy: OURS }
            );
            let deletes = verdicts.contains(&Verdict::Proven);
            assert!(!(is_at_risk && deletes), "{at_new_key:?}");
        }
    }
}
