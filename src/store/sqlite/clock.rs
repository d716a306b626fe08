//! The clock by which leases are told in a file: that of the machine since it was started.
//!
//! A database's own clock would be the wall clock of whoever asks, and whoever's jumps ahead would take all others for dead. All
//! processes on one file are on one machine, and this clock nobody sets; what was noted before the machine was started again has passed.

use nix::time::{ClockId, clock_gettime};

use super::super::dialect::LeaseClock;

/// Reads it, in microseconds.
pub(super) fn read() -> Result<LeaseClock, std::io::Error> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    Ok(LeaseClock::Machine { id, now: since.tv_sec() * 1_000_000 + since.tv_nsec() / 1000 })
}
