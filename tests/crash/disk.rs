//! A disk that loses power: which contents may a directory have, given the calls that were made and when they ended?
//!
//! What was synced is there. Of every write that was not, the file may have all, nothing, or some of its sectors of
//! 512 octets, each of them old or new; a file may have grown without its content. Names appear in the order in which
//! they were made, up to any point after the last sync of their directory.

use std::collections::BTreeMap;
use std::path::Path;

use crate::settings::Random;
use crate::shim::{Act, Event};

/// What a power cut can leave of a sector: one of two contents.
const SECTOR: usize = 512;

/// A page of the file system's cache.
const PAGE: usize = 4096;

type Number = usize;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8>, synced: bool },
    Truncate(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// What a name leads to; `None` is a directory.
type Names = BTreeMap<String, Option<Number>>;

#[derive(Clone, Debug)]
enum Naming {
    Set(String, Option<Number>),
    Remove(String),
    Move(String, String),
}

/// The state of a directory after some calls.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    live: Names,
    durable: Names,
    pending: Vec<Naming>,
}

/// How much of what was not synced has reached the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Nothing,
    Everything,
    /// Each write whole or not at all.
    Writes,
    /// Each page whole or not at all.
    Pages,
    /// Each sector whole or not at all.
    Sectors,
}

/// A number below `n`.
pub(crate) fn index(random: &mut Random, n: usize) -> usize {
    usize::try_from(random.below(u64::try_from(n).unwrap())).unwrap()
}

impl Luck {
    pub(crate) fn any(random: &mut Random) -> Self {
        [Self::Nothing, Self::Everything, Self::Writes, Self::Pages, Self::Sectors][index(random, 5)]
    }

    fn unit(self) -> usize {
        match self {
            Self::Pages => PAGE,
            Self::Sectors => SECTOR,
            Self::Nothing | Self::Everything | Self::Writes => usize::MAX,
        }
    }

    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Writes | Self::Pages | Self::Sectors => random.below(2) == 0,
        }
    }
}

fn name(names: &mut Names, naming: &Naming) {
    match naming {
        Naming::Set(name, what) => {
            names.insert(name.clone(), *what);
        }
        Naming::Remove(name) => {
            names.remove(name);
        }
        Naming::Move(from, to) => {
            if let Some(what) = names.remove(from) {
                names.insert(to.clone(), what);
            }
        }
    }
}

fn write(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

impl File {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, data, .. } => write(&mut self.durable, offset, &data),
                Change::Truncate(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// What may be found after a power cut.
    fn after_cut(&self, in_flight: Option<&Change>, luck: Luck, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.clone();
        for (change, synced) in self.pending.iter().map(|c| (c, true)).chain(in_flight.map(|c| (c, false))) {
            match change {
                Change::Write { offset, data, synced: true } if synced => write(&mut content, *offset, data),
                Change::Write { offset, data, .. } => {
                    let unit = luck.unit();
                    let (mut at, end) = (*offset, offset + data.len());
                    while at < end {
                        let next = if unit == usize::MAX { end } else { end.min((at / unit + 1) * unit) };
                        if luck.keeps(random) {
                            write(&mut content, at, &data[at - offset..next - offset]);
                        } else if luck.keeps(random) && content.len() < next {
                            // The size was written, the content was not.
                            content.resize(next, 0);
                        }
                        at = next;
                    }
                }
                Change::Truncate(len) => {
                    if luck.keeps(random) {
                        content.resize(*len, 0);
                    }
                }
            }
        }
        content
    }
}

impl Disk {
    /// The disk under a directory of files, all of them synced.
    pub(crate) fn of(directory: &Path) -> Self {
        let mut disk = Self::default();
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            disk.files.push(File { durable: std::fs::read(entry.path()).unwrap(), pending: Vec::new() });
            disk.live.insert(entry.file_name().into_string().unwrap(), Some(disk.files.len() - 1));
        }
        disk.durable.clone_from(&disk.live);
        disk
    }

    /// A call that has ended.
    pub(crate) fn apply(&mut self, event: &Event) {
        if event.act == Act::Sync {
            if let Some(Some(number)) = self.live.get(&event.path) {
                self.files[*number].sync();
            } else {
                // A directory: the journal is written up to here.
                for naming in std::mem::take(&mut self.pending) {
                    name(&mut self.durable, &naming);
                }
            }
            return;
        }
        if let Some((number, change)) = self.change(event) {
            self.files[number].pending.push(change);
        }
        if let Some(naming) = self.naming(event) {
            name(&mut self.live, &naming);
            self.pending.push(naming);
        }
    }

    /// What a call changes of a file's content.
    fn change(&self, event: &Event) -> Option<(Number, Change)> {
        let number = (*self.live.get(&event.path)?)?;
        let change = match &event.act {
            Act::Create { truncates: true } => Change::Truncate(0),
            Act::Write { offset, data, synced } => {
                Change::Write { offset: usize::try_from(*offset).unwrap(), data: data.clone(), synced: *synced }
            }
            Act::Truncate { len } => Change::Truncate(usize::try_from(*len).unwrap()),
            _ => return None,
        };
        Some((number, change))
    }

    /// What a call changes of names; makes the file that a new name needs.
    fn naming(&mut self, event: &Event) -> Option<Naming> {
        let path = event.path.clone();
        Some(match &event.act {
            Act::Create { .. } if !self.live.contains_key(&path) => {
                self.files.push(File::default());
                Naming::Set(path, Some(self.files.len() - 1))
            }
            Act::MakeDirectory => Naming::Set(path, None),
            Act::Rename { to } => Naming::Move(path, to.clone()),
            Act::Link { to } => Naming::Set(to.clone(), *self.live.get(&path)?),
            Act::Unlink | Act::RemoveDirectory => Naming::Remove(path),
            _ => return None,
        })
    }

    /// Writes into an empty directory what a power cut may leave while `during` was under way.
    pub(crate) fn cut(&mut self, during: &Event, luck: Luck, random: &mut Random, into: &Path) {
        let in_flight = self.change(during);
        let mut pending = self.pending.clone();
        pending.extend(self.naming(during));
        let kept = match luck {
            Luck::Nothing => 0,
            Luck::Everything => pending.len(),
            Luck::Writes | Luck::Pages | Luck::Sectors => index(random, pending.len() + 1),
        };
        let mut names = self.durable.clone();
        for naming in &pending[..kept] {
            name(&mut names, naming);
        }
        // In order of their names: a directory comes before what is in it.
        for (path, what) in names {
            let target = into.join(&path);
            match what {
                None => std::fs::create_dir_all(target).unwrap(),
                // A table in shared memory, whose content after a power cut is anything.
                Some(_) if path.ends_with("lock.mdb") => {
                    let garbage: Vec<u8> = (0..65_664).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
                    std::fs::write(target, garbage).unwrap();
                }
                Some(number) => {
                    let flying = in_flight.as_ref().filter(|(file, _)| *file == number).map(|(_, change)| change);
                    let content = self.files[number].after_cut(flying, luck, random);
                    // What is in a directory that has no name cannot be found.
                    if target.parent().is_some_and(Path::is_dir) {
                        std::fs::write(target, content).unwrap();
                    }
                }
            }
        }
    }
}
