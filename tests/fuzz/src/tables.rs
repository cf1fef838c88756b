//! What holds for every format that is looked up in a table of the backends.

use std::sync::LazyLock;
use stickfast::affinity::formats::{Carrier, Dates, Format, MAX_KEY, Over, Reading, Table, Target};
use stickfast::model::{Secret, UnixTime};

const NOW: UnixTime = UnixTime(1_795_000_000);

/// One format, worked out for three backends, for the same three the other way round, and for none.
pub struct Tables {
    /// Which.
    pub format: Format,
    /// For `b1`, `b2` and `b3`.
    pub three: Table,
    reversed: Table,
    empty: Table,
}

impl Tables {
    /// Reads `value`, and checks what holds in every format.
    pub fn read<'v>(&self, value: &'v [u8]) -> Reading<'v> {
        let reading = self.three.read(value, NOW);
        assert_eq!(self.three.read(value, NOW), reading, "the same each time");
        let application = self.three.application(value);
        assert!(application.is_none_or(|part| value.ends_with(part)), "a part of what was sent");
        if let Reading::Backend { at, application: read, dates } = reading {
            assert!(at < 3, "one of the service");
            assert_eq!(read, application);
            let keyed = value.len() - application.map_or(0, <[u8]>::len);
            assert!(keyed <= MAX_KEY + 2, "no more than a key and its quotes is looked at");
            // the backend is told, not its place
            let reversed = Reading::Backend { at: 2 - at, application: read, dates };
            assert_eq!(self.reversed.read(value, NOW), reversed);
            assert_eq!(self.empty.read(value, NOW), Reading::Unknown, "of no other service");
            if let Some(date) = dates.last.or(dates.first) {
                assert_eq!(date.0 % 4, 0, "dates come in steps of four seconds");
            }
        } else {
            assert_eq!(self.reversed.read(value, NOW), reading);
        }
        reading
    }

    /// As [`read`](Self::read), for a format that has nothing in it but the one text that names a
    /// backend.
    pub fn read_name(&self, value: &[u8]) -> Option<usize> {
        match self.read(value) {
            Reading::Backend { at, application, dates } => {
                assert_eq!((application, dates), (None, Dates::default()));
                Some(at)
            }
            Reading::Unknown | Reading::Malformed => None,
            other @ (Reading::NoKey | Reading::Expired) => panic!("{:?}: {other:?}", self.format),
        }
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn target(id: &'static str, port: u16) -> Target<'static> {
    Target { id, address: ([127, 0, 0, 1], port).into(), route: None, url: None }
}

/// Every format there is.
pub static ALL: LazyLock<Vec<Tables>> = LazyLock::new(|| {
    let three = [target("b1", 9101), target("b2", 9102), target("b3", 9103)];
    let reversed = [three[2], three[1], three[0]];
    let secrets = vec![secret("a secret of sixteen bytes")];
    let haproxy = |prefix, key: Option<&str>| Format::HaProxy { prefix, dynamic: key.map(secret) };
    let formats = [
        Format::Hash { secrets, service: "cart".into() },
        Format::Plain(Carrier::Cookie),
        Format::Plain(Carrier::Header),
        Format::HashCookie(Over::Id),
        Format::HashCookie(Over::Address),
        Format::ArrCookie(Over::Id),
        Format::ArrCookie(Over::Address),
        Format::Envoy,
        haproxy(false, None),
        haproxy(true, None),
        haproxy(false, Some("MYKEY")),
        haproxy(true, Some("MYKEY")),
        Format::Nginx,
        Format::Traefik,
        Format::Caddy { secret: secret("secret") },
        Format::Sozu,
        Format::Servlet,
    ];
    let tables = formats.map(|format| Tables {
        three: Table::new(&format, &three),
        reversed: Table::new(&format, &reversed),
        empty: Table::new(&format, &[]),
        format,
    });
    tables.into()
});

/// The formats that `wanted` picks; there is at least one.
pub fn of(wanted: impl Fn(&Format) -> bool) -> impl Iterator<Item = &'static Tables> {
    let mut tables = ALL.iter().filter(move |tables| wanted(&tables.format)).peekable();
    assert!(tables.peek().is_some(), "a format to try");
    tables
}
