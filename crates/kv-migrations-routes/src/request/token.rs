//! Whether the token of a caller is the right one. Pure.

use subtle::{Choice, ConstantTimeEq};

/// Why a caller has no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The request has no token.
    NoToken,
    /// The request has a token, and it is wrong.
    WrongToken,
}

/// Checks the `Authorization` header of a request. Any of `tokens` has access: without one, nobody has.
pub(crate) fn check(tokens: &[String], authorization: Option<&[u8]>) -> Result<(), Denied> {
    let presented = authorization.and_then(bearer);
    let mut is_right = Choice::from(0);
    // Compares all of them, even after a match: the time taken does not tell which one matched.
    for token in tokens {
        is_right |= token.as_bytes().ct_eq(presented.unwrap_or_default());
    }
    match presented {
        None => Err(Denied::NoToken),
        Some(_) if is_right.into() => Ok(()),
        Some(_) => Err(Denied::WrongToken),
    }
}

/// The token, if the scheme is `Bearer`. The name of a scheme is case-insensitive (RFC 9110).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &[&str], header: &str) -> Result<(), Denied> {
        let tokens: Vec<_> = tokens.iter().map(|token| (*token).to_owned()).collect();
        super::check(&tokens, Some(header.as_bytes()))
    }

    #[test]
    fn the_right_token_has_access_by_either_secret() {
        let tokens = ["old", "new"];
        assert_eq!(check(&tokens, "Bearer old"), Ok(()));
        assert_eq!(check(&tokens, "bearer  new "), Ok(()));
        assert_eq!(check(&tokens[1..], "Bearer new"), Ok(()), "one secret of the two is enough");
    }

    #[test]
    fn every_other_token_is_denied() {
        for header in ["Bearer secre", "Bearer secrets", "Bearer ", "Bearer SECRET", "Bearer secret secret"] {
            assert_eq!(check(&["secret"], header), Err(Denied::WrongToken), "{header:?}");
        }
        for header in ["", "secret", "Basic secret", "Bearersecret", "Bearer"] {
            assert_eq!(check(&["secret"], header), Err(Denied::NoToken), "{header:?}");
        }
        assert_eq!(super::check(&["secret".to_owned()], None), Err(Denied::NoToken));
    }

    #[test]
    fn no_token_at_all_is_not_open_access() {
        for header in ["Bearer x", "Bearer "] {
            assert_eq!(check(&[], header), Err(Denied::WrongToken), "{header:?}");
        }
    }
}
