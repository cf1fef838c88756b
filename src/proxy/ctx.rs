//! What is known of one request while it is under way.

use super::decide::{Bond, Within};
use super::refusal::Refusal;
use crate::model::sharded::Place;
use crate::model::{BackendId, Brought, Cause, Did, UnixTime, clock};
use crate::observe::{Guard, Metrics};
use crate::pool::{Member, Seat};
use crate::rewriting::HtmlRewriter;
use crate::snapshot::{Pinned, PlaceKey, Rule};
use crate::websocket::Tunnel;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One request.
#[allow(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct Ctx {
    /// The configuration that it began with and ends with.
    pub(super) snapshot: Arc<Pinned>,
    /// Index of its rule in the snapshot.
    pub(super) rule: Option<usize>,
    pub(super) arrived: Instant,
    pub(super) wall: Duration,
    pub(super) now: UnixTime,
    /// Behind trusted proxies.
    pub(super) client: IpAddr,
    pub(super) https: bool,
    pub(super) request_id: String,
    /// What the request brought, for the log.
    pub(super) brought: Brought,
    /// Why it was placed anew; `None` while it is with its backend, or without affinity.
    pub(super) cause: Option<Cause>,
    /// The backend that it had to leave, as its key calls it.
    pub(super) from: Option<BackendId>,
    /// The versions that it may go to.
    pub(super) within: Within,
    /// The application's own names for the session of this client, each with its place among the
    /// rule's.
    pub(super) sessions: SmallVec<[(usize, PlaceKey); 1]>,
    /// The key that came in the URL, if that one counts.
    pub(super) url_key: Option<String>,
    /// The page that is asked for, where links get the key.
    pub(super) page: Option<Asked>,
    /// What puts the key into the page; locked only for the compiler, which asks for `Sync`.
    pub(super) html: Option<Box<Mutex<HtmlRewriter>>>,
    /// The tag of the binding, where others have the same.
    pub(super) tag: Option<u64>,
    /// How long it has waited for backends that were full.
    pub(super) waited: Duration,
    /// Whether that was in vain in the end.
    pub(super) waited_in_vain: bool,
    /// What it takes up at the backend that was asked last.
    pub(super) seat: Option<Seat>,
    /// What places it on the ring of its rule.
    pub(super) place: Option<PlaceKey>,
    /// Whether a response may write a key.
    pub(super) stamps: bool,
    /// The binding that its key holds.
    pub(super) bond: Option<Bond>,
    /// Who was asked last.
    pub(super) backend: Option<Arc<Member>>,
    /// Who failed already; few, so a list.
    pub(super) tried: SmallVec<[Arc<Member>; 4]>,
    /// A kept-alive connection had gone stale: the same backend gets one more chance.
    pub(super) once_more: Option<Arc<Member>>,
    pub(super) attempts: u32,
    /// Nobody was healthy, so that an unhealthy backend was asked.
    pub(super) panicked: bool,
    /// Tries that failed after the request was sent.
    pub(super) late_failures: u32,
    /// Why the last try failed.
    pub(super) last_failure: Option<Refusal>,
    /// Why the gateway answers, or answered, itself.
    pub(super) refusal: Option<Refusal>,
    /// Whether it asks for a WebSocket.
    pub(super) handshakes: bool,
    /// The WebSocket that it has become.
    pub(super) tunnel: Option<Tunnel>,
    /// Bytes that went to the client through it.
    pub(super) tunnelled: u64,
    /// Whether the request has a body that takes its time, or is a call of gRPC's.
    pub(super) streams: bool,
    /// Body bytes of this try.
    pub(super) body_bytes: u64,
    pub(super) did: Did,
    /// Counts the request as under way. A guard, since Pingora does not call `logging` for every
    /// request (not for one that is cut off by the end of the process, nor after a panic).
    _active: Guard,
}

/// A page as the client asks for it.
pub(super) struct Asked {
    /// Host and port.
    pub(super) host: String,
    /// Path and query, without keys.
    pub(super) target: String,
}

impl Ctx {
    pub(super) fn new(snapshot: Arc<Pinned>, metrics: &Metrics) -> Self {
        Place::take();
        let wall = clock::wall_now();
        Self {
            snapshot,
            rule: None,
            arrived: clock::monotonic_now(),
            wall,
            now: UnixTime(u32::try_from(wall.as_secs()).unwrap_or(u32::MAX)),
            client: IpAddr::from([0, 0, 0, 0]),
            https: false,
            request_id: String::new(),
            brought: Brought::Nothing,
            cause: None,
            from: None,
            within: Within::Any,
            sessions: SmallVec::new(),
            url_key: None,
            page: None,
            html: None,
            tag: None,
            waited: Duration::ZERO,
            waited_in_vain: false,
            seat: None,
            place: None,
            stamps: false,
            bond: None,
            backend: None,
            tried: SmallVec::new(),
            once_more: None,
            attempts: 0,
            panicked: false,
            late_failures: 0,
            last_failure: None,
            refusal: None,
            handshakes: false,
            tunnel: None,
            tunnelled: 0,
            streams: false,
            body_bytes: 0,
            did: Did::Nothing,
            _active: metrics.begin(),
        }
    }

    /// The rule that was found.
    pub(super) fn rule(&self) -> Option<&Rule> {
        self.rule.and_then(|at| self.snapshot.rule(at))
    }

    /// The backend has answered in full. An upgraded connection has it until both sides are done.
    pub(super) fn free_seat(&mut self) {
        self.seat = None;
    }

    /// Takes note that the backend that was asked last cannot serve this request.
    pub(super) fn give_up_on_backend(&mut self) {
        let Some(member) = self.backend.clone() else { return };
        self.seat = None;
        member.metrics.retried();
        let bond = self.bond.as_mut().filter(|bond| bond.member.is(&member));
        if let Some(bond) = bond {
            if let Some(here) = bond.until_then.take() {
                // its home does not serve after all: the client stays where it is
                *bond = *here;
                self.tried.push(member);
                return;
            }
            self.brought = Brought::Down;
            self.cause = Some(Cause::Unhealthy);
            self.from = Some(member.backend.id.clone());
        }
        self.tried.push(member);
    }
}
