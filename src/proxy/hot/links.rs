//! Connections at work: opened in time, and written to.

use crate::pool::{Member, Wire};
use crate::snapshot::Timeouts;
use pingora::{Error, ErrorType, Result};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Connects to a backend.
pub(super) async fn connect(member: &Member, timeouts: Timeouts) -> Result<Wire> {
    let connected = timeout(timeouts.connect, Wire::connect(&member.backend.address)).await;
    match connected {
        Ok(Ok(wire)) => Ok(wire),
        Ok(Err(why)) => {
            Err(Error::because(ErrorType::ConnectError, "no connection", why).into_up())
        }
        Err(_) => {
            Err(Error::explain(ErrorType::ConnectTimedout, "no connection in time").into_up())
        }
    }
}

/// Writes all of it; a timer runs only for what the other end does not take at once.
pub(super) async fn write_all<W: AsyncWrite + Unpin>(
    to: &mut W,
    bytes: &[u8],
    limit: Duration,
) -> io::Result<()> {
    let first = poll_fn(|cx| {
        Poll::Ready(match Pin::new(&mut *to).poll_write(cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(0),
        })
    });
    let written = first.await?;
    let rest = bytes.get(written..).unwrap_or_default();
    if rest.is_empty() {
        return to.flush().await;
    }
    let all = async {
        to.write_all(rest).await?;
        to.flush().await
    };
    timeout(limit, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
