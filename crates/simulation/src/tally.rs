//! What can happen, and how often it did.

use std::fmt;
use std::ops::AddAssign;

use crate::plan::Mode;

/// What happened in one world.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a figure of its own")]
pub struct Tally {
    /// Who ran the migrations.
    pub mode: Mode,
    /// An `up` that had finished, but was not marked, ran again.
    pub repeated_unmarked: bool,
    /// An `up` ran again although it was marked: the marker was not seen yet.
    pub repeated_though_marked: bool,
    /// The `up`s of two runs overlapped.
    pub overlapped: bool,
    /// A re-key found two forms of an entry, and asked for somebody to look.
    pub asked_for_help: bool,
    /// Of two re-keys at once, the copy of the one that saw an entry as it was before won.
    pub stale_copy_won: bool,
    /// Without a coordinator: what a run had sent arrived when the one after it had begun.
    pub arrived_late: bool,
    /// A run was cut off.
    pub cut_off: bool,
    /// A run was answered that another goes on.
    pub refused: bool,
    /// A migration was rolled back, or was begun to be.
    pub rolled_back: bool,
    /// How many runs it took, rollbacks included.
    pub runs: u64,
}

/// The figures of many worlds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pipeline: Column,
    crowd: Column,
    object: Column,
    both: Column,
}

type Figure = fn(&Column) -> u64;

#[derive(Debug, Default, Clone, Copy)]
struct Column {
    worlds: u64,
    runs: u64,
    cut_off: u64,
    refused: u64,
    rolled_back: u64,
    repeated_unmarked: u64,
    repeated_though_marked: u64,
    overlapped: u64,
    asked_for_help: u64,
    stale_copy_won: u64,
    arrived_late: u64,
}

impl Figures {
    /// Adds a world.
    pub fn add(&mut self, tally: Tally) {
        let column = match tally.mode {
            Mode::Pipeline => &mut self.pipeline,
            Mode::Crowd => &mut self.crowd,
            Mode::Object => &mut self.object,
            Mode::Both => &mut self.both,
        };
        *column += Column {
            worlds: 1,
            runs: tally.runs,
            cut_off: tally.cut_off.into(),
            refused: tally.refused.into(),
            rolled_back: tally.rolled_back.into(),
            repeated_unmarked: tally.repeated_unmarked.into(),
            repeated_though_marked: tally.repeated_though_marked.into(),
            overlapped: tally.overlapped.into(),
            asked_for_help: tally.asked_for_help.into(),
            stale_copy_won: tally.stale_copy_won.into(),
            arrived_late: tally.arrived_late.into(),
        };
    }

    /// How many worlds there were.
    pub fn worlds(&self) -> u64 {
        self.pipeline.worlds + self.crowd.worlds + self.object.worlds + self.both.worlds
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.pipeline += other.pipeline;
        self.crowd += other.crowd;
        self.object += other.object;
        self.both += other.both;
    }
}

impl AddAssign for Column {
    fn add_assign(&mut self, other: Self) {
        self.worlds += other.worlds;
        self.runs += other.runs;
        self.cut_off += other.cut_off;
        self.refused += other.refused;
        self.rolled_back += other.rolled_back;
        self.repeated_unmarked += other.repeated_unmarked;
        self.repeated_though_marked += other.repeated_though_marked;
        self.overlapped += other.overlapped;
        self.asked_for_help += other.asked_for_help;
        self.stale_copy_won += other.stale_copy_won;
        self.arrived_late += other.arrived_late;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = [&self.pipeline, &self.crowd, &self.object, &self.both];
        let lines: [(&str, Figure); 11] = [
            ("worlds", |column| column.worlds),
            ("runs and rollbacks", |column| column.runs),
            ("worlds in which a run was cut off", |column| column.cut_off),
            ("… a run was answered that another goes on", |column| column.refused),
            ("… something was rolled back", |column| column.rolled_back),
            ("… an up that had finished ran again, unmarked", |column| column.repeated_unmarked),
            ("… an up that was marked ran again", |column| column.repeated_though_marked),
            ("… ups of two runs overlapped", |column| column.overlapped),
            ("… a re-key asked for somebody to look", |column| column.asked_for_help),
            ("… an older copy won over a newer entry", |column| column.stale_copy_won),
            ("… a write arrived during a later run", |column| column.arrived_late),
        ];
        writeln!(
            f,
            "{:<46}{:>14}{:>14}{:>14}{:>14}",
            "", "one pipeline", "many callers", "an object", "both in turn"
        )?;
        for (text, figure) in lines {
            let [one, many, object, both] = columns.map(figure);
            writeln!(f, "{text:<46}{one:>14}{many:>14}{object:>14}{both:>14}")?;
        }
        Ok(())
    }
}
