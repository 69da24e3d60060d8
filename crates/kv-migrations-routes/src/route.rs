//! Which route a path is, if it is one of ours: pure.

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Status,
    History,
    Migrate,
    Of { id: String, action: Action },
}

/// What can be done to one migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Rollback,
    Pause,
    Resume,
    Cancel,
}

impl Route {
    /// The route that a path is below the `base` it is mounted at; none if the path is not ours.
    pub(crate) fn of(path: &str, base: &str) -> Option<Self> {
        let path = path.strip_prefix(base)?;
        match path {
            "/migrations/status" => Some(Self::Status),
            "/migrations/history" => Some(Self::History),
            "/migrate" => Some(Self::Migrate),
            _ => {
                let (id, action) = path.strip_prefix("/migrations/")?.split_once('/')?;
                let action = Action::of(action)?;
                if id.is_empty() {
                    return None;
                }
                // Bytes that are no text are no migration's id.
                let id = percent_decode_str(id).decode_utf8().ok()?.into_owned();
                Some(Self::Of { id, action })
            }
        }
    }

    /// Its path, below nothing.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Status => "/migrations/status".to_owned(),
            Self::History => "/migrations/history".to_owned(),
            Self::Migrate => "/migrate".to_owned(),
            Self::Of { id, action } => {
                format!("/migrations/{}/{}", utf8_percent_encode(id, NON_ALPHANUMERIC), action.name())
            }
        }
    }

    /// Whether it is one only where a coordinator is.
    pub(crate) fn needs_coordinator(&self) -> bool {
        match self {
            Self::Status | Self::Migrate => false,
            Self::History => true,
            Self::Of { action, .. } => *action != Action::Rollback,
        }
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        match self {
            Self::Status | Self::History => method == Method::GET || method == Method::HEAD,
            Self::Migrate | Self::Of { .. } => method == Method::POST,
        }
    }

    /// What the `Allow` header of a refusal says.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Status | Self::History => "GET, HEAD",
            Self::Migrate | Self::Of { .. } => "POST",
        }
    }
}

impl Action {
    const ALL: [Self; 4] = [Self::Rollback, Self::Pause, Self::Resume, Self::Cancel];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }
}

/// The path that routes are mounted at, as [`Route::of`] takes it: empty for the root, else `/a/b`.
pub(crate) fn base(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollback(id: &str) -> Route {
        Route::Of { id: id.to_owned(), action: Action::Rollback }
    }

    #[test]
    fn the_routes() {
        assert_eq!(Route::of("/migrations/status", ""), Some(Route::Status));
        assert_eq!(Route::of("/migrations/history", ""), Some(Route::History));
        assert_eq!(Route::of("/migrate", ""), Some(Route::Migrate));
        assert_eq!(Route::of("/migrations/001_a/rollback", ""), Some(rollback("001_a")));
        for (name, action) in
            [("pause", Action::Pause), ("resume", Action::Resume), ("cancel", Action::Cancel)]
        {
            let route = Route::Of { id: "001_a".to_owned(), action };
            assert_eq!(Route::of(&format!("/migrations/001_a/{name}"), ""), Some(route));
        }
    }

    #[test]
    fn a_path_names_the_route_that_it_was_made_of() {
        let of = |id: &str| Action::ALL.map(|action| Route::Of { id: id.to_owned(), action });
        let ids = ["001_a", "a/b ü%", "?#&+", "\u{10FFFF}", "status"].into_iter().flat_map(of);
        for route in [Route::Status, Route::History, Route::Migrate].into_iter().chain(ids) {
            assert_eq!(Route::of(&route.path(), ""), Some(route));
        }
    }

    #[test]
    fn an_id_is_one_segment_and_percent_decoded() {
        assert_eq!(Route::of("/migrations/a%2Fb%20%C3%BC%25/rollback", ""), Some(rollback("a/b ü%")));
        assert_eq!(Route::of("/migrations/a+b/rollback", ""), Some(rollback("a+b")));
        assert_eq!(Route::of("/migrations/status/rollback", ""), Some(rollback("status")));
    }

    #[test]
    fn everything_else_is_not_ours() {
        for path in [
            "/",
            "",
            "/migrations",
            "/migrations/",
            "/migrations/status/",
            "/migrate/",
            "/migrated",
            "/migrations//rollback",
            "/migrations/rollback",
            "/migrations/%FF/rollback",
            "/migrations/a/b/rollback",
            "/migrations/a/delete",
            "/migrations/history/",
            "/migrations//pause",
            "/Migrate",
            "//migrate",
            "/admin/migrate",
        ] {
            assert_eq!(Route::of(path, ""), None, "{path}");
        }
    }

    #[test]
    fn below_a_base_only_what_is_below_it() {
        let base = base("/a/b/");
        assert_eq!(Route::of("/a/b/migrate", &base), Some(Route::Migrate));
        assert_eq!(Route::of("/migrate", &base), None);
        assert_eq!(Route::of("/a/bc/migrate", &base), None);
        assert_eq!(super::base("/"), "");
    }
}
