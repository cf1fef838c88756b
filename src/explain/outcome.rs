//! What becomes of the request: the verdict of [`decide`], carried out as a gateway with nothing else
//! to do carries it out, and put in words.

use super::placing::Placing;
use super::report::Outcome;
use super::request::Found;
use super::words;
use crate::affinity::course::{WhenFull, when_full};
use crate::affinity::stamp::{Elsewhere, Home};
use crate::affinity::{Stamp, Terms};
use crate::model::{Cause, UnixTime};
use crate::pool::Member;
use crate::proxy::decide::{self, Bond, Choice, Identified, Wish, Within};
use crate::snapshot::{Place, Rule, Stickiness};
use std::time::Duration;

/// One request and all that is known about it.
pub(super) struct Case<'a> {
    pub(super) found: &'a Found<'a>,
    pub(super) identified: &'a Identified,
    pub(super) placing: &'a Placing<'a>,
    /// Whether the client names its session itself.
    pub(super) named: bool,
    /// Whether the client has a key, which does not count for a handshake.
    pub(super) anew: bool,
    pub(super) now: UnixTime,
}

/// Who serves, and what is said of it.
struct Served {
    course: String,
    /// Nobody does: refused.
    by: Option<std::sync::Arc<Member>>,
    bond: Option<Bond>,
    full: bool,
}

impl Case<'_> {
    /// What becomes of the request.
    pub(super) fn outcome(&self) -> Outcome {
        let Some(stickiness) = &self.found.rule.stickiness else {
            let meaning = "session affinity is off for this rule".into();
            return Outcome { meaning, course: self.serve(None).course, ..Outcome::default() };
        };
        let status = stickiness.reject_status;
        if self.identified.rejected {
            let course = format!("is refused with {status} (affinity-rejected)");
            return self.told(stickiness, self.identified.cause, course, None);
        }
        let served = self.serve(Some(stickiness));
        let cause = if served.full { Some(Cause::Full) } else { self.identified.cause };
        let stamp = served.by.as_ref().map(|member| {
            let bond = served.bond.as_ref();
            self.stamp(stickiness, decide::stamped(bond, member, stickiness.terms, self.now))
        });
        self.told(stickiness, cause, served.course, stamp)
    }

    fn told(
        &self,
        stickiness: &Stickiness,
        cause: Option<Cause>,
        course: String,
        stamp: Option<String>,
    ) -> Outcome {
        let bond = self.identified.bond.as_ref();
        let meaning = match cause {
            Some(Cause::NoKey) if self.named => "the client names its session".to_owned(),
            Some(Cause::NoKey) if self.anew => {
                "stickyReconnect: false, so the key of a handshake does not count".to_owned()
            }
            Some(cause) => words::meaning(cause, stickiness.policies),
            None if bond.is_some_and(|bond| bond.until_then.is_some()) => {
                let failback = words::failback(stickiness.policies);
                format!("the key holds, and its home takes clients again; {failback}")
            }
            None => "the key holds".to_owned(),
        };
        Outcome { cause: cause.map(Cause::label), meaning, course, stamp }
    }

    /// Asks as often as a gateway does.
    fn serve(&self, stickiness: Option<&Stickiness>) -> Served {
        let mut bond = self.identified.bond.clone();
        let (mut waits, mut full) = (String::new(), false);
        let room = self.found.rule.service.room;
        // waits for the bound backend, then goes elsewhere: nobody is asked more than three times
        for waited in [false, true, true] {
            let member = match self.choose(bond.as_ref()) {
                Choice::Bound(member) => {
                    let course = format!("{waits}{}", self.bound(&member));
                    return Served { course, by: Some(member), bond, full };
                }
                Choice::Placed(member) => {
                    let guest = bond.as_ref().is_some_and(|b| b.elsewhere == Elsewhere::Visits);
                    let course = if guest {
                        let host = self.placing.guest(&member);
                        format!("{waits}goes to {host} this once; its binding stays")
                    } else {
                        let id = || member.backend.id.to_string();
                        format!("{waits}goes to {}", self.placing.told().unwrap_or_else(id))
                    };
                    return Served { course, by: Some(member), bond, full };
                }
                Choice::Panic(member) => {
                    let course = format!("{waits}goes to {}", self.in_need(&member));
                    return Served { course, by: Some(member), bond, full };
                }
                Choice::Crowded => {
                    let patience = patience(room.patience);
                    let course = format!(
                        "waits up to {patience} for any backend, and is then answered with 503 (full)"
                    );
                    return Served { course, by: None, bond, full };
                }
                Choice::Lost(_) | Choice::Nobody => {
                    let course = "is answered with 503 (no-backend), since nobody can serve it";
                    return Served { course: course.into(), by: None, bond, full };
                }
                Choice::Full(member) => member,
            };
            let (Some(stickiness), Some(bond)) = (stickiness, &mut bond) else { break };
            full = true;
            match when_full(stickiness.policies.on_full, waited) {
                WhenFull::Wait => {
                    waits = format!(
                        "waits up to {} for a place at {}; if none is free by then, it ",
                        patience(room.patience),
                        member.backend.id
                    );
                }
                WhenFull::Move => bond.moves_elsewhere(stickiness.policies),
                WhenFull::Visit => bond.visits_elsewhere(),
                WhenFull::Reject => {
                    let status = stickiness.reject_status;
                    let course = format!("is refused with {status} (affinity-rejected)");
                    return Served { course, by: None, bond: None, full };
                }
            }
        }
        Served { course: "goes nowhere".into(), by: None, bond, full }
    }

    fn choose(&self, bond: Option<&Bond>) -> Choice {
        let any = Within::Any;
        decide::choose(Wish {
            service: self.placing.service,
            choices: self.placing.choices,
            key: &self.placing.key,
            within: self.placing.draws.first().map_or(&any, |draw| &draw.within),
            bond,
            company: self.placing.in_turn().filter(|_| bond.is_none()),
            tried: &[],
        })
    }

    fn bound(&self, member: &Member) -> String {
        let id = &member.backend.id;
        let returns = self.identified.bond.as_ref().and_then(|bond| bond.until_then.as_ref());
        match returns {
            Some(here) => format!("returns to {id}, its home, from {}", here.member.backend.id),
            None => format!("goes to {id}, where it is bound"),
        }
    }

    fn in_need(&self, member: &Member) -> String {
        let own =
            self.identified.bond.as_ref().is_some_and(|b| b.member.backend.id == member.backend.id);
        let who = if own || (self.placing.hashes() && self.placing.certain) {
            member.backend.id.to_string()
        } else {
            "one that cannot serve by its checks or its state".to_owned()
        };
        format!("{who}, in need: nobody takes new clients")
    }

    fn stamp(&self, stickiness: &Stickiness, stamp: Stamp) -> String {
        let rule = self.found.rule;
        if self.named {
            return "no key is written: the client names its session".into();
        }
        if self.anew {
            return "no key is written: the client keeps its own, for its requests".into();
        }
        let Some(place) = written_to(stickiness, rule) else {
            let why = match stickiness.in_url() {
                Some(_) => ": it would ride in URLs, and urlRewriting is off",
                None => "",
            };
            return format!("no key is written{why}");
        };
        if !self.identified.stamps {
            return "no key is written: the client has not consented to cookies".into();
        }
        match stamp {
            Stamp::Nothing => "nothing is written; the client keeps its key".to_owned(),
            Stamp::Refresh(_) => format!("the key is written anew for the same backend ({place})"),
            Stamp::Bind(None) => {
                format!("a key for the backend that answers is written ({place})")
            }
            Stamp::Bind(Some(home)) => format!(
                "a key for the backend that answers is written ({place}), with {} as its home",
                told_home(&home)
            ),
        }
    }
}

/// Where responses write the key.
fn written_to(stickiness: &Stickiness, rule: &Rule) -> Option<String> {
    if let Some((_, carrier)) = stickiness.stamped() {
        return Some(match (&carrier.place, &stickiness.names) {
            (Place::Header(name), _) => format!("header {name}"),
            (Place::Cookie | Place::Url(_), Some(names)) => format!("cookie {}", names.written()),
            (Place::Cookie | Place::Url(_), None) => "cookie".into(),
        });
    }
    if let Some((_, _, place)) = stickiness.in_url().filter(|_| rule.rewrites_urls) {
        return Some(format!("{} in the links of the response", place.name()));
    }
    stickiness.envelope.is_some().then(|| "in the envelope, when the application writes it".into())
}

pub(super) fn told_home(home: &Home) -> String {
    match &*home.incarnation {
        "" => home.id.to_string(),
        start => format!("{} (start {start})", home.id),
    }
}

pub(super) fn patience(patience: Duration) -> String {
    humantime::format_duration(patience).to_string()
}

/// When a client whose key was written at `seen` counts as idle.
pub(super) fn idle_since(seen: UnixTime, terms: Terms) -> UnixTime {
    UnixTime(seen.0.saturating_add(terms.refresh.saturating_mul(2)))
}
