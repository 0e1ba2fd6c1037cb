//! The ballast: a file that does nothing but occupy room, so that there is some to give up when the disk is full.
//!
//! On a full disk LMDB cannot even delete, since it writes pages anew before it frees the old ones; with a few MiB it
//! gets going again and then makes room for itself. The file is reserved with `fallocate`, or written where the file
//! system cannot do that. Deliberately absent: when to give it up and when to make it again.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Name of the file in the data directory.
const FILE: &str = "ballast";

/// Largest ballast, in octets.
const LARGEST: u64 = 64 << 20;

/// Smallest ballast with which LMDB is sure to get going again, in octets: 4 MiB suffice, 1 MiB does not (measured).
const SMALLEST: u64 = 4 << 20;

/// The ballast is at most this part of the file system, however small that is.
const PART_OF_SMALL: u64 = 8;

/// Octets written at once where nothing can be reserved.
const CHUNK: usize = 1 << 20;

/// The ballast of one data directory.
#[derive(Debug)]
pub(super) struct Ballast {
    dir: PathBuf,
}

/// How large the ballast is to be on a file system of `total` octets: 1 % of it, within limits.
pub(super) fn size(total: u64) -> u64 {
    (total / 100).clamp(SMALLEST, LARGEST).min(total / PART_OF_SMALL)
}

impl Ballast {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// Octets it occupies now.
    pub(super) fn occupied(&self) -> u64 {
        std::fs::metadata(self.path()).map_or(0, |found| found.len().min(found.blocks().saturating_mul(512)))
    }

    /// Reserves `size` octets. What cannot be had is not kept in part.
    pub(super) fn make(&self, size: u64) -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(self.path())?;
        let made = reserve(&file, size).and_then(|()| file.sync_all());
        if made.is_err() {
            std::fs::remove_file(self.path())?;
        }
        made
    }

    /// Gives it up; `false` if there is none.
    pub(super) fn give_up(&self) -> std::io::Result<bool> {
        match std::fs::remove_file(self.path()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        // Some file systems hand freed blocks out again only after that.
        File::open(&self.dir)?.sync_all()?;
        Ok(true)
    }
}

fn reserve(file: &File, size: u64) -> std::io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        reserved => return Ok(reserved?),
    }
    let zeros = vec![0; CHUNK];
    let (mut left, mut file) = (size, file);
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.write_all(zeros.get(..piece).unwrap_or(&zeros))?;
        left = left.saturating_sub(piece as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_size_follows_the_file_system() {
        const MIB: u64 = 1 << 20;
        for (total, expected) in
            [(1 << 40, 64 * MIB), (1000 * MIB, 10 * MIB), (256 * MIB, 4 * MIB), (16 * MIB, 2 * MIB)]
        {
            assert_eq!(size(total), expected, "{total}");
        }
    }

    #[test]
    fn it_is_there_until_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path());
        assert!(!ballast.give_up().unwrap());
        ballast.make(3 << 20).unwrap();
        assert_eq!(ballast.occupied(), 3 << 20);
        assert!(ballast.give_up().unwrap());
        assert_eq!(ballast.occupied(), 0);
        assert!(ballast.make(1 << 60).is_err(), "more than any disk has");
        assert!(!ballast.give_up().unwrap(), "nothing is left of an attempt");
    }
}
