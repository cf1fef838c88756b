//! Listening sockets that this process did not bind itself: from the process before it, or from
//! systemd (socket activation). Each is taken by the listener of the same address.

use crate::model::Address;
use listenfd::ListenFd;
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// What the operators' listener is called among the sockets.
pub(super) const ADMIN: &str = "admin";

/// Sockets that nobody has taken yet.
#[derive(Default)]
pub(super) struct Inherited {
    sockets: Vec<Named>,
}

struct Named {
    /// [`ADMIN`], the key of a listener, or any other text.
    name: String,
    socket: Socket,
}

impl Inherited {
    /// From the process before this one.
    pub(super) fn handed_over(sockets: Vec<(String, Socket)>) -> Self {
        let named = |(name, socket)| Named { name, socket };
        Self { sockets: sockets.into_iter().map(named).collect() }
    }

    /// From systemd, if it started this process; `names` is what `LISTEN_FDNAMES` says.
    pub(super) fn from_systemd(names: Option<&str>) -> Self {
        // checks that the sockets are meant for this process
        let mut given = ListenFd::from_env();
        let mut names = names.unwrap_or_default().split(':');
        let mut sockets = Vec::new();
        for nth in 0..given.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match take(&mut given, nth) {
                Ok(Some(socket)) => sockets.push(Named { name, socket }),
                Ok(None) => {}
                Err(why) => tracing::warn!(name, %why, "a socket from systemd is of no use"),
            }
        }
        Self { sockets }
    }

    /// The socket for a listener of this key, with this address; and whether it goes by that key, as
    /// those do whose files go over. The files of systemd's sockets are systemd's.
    pub(super) fn listener(&mut self, key: &str, address: &Address) -> Option<(Socket, bool)> {
        if let Some(socket) = self.take(|socket| socket.name == key) {
            return Some((socket, true));
        }
        let socket = self.take(|socket| socket.name != ADMIN && is_bound_to(socket, address))?;
        Some((socket, false))
    }

    /// The socket for the operators' listener.
    pub(super) fn admin(&mut self, address: SocketAddr) -> Option<Socket> {
        let configured = format!("{ADMIN} {address}");
        self.take(|socket| socket.name == configured)
            .or_else(|| self.take(|socket| socket.name == ADMIN))
            .or_else(|| self.take(|socket| is_bound_to(socket, &address.into())))
    }

    /// Sockets that no listener wants are closed.
    pub(super) fn close_the_rest(self) {
        for Named { name, socket } in self.sockets {
            let address = socket.local_addr().ok().and_then(|address| address.as_socket());
            let address = address.map(|address| address.to_string()).unwrap_or_default();
            tracing::warn!(name, address, "no listener has this address: the socket is closed");
        }
    }

    fn take(&mut self, fits: impl Fn(&Named) -> bool) -> Option<Socket> {
        let at = self.sockets.iter().position(fits)?;
        Some(self.sockets.remove(at).socket)
    }
}

fn take(given: &mut ListenFd, nth: usize) -> io::Result<Option<Socket>> {
    match given.take_tcp_listener(nth) {
        Ok(taken) => Ok(taken.map(Socket::from)),
        // one that is neither stays where it is
        Err(_) => Ok(given.take_unix_listener(nth)?.map(Socket::from)),
    }
}

fn is_bound_to(named: &Named, address: &Address) -> bool {
    named.socket.local_addr().is_ok_and(|bound| match address {
        Address::Inet(address) => bound.as_socket() == Some(*address),
        Address::Unix(path) => bound.as_pathname() == Some(Path::new(&**path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn any() -> Socket {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    #[test]
    fn sockets_find_their_listeners_by_name_and_by_address() {
        let (one, other, admin) = (any(), any(), any());
        let address = |socket: &Socket| socket.local_addr().unwrap().as_socket().unwrap();
        let (first, second, third) = (address(&one), address(&other), address(&admin));
        let zero: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut inherited = Inherited::handed_over(vec![
            (ADMIN.to_owned(), admin),
            ("127.0.0.1:0".to_owned(), one),
            ("web".to_owned(), other),
        ]);
        assert!(inherited.listener("other", &third.into()).is_none(), "that one is the operators'");
        assert_eq!(
            address(&inherited.listener("127.0.0.1:0", &zero.into()).unwrap().0),
            first,
            "by its name"
        );
        assert!(inherited.listener("127.0.0.1:0", &zero.into()).is_none(), "once");
        assert_eq!(
            address(&inherited.listener("other", &second.into()).unwrap().0),
            second,
            "by its address"
        );
        assert_eq!(address(&inherited.admin(zero).unwrap()), third, "by its name");
    }
}
