//! Which route a path is, if it is one of ours: pure.

use http::Method;
use percent_encoding::percent_decode_str;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Status,
    Migrate,
    Rollback { id: String },
}

impl Route {
    /// The route that a path is below the `base` it is mounted at; none if the path is not ours.
    pub(crate) fn of(path: &str, base: &str) -> Option<Self> {
        let path = path.strip_prefix(base)?;
        match path {
            "/migrations/status" => Some(Self::Status),
            "/migrate" => Some(Self::Migrate),
            _ => {
                let id = path.strip_prefix("/migrations/")?.strip_suffix("/rollback")?;
                if id.is_empty() || id.contains('/') {
                    return None;
                }
                // Bytes that are no text are no migration's id.
                let id = percent_decode_str(id).decode_utf8().ok()?.into_owned();
                Some(Self::Rollback { id })
            }
        }
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        match self {
            Self::Status => method == Method::GET || method == Method::HEAD,
            Self::Migrate | Self::Rollback { .. } => method == Method::POST,
        }
    }

    /// What the `Allow` header of a refusal says.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Status => "GET, HEAD",
            Self::Migrate | Self::Rollback { .. } => "POST",
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
        Route::Rollback { id: id.to_owned() }
    }

    #[test]
    fn the_three_routes() {
        assert_eq!(Route::of("/migrations/status", ""), Some(Route::Status));
        assert_eq!(Route::of("/migrate", ""), Some(Route::Migrate));
        assert_eq!(Route::of("/migrations/001_a/rollback", ""), Some(rollback("001_a")));
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
