//! A small file system of a test's own, which can be filled to its last block: ext4 in a file, mounted as a loop device;
//! where that is not allowed, a small tmpfs.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Octets of a MiB.
pub(crate) const MIB: u64 = 1 << 20;

/// A mounted file system; unmounted when dropped.
pub(crate) struct Volume {
    at: PathBuf,
    // Declared last: removed after the mount.
    _files: tempfile::TempDir,
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} {}: {said}", arguments.join(" "))) }
}

impl Volume {
    /// A file system of so many MiB; `None`, with the reason printed, where none can be mounted.
    pub(crate) fn new(mebibytes: u64) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let at = files.path().join("mounted");
        std::fs::create_dir(&at).unwrap();
        let image = files.path().join("image");
        File::create(&image).and_then(|file| file.set_len(mebibytes * MIB)).unwrap();
        let (image, mount) = (image.display().to_string(), at.display().to_string());
        let size = format!("size={mebibytes}m");
        let ext4 = run("mkfs.ext4", &["-q", "-F", "-m", "0", &image])
            .and_then(|()| run("mount", &["-o", "loop", &image, &mount]));
        let mounted = ext4.or_else(|why| {
            println!("no loop device ({why}); trying tmpfs");
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &mount])
        });
        match mounted {
            Ok(()) => Some(Self { at, _files: files }),
            Err(why) => {
                println!("skipped: no file system can be mounted here ({why})");
                None
            }
        }
    }

    /// Where the broker keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.at.join("data")
    }

    /// Octets free.
    pub(crate) fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.at).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Takes so many octets away from others.
    pub(crate) fn occupy(&self, octets: u64) -> Filler {
        let path = self.at.join("filler");
        let file = File::create(&path).unwrap();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, octets).unwrap();
        Filler(path)
    }

    /// Takes everything that is left, to the last block.
    pub(crate) fn fill(&self) -> Filler {
        let path = self.at.join("flood");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        for size in [MIB as usize, 4096] {
            let zeros = vec![0; size];
            while file.write_all(&zeros).is_ok() && file.sync_all().is_ok() {}
        }
        Filler(path)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let at = self.at.display().to_string();
        if let Err(why) = run("umount", &[&at]).or_else(|_| run("umount", &["-l", &at])) {
            println!("left mounted: {why}");
        }
    }
}

/// What occupies a volume; gone when dropped.
pub(crate) struct Filler(PathBuf);

impl Filler {
    pub(crate) fn octets(&self) -> u64 {
        std::fs::metadata(&self.0).map_or(0, |found| found.len())
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
        // The blocks are free for others once the file system has written that down.
        File::open(self.0.parent().unwrap_or(Path::new("/"))).and_then(|dir| dir.sync_all()).unwrap();
    }
}
