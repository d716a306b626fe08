//! What a stored form leaves out, so that what was written before there was such a field stays as it is.
#![expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]

pub(super) const fn is_zero(count: &u64) -> bool {
    *count == 0
}

pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}
