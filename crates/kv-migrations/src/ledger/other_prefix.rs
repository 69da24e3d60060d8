//! Whether another prefix of the namespace has the markers of this service: its own may be mistyped, or changed.

use super::marker::MarkerMetadata;
use super::{APPLIED, Ledger, MARKER_PREFIX, Marker};
use crate::error::Error;
use crate::id::IdSet;
use crate::kv::Key;

/// How many other prefixes are looked at: a visitor who can create keys can make any number of them.
const MAX_PREFIXES: usize = 10;

/// A key of the namespace that may be a marker of an applied migration, without `migration_`.
struct Candidate {
    rest: String,
    /// The prefix that its metadata names. The TypeScript runner names none.
    named: Option<String>,
    /// Whether its metadata says that its migration is applied.
    is_told_applied: bool,
}

/// A prefix that may be similar.
#[derive(Debug, Default, PartialEq, Eq)]
struct Similar {
    prefix: String,
    /// Whether something is known to be applied under it that is not registered here.
    is_excluded: bool,
    /// Whether something is applied under it. If not, the values tell.
    is_applied: bool,
    /// The ids of markers whose values tell whether they are applied, and whether each is registered.
    unconfirmed: Vec<(String, bool)>,
}

impl Ledger {
    /// The prefix of another service whose applied migrations, at least one, are all registered here. One operation for every
    /// 1,000 markers of the namespace, and a bulk get if there seems to be one. `None` if there are too many keys to tell.
    pub(crate) async fn other_prefix<'a>(
        &self,
        registered: impl Iterator<Item = &'a str>,
        known: &[String],
    ) -> Result<Option<String>, Error> {
        let registered = IdSet::new(registered);
        let mut candidates = Vec::new();
        let mut add = |key: Key| {
            let MarkerMetadata { service, marker } = MarkerMetadata::parse(key.metadata.as_ref());
            let is_told_applied = matches!(marker, Some(Marker::Applied(_)));
            let rest = key.name.strip_prefix(MARKER_PREFIX).unwrap_or_default().to_owned();
            candidates.push(Candidate { rest, named: service, is_told_applied });
            Ok(())
        };
        if !self.list(MARKER_PREFIX, &mut add).await? {
            return Ok(None);
        }
        let is_other = |prefix: &str| prefix != self.service && !known.iter().any(|known| known == prefix);
        for similar in similar(&candidates, &registered, &self.service).into_iter().take(MAX_PREFIXES) {
            if is_other(&similar.prefix) && self.is_similar(&similar).await? {
                return Ok(Some(similar.prefix));
            }
        }
        Ok(None)
    }

    /// Whether something is applied under the prefix, and nothing that is not registered.
    async fn is_similar(&self, similar: &Similar) -> Result<bool, Error> {
        let Similar { prefix, unconfirmed, .. } = similar;
        let mut keys = Vec::new();
        for (id, _) in unconfirmed {
            keys.push(format!("{MARKER_PREFIX}{prefix}_{id}"));
        }
        let mut values = self.values(keys).await?.into_iter();
        let mut has_applied = similar.is_applied;
        for (_, is_registered) in unconfirmed {
            if values.next().flatten().as_deref() == Some(APPLIED) {
                if !is_registered {
                    return Ok(false);
                }
                has_applied = true;
            }
        }
        Ok(has_applied)
    }
}

/// The prefixes under which nothing is known to be applied that is not registered, and something may be that is.
///
/// The key of a marker that names no prefix can be read in several ways: `auth_v2_001` is `v2_001` of `auth`, or `001` of
/// `auth_v2`. If it ends with a registered id, what stands before the longest such id is taken for a prefix. Any other key
/// belongs to the longest prefix that was found so.
fn similar(candidates: &[Candidate], registered: &IdSet<'_>, service: &str) -> Vec<Similar> {
    let mut prefixes = IdSet::default();
    prefixes.insert(service);
    for Candidate { rest, named, .. } in candidates {
        let prefix = named.as_deref().or_else(|| {
            let mut splits = splits(rest);
            splits.find(|(_, id)| registered.contains(id)).map(|(prefix, _)| prefix)
        });
        if let Some(prefix) = prefix {
            prefixes.insert(prefix);
        }
    }
    let mut found: Vec<Similar> = Vec::new();
    for Candidate { rest, named, is_told_applied } in candidates {
        let owner = match named {
            Some(named) => splits(rest).find(|(prefix, _)| *prefix == named.as_str()),
            None => splits(rest).filter(|(prefix, _)| prefixes.contains(prefix)).last(),
        };
        let Some((prefix, id)) = owner else { continue };
        let (is_registered, is_named) = (registered.contains(id), named.is_some());
        if prefix == service && *is_told_applied {
            // The TypeScript runner applied it under this prefix: it is the right one.
            return Vec::new();
        }
        let index = found.iter().position(|similar| similar.prefix == prefix).unwrap_or_else(|| {
            found.push(Similar { prefix: prefix.to_owned(), ..Similar::default() });
            found.len() - 1
        });
        if let Some(similar) = found.get_mut(index) {
            similar.is_excluded |= *is_told_applied && !is_registered;
            similar.is_applied |= is_named && *is_told_applied;
            if !is_named {
                similar.unconfirmed.push((id.to_owned(), is_registered));
            }
        }
    }
    found.retain(|similar| {
        let may_be_applied = similar.unconfirmed.iter().any(|(_, is_registered)| *is_registered);
        !similar.is_excluded && (similar.is_applied || may_be_applied)
    });
    found
}

/// Every way to read `{prefix}_{id}`, the shortest prefix first.
fn splits(rest: &str) -> impl Iterator<Item = (&str, &str)> {
    let split = |at| Some((rest.get(..at)?, rest.get(at + 1..)?));
    let places = rest.bytes().enumerate().filter(|(_, byte)| *byte == b'_');
    places.filter_map(move |(at, _)| split(at).filter(|(prefix, id)| !prefix.is_empty() && !id.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prefixes that look like ours for these markers: of our runner with a prefix, and of the TypeScript runner.
    fn found(own: &[(&str, &str)], typescript: &[&str], registered: &[&str]) -> Vec<String> {
        let own = own.iter().map(|(prefix, id)| Candidate {
            rest: format!("{prefix}_{id}"),
            named: Some((*prefix).to_owned()),
            is_told_applied: true,
        });
        let typescript = typescript.iter().map(|rest| Candidate {
            rest: (*rest).to_owned(),
            named: None,
            is_told_applied: true,
        });
        let candidates: Vec<Candidate> = own.chain(typescript).collect();
        let registered = IdSet::new(registered.iter().copied());
        similar(&candidates, &registered, "ours").into_iter().map(|similar| similar.prefix).collect()
    }

    #[test]
    fn a_prefix_is_similar_if_all_that_is_applied_under_it_is_registered() {
        let none: [&str; 0] = [];
        let own = [("auth", "001_init"), ("auth", "002_users")];
        assert_eq!(found(&own, &[], &["001_init", "002_users", "003_new"]), ["auth"]);
        assert_eq!(found(&own, &[], &["001_init", "002_orders"]), none, "both have an 001_init");
        assert_eq!(found(&own, &[], &["003_new"]), none);
        assert_eq!(found(&[], &[], &["001_init"]), none);
    }

    #[test]
    fn the_prefix_of_a_typescript_marker_stands_before_a_registered_id() {
        let none: [&str; 0] = [];
        let ids = ["001_init", "002_users"];
        assert_eq!(found(&[], &["auth_001_init", "auth_002_users"], &ids), ["auth"]);
        assert_eq!(found(&[], &["my_auth_001_init"], &ids), ["my_auth"]);
        assert_eq!(found(&[], &["auth_001_init", "auth_002_orders"], &ids), none, "both have an 001_init");
        assert_eq!(found(&[], &["mods_001_other"], &ids), none);
        assert_eq!(found(&[], &["_001_init", "001_init", "x"], &ids), none, "they have no prefix");
    }

    /// `auth_v2_001_init` could be `v2_001_init` of `auth`, which is not registered.
    #[test]
    fn a_prefix_that_begins_with_another_does_not_hide_it() {
        let ids = ["001_init", "002_users"];
        let typescript = ["auth_001_init", "auth_v2_001_init", "auth_v2_002_orders"];
        assert_eq!(found(&[], &typescript, &ids), ["auth"]);
        assert_eq!(found(&[("auth_v2", "009")], &["auth_001_init", "auth_v2_002_orders"], &ids), ["auth"]);
    }

    #[test]
    fn an_id_that_ends_with_another_is_read_whole() {
        let none: [&str; 0] = [];
        assert_eq!(found(&[], &["mods_001_init", "mods_002_seed"], &["init", "001_init"]), none);
    }

    #[test]
    fn what_begins_with_our_own_prefix_is_no_other_service() {
        let none: [&str; 0] = [];
        assert_eq!(found(&[], &["ours_002_users"], &["001_init"]), none);
        let both = ["auth_001_init", "ours_002_users"];
        assert_eq!(found(&[], &both, &["001_init"]), none, "something has run under our prefix");
        assert_eq!(found(&[], &["ours_002_users"], &["users"]), ["ours_002"], "unless an id ends there");
    }
}
