//! The keys of session tickets. They outlive a reload, so that clients resume across it, but not a
//! change of whom a listener lets in: a resumed client is not verified again.

use ahash::AHashMap;
use parking_lot::Mutex;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Arc;

/// The ticket keys of all listeners. Each rotates them itself, every six hours.
#[derive(Default)]
pub struct Tickets(Mutex<ByWhom>);

/// By the listener, and a digest of whom it lets in.
type ByWhom = AHashMap<(Box<str>, [u8; 32]), Arc<dyn ProducesTickets>>;

impl Tickets {
    /// Those of a listener that lets `who` in; the same as long as somebody holds them.
    pub(super) fn of(
        &self,
        listener: &str,
        who: [u8; 32],
    ) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut all = self.0.lock();
        all.retain(|_, tickets| Arc::strong_count(tickets) > 1);
        let key = (Box::from(listener), who);
        if let Some(tickets) = all.get(&key) {
            return Ok(Arc::clone(tickets));
        }
        let tickets = rustls::crypto::ring::Ticketer::new()?;
        all.insert(key, Arc::clone(&tickets));
        Ok(tickets)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.0.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_shared_only_by_one_listener_that_lets_the_same_clients_in() {
        let tickets = Tickets::default();
        let mint = |listener: &str, who: u8| tickets.of(listener, [who; 32]).unwrap();
        let first = mint("a", 1);
        let sealed = first.encrypt(b"state").unwrap();
        assert_eq!(mint("a", 1).decrypt(&sealed).as_deref(), Some(&b"state"[..]));
        assert_eq!(mint("a", 2).decrypt(&sealed), None);
        assert_eq!(mint("b", 1).decrypt(&sealed), None);
    }
}
