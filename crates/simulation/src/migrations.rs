//! The migrations of a world, as a user would write them: each can be made twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use kv_migrations::kv::{Key, Kv};
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Record, Rekey, Result};

use crate::plan::{Change, Plan, Planned};
use crate::value::{marked, unmarked};
use crate::witness::Witness;

/// What migrations get: which run they belong to, and who is to be told.
pub struct Context {
    /// The run.
    pub run: usize,
    /// Nobody, where it is only to be known what comes of it.
    pub witness: Option<Witness>,
}

impl Context {
    fn at_work(&self, number: usize) {
        self.witness.iter().for_each(|witness| witness.at_work(self.run, number));
    }

    fn undoes(&self, number: usize) {
        self.witness.iter().for_each(|witness| witness.undoes(number));
    }
}

/// The first so many of a plan.
pub fn first(plan: &Plan, number: usize) -> Arc<[Migration<Context>]> {
    plan.migrations.iter().take(number).map(migration).collect()
}

fn migration(planned: &Planned) -> Migration<Context> {
    let (id, number, from) = (planned.id.clone(), planned.number, planned.from.clone());
    match planned.change {
        Change::Steps(steps) => {
            let up = async move |kv: &Kv, context: &Context| up(kv, context, number, steps).await;
            let down = async move |kv: &Kv, context: &Context| down(kv, context, number, steps).await;
            Migration::new(id, "Writes keys of its own", up).with_down(down)
        }
        Change::Backfill => {
            let mark = Backfill::new(from.clone(), async move |_, record: &Record, context: &Context| {
                context.at_work(number);
                let Some(value) = marked(record.text()?, number) else { return Ok(()) };
                Ok(record.put(value).await?)
            });
            let unmark = Backfill::new(from, async move |_, record: &Record, _: &Context| {
                let Some(value) = unmarked(record.text()?, number) else { return Ok(()) };
                Ok(record.put(value).await?)
            });
            let mark = if number.is_multiple_of(2) { mark.count_entries() } else { mark };
            Migration::backfill(id, "Marks each entry", mark).with_down_backfill(unmark)
        }
        Change::Fold => {
            let down = async move |kv: &Kv, context: &Context| unindex(kv, context, number).await;
            Migration::fold(id, "Indexes all entries", index(number, from)).with_down(down)
        }
        Change::Rekey { has_inverse: true } => {
            Migration::rekey(id, "Moves all entries", Rekey::prefix(from, planned.to.clone()))
        }
        Change::Rekey { has_inverse: false } => {
            let to = planned.to.clone();
            let rekey = Rekey::new(from.clone(), move |key: &Key| {
                Some(format!("{to}{}", key.name.strip_prefix(&from)?))
            });
            Migration::rekey(id, "Moves all entries, for good", rekey)
        }
    }
}

/// The key that a step writes.
pub fn step_key(number: usize, step: usize) -> String {
    format!("steps{number}/{step}")
}

async fn up(kv: &Kv, context: &Context, number: usize, steps: usize) -> Result {
    context.at_work(number);
    for step in 0..steps {
        let key = step_key(number, step);
        if kv.text(&key).await?.is_none() {
            kv.put(&key, "done").await?;
        }
    }
    if let Some(witness) = &context.witness {
        witness.finished(context.run, number);
    }
    Ok(())
}

async fn down(kv: &Kv, context: &Context, number: usize, steps: usize) -> Result {
    context.undoes(number);
    for step in 0..steps {
        kv.delete(&step_key(number, step)).await?;
    }
    Ok(())
}

type Index = BTreeMap<String, Vec<String>>;

/// What the keys of an index begin with.
pub fn index_prefix(number: usize) -> String {
    format!("index{number}/")
}

/// In which part of the index an entry is.
pub fn index_group(name: &str) -> usize {
    name.len() % 3
}

fn index(number: usize, prefix: String) -> Fold<Context, Index> {
    let of_entry = prefix.clone();
    Fold::new(
        prefix,
        Index::new,
        move |index: &mut Index, record: &Record, context: &Context| {
            context.at_work(number);
            let name = record.name().strip_prefix(&of_entry).unwrap_or_default();
            index.entry(index_group(name).to_string()).or_default().push(name.to_owned());
            Ok(())
        },
        move |index: &Index, _: &Context| {
            let prefix = index_prefix(number);
            index.iter().map(|(group, names)| FoldOutput::json(format!("{prefix}{group}"), names)).collect()
        },
    )
}

async fn unindex(kv: &Kv, context: &Context, number: usize) -> Result {
    context.undoes(number);
    for group in 0..3 {
        kv.delete(&format!("{}{group}", index_prefix(number))).await?;
    }
    Ok(())
}
