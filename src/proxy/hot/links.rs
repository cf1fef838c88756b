//! Connections at work: opened in time, and written to.

use crate::model::clock;
use crate::pool::{Cells, Member, Wire};
use crate::snapshot::Timeouts;
use pingora::{Error, ErrorType, Result};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Connects to a backend. Where descriptors have run out, connections that nobody uses make way.
pub(super) async fn connect(member: &Member, timeouts: Timeouts, cells: &Cells) -> Result<Wire> {
    let address = &member.backend.address;
    let mut connected = timeout(timeouts.connect, Wire::connect(address)).await;
    if let Ok(Err(why)) = &connected
        && matches!(why.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
    {
        cells.close_idle(clock::monotonic_now(), 0);
        connected = timeout(timeouts.connect, Wire::connect(address)).await;
    }
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
    // a stream may take all of it and pass on nothing yet, so that it has to be flushed in time too
    let first = poll_fn(|cx| {
        let written = if bytes.is_empty() {
            Poll::Ready(Ok(0))
        } else {
            Pin::new(&mut *to).poll_write(cx, bytes)
        };
        let written = match written {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
            Poll::Pending => return Poll::Ready(Ok((0, false))),
        };
        let flushed = written == bytes.len() && Pin::new(&mut *to).poll_flush(cx)?.is_ready();
        Poll::Ready(Ok((written, flushed)))
    });
    let (written, flushed) = first.await?;
    if flushed {
        return Ok(());
    }
    let rest = bytes.get(written..).unwrap_or_default();
    let all = async {
        to.write_all(rest).await?;
        to.flush().await
    };
    timeout(limit, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The same for two pieces, without putting them together.
pub(super) async fn write_both<W: AsyncWrite + Unpin>(
    to: &mut W,
    one: &[u8],
    other: &[u8],
    limit: Duration,
) -> io::Result<()> {
    let slices = [IoSlice::new(one), IoSlice::new(other)];
    let first = poll_fn(|cx| match Pin::new(&mut *to).poll_write_vectored(cx, &slices) {
        Poll::Ready(written) => Poll::Ready(written),
        Poll::Pending => Poll::Ready(Ok(0)),
    });
    let written = first.await?;
    if let Some(rest) = one.get(written..).filter(|rest| !rest.is_empty()) {
        write_all(to, rest, limit).await?;
    }
    write_all(to, other.get(written.saturating_sub(one.len())..).unwrap_or_default(), limit).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn two_pieces_arrive_as_one_whatever_fits_at_once() {
        for room in [1, 3, 4, 5, 7, 64] {
            let (mut here, mut there) = tokio::io::duplex(room);
            let writing = write_both(&mut here, b"head", b"body", Duration::from_secs(9));
            let mut read = [0; 8];
            let (written, _) = tokio::join!(writing, there.read_exact(&mut read));
            written.unwrap();
            assert_eq!(&read, b"headbody");
        }
    }
}
