//! The client's side of an exchange: a connection, or one stream of it. What is framed differently is
//! told apart here.

use super::body::{Body, Malformed, Part};
use super::head::{self, Outbound};
use super::links::{write_all, write_both};
use crate::proxy::front::{ClientIo, Streams};
use bytes::Bytes;
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};
use pingora_core::protocols::Shutdown;
use pingora_core::protocols::http::v2::server::HttpSession;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};

/// Up to so many bytes, a header and what follows it are put together to be written.
const JOINED: usize = 16 * 1024;

/// Whom an exchange serves.
pub(super) enum Client<'c> {
    /// HTTP/1.1
    Connection(&'c mut ClientIo),
    Stream(Stream<'c>),
}

/// HTTP/2; the request has no body.
pub(super) struct Stream<'c> {
    session: &'c mut HttpSession,
    siblings: &'c Streams,
    /// Nothing more is to come.
    ended: bool,
}

impl<'c> Stream<'c> {
    pub(super) fn new(session: &'c mut HttpSession, siblings: &'c Streams) -> Self {
        Self { session, siblings, ended: false }
    }

    /// What it shares with the others of its connection.
    pub(super) fn siblings(&self) -> &'c Streams {
        self.siblings
    }

    fn say(&mut self, header: ResponseHeader, end: bool) -> Result<()> {
        self.ended = end;
        let header = Box::new(header);
        self.session.write_response_header(header, end).map_err(Error::into_down)
    }

    async fn send(&mut self, out: &mut Vec<u8>, end: bool, limit: Duration) -> Result<()> {
        if self.ended || (out.is_empty() && !end) {
            return Ok(());
        }
        self.ended = end;
        self.session.set_write_timeout(Some(limit));
        let data = Bytes::from(std::mem::take(out));
        self.session.write_body(data, end).await.map_err(Error::into_down)
    }
}

impl Client<'_> {
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Reads what there is; `Ok(0)`: the client has left.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Connection(io) => {
                let mut buffer = ReadBuf::new(to);
                let read = Pin::new(&mut **io).poll_read(cx, &mut buffer);
                read.map_ok(|()| buffer.filled().len())
            }
            Self::Stream(stream) => Pin::new(&mut stream.session.idle()).poll(cx).map(|_| Ok(0)),
        }
    }

    /// It was answered.
    pub(super) fn request_is_over(&self) {
        if let Self::Connection(io) = self {
            io.request_is_over();
        }
    }

    /// Sends no more.
    pub(super) async fn shutdown(&mut self) {
        if let Self::Connection(io) = self {
            io.shutdown().await;
        }
    }

    /// A request has been read.
    pub(super) fn header_is_complete(&self) {
        if let Self::Connection(io) = self {
            io.header_is_complete();
        }
    }

    /// Another is at hand.
    pub(super) fn header_is_at_hand(&mut self, part: &[u8]) {
        if let Self::Connection(io) = self {
            io.header_is_at_hand(part);
        }
    }

    /// Takes in what was read of a body. For a stream `out` gets it: frames have lengths of their own.
    pub(super) fn take(
        &self,
        body: &mut Body,
        read: &[u8],
        out: &mut Vec<u8>,
    ) -> std::result::Result<Part, Malformed> {
        match self {
            Self::Connection(_) => body.take(read),
            Self::Stream(_) => body.take_to(read, |data| out.extend_from_slice(data)),
        }
    }

    /// The header of a response; a stream may `end` with it.
    pub(super) fn say(&mut self, response: &Outbound, out: &mut Vec<u8>, end: bool) -> Result<()> {
        match self {
            Self::Connection(_) => {
                out.clear();
                head::write_response(response, out);
                Ok(())
            }
            Self::Stream(stream) => stream.say(head::to_stream(response)?, end),
        }
    }

    /// The header of an answer of our own.
    pub(super) fn answer(
        &mut self,
        header: ResponseHeader,
        out: &mut Vec<u8>,
        end: bool,
    ) -> Result<()> {
        out.clear();
        match self {
            Self::Connection(_) => {
                head::write_answer(&header, out);
                Ok(())
            }
            Self::Stream(stream) => stream.say(header, end),
        }
    }

    /// Sends what is in `out`, and a piece of the body behind it.
    pub(super) async fn send(
        &mut self,
        out: &mut Vec<u8>,
        piece: &[u8],
        end: bool,
        limit: Duration,
    ) -> Result<()> {
        let io = match self {
            Self::Connection(io) => &mut **io,
            Self::Stream(stream) => {
                out.extend_from_slice(piece);
                return stream.send(out, end, limit).await;
            }
        };
        let sent = if out.is_empty() {
            write_all(io, piece, limit).await
        } else if out.len() + piece.len() > JOINED {
            write_both(io, out, piece, limit).await
        } else {
            out.extend_from_slice(piece);
            write_all(io, out, limit).await
        };
        out.clear();
        sent.map_err(|why| Error::because(ErrorType::WriteError, "to the client", why).into_down())
    }
}
