//! A `POST /migrate` under way, whose server may be killed before it answers.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use xshell::cmd;

use super::progress::Progress;
use crate::demo::server::{Server, TOKEN};
use crate::workspace::Workspace;

pub(super) struct Attempt(Child);

pub(super) struct Answer {
    pub(super) status: u16,
    /// In seconds.
    pub(super) retry_after: u64,
    pub(super) body: String,
}

/// What a run did.
#[derive(Deserialize)]
pub(super) struct Report {
    pub(super) ran: Vec<String>,
    pub(super) operations: u64,
    pub(super) remaining: Vec<String>,
    pub(super) progress: Option<Progress>,
}

impl Attempt {
    pub(super) fn begin(workspace: &Workspace, server: &Server, method: &str, path: &str) -> Result<Self> {
        let shell = workspace.shell()?;
        let command = cmd!(shell, "curl --silent --noproxy * --max-time 120 --include -X {method}").args([
            "-H",
            &format!("Authorization: Bearer {TOKEN}"),
            &format!("{}{path}", server.url),
        ]);
        let process = Command::from(command).stdout(Stdio::piped()).spawn().context("cannot start curl")?;
        Ok(Self(process))
    }

    pub(super) fn is_answered(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// The answer; none if the connection broke.
    pub(super) fn end(self) -> Result<Option<Answer>> {
        let output = self.0.wait_with_output()?;
        if !output.status.success() {
            return Ok(None);
        }
        Answer::parse(&String::from_utf8(output.stdout)?).context("curl told no answer").map(Some)
    }
}

impl Answer {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok())?
        };
        Some(Self { status, retry_after: lines.find_map(header).unwrap_or(0), body: body.to_owned() })
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.body).with_context(|| format!("not as expected: {}", self.body))
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn an_answer_is_read_as_curl_shows_it() {
        let text =
            "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nretry-after: 7\r\n\r\n{\"ran\":[]}";
        let answer = Answer::parse(text).unwrap();
        assert_eq!((answer.status, answer.retry_after, answer.body.as_str()), (202, 7, "{\"ran\":[]}"));
    }

    #[test]
    fn what_is_cut_off_is_no_answer() {
        assert!(Answer::parse("HTTP/1.1 200 OK\r\n").is_none());
    }
}
