//! The migrations of a world, as a user would write them: each may run twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kv_migrations::kv::{Key, Kv, Store};
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Record, Result};

use crate::context::Context;
use crate::keys::{index_group, index_prefix, step_key};
use crate::other_namespace::OtherNamespace;
use crate::plan::{MigrationKind, Plan, PlannedMigration};
use crate::rekeys;
use crate::value::{marked, unmarked};
use crate::way::Way;

/// The first migrations of a plan, this many, for a runner on this store.
pub fn first<S: Store + Clone + 'static>(plan: &Plan, number: usize, store: S) -> Arc<[Migration<Context>]> {
    let other = Arc::new(OtherNamespace(store));
    plan.migrations.iter().take(number).map(|planned| migration(planned, &other)).collect()
}

fn migration(planned: &PlannedMigration, other: &Arc<impl Store + 'static>) -> Migration<Context> {
    let (id, number, from) = (planned.id.clone(), planned.number, planned.from.clone());
    match planned.kind {
        MigrationKind::Steps(steps) => {
            let up = async move |kv: &Kv, context: &Context| up(kv, context, number, steps).await;
            let down = async move |kv: &Kv, context: &Context| down(kv, context, number, steps).await;
            Migration::new(id, "Writes keys of its own", up).with_down(down)
        }
        MigrationKind::Backfill => {
            let mark = mark(planned);
            let unmark = Backfill::new(from, async move |_, record: &Record, _: &Context| {
                let Some(value) = unmarked(record.text()?, number) else { return Ok(()) };
                Ok(record.put(value).await?)
            });
            Migration::backfill(id, "Marks each entry", mark).with_down_backfill(unmark)
        }
        MigrationKind::Fold => {
            let down = async move |kv: &Kv, context: &Context| unindex(kv, context, number).await;
            Migration::fold(id, "Indexes all entries", index(planned)).with_down(down)
        }
        MigrationKind::Rekey { has_inverse } => rekeys::whole(planned, has_inverse),
        MigrationKind::Copying => rekeys::copying(planned, other),
        MigrationKind::Deleting => rekeys::deleting(planned, other),
        MigrationKind::Moving(moving) => rekeys::moving(planned, moving, other),
    }
}

async fn up(kv: &Kv, context: &Context, number: usize, steps: usize) -> Result {
    context.up_is_running(number);
    for step in 0..steps {
        let key = step_key(number, step);
        if kv.text(&key).await?.is_none() {
            kv.put(&key, "done").await?;
        }
    }
    if let Some(monitor) = &context.monitor {
        monitor.up_finished(context.run, number);
    }
    Ok(())
}

async fn down(kv: &Kv, context: &Context, number: usize, steps: usize) -> Result {
    context.down_is_running(number);
    for step in 0..steps {
        kv.delete(&step_key(number, step)).await?;
    }
    Ok(())
}

fn mark(planned: &PlannedMigration) -> Backfill<Context> {
    let (number, from) = (planned.number, planned.from.clone());
    let mark = async move |record: &Record, context: &Context| {
        context.up_is_running(number);
        let Some(value) = marked(record.text()?, number) else { return Ok(()) };
        Ok(record.put(value).await?)
    };
    if let Way::Batches(size) = planned.way {
        return Backfill::in_batches(from, size, async move |_, records: &[Record], context: &Context| {
            for record in records {
                mark(record, context).await?;
            }
            Ok(())
        });
    }
    let backfill =
        Backfill::new(from, async move |_, record: &Record, context: &Context| mark(record, context).await);
    if planned.way == Way::Plain { backfill } else { backfill.only(taken(planned)) }
}

/// Whether a migration that takes only some entries takes this one.
fn taken(planned: &PlannedMigration) -> impl Fn(&Key) -> bool + Send + Sync + 'static {
    let (way, from) = (planned.way, planned.from.clone());
    move |key| key.name.strip_prefix(&from).is_some_and(|name| way.takes(name))
}

type Index = BTreeMap<String, BTreeSet<String>>;

fn index(planned: &PlannedMigration) -> Fold<Context, Index> {
    let (number, prefix) = (planned.number, planned.from.clone());
    let entry_prefix = prefix.clone();
    let each = move |index: &mut Index, record: &Record, context: &Context| {
        context.up_is_running(number);
        let name = record.name().strip_prefix(&entry_prefix).unwrap_or_default();
        index.entry(index_group(name).to_string()).or_default().insert(name.to_owned());
        Ok(())
    };
    let group_key = move |group: &str| format!("{}{group}", index_prefix(number));
    if planned.way == Way::Merging {
        return Fold::merging(prefix, Index::new, each, async move |kv, index: &Index, _: &Context| {
            let mut outputs = Vec::new();
            for (group, names) in index {
                let key = group_key(group);
                let before: BTreeSet<String> = kv.json(&key).await?.unwrap_or_default();
                outputs.push(FoldOutput::json(key, &before.union(names).collect::<Vec<_>>())?);
            }
            Ok(outputs)
        });
    }
    let fold = Fold::new(prefix, Index::new, each, move |index: &Index, _: &Context| {
        index.iter().map(|(group, names)| FoldOutput::json(group_key(group), names)).collect()
    });
    match planned.way {
        Way::KeysOnly => fold.keys_only(),
        Way::Only => fold.only(taken(planned)),
        _ => fold,
    }
}

async fn unindex(kv: &Kv, context: &Context, number: usize) -> Result {
    context.down_is_running(number);
    for group in 0..3 {
        kv.delete(&format!("{}{group}", index_prefix(number))).await?;
    }
    Ok(())
}
