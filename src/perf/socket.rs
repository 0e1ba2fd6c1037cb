//! A blocking socket with a read buffer, and frames out of it.
//!
//! May touch the network. Invariants: it waits in calls to the system only, never longer than [`TICK`]; writing does not wait
//! at all; the buffer holds a whole frame of the size agreed on, and grows only for a client that receives much.

use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::PerfError;
use super::target::Target;
use crate::wire::frame::{self, FRAME_OVERHEAD, FrameKind};

/// The longest a client sits in one call to the system before it looks whether it is to stop.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// Room for what is read at once: it grows while reads fill it, so that thousands of idle connections take little.
const BUFFER_MIN: usize = 4 * 1024;
/// The most room for what is read at once; more than a frame.
const BUFFER_MAX: usize = 256 * 1024;

/// How long to wait for input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Take what is there.
    No,
    /// Up to [`TICK`].
    Tick,
}

/// A frame that has come whole: what it is, its channel, and where its payload lies.
pub(super) type Found = (FrameKind, u16, Range<usize>);

/// A socket and what has been read from it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The last read filled the buffer.
    full: bool,
    /// What of the buffer has been received and not yet been given out.
    unread: Range<usize>,
}

impl Socket {
    pub(super) fn connect(target: &Target) -> Result<Self, PerfError> {
        let stream = reach(target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        Ok(Self { stream, buffer: vec![0; BUFFER_MIN], full: false, unread: 0..0 })
    }

    /// The next frame that has been received whole.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Found>, PerfError> {
        let Some((found, used)) = frame::decode(&self.buffer[self.unread.clone()], 0)? else { return Ok(None) };
        let start = self.unread.start + FRAME_OVERHEAD - 1;
        let found = (found.kind, found.channel, start..start + found.payload.len());
        self.unread.start += used;
        Ok(Some(found))
    }

    /// The octets of a payload; until the next read.
    #[inline]
    pub(super) fn octets(&self, payload: Range<usize>) -> &[u8] {
        &self.buffer[payload]
    }

    /// Reads once; whether anything came.
    pub(super) fn fill(&mut self, wait: Wait) -> Result<bool, PerfError> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.full && self.buffer.len() < BUFFER_MAX {
            self.full = false;
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        if self.unread.end == self.buffer.len() {
            // A whole frame fits: the broker exceeds what was agreed.
            return Err(PerfError::Strange("a frame larger than agreed".to_owned()));
        }
        let flags = if wait == Wait::No { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        match recv(&self.stream, &mut self.buffer[self.unread.end..], flags) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => Err(PerfError::HungUp),
            Ok((_, n)) => {
                self.unread.end += n;
                self.full = self.unread.end == self.buffer.len();
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(PerfError::Io(error.into())),
        }
    }

    /// Writes what the socket takes without waiting; how many octets that is. [`PerfError::HungUp`] where nobody
    /// reads any more.
    pub(super) fn write(&self, octets: &[u8]) -> Result<usize, PerfError> {
        // A write to a closed socket is an error and no signal: Rust programs ignore SIGPIPE.
        match send(&self.stream, octets, SendFlags::DONTWAIT) {
            Ok(n) => Ok(n),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(PerfError::HungUp),
            Err(error) => Err(PerfError::Io(error.into())),
        }
    }

    /// Waits until it can be read or written, as asked, but no longer than so long.
    pub(super) fn until(&self, flags: PollFlags, at_most: Duration) -> Result<(), PerfError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&self.stream, flags)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(PerfError::Io(error.into())),
        }
    }
}

fn reach(target: &Target) -> Result<TcpStream, PerfError> {
    let failed = |error| PerfError::Connect(format!("{}:{}", target.host, target.port), error);
    let addresses = (target.host.as_str(), target.port).to_socket_addrs().map_err(failed)?;
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}
