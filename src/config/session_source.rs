//! What of `sessionAffinity` concerns requests that carry no key of ours: the application's own
//! session that stands in for one (`learn`, `envelope`), and first requests that belong together
//! (`burst`).

use super::method::is_spoken_for;
use super::scalar::Scalar;
use super::section::Section;
use super::syntax::is_token;
use super::written::{Burst, SessionSource};
use std::time::Duration;

/// Sessions of the application.
pub(super) struct Sessions {
    pub(super) learn: Vec<SessionSource>,
    pub(super) envelope: Option<SessionSource>,
}

impl Sessions {
    pub(super) fn is_empty(&self) -> bool {
        self.learn.is_empty() && self.envelope.is_none()
    }
}

pub(super) fn read(section: &mut Section) -> Sessions {
    let learn: Vec<_> = section.sections("learn").into_iter().filter_map(source).collect();
    let envelope = section.section("envelope");
    let named = envelope.says("header") || envelope.says("cookie");
    let envelope = if named { source(envelope) } else { nowhere(envelope) };
    let twice = learn.iter().enumerate().find(|(nth, one)| {
        learn.iter().take(*nth).any(|other| other == *one) || envelope.as_ref() == Some(*one)
    });
    if twice.is_some() {
        let at = section.blame(&["learn"]);
        section.reader.report(&at, "names a session twice", "name each once, in learn or envelope");
    }
    Sessions { learn, envelope }
}

/// An empty section is one that is off.
fn nowhere(mut section: Section) -> Option<SessionSource> {
    section.node("header");
    section.node("cookie");
    None
}

fn source(mut section: Section) -> Option<SessionSource> {
    let name = |text: &str| text.len() <= 64 && is_token(text);
    let header = section.value("header", |s| {
        s.checked("the name of a header that is not spoken for by HTTP or the gateway", |text| {
            name(text) && !is_spoken_for(&text.to_ascii_lowercase())
        })
    });
    let cookie = section.value("cookie", |s| s.checked("the name of a cookie", name));
    let at = section.at.clone();
    let both = section.says("header") && section.says("cookie");
    if both || !(section.says("header") || section.says("cookie")) {
        let cure = "write `header: NAME` or `cookie: NAME`";
        section.reader.report(&at, "is not one place", cure);
        return None;
    }
    let header = header.map(|name| SessionSource::Header(name.to_ascii_lowercase()));
    header.or(cookie.map(SessionSource::Cookie))
}

pub(super) fn burst(section: &mut Section) -> Burst {
    let mut burst = section.section("burst");
    Burst {
        same_connection: burst.value("sameConnection", Scalar::flag).unwrap_or(false),
        window: burst.value("window", |s| s.duration(Duration::ZERO)).unwrap_or(Duration::ZERO),
    }
}
