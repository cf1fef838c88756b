//! The backends of `make load`, as cheap as they can be, so that the proxies before them are what is
//! measured. An example and no part of the crate: the toy backends of `stickfast demo` show much and
//! cost much.
//!
//! `backend NAME…` opens a port for each name, prints `NAME ADDRESS` lines, and serves until it is
//! killed; `NAME=127.0.0.1:8080` takes that port. `/bytes/N` answers with N bytes, everything else
//! with the name; the body of a request is read to its end and counted first. HTTP/1.1, bodies by
//! length or chunked.

#![allow(clippy::print_stdout, reason = "it tells where it listens")]

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is read at once; no header may be longer.
const BUFFER: usize = 64 * 1024;

/// What is written at once of a long body.
static ZEROS: [u8; BUFFER] = [b'0'; BUFFER];

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    for argument in std::env::args().skip(1) {
        let (name, address) = match argument.split_once('=') {
            Some((name, address)) => (name, address.parse().map_err(io::Error::other)?),
            None => (argument.as_str(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        };
        let listener = TcpListener::bind(address).await?;
        println!("{name} {}", listener.local_addr()?);
        let body = format!("{name} answers\n");
        let small = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        tokio::spawn(accept(listener, Arc::from(small.as_bytes())));
    }
    println!("ready");
    std::future::pending().await
}

async fn accept(listener: TcpListener, small: Arc<[u8]>) {
    loop {
        // out of descriptors: those who wait are taken when others end
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let small = Arc::clone(&small);
        // a peer that goes away is no business of a backend
        tokio::spawn(async move { serve(stream, &small).await.ok() });
    }
}

/// Answers until the peer closes.
async fn serve(mut stream: TcpStream, small: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let Some(end) = header(&mut stream, &mut buffer).await? else { return Ok(()) };
        let head = Head::of(buffer.get(..end).unwrap_or_default());
        buffer.drain(..end);
        if head.expects {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        match head.body {
            Body::Length(length) => skip(&mut stream, &mut buffer, length).await?,
            Body::Chunked => skip_chunks(&mut stream, &mut buffer).await?,
        }
        match head.answer {
            None => stream.write_all(small).await?,
            Some(length) => send(&mut stream, length).await?,
        }
    }
}

/// Reads until `buffer` holds a header; where it ends, or nothing where the peer has closed.
async fn header(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
    loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            return Ok(Some(end + 4));
        }
        if buffer.len() > BUFFER || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// How the body of a request is framed.
enum Body {
    Length(u64),
    Chunked,
}

struct Head {
    /// The length that is asked for; none: the name.
    answer: Option<u64>,
    body: Body,
    expects: bool,
}

impl Head {
    fn of(header: &[u8]) -> Self {
        let text = String::from_utf8_lossy(header);
        let mut lines = text.split("\r\n");
        let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let answer = path.strip_prefix("/bytes/").and_then(|length| length.parse().ok());
        let mut head = Self { answer, body: Body::Length(0), expects: false };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                head.body = Body::Length(value.trim().parse().unwrap_or(0));
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.body = Body::Chunked;
            } else if name.eq_ignore_ascii_case("expect") {
                head.expects = true;
            }
        }
        head
    }
}

/// Reads `length` bytes and keeps what comes after them.
async fn skip(stream: &mut TcpStream, buffer: &mut Vec<u8>, mut length: u64) -> io::Result<()> {
    loop {
        let here = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        buffer.drain(..here);
        length -= here as u64;
        if length == 0 {
            return Ok(());
        }
        buffer.reserve(BUFFER);
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Chunks up to the last one; trailers are not expected of a load generator.
async fn skip_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let Some(end) = memchr::memmem::find(buffer, b"\r\n") else {
            if stream.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        let line = String::from_utf8_lossy(buffer.get(..end).unwrap_or_default()).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        buffer.drain(..end + 2);
        // with the line break after it
        skip(stream, buffer, size + 2).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

async fn send(stream: &mut TcpStream, mut length: u64) -> io::Result<()> {
    let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(header.as_bytes()).await?;
    while length > 0 {
        let part = usize::try_from(length).unwrap_or(BUFFER).min(BUFFER);
        stream.write_all(ZEROS.get(..part).unwrap_or_default()).await?;
        length -= part as u64;
    }
    Ok(())
}
