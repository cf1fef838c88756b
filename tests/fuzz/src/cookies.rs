//! Cutting our cookies out of `Cookie`, held against a slow reading of the same value, pair by pair.

use std::sync::LazyLock;
use stickfast::affinity::cookies::{Candidate, MAX_CANDIDATES, carries};
use stickfast::affinity::formats::{Format, Target};
use stickfast::affinity::{Adopted, CookieNames, Cutter, Wanted};

struct Fixture {
    /// Those of the rule that reads.
    names: CookieNames,
    cutter: Cutter,
    adopted: [Adopted; 3],
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let address = ([127, 0, 0, 1], 9101).into();
    let targets = [Target { id: "b1", address, route: None, url: None }];
    let names = CookieNames::new("ours", "cart", false);
    let others = CookieNames::new("other", "chat", true);
    let haproxy = |prefix| Format::HaProxy { prefix, dynamic: None };
    Fixture {
        cutter: Cutter::new([&names, &others]),
        names,
        adopted: [
            Adopted::new("SRV", &haproxy(false), &targets),
            Adopted::new("SID", &haproxy(true), &targets),
            Adopted::new("JSESSIONID", &Format::Servlet, &targets),
        ],
    }
});

fn trim(pair: &[u8]) -> &[u8] {
    pair.trim_ascii()
}

/// Name and value of one pair.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((trim(&text[..equals]), trim(&text[equals + 1..])))
}

fn is_ours(name: &[u8]) -> bool {
    let other = CookieNames::new("other", "chat", true);
    FIXTURE.names.either(name) || other.either(name)
}

/// The pairs of a value, without the white space around them.
fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b';').map(trim).filter(|text| !text.is_empty())
}

/// What of a pair stays.
fn kept(text: &[u8]) -> Option<Vec<u8>> {
    match pair(text) {
        Some((name, _)) if is_ours(name) => None,
        Some((b"SRV", _)) => None,
        Some((b"SID", value)) => {
            let equals = text.iter().position(|byte| *byte == b'=').unwrap_or_default();
            // only a prefix that names a backend is one
            let rest = value.strip_prefix(b"b1~");
            Some(rest.map_or(text.to_vec(), |rest| [&text[..=equals], rest].concat()))
        }
        Some(_) | None => Some(text.to_vec()),
    }
}

/// As one line of `Cookie`.
pub fn holds(data: &[u8]) {
    let wanted = Wanted { names: Some(&FIXTURE.names), adopted: &FIXTURE.adopted, sessions: &[] };
    let cut = FIXTURE.cutter.cut(data, wanted);
    // no header can hold other bytes
    let Ok(value) = http::HeaderValue::from_bytes(data) else { return };

    let expected: Vec<Vec<u8>> = pairs(data).filter_map(kept).collect();
    let untouched = pairs(data).eq(expected.iter().map(Vec::as_slice));
    assert_eq!(cut.rest.is_none(), untouched, "a value without our pairs is left alone");
    let rest = cut.rest.as_deref().unwrap_or(data);
    let left: Vec<&[u8]> = pairs(rest).collect();
    let whole = expected.iter().map(|text| trim(text)).filter(|text| !text.is_empty());
    assert!(whole.eq(left.iter().copied()), "all other pairs stay, whole and in order");
    assert!(is_subsequence(rest, data), "nothing is added");
    if expected.is_empty() && cut.rest.is_some() {
        assert!(rest.is_empty(), "of nothing but ours, nothing stays");
    }

    let under = |wanted: &dyn Fn(&[u8]) -> bool| -> Vec<(&[u8], &[u8])> {
        pairs(data).filter_map(pair).filter(|(name, _)| wanted(name)).collect()
    };
    let ours = under(&|name| FIXTURE.names.either(name));
    let keys = ours.iter().map(|(name, key)| Candidate { key, current: *name == b"ours" });
    assert!(keys.take(MAX_CANDIDATES).eq(cut.found.iter().copied()), "our keys, in order");
    let foreign = [b"SRV".as_slice(), b"SID", b"JSESSIONID"];
    let values = under(&|name| foreign.contains(&name));
    assert!(values.iter().map(|(_, value)| *value).eq(cut.foreign.iter().map(|(_, value)| *value)));

    assert!(FIXTURE.cutter.cut(rest, wanted).found.is_empty(), "no key of ours is left");
    let unread = FIXTURE.cutter.cut(data, Wanted::default());
    assert!(unread.found.is_empty() && unread.foreign.is_empty(), "a rule without affinity");
    let headers = http::HeaderMap::from_iter([(http::header::COOKIE, value)]);
    assert_eq!(carries(&headers, b"ours"), !under(&|name| name == b"ours").is_empty());
}

fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|byte| whole.any(|other| other == byte))
}
