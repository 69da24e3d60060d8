//! Values that are left out of the JSON of a report.

#![allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}
