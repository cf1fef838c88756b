//! Sockets, bound before anything else starts, so that an address in use ends the process with a
//! clear message (Pingora would retry for half a minute, then serve nothing). Clients are let in
//! later: a bound socket that does not listen yet refuses them.

use super::inherited::{ADMIN, Inherited};
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
    /// Opens the door. One that is open already, in another process, stays so.
    pub(super) fn listen(self) -> Result<TcpListener, BindError> {
        match self.socket.listen(BACKLOG) {
            Ok(()) => Ok(self.socket.into()),
            Err(why) => Err(BindError { place: self.place, address: self.address, why }),
        }
    }
}

/// Binds the clients' listeners, but for those that were inherited.
pub(super) fn listeners(
    listeners: &[Listener],
    inherited: &mut Inherited,
) -> Result<Vec<Bound>, BindError> {
    let keyed = Doors::keys(listeners).into_iter().zip(listeners);
    keyed.map(|(key, written)| listener(key, &written.address, inherited)).collect()
}

/// Binds one, unless it was inherited.
pub(super) fn listener(
    key: Arc<str>,
    address: &At<SocketAddr>,
    inherited: &mut Inherited,
) -> Result<Bound, BindError> {
    let theirs = inherited.listener(&key, address.value);
    take_or_bind(key, address, theirs)
}

/// Opens the operators' listener.
pub(super) fn admin(
    address: &At<SocketAddr>,
    inherited: &mut Inherited,
) -> Result<TcpListener, BindError> {
    let bound = take_or_bind(ADMIN.into(), address, inherited.admin(address.value))?;
    let chosen = bound.address;
    let listener = bound.listen()?;
    tracing::info!(address = %chosen, "admin");
    Ok(listener)
}

fn take_or_bind(
    key: Arc<str>,
    address: &At<SocketAddr>,
    inherited: Option<TcpListener>,
) -> Result<Bound, BindError> {
    let configured = address.value;
    let open = || {
        let socket = match inherited {
            Some(listener) => listener.into(),
            None => bind(configured)?,
        };
        socket.set_nonblocking(true)?;
        let chosen = socket.local_addr()?.as_socket();
        Ok((chosen.unwrap_or(configured), socket))
    };
    let place = address.at.to_string();
    match open() {
        Ok((address, socket)) => Ok(Bound { key, address, socket, place }),
        Err(why) => Err(BindError { place, address: configured, why }),
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
