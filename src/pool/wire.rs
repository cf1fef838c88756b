//! A connection to a backend without anything between us and the socket.

use crate::model::Address;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

/// Pause before a backend is asked again whose queue is full.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Connects to a socket in the file system. Where the backend has as many connections to accept as may wait,
/// the system says so at once; over the network a connection would wait, and so does this one.
pub(super) async fn connect_unix(path: impl AsRef<Path>) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(&path).await {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => sleep(ASK_AGAIN).await,
            connected => return connected,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub enum Wire {
    /// Over the network.
    Tcp(TcpStream),
    /// To a socket in the file system.
    Unix(UnixStream),
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// The system's.
    pub async fn connect(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Inet(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Self::Tcp(stream)
            }
            Address::Unix(path) => Self::Unix(connect_unix(&**path).await?),
        })
    }

    /// Whether the system knows of anything that the other end has said, its leaving included: the
    /// runtime may not have heard yet.
    pub fn has_news(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let read = match self {
            Self::Tcp(stream) => recv(stream, &mut byte[..], flags),
            Self::Unix(stream) => recv(stream, &mut byte[..], flags),
        };
        !matches!(read, Err(Errno::WOULDBLOCK))
    }

    /// Whether the other end has neither left nor said anything that nobody has asked for.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
        };
        read.is_err_and(|why| why.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
