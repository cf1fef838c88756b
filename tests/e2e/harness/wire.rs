//! One connection of a client, with nothing between the test and its bytes.

use super::message::Answer;
use socket2::{Domain, Socket, Type};
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// A read that takes longer is a failure of the test.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection to a listener.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects, from a certain loopback address where one is given.
    pub(crate) fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let stream = match from {
            None => TcpStream::connect(to)?,
            Some(from) => {
                let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
                socket.bind(&SocketAddr::new(from, 0).into())?;
                socket.connect(&to.into())?;
                socket.into()
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next response; `None` when the peer closed without one.
    pub(crate) fn answer(&mut self) -> io::Result<Option<Answer>> {
        Answer::read(&mut self.stream, false)
    }

    /// The next response to a HEAD request.
    pub(crate) fn answer_without_body(&mut self) -> io::Result<Option<Answer>> {
        Answer::read(&mut self.stream, true)
    }

    /// Exactly that many bytes, after an upgrade.
    pub(crate) fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Everything up to the end of the stream. A reset counts as the end.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => Err(e),
            Ok(_) | Err(_) => Ok(bytes),
        }
    }

    /// Says that no more bytes will come.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown(Shutdown::Write)
    }
}
