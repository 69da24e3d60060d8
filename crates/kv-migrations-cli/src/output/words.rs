//! Events and pauses in words.

use crate::answer::Event;
use crate::job_state::Reason;
use crate::text::plain;

/// Why it waits, in words.
pub(super) fn why(reason: &Reason) -> String {
    match reason {
        Reason::Continues => "the next request carries on".to_owned(),
        Reason::Quota => "KV's quota of the day is used up".to_owned(),
        Reason::Release(detail) => format!("another release answers: {detail}"),
        Reason::Busy(detail) | Reason::Unavailable(detail) | Reason::Lost(detail) => detail.clone(),
    }
}

/// What the event of a migration says, if it is no progress.
pub(super) fn happened(event: &Event) -> Option<String> {
    let Event { kind, id, description, entries, error, .. } = event;
    let text = match kind.as_str() {
        "started" if description.is_empty() => format!("{id}: begins, or carries on"),
        "started" => format!("{id}: {description}"),
        "applied" => match entries {
            Some(entries) => format!(
                "{id}: applied ({} entries, {} changed)",
                entries.seen,
                entries.changed + entries.moved
            ),
            None => format!("{id}: applied"),
        },
        "failed" => format!("{id}: failed: {}", error.as_deref().unwrap_or("the service does not say why")),
        _ => return None,
    };
    Some(plain(&text))
}
