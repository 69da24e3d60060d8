//! A service over HTTP, by `ureq`.

use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body, Error};

use crate::http::{Lost, Method, Reply, Request, Service};
use crate::secret::Header;
use crate::target::Target;

const CONNECTING: Duration = Duration::from_secs(15);
/// An `up` can keep a request busy for 25 seconds, and a re-key waits 90 seconds for KV, without an event.
const SILENCE: Duration = Duration::from_mins(3);
/// The most bytes that are read of a body which is no events: a history, or the changes of a dry run, can be long.
const LONGEST_BODY: u64 = 64 << 20;

pub(crate) struct Client {
    agent: Agent,
    target: Target,
}

impl Client {
    pub(crate) fn new(target: Target) -> Self {
        // A redirect is not followed: it would turn a POST into a GET, or carry the token elsewhere.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The runtime closes connections without a word; a new one costs little.
            .max_idle_connections(0)
            .timeout_connect(Some(CONNECTING))
            .timeout_per_read(Some(SILENCE))
            .user_agent(concat!("kv-migrations/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), target }
    }

    fn ask(&self, request: &Request, limit: Duration) -> Result<Response<Body>, Error> {
        let url = format!("{}{}", self.target.url, request.path);
        let accept = if request.events { "application/x-ndjson" } else { "application/json" };
        let headers =
            self.target.headers.iter().map(|Header { name, value }| (name.as_str(), value.expose()));
        let headers = headers.chain([("accept", accept)]);
        match request.method {
            Method::Get => {
                let get = headers.fold(self.agent.get(&url), |get, (name, value)| get.header(name, value));
                get.config().timeout_global(Some(limit)).build().call()
            }
            Method::Post => {
                let post =
                    headers.fold(self.agent.post(&url), |post, (name, value)| post.header(name, value));
                post.config().timeout_global(Some(limit)).build().send_empty()
            }
        }
    }
}

impl Service for Client {
    fn send(&self, request: &Request, limit: Duration, on_line: &mut dyn FnMut(&str)) -> Result<Reply, Lost> {
        let response = self.ask(request, limit).map_err(lost)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type =
            header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        let mut reply = Reply {
            status: response.status().as_u16(),
            content_type: content_type.trim().to_ascii_lowercase(),
            retry_after: header("retry-after").and_then(|value| value.parse().ok()),
            location: header("location").map(str::to_owned),
            body: String::new(),
        };
        reply.body = if reply.content_type == "application/x-ndjson" {
            last_line(BufReader::new(response.into_body().into_reader()), on_line)
        } else {
            let body = response.into_body().into_with_config().limit(LONGEST_BODY).lossy_utf8(true);
            body.read_to_string().map_err(io::Error::other)
        }
        .map_err(|error| broken(&error))?;
        Ok(reply)
    }
}

/// Reads lines to the end, and returns the last.
fn last_line(body: impl BufRead, on_line: &mut dyn FnMut(&str)) -> io::Result<String> {
    let mut last = String::new();
    for line in body.lines() {
        last = line?;
        on_line(&last);
    }
    Ok(last)
}

/// Why there is no answer.
fn lost(error: Error) -> Lost {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    match error {
        Error::Timeout(ureq::Timeout::Global) => Lost::TimeIsUp,
        Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
        | Error::HostNotFound
        | Error::ConnectionFailed
        | Error::Tls(_)
        | Error::Rustls(_)
        | Error::ConnectProxyFailed(_) => Lost::NotReached(error.to_string()),
        Error::Io(error)
            if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) =>
        {
            Lost::NotReached(error.to_string())
        }
        // The standard library has no kind for it.
        Error::Io(error) if error.to_string().contains("lookup address") => {
            Lost::NotReached(error.to_string())
        }
        Error::Io(error) => broken(&error),
        error => Lost::Broken(error.to_string()),
    }
}

fn broken(error: &io::Error) -> Lost {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match cause {
        Some(Error::Timeout(ureq::Timeout::Global)) => Lost::TimeIsUp,
        _ => Lost::Broken(error.to_string()),
    }
}
