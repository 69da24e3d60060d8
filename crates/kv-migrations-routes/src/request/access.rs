//! Who has access to the routes. Without a secret, nobody.

use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};

/// The secret that holds the token, unless another is named.
const DEFAULT_SECRET: &str = "MIGRATIONS_TOKEN";

/// Which callers have access.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Callers whose bearer token equals one of these secrets.
    Secrets(Arc<[String]>),
    /// Every caller: something else guards the mount.
    Open,
}

/// Why a caller has no access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// None of these secrets is set, so that nobody has access.
    NotConfigured { secrets: Arc<[String]> },
    /// The request has no token.
    NoToken,
    /// The request has a token, and it is wrong.
    WrongToken,
}

impl Default for Access {
    fn default() -> Self {
        Self::Secrets(Arc::new([DEFAULT_SECRET.to_owned()]))
    }
}

impl Access {
    /// Checks all `Authorization` headers of a request. `secret` looks a secret up by its name.
    pub(crate) fn check(
        &self,
        authorization: &[Vec<u8>],
        secret: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Denied> {
        let Self::Secrets(names) = self else { return Ok(()) };
        let presented = bearer(authorization);
        let (mut is_configured, mut is_right) = (false, Choice::from(0));
        // Compares all of them, even after a match: the time taken does not tell which one matched.
        for token in names.iter().filter_map(|name| secret(name)) {
            is_configured = true;
            is_right |= token.as_bytes().ct_eq(presented.unwrap_or_default());
        }
        match presented {
            _ if !is_configured => Err(Denied::NotConfigured { secrets: names.clone() }),
            None => Err(Denied::NoToken),
            Some(_) if is_right.into() => Ok(()),
            Some(_) => Err(Denied::WrongToken),
        }
    }
}

/// The token, if there is exactly one `Authorization` header and its scheme is `Bearer`. The name of a scheme is
/// case-insensitive (RFC 9110).
fn bearer(authorization: &[Vec<u8>]) -> Option<&[u8]> {
    let [header] = authorization else { return None };
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(secrets: &[(&str, &str)], headers: &[&str]) -> Result<(), Denied> {
        let access = Access::Secrets(Arc::new(["TOKEN".to_owned(), "NEXT_TOKEN".to_owned()]));
        let headers: Vec<Vec<u8>> = headers.iter().map(|header| header.as_bytes().to_vec()).collect();
        let find =
            |name: &str| secrets.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        access.check(&headers, find)
    }

    #[test]
    fn the_right_token_has_access_by_either_secret() {
        let secrets = [("TOKEN", "old"), ("NEXT_TOKEN", "new")];
        assert_eq!(check(&secrets, &["Bearer old"]), Ok(()));
        assert_eq!(check(&secrets, &["bearer  new "]), Ok(()));
        assert_eq!(check(&secrets[1..], &["Bearer new"]), Ok(()), "one secret of the two is enough");
    }

    #[test]
    fn every_other_token_is_denied() {
        let secrets = [("TOKEN", "secret")];
        for header in ["Bearer secre", "Bearer secrets", "Bearer ", "Bearer SECRET", "Bearer secret secret"] {
            assert_eq!(check(&secrets, &[header]), Err(Denied::WrongToken), "{header:?}");
        }
        for headers in [&[] as &[&str], &[""], &["secret"], &["Basic secret"], &["Bearersecret"], &["Bearer"]]
        {
            assert_eq!(check(&secrets, headers), Err(Denied::NoToken), "{headers:?}");
        }
        assert_eq!(check(&secrets, &["Bearer secret", "Bearer secret"]), Err(Denied::NoToken));
    }

    #[test]
    fn without_a_secret_nobody_has_access() {
        let denied =
            Denied::NotConfigured { secrets: Arc::new(["TOKEN".to_owned(), "NEXT_TOKEN".to_owned()]) };
        assert_eq!(check(&[], &["Bearer "]), Err(denied.clone()));
        assert_eq!(check(&[], &[]), Err(denied));
    }

    #[test]
    fn an_empty_list_of_secrets_is_not_open_access() {
        let access = Access::Secrets(Arc::default());
        let denied = access.check(&[b"Bearer x".to_vec()], |_| None);
        assert_eq!(denied, Err(Denied::NotConfigured { secrets: Arc::default() }));
    }
}
