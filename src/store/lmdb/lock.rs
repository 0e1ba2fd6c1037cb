//! The lock on a data directory.
//!
//! LMDB lets several processes share a store; two brokers on one would each believe that sequence numbers and queue
//! ids are theirs. Invariant: whoever holds the returned file is alone. Deliberately absent: taking over a lock (the
//! system frees it when its process ends, however it ends).

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::store::StoreError;

const LOCK_FILE: &str = "lock";

/// Longest process id that is quoted, in octets; the file may hold anything.
const LONGEST_PID: u64 = 20;

/// Locks the directory until the file is dropped; [`StoreError::Locked`] with the holder's process id if it is taken.
pub(super) fn take(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK_FILE);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(StoreError::Locked(describe(dir, &file))),
        Err(error) => return Err(StoreError::Io(error.into())),
    }
    // The id is a courtesy to whoever reads the message: a full disk must not keep the broker from starting.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn describe(dir: &Path, file: &File) -> String {
    let mut holder = String::new();
    let _ = file.take(LONGEST_PID).read_to_string(&mut holder);
    match holder.trim().parse::<u32>() {
        Ok(pid) => format!("{} (process {pid})", dir.display()),
        Err(_) => dir.display().to_string(),
    }
}
