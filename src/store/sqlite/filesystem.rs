//! Which file systems a store must not lie on: SQLite's locks and shared memory do not hold across machines.

use std::path::Path;

/// The name of a network file system by the magic number that `statfs` answers, `None` for local ones.
pub fn network_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("nfs"),
        0x517B => Some("smb"),
        0xFE53_4D42 => Some("smb2"),
        0xFF53_4D42 => Some("cifs"),
        0x0102_1997 => Some("9p"),
        0x5346_414F | 0x6B41_4653 => Some("afs"),
        0x7375_7245 => Some("coda"),
        0x564C => Some("ncp"),
        0x00C3_6400 => Some("ceph"),
        0x0BD0_0BD0 => Some("lustre"),
        0x0116_1970 => Some("gfs2"),
        0x4750_4653 => Some("gpfs"),
        _ => None,
    }
}

/// The network file system that `path` lies on, if it does. What cannot be told is taken for local.
pub(super) fn network_of(path: &Path) -> Option<&'static str> {
    let magic = nix::sys::statfs::statfs(path).ok()?.filesystem_type().0;
    // The kernel's numbers have 32 bits; on some targets the type is wider and signed.
    network_name(u32::try_from(magic & 0xFFFF_FFFF).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        let names: Vec<_> = [0x6969, 0xFE53_4D42, 0xFF53_4D42, 0x0102_1997, 0x00C3_6400].map(network_name).to_vec();
        assert_eq!(names, [Some("nfs"), Some("smb2"), Some("cifs"), Some("9p"), Some("ceph")]);
        // ext4, xfs, btrfs, tmpfs, overlay.
        assert!(
            [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630].into_iter().all(|magic| network_name(magic).is_none())
        );
    }

    #[test]
    fn this_machine_keeps_its_temporary_files_locally() {
        assert_eq!(network_of(&std::env::temp_dir()), None);
    }
}
