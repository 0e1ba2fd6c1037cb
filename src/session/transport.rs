//! What a session runs on: an octet stream, and the one thing it knows of TCP.

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;

/// A stream of octets in both directions.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
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
