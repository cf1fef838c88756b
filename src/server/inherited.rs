//! Listening sockets that this process did not bind itself: from the process before it, or from
//! systemd (socket activation). Each is taken by the listener of the same address.

use listenfd::ListenFd;
use std::net::{SocketAddr, TcpListener};

/// What the operators' listener is called among the sockets.
pub(super) const ADMIN: &str = "admin";

/// Sockets that nobody has taken yet.
#[derive(Default)]
pub(super) struct Inherited {
    sockets: Vec<Socket>,
}

struct Socket {
    /// [`ADMIN`], the key of a listener, or any other text.
    name: String,
    listener: TcpListener,
}

impl Inherited {
    /// From the process before this one.
    pub(super) fn handed_over(sockets: Vec<(String, TcpListener)>) -> Self {
        let socket = |(name, listener)| Socket { name, listener };
        Self { sockets: sockets.into_iter().map(socket).collect() }
    }

    /// From systemd, if it started this process; `names` is what `LISTEN_FDNAMES` says.
    pub(super) fn from_systemd(names: Option<&str>) -> Self {
        // checks that the sockets are meant for this process
        let mut given = ListenFd::from_env();
        let mut names = names.unwrap_or_default().split(':');
        let mut sockets = Vec::new();
        for nth in 0..given.len() {
            let name = names.next().unwrap_or_default().to_owned();
            match given.take_tcp_listener(nth) {
                Ok(Some(listener)) => sockets.push(Socket { name, listener }),
                Ok(None) => {}
                Err(why) => tracing::warn!(name, %why, "a socket from systemd is of no use"),
            }
        }
        Self { sockets }
    }

    /// The socket for a listener of this key, with this address.
    pub(super) fn listener(&mut self, key: &str, address: SocketAddr) -> Option<TcpListener> {
        self.take(|socket| socket.name == key)
            .or_else(|| self.take(|socket| socket.name != ADMIN && is_bound_to(socket, address)))
    }

    /// The socket for the operators' listener.
    pub(super) fn admin(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let configured = format!("{ADMIN} {address}");
        self.take(|socket| socket.name == configured)
            .or_else(|| self.take(|socket| socket.name == ADMIN))
            .or_else(|| self.take(|socket| is_bound_to(socket, address)))
    }

    /// Sockets that no listener wants are closed.
    pub(super) fn close_the_rest(self) {
        for Socket { name, listener } in self.sockets {
            let address = listener.local_addr().map(|address| address.to_string());
            let address = address.unwrap_or_default();
            tracing::warn!(name, address, "no listener has this address: the socket is closed");
        }
    }

    fn take(&mut self, fits: impl Fn(&Socket) -> bool) -> Option<TcpListener> {
        let at = self.sockets.iter().position(fits)?;
        Some(self.sockets.remove(at).listener)
    }
}

fn is_bound_to(socket: &Socket, address: SocketAddr) -> bool {
    socket.listener.local_addr().is_ok_and(|bound| bound == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn sockets_find_their_listeners_by_name_and_by_address() {
        let (one, other, admin) = (any(), any(), any());
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let (first, second, third) = (address(&one), address(&other), address(&admin));
        let zero: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut inherited = Inherited::handed_over(vec![
            (ADMIN.to_owned(), admin),
            ("127.0.0.1:0".to_owned(), one),
            ("web".to_owned(), other),
        ]);
        assert!(inherited.listener("other", third).is_none(), "that one is the operators'");
        assert_eq!(
            address(&inherited.listener("127.0.0.1:0", zero).unwrap()),
            first,
            "by its name"
        );
        assert!(inherited.listener("127.0.0.1:0", zero).is_none(), "once");
        assert_eq!(
            address(&inherited.listener("other", second).unwrap()),
            second,
            "by its address"
        );
        assert_eq!(address(&inherited.admin(zero).unwrap()), third, "by its name");
    }
}
