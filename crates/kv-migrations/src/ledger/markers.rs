//! The markers of a service, by the ids of their migrations.

use super::Marker;

/// The markers as they were loaded: those of registered migrations, and those of this service that belong to none. In the
/// order of the bytes of their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Markers(Vec<(String, Marker)>);

impl Markers {
    /// Markers that are in the order of the bytes of their ids.
    pub(super) fn in_order(markers: impl Iterator<Item = (String, Marker)>) -> Self {
        Self(markers.collect())
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Marker> {
        let index = self.0.binary_search_by(|(other, _)| other.as_str().cmp(id)).ok()?;
        self.0.get(index).map(|(_, marker)| marker)
    }

    pub(crate) fn is_applied(&self, id: &str) -> bool {
        matches!(self.get(id), Some(Marker::Applied(_)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Marker)> {
        self.0.iter().map(|(id, marker)| (id.as_str(), marker))
    }

    pub(crate) fn applied_ids(&self) -> impl Iterator<Item = &str> {
        let applied = self.0.iter().filter(|(_, marker)| matches!(marker, Marker::Applied(_)));
        applied.map(|(id, _)| id.as_str())
    }
}

#[cfg(test)]
impl FromIterator<(String, Marker)> for Markers {
    fn from_iter<I: IntoIterator<Item = (String, Marker)>>(markers: I) -> Self {
        Self(markers.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect())
    }
}
