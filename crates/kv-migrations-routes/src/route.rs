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
        match path.strip_prefix(base)? {
            "/migrations/status" => Some(Self::Status),
            "/migrate" => Some(Self::Migrate),
            path => Action::Rollback.of(path),
        }
    }

    /// The same where there is a coordinator.
    pub(crate) fn of_coordinated(path: &str, base: &str) -> Option<Self> {
        let more = |path| match path {
            "/migrations/history" => Some(Self::History),
            path => {
                [Action::Pause, Action::Resume, Action::Cancel].into_iter().find_map(|action| action.of(path))
            }
        };
        Self::of(path, base).or_else(|| more(path.strip_prefix(base)?))
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
    /// The route that a path is, if it is this for some migration.
    fn of(self, path: &str) -> Option<Route> {
        let id = path.strip_prefix("/migrations/")?.strip_suffix(self.name())?.strip_suffix('/')?;
        if id.is_empty() || id.contains('/') {
            return None;
        }
        // Bytes that are no text are no migration's id.
        let id = percent_decode_str(id).decode_utf8().ok()?.into_owned();
        Some(Route::Of { id, action: self })
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
    fn the_three_routes() {
        assert_eq!(Route::of("/migrations/status", ""), Some(Route::Status));
        assert_eq!(Route::of("/migrate", ""), Some(Route::Migrate));
        assert_eq!(Route::of("/migrations/001_a/rollback", ""), Some(rollback("001_a")));
    }

    #[test]
    fn those_that_need_a_coordinator() {
        let of = |action| Some(Route::Of { id: "001_a".to_owned(), action });
        for (path, route) in [
            ("/migrations/history", Some(Route::History)),
            ("/migrations/001_a/pause", of(Action::Pause)),
            ("/migrations/001_a/resume", of(Action::Resume)),
            ("/migrations/001_a/cancel", of(Action::Cancel)),
        ] {
            assert_eq!(Route::of(path, ""), None, "{path}");
            assert_eq!(Route::of_coordinated(path, ""), route);
            assert_eq!(Route::of_coordinated(&format!("/a{path}"), "/a"), route);
        }
    }

    #[test]
    fn a_path_names_the_route_that_it_was_made_of() {
        let actions = [Action::Rollback, Action::Pause, Action::Resume, Action::Cancel];
        let of = |id: &str| actions.map(|action| Route::Of { id: id.to_owned(), action });
        let ids = ["001_a", "a/b ü%", "?#&+", "\u{10FFFF}", "status"].into_iter().flat_map(of);
        for route in [Route::Status, Route::History, Route::Migrate].into_iter().chain(ids) {
            assert_eq!(Route::of_coordinated(&route.path(), ""), Some(route));
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
            assert_eq!(Route::of_coordinated(path, ""), None, "{path}");
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
