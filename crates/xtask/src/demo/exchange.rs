//! A request that a person could paste into a shell, and the answer that it must get.

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::cmd;

use super::difference::differences;
use super::server::{Server, TOKEN};
use crate::workspace::Workspace;

pub(super) struct Exchange {
    method: &'static str,
    path: &'static str,
    token: &'static str,
    status: u16,
    /// The fields that matter.
    body: Value,
}

struct Answer {
    status: u16,
    body: String,
}

pub(super) fn get(path: &'static str) -> Exchange {
    request("GET", path)
}

pub(super) fn post(path: &'static str) -> Exchange {
    request("POST", path)
}

fn request(method: &'static str, path: &'static str) -> Exchange {
    Exchange { method, path, token: TOKEN, status: 200, body: Value::Null }
}

impl Exchange {
    pub(super) fn with_token(self, token: &'static str) -> Self {
        Self { token, ..self }
    }

    pub(super) fn expect(self, status: u16, body: Value) -> Self {
        Self { status, body, ..self }
    }

    /// Sends the request, shows both sides, and tells whether the answer is as expected.
    pub(super) fn hold(&self, server: &Server, workspace: &Workspace) -> Result<bool> {
        let arguments = self.curl_arguments(server);
        println!("\n$ curl {}", shell_words(&arguments));
        let answer = send(&arguments, workspace)?;
        println!("{} {}", answer.status, answer.body);

        let differences = self.differences(&answer);
        for difference in &differences {
            println!("  NOT AS EXPECTED  {difference}");
        }
        Ok(differences.is_empty())
    }

    fn curl_arguments(&self, server: &Server) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.method != "GET" {
            arguments.extend(["-X".to_owned(), self.method.to_owned()]);
        }
        arguments.extend(["-H".to_owned(), format!("Authorization: Bearer {}", self.token)]);
        arguments.push(format!("{}{}", server.url, self.path));
        arguments
    }

    fn differences(&self, answer: &Answer) -> Vec<String> {
        let mut found = Vec::new();
        if answer.status != self.status {
            found.push(format!("status: expected {}, came {}", self.status, answer.status));
        }
        match serde_json::from_str(&answer.body) {
            Ok(body) => found.extend(differences(&self.body, &body)),
            Err(error) => found.push(format!("body: expected JSON, came something else ({error})")),
        }
        found
    }
}

fn send(arguments: &[String], workspace: &Workspace) -> Result<Answer> {
    const STATUS_ON_A_LAST_LINE: &str = "\\n%{http_code}";
    let shell = workspace.shell()?;
    let output = cmd!(shell, "curl --silent --show-error --noproxy * --max-time 60")
        .args(["--write-out", STATUS_ON_A_LAST_LINE])
        .args(arguments)
        .quiet()
        .read()?;
    let (body, status) = output.rsplit_once('\n').context("curl told no status code")?;
    Ok(Answer { status: status.parse()?, body: body.to_owned() })
}

/// As one types them: quoted where a shell would split them.
fn shell_words(arguments: &[String]) -> String {
    let quoted = arguments
        .iter()
        .map(|argument| if argument.contains(' ') { format!("'{argument}'") } else { argument.clone() });
    quoted.collect::<Vec<_>>().join(" ")
}
