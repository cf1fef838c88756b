//! Sockets, bound before anything else starts, so that an address in use ends the process with a
//! clear message (Pingora would retry for half a minute, then serve nothing). Clients are let in
//! later: a bound socket that does not listen yet refuses them.

use crate::config::{At, Listener};
use crate::snapshot::Doors;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Connections that wait to be accepted; the kernel lowers it to its own limit.
const BACKLOG: i32 = 65_535;

/// An address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{place}: cannot listen on {address}: {why}{}", hint(why))]
pub struct BindError {
    place: String,
    address: SocketAddr,
    why: io::Error,
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
fn hint(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::AddrInUse => "; is another process (or another stickfast) serving there?",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    }
}

/// A socket that takes nobody in yet.
pub(super) struct Bound {
    /// What the snapshot calls this listener.
    pub(super) key: Arc<str>,
    /// With the port that the system chose, where 0 was asked for.
    pub(super) address: SocketAddr,
    socket: Socket,
    /// Where it is configured.
    place: String,
}

impl Bound {
    /// Opens the door.
    pub(super) fn listen(self) -> Result<TcpListener, BindError> {
        match self.socket.listen(BACKLOG) {
            Ok(()) => Ok(self.socket.into()),
            Err(why) => Err(BindError { place: self.place, address: self.address, why }),
        }
    }
}

/// Binds the clients' listeners.
pub(super) fn listeners(listeners: &[Listener]) -> Result<Vec<Bound>, BindError> {
    let keyed = Doors::keys(listeners).into_iter().zip(listeners);
    keyed.map(|(key, listener)| bind(key, &listener.address)).collect()
}

/// Opens the operators' listener.
pub(super) fn admin(address: &At<SocketAddr>) -> Result<TcpListener, BindError> {
    let bound = bind("admin".into(), address)?;
    let chosen = bound.address;
    let listener = bound.listen()?;
    tracing::info!(address = %chosen, "admin");
    Ok(listener)
}

fn bind(key: Arc<str>, address: &At<SocketAddr>) -> Result<Bound, BindError> {
    let open = || {
        let domain = Domain::for_address(address.value);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.value.into())?;
        let chosen = socket.local_addr()?.as_socket();
        Ok((chosen.unwrap_or(address.value), socket))
    };
    let place = address.at.to_string();
    match open() {
        Ok((address, socket)) => Ok(Bound { key, address, socket, place }),
        Err(why) => Err(BindError { place, address: address.value, why }),
    }
}
