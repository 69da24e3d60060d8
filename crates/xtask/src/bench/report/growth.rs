//! How the time of what runs natively grows.

use std::collections::BTreeMap;

use crate::bench::Results;
use crate::bench::growth::Growth;
use crate::bench::markdown::table;
use crate::bench::numbers::{count, real, time, whole};
use crate::bench::plot::{Axis, Chart, Series};

pub(super) fn section(results: &Results) -> String {
    let rows = results.growths.iter().filter_map(|growth| {
        let (first, last) = (growth.points.first()?, growth.points.last()?);
        Some([
            format!("{} by {}", growth.case, growth.group),
            format!("{}: {}", count(first.n), time(first.nanoseconds)),
            format!("{}: {}", count(last.n), time(last.nanoseconds)),
            growth.exponent().map_or_else(String::new, |exponent| format!("{exponent:.2}")),
        ])
    });
    let plots =
        groups(results).into_keys().map(|group| format!("![Time by {group}](benchmarks/{group}.svg)"));
    format!(
        "Natively, by criterion; `n` is how many migrations are registered, or how long the path of a request is. An exponent \
         of 1 is time in proportion to `n`, 0 is time that does not depend on it. Registering looks each id up in a sorted \
         list, which is n·log n, 1.13 at that size; a run and a status do the same once more. What is mounted is made and \
         dropped with its migrations. A path is looked at and, if it is a rollback's, decoded.\n\n{}\n\n{}",
        table(["what", "smallest", "largest", "exponent at the large end"], rows),
        plots.collect::<Vec<_>>().join("\n\n")
    )
}

/// A chart for each group, with the file that it goes into.
pub(super) fn plots(results: &Results) -> Vec<(String, Chart)> {
    let charts = groups(results).into_iter().map(|(group, growths)| {
        let series = growths.into_iter().map(|growth| Series {
            name: growth.case.clone(),
            points: growth.points.iter().map(|point| (real(point.n), point.nanoseconds)).collect(),
        });
        let chart = Chart {
            title: format!("Time by {group}"),
            x: Axis { label: group.to_owned(), format: whole },
            y: Axis { label: "time".to_owned(), format: time },
            series: series.collect(),
        };
        (format!("{group}.svg"), chart)
    });
    charts.collect()
}

fn groups(results: &Results) -> BTreeMap<&str, Vec<&Growth>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for growth in &results.growths {
        groups.entry(growth.group.as_str()).or_default().push(growth);
    }
    groups
}
