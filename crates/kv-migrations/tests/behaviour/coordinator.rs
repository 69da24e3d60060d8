//! Runs that an object coordinates.

mod adoption;
mod control;
mod damage;
mod exclusion;
mod history;
mod journal;
mod marks;
mod mirror;
mod quota;
mod releases;
mod reset;
mod retries;
mod rollback_several;
mod rows;
mod steps;
mod until;
mod waiting;
