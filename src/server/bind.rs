//! Sockets, bound before anything else starts, so that an address in use ends the process with a
//! clear message (Pingora would retry for half a minute, then serve nothing). Clients are let in
//! later: a bound socket that does not listen yet refuses them.

use super::inherited::Inherited;
use crate::config::{At, Listener};
use crate::model::Address;
use crate::snapshot::Doors;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Connections that wait to be accepted; the kernel lowers it to its own limit.
const BACKLOG: i32 = 65_535;

/// An address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{place}: cannot listen on {address}: {why}{}", hint(why))]
pub struct BindError {
    place: String,
    address: Address,
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
    pub(super) address: Address,
    /// Goes with the last who holds it.
    pub(super) file: Option<SocketFile>,
    /// Whether the file is the other process's until that has made way, and this one's then.
    pub(super) takes_file: bool,
    pub(super) socket: Socket,
    /// Where it is configured.
    place: String,
}

impl Bound {
    /// Opens the door. One that is open already, in another process, stays so.
    pub(super) fn listen(self) -> Result<Self, BindError> {
        match self.socket.listen(BACKLOG) {
            Ok(()) => Ok(self),
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
    keyed.map(|(key, written)| listener(key, written, inherited)).collect()
}

/// Binds one, unless it was inherited.
pub(super) fn listener(
    key: Arc<str>,
    written: &Listener,
    inherited: &mut Inherited,
) -> Result<Bound, BindError> {
    let (address, mode) = (&written.address, written.mode);
    let place = address.at.to_string();
    let mut takes_file = false;
    let bound = match inherited.listener(&key, &address.value) {
        Some((socket, owned)) => {
            takes_file = owned;
            take(socket, &address.value)
        }
        None => bind(&address.value, mode),
    };
    match bound {
        Ok((address, socket, file)) => Ok(Bound { key, address, file, takes_file, socket, place }),
        Err(why) => Err(BindError { place, address: address.value.clone(), why }),
    }
}

/// Opens the operators' listener.
pub(super) fn admin(
    address: &At<SocketAddr>,
    inherited: &mut Inherited,
) -> Result<TcpListener, BindError> {
    let configured = address.value.into();
    let mut open = || {
        let (chosen, socket, _) = match inherited.admin(address.value) {
            Some(socket) => take(socket, &configured)?,
            None => bind(&configured, 0)?,
        };
        socket.listen(BACKLOG)?;
        Ok((chosen, socket))
    };
    match open() {
        Ok((chosen, socket)) => {
            tracing::info!(address = %chosen, "admin");
            Ok(socket.into())
        }
        Err(why) => {
            Err(BindError { place: address.at.to_string(), address: configured.clone(), why })
        }
    }
}

type Opened = (Address, Socket, Option<SocketFile>);

fn take(socket: Socket, configured: &Address) -> io::Result<Opened> {
    socket.set_nonblocking(true)?;
    let chosen = socket.local_addr()?.as_socket().map(Address::from);
    Ok((chosen.unwrap_or_else(|| configured.clone()), socket, None))
}

fn bind(address: &Address, mode: u32) -> io::Result<Opened> {
    match address {
        Address::Inet(address) => {
            let (chosen, socket) = inet(*address)?;
            Ok((chosen.into(), socket, None))
        }
        Address::Unix(path) => {
            let (socket, file) = unix(Path::new(&**path), mode)?;
            Ok((address.clone(), socket, Some(file)))
        }
    }
}

fn inet(address: SocketAddr) -> io::Result<(SocketAddr, Socket)> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let chosen = socket.local_addr()?.as_socket();
    Ok((chosen.unwrap_or(address), socket))
}

/// Nobody can connect before it listens, so that its mode is right from the first client on.
fn unix(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::at(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket, file))
}

/// Removes a socket that nobody listens at: its process ended without doing so. Anything else that
/// has this name is left alone, and binding will fail.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The file of a listening socket; removed when the value is dropped, unless another has taken the
/// place by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    /// Takes the file at `path` as this process's own.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let inode = fs::symlink_metadata(path)?.ino();
        Ok(Self { path: path.to_owned(), inode })
    }

    /// Leaves the file to another process.
    pub(super) fn leave(mut self) {
        // no file has this number
        self.inode = 0;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours && let Err(why) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %why, "the socket stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let living = UnixListener::bind(&path).unwrap();
        assert_eq!(unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(living);
        let (_socket, file) = unix(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "precious").unwrap();
        assert_eq!(unix(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
