//! The migrations of a world, as a user would write them: each may run twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use kv_migrations::kv::Kv;
use kv_migrations::{Backfill, Fold, FoldOutput, Migration, Record, Rekey, Result};

use crate::context::Context;
use crate::keys::{index_group, index_prefix, step_key};
use crate::plan::{MigrationKind, Plan, PlannedMigration};
use crate::rekeys;
use crate::value::{marked, unmarked};

/// The first migrations of a plan, this many.
pub fn first(plan: &Plan, number: usize) -> Arc<[Migration<Context>]> {
    plan.migrations.iter().take(number).map(migration).collect()
}

fn migration(planned: &PlannedMigration) -> Migration<Context> {
    let (id, number, from) = (planned.id.clone(), planned.number, planned.from.clone());
    match planned.kind {
        MigrationKind::Steps(steps) => {
            let up = async move |kv: &Kv, context: &Context| up(kv, context, number, steps).await;
            let down = async move |kv: &Kv, context: &Context| down(kv, context, number, steps).await;
            Migration::new(id, "Writes keys of its own", up).with_down(down)
        }
        MigrationKind::Backfill => {
            let mark = Backfill::new(from.clone(), async move |_, record: &Record, context: &Context| {
                context.up_is_running(number);
                let Some(value) = marked(record.text()?, number) else { return Ok(()) };
                Ok(record.put(value).await?)
            });
            let unmark = Backfill::new(from, async move |_, record: &Record, _: &Context| {
                let Some(value) = unmarked(record.text()?, number) else { return Ok(()) };
                Ok(record.put(value).await?)
            });
            Migration::backfill(id, "Marks each entry", mark).with_down_backfill(unmark)
        }
        MigrationKind::Fold => {
            let down = async move |kv: &Kv, context: &Context| unindex(kv, context, number).await;
            Migration::fold(id, "Indexes all entries", index(number, from)).with_down(down)
        }
        MigrationKind::Rekey { has_inverse } => rekeys::whole(planned, has_inverse),
        MigrationKind::Copying => rekeys::copying(planned),
        MigrationKind::Deleting => {
            let rekey = Rekey::prefix(from, planned.to.clone()).deleting();
            Migration::rekey(id, "No entry is at an old key", rekey)
        }
        MigrationKind::Moving(moving) => rekeys::moving(planned, moving),
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

type Index = BTreeMap<String, Vec<String>>;

fn index(number: usize, prefix: String) -> Fold<Context, Index> {
    let entry_prefix = prefix.clone();
    Fold::new(
        prefix,
        Index::new,
        move |index: &mut Index, record: &Record, context: &Context| {
            context.up_is_running(number);
            let name = record.name().strip_prefix(&entry_prefix).unwrap_or_default();
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
    context.down_is_running(number);
    for group in 0..3 {
        kv.delete(&format!("{}{group}", index_prefix(number))).await?;
    }
    Ok(())
}
