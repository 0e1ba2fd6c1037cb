//! The sockets that clients come in by: opened at the start, closed and opened again when an administrator says so.
//!
//! Invariants: port 0 is chosen once, so that what is opened again is where it was; a Unix socket takes the place of one
//! that nobody listens on, never of anything else, and its file goes when it is closed. Deliberately absent: accepting.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::ServerError;
use crate::config::Config;

/// Connections the kernel may hold before they are accepted.
const BACKLOG: u32 = 1024;

/// Rights of a Unix socket: the broker's user and group may connect.
const LOCAL_MODE: u32 = 0o660;

/// A listening socket that whoever has started this process has opened for it.
#[derive(Debug)]
pub struct Handed {
    /// What it is called: `amqp`, `amqps`, `http`, `metrics`; anything else is AMQP.
    pub name: String,
    /// It.
    pub socket: HandedSocket,
}

/// The kinds of sockets that can be handed over.
#[derive(Debug)]
pub enum HandedSocket {
    /// Of TCP.
    Tcp(std::net::TcpListener),
    /// Of this machine only.
    Local(std::os::unix::net::UnixListener),
}

/// What is spoken behind an entrance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Amqp,
    AmqpOverTls,
}

impl Speech {
    /// RabbitMQ's word for it.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::AmqpOverTls => "amqp/ssl",
        }
    }
}

/// An entrance, open or not.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) speech: Speech,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Where, and whether a socket of IPv6 leaves IPv4 to another.
    Address(SocketAddr, bool),
    Path(PathBuf),
    Handed(HandedSocket),
}

/// An open entrance.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Local(UnixListener, LocalFile),
}

impl Entrance {
    /// Everything that the settings name, and what was handed over. A kind of which something was handed over is not
    /// opened besides: it would be the same address.
    pub(super) fn all(config: &Config, handed: Vec<Handed>) -> Vec<Self> {
        let mut all = Vec::new();
        for Handed { name, socket } in handed {
            let speech = if name == "amqps" { Speech::AmqpOverTls } else { Speech::Amqp };
            all.push(Self { speech, place: Place::Handed(socket) });
        }
        let given = |speech| all.iter().any(|entrance: &Self| entrance.speech == speech);
        let (plain, secure) = (given(Speech::Amqp), given(Speech::AmqpOverTls));
        let at = |speech, addresses: &[SocketAddr], given: bool| -> Vec<Self> {
            let addresses = if given { &[] } else { addresses };
            addresses
                .iter()
                .map(|address| Self { speech, place: Place::Address(*address, v6_only(*address, addresses)) })
                .collect()
        };
        all.extend(at(Speech::Amqp, &config.listen, plain));
        all.extend(at(Speech::AmqpOverTls, &config.tls.listen, secure));
        if let Some(path) = &config.unix_socket {
            all.push(Self { speech: Speech::Amqp, place: Place::Path(path.clone()) });
        }
        all
    }

    /// Opens it. Must be called inside a tokio runtime.
    pub(super) fn open(&mut self) -> Result<Socket, ServerError> {
        match &self.place {
            Place::Address(address, alone) => {
                let (address, alone) = (*address, *alone);
                let listener = listen_on(address, alone).map_err(|error| ServerError::Listen { address, error })?;
                if let Ok(chosen) = listener.local_addr() {
                    self.place = Place::Address(chosen, alone);
                }
                Ok(Socket::Tcp(listener))
            }
            Place::Path(path) => listen_at(path)
                .map(|(listener, file)| Socket::Local(listener, file))
                .map_err(|error| ServerError::Socket { path: path.clone(), error }),
            // A copy, so that it can be opened again.
            Place::Handed(HandedSocket::Tcp(socket)) => adopt(socket).map(Socket::Tcp).map_err(ServerError::Handed),
            Place::Handed(HandedSocket::Local(socket)) => {
                let adopted = adopt_local(socket).map_err(ServerError::Handed)?;
                // Whoever has made the file removes it.
                Ok(Socket::Local(adopted, LocalFile { path: path_of(socket), own: None }))
            }
        }
    }

    /// Whether a machine without IPv6 is why it cannot be opened.
    pub(super) fn lacks_family(&self, error: &ServerError) -> bool {
        match (&self.place, error) {
            (Place::Address(address, _), ServerError::Listen { error, .. }) => {
                address.is_ipv6() && is_missing_family(error)
            }
            _ => false,
        }
    }

    /// Where it is, once it was opened; a Unix socket is at no address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Address(address, _) => Some(*address),
            Place::Handed(HandedSocket::Tcp(socket)) => socket.local_addr().ok(),
            Place::Path(_) | Place::Handed(HandedSocket::Local(_)) => None,
        }
    }
}

fn is_missing_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

/// A socket for every address of IPv6 is one for those of IPv4 too, unless these have their own.
fn v6_only(address: SocketAddr, all: &[SocketAddr]) -> bool {
    let every_v4 = SocketAddr::from(([0, 0, 0, 0], address.port()));
    address.is_ipv6() && address.ip().is_unspecified() && all.contains(&every_v4)
}

/// Listens at the addresses, or uses what was handed over in their place.
pub(super) fn listen(addresses: &[SocketAddr], handed: Vec<Handed>) -> Result<Vec<TcpListener>, ServerError> {
    if !handed.is_empty() {
        let sockets = handed.into_iter().map(|handed| match handed.socket {
            HandedSocket::Tcp(socket) => adopt(&socket),
            HandedSocket::Local(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "it is no socket of TCP")),
        });
        return sockets.collect::<io::Result<_>>().map_err(ServerError::Handed);
    }
    let mut listeners = Vec::new();
    for address in addresses {
        match listen_on(*address, v6_only(*address, addresses)) {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 is no reason not to start on IPv4.
            Err(error) if address.is_ipv6() && is_missing_family(&error) && addresses.len() > 1 => {
                tracing::warn!("not listening on {address}: {error}");
            }
            Err(error) => return Err(ServerError::Listen { address: *address, error }),
        }
    }
    Ok(listeners)
}

fn listen_on(address: SocketAddr, v6_only: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if v6_only {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // A restart must not wait for the sockets of the last run to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn adopt(socket: &std::net::TcpListener) -> io::Result<TcpListener> {
    let copy = socket.try_clone()?;
    copy.set_nonblocking(true)?;
    TcpListener::from_std(copy)
}

fn adopt_local(socket: &std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
    let copy = socket.try_clone()?;
    copy.set_nonblocking(true)?;
    UnixListener::from_std(copy)
}

/// The file of a Unix socket; removed when dropped, if it is still this one.
#[derive(Debug)]
pub(super) struct LocalFile {
    pub(super) path: PathBuf,
    /// Device and number, if it is this process's to remove.
    own: Option<(u64, u64)>,
}

fn path_of(socket: &std::os::unix::net::UnixListener) -> PathBuf {
    let address = socket.local_addr().ok();
    let path = address.as_ref().and_then(std::os::unix::net::SocketAddr::as_pathname);
    path.unwrap_or(Path::new("(unnamed)")).to_owned()
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        let there = std::fs::symlink_metadata(&self.path).ok().map(|meta| (meta.dev(), meta.ino()));
        if self.own.is_some() && there == self.own {
            // Who removes it first does not matter.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens at a path. The socket is made under another name and given its rights before it takes its place, so that
/// nobody else can connect in between.
fn listen_at(path: &Path) -> io::Result<(UnixListener, LocalFile)> {
    clear(path)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}", std::process::id()));
    let making = path.with_file_name(name);
    // Left behind by a process that had this number and was killed here.
    let _ = std::fs::remove_file(&making);
    let listener = UnixListener::bind(&making)?;
    let placed = std::fs::set_permissions(&making, std::fs::Permissions::from_mode(LOCAL_MODE))
        .and_then(|()| std::fs::symlink_metadata(&making))
        .and_then(|meta| std::fs::rename(&making, path).map(|()| meta));
    match placed {
        Ok(meta) => Ok((listener, LocalFile { path: path.to_owned(), own: Some((meta.dev(), meta.ino())) })),
        Err(error) => {
            let _ = std::fs::remove_file(&making);
            Err(error)
        }
    }
}

/// Makes sure that nothing is at the path, or a socket that nobody listens on.
fn clear(path: &Path) -> io::Result<()> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file which is no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_of_both_families_can_be_listened_on() {
        let first = listen_on(SocketAddr::from(([0, 0, 0, 0], 0)), false).unwrap();
        let four = first.local_addr().unwrap();
        let six = SocketAddr::from(([0_u16; 8], four.port()));
        match listen_on(six, v6_only(six, &[four, six])) {
            Ok(second) => assert_eq!(second.local_addr().unwrap(), six),
            Err(error) if is_missing_family(&error) => eprintln!("skipped: this machine has no IPv6"),
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_unix_socket_takes_no_place_but_that_of_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("amqp.sock");
        let (listener, file) = listen_at(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, LOCAL_MODE);
        assert_eq!(listen_at(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left of making it");
        drop(listener);
        // As a crash leaves it: there, with nobody behind it.
        let (next, next_file) = listen_at(&path).unwrap();
        drop(file);
        assert!(path.exists(), "the file is the next one's by now");
        drop((next, next_file));
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert_eq!(listen_at(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }
}
