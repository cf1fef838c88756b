//! The keys of session tickets. They outlive a reload and go over to the process that takes over, so
//! that clients resume across both, but not a change of whom a listener lets in: a resumed client is
//! not verified again.
//!
//! rustls has a ticketer that makes its keys itself and shows them to nobody; hence one of our own. A
//! ticket is sealed by AES-256-GCM under a key of its listener, which HKDF-SHA256 derives from the key
//! of the process (info = "stickfast tickets" ‖ digest of whom it lets in ‖ name):
//!
//! ```text
//! name of the key (16 bytes, derived too) | nonce (12, random) | what rustls wants to know again | tag (16)
//! ```

use crate::model::{UnixTime, clock};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, Tag};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use hkdf::Hkdf;
use parking_lot::RwLock;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Seconds for which one key seals; for as long again it opens.
const ROTATION: u32 = 6 * 60 * 60;
/// A longer ticket is none of ours.
const LONGEST: usize = 16 * 1024;

const NAME: usize = 16;
const NONCE: usize = 12;
const TAG: usize = 16;

/// The ticket keys of all listeners.
pub struct Tickets(Arc<RwLock<TicketKeys>>);

/// What all of them are derived from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct TicketKeys {
    /// Seals.
    current: [u8; 32],
    /// Opens.
    previous: Option<[u8; 32]>,
    /// When the current one was made, in seconds since 1970.
    since: u32,
}

impl Default for Tickets {
    fn default() -> Self {
        Self::inherited(TicketKeys {
            current: rand::random(),
            previous: None,
            since: clock::unix_now().0,
        })
    }
}

impl Tickets {
    /// With the keys of the process before this one.
    pub fn inherited(keys: TicketKeys) -> Self {
        Self(Arc::new(RwLock::new(keys)))
    }

    /// The keys, for the process that takes over.
    pub fn keys(&self) -> TicketKeys {
        self.0.read().clone()
    }

    /// The tickets of a listener that lets `who` in.
    pub(super) fn of(&self, listener: &str, who: [u8; 32]) -> Arc<dyn ProducesTickets> {
        Arc::new(Ticketer {
            keys: Arc::clone(&self.0),
            info: [b"stickfast tickets", &who[..], listener.as_bytes()].concat().into(),
        })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(…)")
    }
}

impl TicketKeys {
    fn is_due(&self, now: UnixTime) -> bool {
        // a clock that was set back must not make a key live for ever; threads read it in any order
        let ahead = self.since.saturating_sub(now.0);
        now.seconds_since(UnixTime(self.since)) >= ROTATION || ahead > ROTATION
    }

    fn rotate(&mut self, now: UnixTime) {
        let silent = now.seconds_since(UnixTime(self.since)) >= 2 * ROTATION;
        self.previous.zeroize();
        self.previous = (!silent).then_some(self.current);
        self.current = rand::random();
        self.since = now.0;
    }
}

/// The tickets of one listener.
struct Ticketer {
    keys: Arc<RwLock<TicketKeys>>,
    info: Box<[u8]>,
}

/// One key of one listener.
struct Key {
    name: [u8; NAME],
    cipher: Aes256Gcm,
}

impl Ticketer {
    fn key(&self, from: &[u8; 32]) -> Option<Key> {
        let mut derived = Zeroizing::new([0; NAME + 32]);
        Hkdf::<Sha256>::new(None, from).expand(&self.info, &mut derived[..]).ok()?;
        let (name, key) = derived.split_first_chunk::<NAME>()?;
        Some(Key { name: *name, cipher: Aes256Gcm::new_from_slice(key).ok()? })
    }

    /// The key that seals, and the one that still opens.
    fn at(&self, now: UnixTime) -> (Option<Key>, Option<Key>) {
        if self.keys.read().is_due(now) {
            let mut keys = self.keys.write();
            if keys.is_due(now) {
                keys.rotate(now);
            }
        }
        let keys = self.keys.read();
        (self.key(&keys.current), keys.previous.as_ref().and_then(|key| self.key(key)))
    }

    fn seal(&self, state: &[u8], now: UnixTime) -> Option<Vec<u8>> {
        let Key { name, cipher } = self.at(now).0?;
        let nonce: [u8; NONCE] = rand::random();
        let mut ticket = [&name[..], &nonce, state].concat();
        let sealed = ticket.get_mut(NAME + NONCE..)?;
        let sealed = InOutBuf::from(sealed);
        let tag = cipher.encrypt_inout_detached(&Nonce::from(nonce), &name, sealed).ok()?;
        ticket.extend_from_slice(&tag);
        (ticket.len() <= LONGEST).then_some(ticket)
    }

    fn open(&self, ticket: &[u8], now: UnixTime) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE>()?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
        let (current, previous) = self.at(now);
        let mut keys = current.into_iter().chain(previous);
        let key = keys.find(|key| bool::from(key.name.ct_eq(name)))?;
        let mut state = sealed.to_vec();
        let (nonce, tag) = (Nonce::from(*nonce), Tag::<Aes256Gcm>::from(*tag));
        let inside = InOutBuf::from(&mut state[..]);
        key.cipher.decrypt_inout_detached(&nonce, name, inside, &tag).ok()?;
        Some(state)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        2 * ROTATION
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.seal(state, clock::unix_now())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, clock::unix_now())
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn keys() -> TicketKeys {
        TicketKeys { current: [7; 32], previous: None, since: NOW.0 }
    }

    fn ticketer(tickets: &Tickets, listener: &str, who: u8) -> Ticketer {
        let info = [b"stickfast tickets", &[who; 32][..], listener.as_bytes()].concat().into();
        Ticketer { keys: Arc::clone(&tickets.0), info }
    }

    #[test]
    fn tickets_are_shared_only_by_one_listener_that_lets_the_same_clients_in() {
        let tickets = Tickets::default();
        let mint = |listener: &str, who: u8| tickets.of(listener, [who; 32]);
        let sealed = mint("a", 1).encrypt(b"state").unwrap();
        assert_eq!(mint("a", 1).decrypt(&sealed).as_deref(), Some(&b"state"[..]));
        assert_eq!(mint("a", 2).decrypt(&sealed), None);
        assert_eq!(mint("b", 1).decrypt(&sealed), None);
        assert_eq!(Tickets::default().of("a", [1; 32]).decrypt(&sealed), None, "another process");
    }

    #[test]
    fn a_process_that_takes_over_opens_what_the_one_before_has_sealed() {
        let old = Tickets::inherited(keys());
        let first = ticketer(&old, "a", 1).seal(b"first", NOW).unwrap();
        let later = UnixTime(NOW.0 + ROTATION);
        let second = ticketer(&old, "a", 1).seal(b"second", later).unwrap();
        let text = serde_json::to_vec(&old.keys()).unwrap();
        let new = Tickets::inherited(serde_json::from_slice(&text).unwrap());
        let new = ticketer(&new, "a", 1);
        assert_eq!(new.open(&first, later).as_deref(), Some(&b"first"[..]));
        assert_eq!(new.open(&second, later).as_deref(), Some(&b"second"[..]));
    }

    #[test]
    fn a_key_seals_for_six_hours_and_opens_for_six_more() {
        let tickets = Tickets::inherited(keys());
        let ticketer = ticketer(&tickets, "a", 1);
        let at = |seconds: u32| UnixTime(NOW.0 + seconds);
        let sealed = ticketer.seal(b"state", NOW).unwrap();
        assert!(ticketer.open(&sealed, at(ROTATION - 1)).is_some());
        assert!(tickets.keys() == keys(), "not due");
        assert!(ticketer.open(&sealed, at(ROTATION)).is_some());
        assert!(ticketer.open(&sealed, at(2 * ROTATION - 1)).is_some());
        assert!(ticketer.open(&sealed, at(2 * ROTATION)).is_none());
        let silent = Tickets::inherited(keys());
        let silent = self::ticketer(&silent, "a", 1);
        assert!(silent.open(&sealed, at(2 * ROTATION)).is_none(), "nobody came meanwhile");
        assert!(silent.seal(b"state", NOW).is_some());
        assert_eq!(silent.keys.read().since, NOW.0, "a clock that was set back");
    }

    #[test]
    fn what_was_altered_or_is_no_ticket_of_ours_does_not_open() {
        let tickets = Tickets::inherited(keys());
        let ticketer = ticketer(&tickets, "a", 1);
        let sealed = ticketer.seal(b"state", NOW).unwrap();
        assert_eq!(sealed.len(), NAME + NONCE + 5 + TAG);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(ticketer.open(&altered, NOW).is_none(), "byte {at}");
            assert!(ticketer.open(&sealed[..at], NOW).is_none(), "cut at {at}");
        }
        assert!(ticketer.open(&vec![0; LONGEST + 1], NOW).is_none());
        assert!(ticketer.seal(&[0; LONGEST], NOW).is_none(), "nothing that would not open");
        let again = ticketer.seal(b"state", NOW).unwrap();
        assert_ne!(again[NAME..], sealed[NAME..], "no nonce comes twice");
    }
}
