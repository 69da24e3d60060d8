//! Which service is asked, and with which token: from flags, a file of variables, or the environment.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::exit::Failure;
use crate::secret::Header;
use crate::vars;

const URL: &str = "KV_MIGRATIONS_URL";
const TOKEN: &str = "KV_MIGRATIONS_TOKEN";
/// What the service calls its secret, in its own `.dev.vars`.
const SECRET: &str = "MIGRATIONS_TOKEN";

#[derive(Args)]
#[command(next_help_heading = "Service")]
pub(crate) struct TargetArgs {
    /// Where the routes are mounted, such as `https://my-service.workers.dev`, or `https://example.com/admin`
    ///
    /// By default it is the variable `KV_MIGRATIONS_URL` of the file that `--vars` names, or of the environment.
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The token. Others on this machine can see it: a variable is safer
    ///
    /// Without it: the variable `KV_MIGRATIONS_TOKEN`, or `MIGRATIONS_TOKEN`, of the file that `--vars` names, or
    /// `KV_MIGRATIONS_TOKEN` of the environment. A service that asks for no token gets none.
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file of variables in the form of wrangler's `.dev.vars`
    #[arg(long, global = true, value_name = "FILE")]
    vars: Option<PathBuf>,
    /// A header to send with each request, for a service that has a guard of its own, such as
    /// `Cf-Access-Client-Id: …`; can be repeated
    #[arg(long = "header", global = true, value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

/// A service, and what lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// The one of the token first.
    pub(crate) headers: Vec<Header>,
}

impl TargetArgs {
    pub(crate) fn resolve(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Target, Failure> {
        let file = match &self.vars {
            Some(path) => fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?,
            None => String::new(),
        };
        let given = |flag: &Option<String>, names: &[&str], variable| {
            let of_file = || names.iter().find_map(|name| vars::value(&file, name));
            let of_environment = || environment(variable).filter(|value| !value.is_empty());
            flag.clone().or_else(of_file).or_else(of_environment)
        };
        let url = given(&self.url, &[URL], URL);
        let url = url.ok_or_else(|| {
            Failure::usage(format!("which service? Give its address by `--url`, or set {URL}"))
        })?;
        let token = given(&self.token, &[TOKEN, SECRET], TOKEN);
        let token = token.as_deref().map(Header::of_token);
        let headers = token.into_iter().chain(self.headers.iter().map(|text| Header::parse(text)));
        Ok(Target { url: checked(&url)?, headers: headers.collect::<Result<_, _>>()? })
    }
}

/// The URL if it can have a path added. It may hold a password, so that no error shows it.
fn checked(url: &str) -> Result<String, Failure> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let wrong = match rest {
        None => "it must begin with https:// or http://",
        Some(rest) if rest.split('/').next().is_none_or(str::is_empty) => "it has no host",
        Some(rest) if rest.contains('@') => "it must not hold a name or a password",
        Some(rest) if rest.contains(['?', '#']) => "it must not have a query or a fragment",
        Some(rest) if !rest.bytes().all(|byte| byte.is_ascii_graphic()) => {
            "it has a character that must be percent-encoded"
        }
        Some(_) => return Ok(url.trim_end_matches('/').to_owned()),
    };
    Err(Failure::usage(format!("the URL of the service cannot be used: {wrong}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn args(url: Option<&str>, token: Option<&str>) -> TargetArgs {
        TargetArgs {
            url: url.map(str::to_owned),
            token: token.map(str::to_owned),
            vars: None,
            headers: Vec::new(),
        }
    }

    #[test]
    fn flags_come_before_the_environment() {
        let environment = |name: &str| Some(format!("https://{}", name.to_lowercase()));
        let target = args(Some("https://service/admin/"), None).resolve(&environment).unwrap();
        assert_eq!(target.url, "https://service/admin");
        assert_eq!(target.headers, [Header::of_token("https://kv_migrations_token").unwrap()]);
        let target = args(None, Some("t")).resolve(&environment).unwrap();
        assert_eq!(target.url, "https://kv_migrations_url");
        assert_eq!(target.headers, [Header::of_token("t").unwrap()]);
        let nothing = args(Some("http://localhost:8787"), None).resolve(&|_| None).unwrap();
        assert_eq!((nothing.url.as_str(), nothing.headers.len()), ("http://localhost:8787", 0));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_and_not_shown() {
        for url in [
            "service.workers.dev",
            "ftp://secret",
            "https://",
            "https:///secret",
            "https://me:secret@host",
            "http://host/?token=secret",
            "https://secret host",
        ] {
            let failure = args(Some(url), None).resolve(&|_| None).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{url}");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
        assert_eq!(args(None, None).resolve(&|_| None).unwrap_err().exit, Exit::Usage);
    }
}
