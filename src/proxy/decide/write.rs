//! What the response says about the binding.

use super::Bond;
use crate::affinity::stamp::Kept;
use crate::affinity::{Binding, Stamp, Standing, Terms, stamp};
use crate::model::UnixTime;
use crate::pool::Member;
use crate::snapshot::{Service, Stickiness, Text};
use std::sync::Arc;

/// What to write on a response of `answered` at `now`, which may be long after the request.
pub fn stamped(bond: Option<&Bond>, answered: &Member, terms: Terms, now: UnixTime) -> Stamp {
    let answered = &answered.backend.id;
    let Some(bond) = bond else { return stamp(Standing::Free, answered, || "".into()) };
    let standing = Standing::Bound {
        backend: &bond.member.backend.id,
        kept: &bond.kept,
        // an unsealed key has no times: when it was seen is when the request came
        refresh: bond.refresh
            || (bond.kept.tag != 0 && now.seconds_since(bond.kept.seen) >= terms.refresh),
        elsewhere: bond.elsewhere,
    };
    stamp(standing, answered, || bond.member.incarnation().unwrap_or_else(|| "".into()))
}

/// A binding that is ready to be written, in whatever a rule writes keys to.
#[derive(Clone, Debug)]
pub struct Written {
    member: Arc<Member>,
    incarnation: Option<Arc<str>>,
    kept: Kept,
    home: String,
    now: UnixTime,
}

/// The binding after a response of `answered`: a new one under `tag`, or the one that the client
/// has.
pub fn written(
    stamp: &Stamp,
    bond: Option<&Bond>,
    answered: &Arc<Member>,
    tag: u64,
    now: UnixTime,
) -> Written {
    let fresh = || Kept { issued: now, seen: now, tag, home: None };
    let (member, mut kept) = match stamp {
        Stamp::Bind(home) => (answered, Kept { home: home.clone(), ..fresh() }),
        Stamp::Refresh(_) | Stamp::Nothing => match bond {
            Some(bond) => (&bond.member, bond.kept.clone()),
            None => (answered, fresh()),
        },
    };
    if kept.tag == 0 {
        // the key of another load balancer has none
        kept.tag = tag;
    }
    Written {
        member: Arc::clone(member),
        incarnation: member.incarnation(),
        home: kept.home.as_ref().map(crate::affinity::stamp::Home::write).unwrap_or_default(),
        kept,
        now,
    }
}

impl Written {
    /// Whose the client is.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// When it was bound, and the tag made then.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The start that is running there; empty when nobody knows.
    pub fn incarnation(&self) -> Arc<str> {
        self.incarnation.clone().unwrap_or_else(|| "".into())
    }

    /// It as a key, for the place that `text` stands for. `nonce` must be fresh random bytes for each.
    ///
    /// # Errors
    /// `None` when the names are too long, which configuration rules out, or where nothing is
    /// written.
    pub fn key(
        &self,
        stickiness: &Stickiness,
        service: &Service,
        text: Text,
        nonce: [u8; 12],
    ) -> Option<String> {
        let backend = &self.member.backend;
        let binding = Binding {
            issued: self.kept.issued,
            seen: self.now,
            tag: self.kept.tag,
            backend: backend.id.as_str(),
            incarnation: self.incarnation.as_deref().unwrap_or_default(),
            version: &backend.version,
            home: &self.home,
        };
        let at = service.pool.place(&self.member)?;
        stickiness.codec(text)?.write(&binding, at, nonce, self.now)
    }
}
