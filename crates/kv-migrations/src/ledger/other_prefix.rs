//! Whether another prefix of the namespace has the markers of this service: its own may be mistyped, or changed.

use std::iter::from_fn;

use super::load::ListedMarker;
use super::{Ledger, MARKER_PREFIX, Marker};
use crate::error::Error;
use crate::id::IdSet;
use crate::text::split_at;

/// The prefixes of the namespace, in the order of their bytes.
struct Prefixes(Vec<Prefix>);

/// What is known to be applied under a prefix.
struct Prefix {
    name: String,
    /// Something that is registered here.
    has_registered: bool,
    /// Something that is not.
    has_other: bool,
}

impl Ledger {
    /// The prefix of another service whose applied migrations, at least one, are all registered here. One operation for every
    /// 1,000 markers of the namespace, and those that read the values of markers as [`load`](Self::load) does. `None` if
    /// there are too many keys to tell.
    pub(crate) async fn other_prefix<'a>(
        &self,
        registered: impl Iterator<Item = &'a str>,
        known: &[String],
    ) -> Result<Option<String>, Error> {
        let registered = IdSet::new(registered);
        let Some(mut markers) = self.list(MARKER_PREFIX).await? else { return Ok(None) };
        let mut prefixes = Prefixes::new(&markers, &registered, &self.service);
        // Other keys may be large data.
        markers.retain(|marker| prefixes.owner(marker).is_some());
        self.read_values(&mut markers).await?;
        prefixes.add_applied(&markers, &registered);
        Ok(prefixes.similar(&self.service, known))
    }
}

/// The key of a marker that names no prefix can be read in several ways: `auth_v2_001` is `v2_001` of `auth`, or `001` of
/// `auth_v2`. If it ends with a registered id, what stands before the longest such id is taken for a prefix. Any other key
/// belongs to the longest prefix that was found so.
impl Prefixes {
    /// This service's prefix, and those of the markers.
    fn new(markers: &[ListedMarker], registered: &IdSet<'_>, service: &str) -> Self {
        let mut names = vec![service];
        for marker in markers {
            let found = || splits(marker).find(|(_, id)| registered.contains(id)).map(|(name, _)| name);
            names.extend(marker.service.as_deref().or_else(found));
        }
        let mut prefixes: Vec<Prefix> = Vec::new();
        for name in IdSet::from_list(names).iter() {
            if prefixes.last().is_none_or(|last| last.name != name) {
                prefixes.push(Prefix { name: name.to_owned(), has_registered: false, has_other: false });
            }
        }
        Self(prefixes)
    }

    /// The place of the prefix to which a marker belongs, and the id of its migration.
    fn owner<'a>(&self, marker: &'a ListedMarker) -> Option<(usize, &'a str)> {
        let place =
            |(name, id)| Some((self.0.binary_search_by(|prefix| prefix.name.as_str().cmp(name)).ok()?, id));
        let is_named = |name: &str| marker.service.as_ref().is_none_or(|service| service == name);
        splits(marker).filter(|(name, _)| is_named(name)).filter_map(place).last()
    }

    /// Adds what is applied, once the values are read.
    fn add_applied(&mut self, markers: &[ListedMarker], registered: &IdSet<'_>) {
        for marker in markers {
            if let (Some(Marker::Applied(_)), Some((place, id))) = (&marker.marker, self.owner(marker))
                && let Some(prefix) = self.0.get_mut(place)
            {
                let is_registered = registered.contains(id);
                prefix.has_registered |= is_registered;
                prefix.has_other |= !is_registered;
            }
        }
    }

    /// The first prefix under which something is applied and all of that is registered, unless it is known to be another
    /// service's. None if something is applied under this service's own prefix: then it is the right one.
    fn similar(self, service: &str, known: &[String]) -> Option<String> {
        let mut similar = None;
        for Prefix { name, has_registered, has_other } in self.0 {
            if name == service && (has_registered || has_other) {
                return None;
            }
            if has_registered && !has_other && !known.contains(&name) && similar.is_none() {
                similar = Some(name);
            }
        }
        similar
    }
}

/// Every way to read `migration_{prefix}_{id}`, the shortest prefix first.
fn splits(marker: &ListedMarker) -> impl Iterator<Item = (&str, &str)> {
    let rest = marker.key.strip_prefix(MARKER_PREFIX).unwrap_or_default();
    let mut from = 0;
    from_fn(move || {
        loop {
            let end = from + split_at(rest.get(from..)?, "_")?.0.len();
            from = end + 1;
            // Neither the prefix nor the id is empty.
            if end > 0 && from < rest.len() {
                return Some((rest.get(..end)?, rest.get(from..)?));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The prefix that looks like ours for these markers: of our runner with a prefix, and of the TypeScript runner.
    fn found(own: &[(&str, &str)], typescript: &[&str], registered: &[&str]) -> Option<String> {
        let listed = |rest: String, service: Option<&str>| ListedMarker {
            key: format!("{MARKER_PREFIX}{rest}"),
            is_listed: true,
            service: service.map(str::to_owned),
            marker: Some(Marker::Applied(Box::default())),
        };
        let own = own.iter().map(|(prefix, id)| listed(format!("{prefix}_{id}"), Some(prefix)));
        let typescript = typescript.iter().map(|rest| listed((*rest).to_owned(), None));
        let markers: Vec<ListedMarker> = own.chain(typescript).collect();
        let registered = IdSet::new(registered.iter().copied());
        let mut prefixes = Prefixes::new(&markers, &registered, "ours");
        prefixes.add_applied(&markers, &registered);
        prefixes.similar("ours", &[])
    }

    #[test]
    fn a_prefix_is_similar_if_all_that_is_applied_under_it_is_registered() {
        let own = [("auth", "001_init"), ("auth", "002_users")];
        assert_eq!(found(&own, &[], &["001_init", "002_users", "003_new"]), Some("auth".to_owned()));
        assert_eq!(found(&own, &[], &["001_init", "002_orders"]), None, "both have an 001_init");
        assert_eq!(found(&own, &[], &["003_new"]), None);
        assert_eq!(found(&[], &[], &["001_init"]), None);
    }

    #[test]
    fn the_prefix_of_a_typescript_marker_stands_before_a_registered_id() {
        let ids = ["001_init", "002_users"];
        assert_eq!(found(&[], &["auth_001_init", "auth_002_users"], &ids), Some("auth".to_owned()));
        assert_eq!(found(&[], &["my_auth_001_init"], &ids), Some("my_auth".to_owned()));
        assert_eq!(found(&[], &["auth_001_init", "auth_002_orders"], &ids), None, "both have an 001_init");
        assert_eq!(found(&[], &["mods_001_other"], &ids), None);
        assert_eq!(found(&[], &["_001_init", "001_init", "x"], &ids), None, "they have no prefix");
    }

    /// `auth_v2_001_init` could be `v2_001_init` of `auth`, which is not registered.
    #[test]
    fn a_prefix_that_begins_with_another_does_not_hide_it() {
        let ids = ["001_init", "002_users"];
        let typescript = ["auth_001_init", "auth_v2_001_init", "auth_v2_002_orders"];
        assert_eq!(found(&[], &typescript, &ids), Some("auth".to_owned()));
        assert_eq!(
            found(&[("auth_v2", "009")], &["auth_001_init", "auth_v2_002_orders"], &ids),
            Some("auth".to_owned())
        );
    }

    #[test]
    fn an_id_that_ends_with_another_is_read_whole() {
        assert_eq!(found(&[], &["mods_001_init", "mods_002_seed"], &["init", "001_init"]), None);
    }

    #[test]
    fn what_begins_with_our_own_prefix_is_no_other_service() {
        assert_eq!(found(&[], &["ours_002_users"], &["001_init"]), None);
        let both = ["auth_001_init", "ours_002_users"];
        assert_eq!(found(&[], &both, &["001_init"]), None, "something has run under our prefix");
        assert_eq!(
            found(&[], &["ours_002_users"], &["users"]),
            Some("ours_002".to_owned()),
            "unless an id ends there"
        );
    }
}
