//! The markers of a service, by the ids of their migrations.

use std::mem::replace;

use super::Marker;

/// The markers as they were loaded: those of registered migrations, and those of this service that belong to none. In the
/// order of the bytes of their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Markers {
    by_id: Vec<(String, Marker)>,
    /// Whether those that belong to no registered migration are unknown.
    is_missing_unknown: bool,
    /// Whose entry has the key of a marker with an empty id, if there is one: empty if it names no service.
    pub(super) note_owner: Option<String>,
}

impl Markers {
    /// Markers that are in the order of the bytes of their ids.
    pub(super) fn in_order(
        markers: Vec<(String, Marker)>,
        is_missing_unknown: bool,
        note_owner: Option<String>,
    ) -> Self {
        Self { by_id: markers, is_missing_unknown, note_owner }
    }

    /// Whether there may be markers of this service that belong to no registered migration and were not loaded.
    pub(crate) fn is_missing_unknown(&self) -> bool {
        self.is_missing_unknown
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Marker> {
        self.by_id.get(self.place(id)?).map(|(_, marker)| marker)
    }

    /// Takes the marker of a migration, which is then no longer known. It keeps its place: to close the gap would take more
    /// code.
    pub(crate) fn take(&mut self, id: &str) -> Option<Marker> {
        let place = self.place(id)?;
        let (_, marker) = self.by_id.get_mut(place)?;
        Some(replace(marker, Marker::Failed { reason: String::new(), progress: None }))
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.by_id.binary_search_by(|(other, _)| other.as_str().cmp(id)).ok()
    }

    /// Whether no migration of this service is known to have begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn is_applied(&self, id: &str) -> bool {
        matches!(self.get(id), Some(Marker::Applied(_)))
    }

    /// Whether a migration is applied in another revision than this one. No revision is one too.
    pub(crate) fn is_revised(&self, id: &str, revision: Option<&str>) -> bool {
        matches!(self.get(id), Some(Marker::Applied(applied)) if applied.revision.as_deref() != revision)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Marker)> {
        self.by_id.iter().map(|(id, marker)| (id.as_str(), marker))
    }
}

#[cfg(test)]
impl FromIterator<(String, Marker)> for Markers {
    fn from_iter<I: IntoIterator<Item = (String, Marker)>>(markers: I) -> Self {
        let markers: std::collections::BTreeMap<_, _> = markers.into_iter().collect();
        Self::in_order(markers.into_iter().collect(), false, None)
    }
}
