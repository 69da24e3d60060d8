//! Who runs the migrations of a world.

/// Who runs the migrations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One pipeline, as the documentation asks for: one run after the other, from one location that sees its own writes.
    /// Migrations build on each other.
    #[default]
    Pipeline,
    /// Several callers at several locations, at any time. No migration depends on what another one wrote: then nothing
    /// could be promised.
    ManyCallers,
    /// Several callers, whose runs one object coordinates.
    Coordinator,
    /// An object and a pipeline without one in turn: a service starts to use a coordinator, or stops using it. Migrations
    /// build on each other.
    Alternating,
}
