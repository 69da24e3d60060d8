//! One prefix, or several.

use std::borrow::Cow;
use std::sync::Arc;

/// How the keys begin that a backfill, a fold or a re-key works on: a prefix, or several.
///
/// Keys are visited in the order of their bytes, whatever the order of the prefixes. No prefix may begin with another one,
/// because the entries of the longer one would be visited twice: [`Runner::new`](crate::Runner::new) refuses that.
///
/// # Example
/// ```
/// use kv_migrations::{Backfill, Migration, Runner, kv::MemoryStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let marked = Backfill::new(["user_", "group_"], async |_, record, _: &()| {
///     Ok(record.put(format!("{}!", record.text()?)).await?)
/// });
///
/// let store = MemoryStore::new();
/// store.insert("user_1", "Ada");
/// store.insert("group_1", "Authors");
/// let migration = Migration::backfill("008_mark", "Mark users and groups", marked);
/// Runner::new(store.clone(), "my-service", vec![migration])?.run_pending(&()).await?;
/// assert_eq!(store.value("user_1").unwrap(), b"Ada!");
/// assert_eq!(store.value("group_1").unwrap(), b"Authors!");
///
/// let overlapping = Backfill::new(["user_", "user_v2_"], async |_, _, _: &()| Ok(()));
/// let migration = Migration::backfill("009_overlapping", "", overlapping);
/// let refused = Runner::new(store, "my-service", vec![migration]);
/// assert!(refused.unwrap_err().to_string().contains("`user_` and `user_v2_` overlap"));
/// # Ok(())
/// # }
/// # futures::executor::block_on(example()).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixes(Arc<[Cow<'static, str>]>);

/// Two prefixes of which the second one begins with the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlap {
    pub(crate) shorter: String,
    pub(crate) longer: String,
}

impl Prefixes {
    fn new(mut prefixes: Vec<Cow<'static, str>>) -> Self {
        prefixes.sort();
        Self(prefixes.into())
    }

    /// The prefix of this number, in the order of their bytes.
    pub(crate) fn get(&self, number: u32) -> Option<&str> {
        self.0.get(usize::try_from(number).ok()?).map(|prefix| &**prefix)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|prefix| &**prefix)
    }

    /// The prefix with which a key begins.
    pub(crate) fn of(&self, key: &str) -> Option<&str> {
        self.iter().find(|prefix| key.starts_with(prefix))
    }

    /// Two of them that overlap. What begins with a prefix comes right after it.
    pub(crate) fn overlap(&self) -> Option<Overlap> {
        let mut pairs = self.iter().zip(self.iter().skip(1));
        let (shorter, longer) = pairs.find(|(one, next)| next.starts_with(one))?;
        Some(Overlap { shorter: shorter.to_owned(), longer: longer.to_owned() })
    }

    /// All of them as one text, by which a checkpoint knows its change.
    pub(crate) fn text(&self) -> String {
        match &*self.0 {
            [prefix] => prefix.clone().into_owned(),
            prefixes => serde_json::to_string(prefixes).unwrap_or_default(),
        }
    }
}

impl From<&'static str> for Prefixes {
    fn from(prefix: &'static str) -> Self {
        Self::new(vec![prefix.into()])
    }
}

impl From<String> for Prefixes {
    fn from(prefix: String) -> Self {
        Self::new(vec![prefix.into()])
    }
}

impl From<Cow<'static, str>> for Prefixes {
    fn from(prefix: Cow<'static, str>) -> Self {
        Self::new(vec![prefix])
    }
}

impl<P: Into<Cow<'static, str>>, const N: usize> From<[P; N]> for Prefixes {
    fn from(prefixes: [P; N]) -> Self {
        Self::new(prefixes.into_iter().map(Into::into).collect())
    }
}

impl<P: Into<Cow<'static, str>>> From<Vec<P>> for Prefixes {
    fn from(prefixes: Vec<P>) -> Self {
        Self::new(prefixes.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_overlap_if_a_key_can_begin_with_two_of_them() {
        let overlap = |prefixes: &[&'static str]| {
            let overlap = Prefixes::from(prefixes.to_vec()).overlap()?;
            Some([overlap.shorter, overlap.longer])
        };
        let rows: [(&[&'static str], Option<[&str; 2]>); 7] = [
            (&["user_"], None),
            (&["user_", "group_", "users"], None),
            (&["user_v2_", "group_", "user_"], Some(["user_", "user_v2_"])),
            (&["a", "ab", "ac"], Some(["a", "ab"])),
            (&["", "user_"], Some(["", "user_"])),
            (&["user_", "user_"], Some(["user_", "user_"])),
            (&[], None),
        ];
        for (prefixes, expected) in rows {
            assert_eq!(overlap(prefixes), expected.map(|pair| pair.map(str::to_owned)), "{prefixes:?}");
        }
    }
}
