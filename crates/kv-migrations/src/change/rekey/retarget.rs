//! Gives an entry another new key than the one that was planned.

use std::rc::Rc;

use super::copies::{CopyRecord, Destination};
use super::state::RekeyState;

/// Notes the key that an entry gets by now; `None` if it stays. Its copies under another key are outdated. Returns the key
/// that it had before, if nothing can be there.
pub(super) fn set_target(
    state: &mut RekeyState,
    old: &str,
    new: Option<String>,
    may_have_copy: bool,
) -> Option<String> {
    let mut outdated = Vec::new();
    if state.copied.new_key(old).is_some_and(|copied_to| Some(copied_to) != new.as_deref()) {
        outdated.extend(Rc::make_mut(&mut state.copied).remove(old));
    }
    for copies in [&mut state.copied_again, &mut state.settled] {
        if copies.new_key(old).is_some_and(|copied_to| Some(copied_to) != new.as_deref()) {
            outdated.extend(copies.remove(old));
        }
    }
    let targets = &mut state.targets;
    let before = targets.set(old, new.as_deref());
    if may_have_copy && let Some(before) = &before {
        let (fingerprints, written) = (Vec::new(), Vec::new());
        outdated.push(Destination { new: before.clone(), fingerprints, written, is_unconfirmed: true });
    }
    for copies in outdated {
        targets.add_outdated(old, copies);
    }
    // It may get a key again that it had before.
    if let Some(new) = new
        && let Some(copy) = targets.remove_outdated(&new)
    {
        let mut written = copy.written.into_iter();
        for fingerprint in copy.fingerprints {
            let written = written.next();
            let (old, new) = (old.to_owned(), new.clone());
            let copy = CopyRecord { old, new, fingerprint, written, is_confirmed: false };
            Rc::make_mut(&mut state.copied).insert(copy);
        }
    }
    before.filter(|before| !state.targets.is_outdated(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::rekey::copies::Copies;

    fn copied(state: &RekeyState) -> Vec<(&str, &str)> {
        state.copied.old_keys().map(|old| (old, state.copied.new_key(old).unwrap_or_default())).collect()
    }

    fn state() -> RekeyState {
        let mut state = RekeyState::new(postcard::from_bytes(&[1, 2]).expect("two numbers are a key"));
        set_target(&mut state, "user_1", Some("user:a:1".to_owned()), true);
        let copy = CopyRecord {
            old: "user_1".to_owned(),
            new: "user:a:1".to_owned(),
            fingerprint: 7,
            written: None,
            is_confirmed: true,
        };
        Rc::make_mut(&mut state.copied).insert(copy);
        state
    }

    #[test]
    fn a_copy_under_another_key_than_the_new_one_is_outdated() {
        let mut state = state();
        assert_eq!(set_target(&mut state, "user_1", Some("user:b:1".to_owned()), true), None);
        assert!(copied(&state).is_empty());
        assert_eq!(state.targets.get("user_1"), Some("user:b:1"));
        let (new, copy) = state.targets.first_outdated().expect("there is one");
        assert_eq!((new, &*copy.old, &copy.fingerprints), ("user:a:1", "user_1", &vec![7]));
    }

    #[test]
    fn an_entry_that_gets_its_first_key_again_has_its_copy_again() {
        let mut state = state();
        set_target(&mut state, "user_1", Some("user:b:1".to_owned()), true);
        set_target(&mut state, "user_1", Some("user:a:1".to_owned()), true);
        assert!(state.copied.contains("user_1", "user:a:1", 7));
        let (new, copy) = state.targets.first_outdated().expect("there may be one");
        assert_eq!((new, copy.fingerprints.len()), ("user:b:1", 0), "what may have been copied there");
    }

    #[test]
    fn a_key_to_which_nothing_was_copied_is_free_again() {
        let mut state = state();
        state.copied = Rc::new(Copies::default());
        let before = set_target(&mut state, "user_1", None, false);
        assert_eq!(before.as_deref(), Some("user:a:1"));
        assert!(state.targets.is_empty());
    }
}
