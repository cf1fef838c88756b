//! The connection between the two processes: messages, each behind its length, some with a socket.
//! Blocking, since both sides have nothing else to do on that thread.

use super::message::Message;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use zeroize::Zeroizing;

/// A message that is longer is none of ours.
const LONGEST: usize = 256 << 20;

/// How long a read goes on before it is asked whether to wait on.
const GLANCE: Duration = Duration::from_millis(20);

/// How long the other side may take in nothing.
const STALL: Duration = Duration::from_secs(20);

/// Why there is no message.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum LinkError {
    /// The other side has closed, or ended.
    #[error("the other process has gone")]
    Gone,
    /// Whoever waits does not want to any more.
    #[error("{0}")]
    GivenUp(String),
    /// Not what was expected.
    #[error("the other process does not speak this protocol: {0}")]
    Foreign(String),
    /// The connection failed.
    #[error("the connection between the processes failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for LinkError {
    fn from(why: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let gone = [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&why.kind());
        if gone { Self::Gone } else { Self::Io(why) }
    }
}

/// Asked again and again while nothing comes.
pub(super) type WaitOn<'a> = &'a mut dyn FnMut() -> Result<(), String>;

/// One end.
pub(in crate::server) struct Link {
    stream: UnixStream,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(GLANCE))?;
        stream.set_write_timeout(Some(STALL))?;
        Ok(Self { stream })
    }

    pub(super) fn send(&self, message: &Message) -> Result<(), LinkError> {
        self.post(message, None)
    }

    /// Sends a copy of `socket` along.
    pub(super) fn send_with(
        &self,
        message: &Message,
        socket: BorrowedFd<'_>,
    ) -> Result<(), LinkError> {
        self.post(message, Some(socket))
    }

    fn post(&self, message: &Message, socket: Option<BorrowedFd<'_>>) -> Result<(), LinkError> {
        // some hold keys
        let text = serde_json::to_vec(message).map_err(|why| LinkError::Io(why.into()))?;
        let text = Zeroizing::new(text);
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
        let sockets: Vec<BorrowedFd<'_>> = socket.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&sockets));
        }
        let flags = SendFlags::NOSIGNAL;
        let sent = retry(|| sendmsg(&self.stream, &[IoSlice::new(&length)], &mut control, flags))?;
        let mut stream = &self.stream;
        // without a socket again: it went with the first byte
        stream.write_all(length.get(sent..).unwrap_or_default())?;
        stream.write_all(&text)?;
        Ok(())
    }

    /// The next message, and the socket that came with it.
    pub(super) fn receive(
        &self,
        wait_on: WaitOn<'_>,
    ) -> Result<(Message, Option<OwnedFd>), LinkError> {
        let mut length = [0; 4];
        let (got, socket) = self.first_bytes(&mut length, wait_on)?;
        self.fill(length.get_mut(got..).unwrap_or_default(), wait_on)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(LinkError::Foreign(format!("a message of {length} bytes")));
        }
        let mut text = Zeroizing::new(vec![0; length]);
        self.fill(&mut text, wait_on)?;
        let message =
            serde_json::from_slice(&text).map_err(|why| LinkError::Foreign(why.to_string()))?;
        Ok((message, socket))
    }

    fn first_bytes(
        &self,
        into: &mut [u8],
        wait_on: WaitOn<'_>,
    ) -> Result<(usize, Option<OwnedFd>), LinkError> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(into)];
            match recvmsg(&self.stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) if received.bytes == 0 => return Err(LinkError::Gone),
                Ok(received) => {
                    let mut socket = None;
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(mut sockets) = message {
                            socket = sockets.next();
                        }
                    }
                    return Ok((received.bytes, socket));
                }
                Err(Errno::AGAIN | Errno::INTR) => wait_on().map_err(LinkError::GivenUp)?,
                Err(why) => return Err(io::Error::from(why).into()),
            }
        }
    }

    fn fill(&self, mut into: &mut [u8], wait_on: WaitOn<'_>) -> Result<(), LinkError> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        while !into.is_empty() {
            match (&self.stream).read(into) {
                Ok(0) => return Err(LinkError::Gone),
                Ok(got) => into = into.get_mut(got..).unwrap_or_default(),
                Err(why) if [Interrupted, TimedOut, WouldBlock].contains(&why.kind()) => {
                    wait_on().map_err(LinkError::GivenUp)?;
                }
                Err(why) => return Err(why.into()),
            }
        }
        Ok(())
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    fn pair() -> (Link, Link) {
        let (one, other) = UnixStream::pair().unwrap();
        (Link::new(one).unwrap(), Link::new(other).unwrap())
    }

    #[test]
    fn a_socket_travels_with_its_message_and_is_the_same_socket() {
        let (old, new) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let named = Message::Socket { name: "a".into() };
        old.send_with(&named, listener.as_fd()).unwrap();
        old.send(&Message::Prepare).unwrap();
        let (message, socket) = new.receive(&mut || Ok(())).unwrap();
        assert!(message == named);
        let taken = TcpListener::from(socket.unwrap());
        assert_eq!(taken.local_addr().unwrap(), listener.local_addr().unwrap());
        let (message, socket) = new.receive(&mut || Ok(())).unwrap();
        assert!(message == Message::Prepare && socket.is_none());
    }

    #[test]
    fn whoever_waits_may_give_up_and_hears_when_the_other_is_gone() {
        let (old, new) = pair();
        let mut asked = 0;
        let given_up = new.receive(&mut || {
            asked += 1;
            if asked < 3 { Ok(()) } else { Err("enough".to_owned()) }
        });
        assert!(matches!(given_up, Err(LinkError::GivenUp(why)) if why == "enough"));
        drop(old);
        assert!(matches!(new.receive(&mut || Ok(())), Err(LinkError::Gone)));
        assert!(matches!(new.send(&Message::Prepare), Err(LinkError::Gone)));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (stream, other) = UnixStream::pair().unwrap();
        let new = Link::new(other).unwrap();
        (&stream).write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert!(matches!(new.receive(&mut || Ok(())), Err(LinkError::Foreign(_))));
        let (stream, other) = UnixStream::pair().unwrap();
        let new = Link::new(other).unwrap();
        (&stream).write_all(b"\0\0\0\x02{}").unwrap();
        assert!(matches!(new.receive(&mut || Ok(())), Err(LinkError::Foreign(_))));
    }
}
