//! A backend that a test writes itself, byte by byte, where the toy backend is too well behaved.

use super::backend::Backend;
use socket2::{Domain, Socket, Type};
use std::io::BufRead;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// A backend that does with each connection what a test says.
pub(crate) fn speaking(id: &str, does: impl Fn(TcpStream) + Send + Sync + 'static) -> Backend {
    let backend = Backend::stopped(id);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&backend.address().into()).unwrap();
    socket.listen(1024).unwrap();
    let (listener, does) = (TcpListener::from(socket), Arc::new(does));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let does = Arc::clone(&does);
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || does(stream));
        }
    });
    backend
}

/// Reads a header; what follows stays.
pub(crate) fn skip_head(from: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && from.read_line(&mut head).is_ok_and(|n| n > 0) {}
    head
}
