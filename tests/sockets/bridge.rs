//! Bridges from plain TCP on a free port to what a broker wants to hear, and raw clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

/// The beginning of AMQP 0-9-1.
pub(crate) const HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Hands octets on until one side ends; what is broken off is the other side's to notice.
async fn join(mut here: TcpStream, mut there: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = copy_bidirectional(&mut here, &mut there).await;
}

/// A port behind which a TLS client speaks to `to`.
pub(crate) async fn over_tls(config: Arc<ClientConfig>, to: SocketAddr) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            let config = config.clone();
            tokio::spawn(async move {
                if let Ok(there) = connect(config, to).await {
                    join(here, there).await;
                }
            });
        }
    });
    address
}

/// A port behind which every connection to `to` begins with these octets.
pub(crate) async fn behind_proxy(header: Vec<u8>, to: SocketAddr) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            let header = header.clone();
            tokio::spawn(async move {
                let mut there = TcpStream::connect(to).await.unwrap();
                there.write_all(&header).await.unwrap();
                join(here, there).await;
            });
        }
    });
    address
}

/// A port that leads to a Unix socket.
pub(crate) async fn to_local(path: PathBuf) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            let path = path.clone();
            tokio::spawn(async move {
                let there = UnixStream::connect(path).await.unwrap();
                join(here, there).await;
            });
        }
    });
    address
}

/// A TLS client's connection.
pub(crate) async fn connect(
    config: Arc<ClientConfig>,
    to: SocketAddr,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    connect_as("localhost", config, to).await
}

/// The same, of a client that asks for this host.
pub(crate) async fn connect_as(
    host: &'static str,
    config: Arc<ClientConfig>,
    to: SocketAddr,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    TlsConnector::from(config).connect(ServerName::try_from(host).unwrap(), stream).await
}

/// Says hello in AMQP; answers with the mechanisms that the broker offers, or why there is no answer.
pub(crate) async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<String, String> {
    stream.write_all(HEADER).await.map_err(|error| error.to_string())?;
    let mut begin = [0; 7];
    stream.read_exact(&mut begin).await.map_err(|error| error.to_string())?;
    let [1, 0, 0, length @ ..] = begin else { return Err(format!("no frame of a method: {begin:?}")) };
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() + 1];
    stream.read_exact(&mut frame).await.map_err(|error| error.to_string())?;
    // Class, method and version; then properties, mechanisms and locales, each with its length.
    let (_, rest) = frame.split_at(6);
    let (_, rest) = long(rest);
    let (mechanisms, _) = long(rest);
    Ok(String::from_utf8(mechanisms.to_vec()).unwrap())
}

fn long(octets: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = octets.split_first_chunk::<4>().unwrap();
    rest.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap())
}

/// The mechanisms that a TLS client is offered, or why it does not get that far.
pub(crate) async fn offered(config: Arc<ClientConfig>, to: SocketAddr) -> Result<String, String> {
    let stream = connect(config, to).await.map_err(|error| error.to_string())?;
    greet(stream).await
}

/// Sends these octets over plain TCP; answers with all that comes until the broker closes.
pub(crate) async fn until_closed(to: SocketAddr, octets: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(octets).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}
