//! The clients' listeners that are open, shared by those who open, close and hand them over.

use super::bind::{self, BindError, Bound, SocketFile};
use super::inherited::{ADMIN, Inherited};
use crate::config::Listener;
use crate::snapshot;
use parking_lot::Mutex;
use socket2::Socket;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// All that are open.
pub(super) struct Doors {
    open: Mutex<Vec<Door>>,
    admin: Mutex<Option<(SocketAddr, TcpListener)>>,
    /// Turns true when those that the process started with are open.
    opened: watch::Sender<bool>,
}

struct Door {
    /// What the snapshot calls it.
    key: Arc<str>,
    /// A copy: Pingora has the one that it accepts from.
    socket: Socket,
    /// Its name in the file system, where it has one.
    file: Option<SocketFile>,
    /// Turns true when this one takes nobody in any more.
    closing: watch::Sender<bool>,
}

/// What a reload does to the listeners.
pub(super) struct Move {
    pub(super) opens: Vec<Bound>,
    pub(super) closes: Vec<Arc<str>>,
    /// Dropped when that is done: the next reload has to see it.
    pub(super) done: Option<oneshot::Sender<()>>,
}

impl Doors {
    /// None yet but the operators'.
    pub(super) fn new(configured: SocketAddr, admin: TcpListener) -> Self {
        let admin = Mutex::new(Some((configured, admin)));
        Self { open: Mutex::default(), admin, opened: watch::Sender::new(false) }
    }

    /// Those that the process started with are open.
    pub(super) fn are_open(&self) {
        self.opened.send_replace(true);
    }

    /// Returns once they are: before, nobody can say which are missing.
    pub(super) async fn wait_until_open(&self) {
        let _ = self.opened.subscribe().wait_for(|opened| *opened).await;
    }

    /// Notes a listener that is open; tells when it is to close.
    pub(super) fn add(
        &self,
        key: Arc<str>,
        listener: &Socket,
        file: Option<SocketFile>,
    ) -> io::Result<watch::Receiver<bool>> {
        let (closing, closed) = watch::channel(false);
        let socket = listener.try_clone()?;
        self.open.lock().push(Door { key, socket, file, closing });
        Ok(closed)
    }

    /// Binds what is wanted and not open yet.
    pub(super) fn prepare(&self, wanted: &[Listener]) -> Result<Move, BindError> {
        let mut left: Vec<_> = self.open.lock().iter().map(|door| Arc::clone(&door.key)).collect();
        let mut opens = Vec::new();
        for (key, listener) in snapshot::Doors::keys(wanted).into_iter().zip(wanted) {
            match left.iter().position(|open| *open == key) {
                Some(at) => {
                    left.swap_remove(at);
                }
                None => {
                    opens.push(bind::listener(key, listener, &mut Inherited::default())?);
                }
            }
        }
        Ok(Move { opens, closes: left, done: None })
    }

    /// Closes the listener of this key.
    pub(super) fn close(&self, key: &str) {
        let mut open = self.open.lock();
        if let Some(at) = open.iter().position(|door| &*door.key == key) {
            open.remove(at).closing.send_replace(true);
        }
    }

    /// Closes all of them, and this process's share in the operators'. Where another process serves
    /// at them, their files stay.
    pub(super) fn close_all(&self, handed_over: bool) {
        for door in self.open.lock().drain(..) {
            if handed_over && let Some(file) = door.file {
                file.leave();
            }
            door.closing.send_replace(true);
        }
        self.admin.lock().take();
    }

    /// Copies of all sockets with their names, for the process that takes over.
    pub(super) fn copies(&self) -> io::Result<Vec<(String, Socket)>> {
        let mut copies = Vec::new();
        for door in self.open.lock().iter() {
            let is_file = door.socket.local_addr()?.as_socket().is_none();
            // one whose file is another's goes by another name, and is found by its address
            let name = if is_file && door.file.is_none() {
                format!("given {}", door.key)
            } else {
                door.key.to_string()
            };
            copies.push((name, door.socket.try_clone()?));
        }
        if let Some((configured, admin)) = &*self.admin.lock() {
            copies.push((format!("{ADMIN} {configured}"), admin.try_clone()?.into()));
        }
        Ok(copies)
    }
}
