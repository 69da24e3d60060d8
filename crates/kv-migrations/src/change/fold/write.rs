//! Writes outputs, a few at once.

use futures_util::stream::{self, StreamExt};

use super::output::Output;
use crate::change::Job;
use crate::change::walk::{WalkEnd, over_budget};
use crate::error::Result;
use crate::kv::KvError;
use crate::kv::limits::MAX_CONNECTIONS;

/// The outputs that are written next, at once. The first ones of a request take no more operations than there are
/// connections: also a request that is cut off after a few operations gets further.
pub(super) fn next_batch(outputs: &[Output], is_first: bool) -> &[Output] {
    let most = if is_first { MAX_CONNECTIONS as u64 } else { u64::MAX };
    let (mut number, mut operations) = (0, 0);
    for output in outputs.iter().take(MAX_CONNECTIONS) {
        operations += output.operations();
        if operations > most {
            break;
        }
        number += 1;
    }
    outputs.get(..number).unwrap_or_default()
}

/// How many operations some outputs take.
pub(super) fn operations(outputs: &[Output]) -> u64 {
    outputs.iter().map(Output::operations).sum()
}

/// Writes outputs, as many at once as there are connections. Returns the result of each.
pub(super) async fn write_all(job: &Job<'_>, outputs: &[Output]) -> Vec<Result<(), KvError>> {
    let kv = &job.session().kv;
    stream::iter(outputs.iter().map(|output| output.write(kv))).buffered(MAX_CONNECTIONS).collect().await
}

/// How many outputs are written, up to the first one that failed.
pub(super) fn written(results: &[Result<(), KvError>]) -> usize {
    results.iter().take_while(|result| result.is_ok()).count()
}

/// How the fold ends at the first error of some operations, if there is one.
pub(super) fn first_error(job: &Job<'_>, results: Vec<Result<(), KvError>>) -> Option<Result<WalkEnd>> {
    let error = results.into_iter().find_map(Result::err)?;
    let is_overdrawn = job.session().meter.is_overdrawn();
    Some(if is_overdrawn { Ok(over_budget(job)) } else { Err(error.into()) })
}
