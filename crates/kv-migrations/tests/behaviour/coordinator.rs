//! Runs that an object coordinates.

mod adoption;
mod control;
mod exclusion;
mod history;
mod mirror;
mod retries;
mod steps;
