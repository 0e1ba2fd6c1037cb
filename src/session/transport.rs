//! What a session runs on: an octet stream, and the few things it knows of it.
//!
//! Plain TCP is a type of its own, so that it pays nothing for the others, which share one ([`Guarded`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A stream of octets in both directions.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Whether what it has taken may stay with it until it is flushed.
    const BUFFERS: bool = false;

    /// Something small was read that is not answered: tells the peer's kernel at once that it has arrived.
    ///
    /// A client without `TCP_NODELAY` (amqplib by default) holds its next small frame back until then, and this kernel
    /// would wait 40 ms for an answer to send along: an ack followed by a get would take that long.
    fn acknowledge(&self) {}
}

impl Transport for TcpStream {
    fn acknowledge(&self) {
        // A hint to the kernel, elsewhere than on Linux not even that: without it things go on, only later.
        #[cfg(target_os = "linux")]
        let _ = self.set_quickack(true);
    }
}

/// For tests and fuzzing.
impl Transport for DuplexStream {}

/// The streams beside plain TCP.
#[derive(Debug)]
pub enum Guarded {
    /// TLS over TCP, after its handshake. In a box, since it is ten times as large as the other.
    Tls(Box<TlsStream<TcpStream>>),
    /// A Unix socket, guarded by the rights of its file.
    Local(UnixStream),
}

impl Transport for Guarded {
    const BUFFERS: bool = true;

    fn acknowledge(&self) {
        if let Self::Tls(stream) = self {
            stream.get_ref().0.acknowledge();
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Local(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => match Pin::new(stream).poll_read(cx, buffer) {
                // Many clients close the socket without closing TLS. AMQP says by itself when a connection is over, so
                // nothing that was cut off here can be taken for the end.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                other => other,
            },
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Local(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Local(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Local(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Local(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
