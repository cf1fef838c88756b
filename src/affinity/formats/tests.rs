//! Keys as the other systems write them, read and written. Beside it: their shapes, the names in them,
//! and that no format takes another's.

mod apart;
mod names;
mod shapes;

use super::*;

const NOW: UnixTime = UnixTime(1_795_000_000);

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn target<'a>(id: &'a str, address: &str) -> Target<'a> {
    Target { id, address: address.parse().unwrap(), route: None, url: None }
}

fn three() -> [Target<'static>; 3] {
    [("b1", 9101), ("b2", 9102), ("b3", 9103)]
        .map(|(id, port)| target(id, &format!("127.0.0.1:{port}")))
}

fn hash() -> Format {
    Format::Hash { secrets: vec![secret("a secret of sixteen bytes")], service: "cart".into() }
}

fn haproxy(prefix: bool, dynamic: Option<&str>) -> Format {
    Format::HaProxy { prefix, dynamic: dynamic.map(secret) }
}

fn caddy() -> Format {
    Format::Caddy { secret: secret("secret") }
}

fn all() -> [Format; 17] {
    [
        hash(),
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
        caddy(),
        Format::Sozu,
        Format::Servlet,
    ]
}

fn is_written(format: &Format) -> bool {
    use Format::{ArrCookie, Hash, HashCookie, Plain};
    matches!(format, Hash { .. } | Plain(_) | HashCookie(_) | ArrCookie(_))
}

fn read<'k>(format: &Format, targets: &[Target<'_>], value: &'k str) -> Reading<'k> {
    Table::new(format, targets).read(value.as_bytes(), NOW)
}

/// Which backend `value` names, where it names one.
fn at(format: &Format, targets: &[Target<'_>], value: &str) -> Option<usize> {
    match read(format, targets, value) {
        Reading::Backend { at, .. } => Some(at),
        Reading::NoKey | Reading::Expired | Reading::Unknown | Reading::Malformed => None,
    }
}

fn backend(at: usize) -> Reading<'static> {
    Reading::Backend { at, application: None, dates: Dates::default() }
}

/// Every row of the table of formats: the format, the value, the backend.
fn rows() -> Vec<(Format, &'static str, usize)> {
    vec![
        // printf 'cart\0b1' | openssl dgst -sha256 -hmac 'a secret of sixteen bytes'
        (hash(), "f926970339bad86e4a7119a9fcc2ebf4", 0),
        (hash(), "c9c5ddf221dd5d1147777dc2b80242a0", 1),
        (Format::Envoy, "MTI3LjAuMC4xOjkxMDE=", 0),
        (Format::Envoy, "\"Cg4xMjcuMC4wLjE6OTEwMQ==\"", 0),
        (Format::Envoy, "Cg4xMjcuMC4wLjE6OTEwMw==", 2),
        (Format::Envoy, "\"Cg4xMjcuMC4wLjE6OTEwMhCb9ojYBg==\"", 1),
        (Format::Plain(Carrier::Cookie), "\"Cg4xMjcuMC4wLjE6OTEwMg==\"", 1),
        (Format::Plain(Carrier::Cookie), "\"Cg4xMjcuMC4wLjE6OTEwMhCb9ojYBg==\"", 1),
        (Format::Plain(Carrier::Header), "MTI3LjAuMC4xOjkxMDE=", 0),
        (haproxy(false, None), "b1", 0),
        (haproxy(false, None), "b3|ZVPxA|ZVPxA", 2),
        (haproxy(true, None), "b2~A1B2", 1),
        (haproxy(false, Some("MYKEY")), "0850e255b3ddd68b", 0),
        (haproxy(true, Some("MYKEY")), "0850e255b3ddd68b~A1B2", 0),
        (Format::Nginx, "1fcb7e810098aceacd231d9d55434642", 0),
        (Format::Nginx, "49d93890628afec4f1964241841ebd2a", 1),
        (Format::Traefik, "c268f781ab94296e", 0),
        (Format::Traefik, "e93ee04740ad6550", 2),
        (caddy(), "a874d02b3cc55163a80cdd8595b8a40b346d74832f4da20a0c031639fe3ec687", 0),
        (caddy(), "e54a3cbc380606471ff344b88aeff864e6d9ca752d196c55d2690a1d58acef42", 1),
        (Format::Sozu, "b2", 1),
        (Format::Servlet, "A1B2.b3", 2),
    ]
}

#[test]
fn every_row_of_the_table_of_formats_names_its_backend() {
    for (format, value, expected) in rows() {
        assert_eq!(at(&format, &three(), value), Some(expected), "{format:?} {value}");
    }
}

#[test]
fn what_is_written_is_what_the_other_systems_write() {
    let written = |format: &Format, targets: &[Target<'_>]| {
        Table::new(format, targets).write(0).map(str::to_owned)
    };
    for (format, key) in [
        (hash(), "f926970339bad86e4a7119a9fcc2ebf4"),
        (Format::Plain(Carrier::Cookie), "\"Cg4xMjcuMC4wLjE6OTEwMQ==\""),
        (Format::Plain(Carrier::Header), "MTI3LjAuMC4xOjkxMDE="),
    ] {
        assert_eq!(written(&format, &three()).as_deref(), Some(key), "{format:?}");
    }
    let spec_1 = [target("b", "10.48.0.171:8080")];
    assert_eq!(
        written(&Format::Plain(Carrier::Header), &spec_1).as_deref(),
        Some("MTAuNDguMC4xNzE6ODA4MA==")
    );
    let named = [target("dest-A", "10.0.0.1:8080")];
    for (format, key) in [
        (Format::HashCookie(Over::Id), "615d6cd1b28160f0"),
        (Format::HashCookie(Over::Address), "7c218688f5309ec5"),
        (
            Format::ArrCookie(Over::Id),
            "CE3762A8E5BFB452C5071CC80C81E9C89A87369B0E8F7866CB437C1A181A865F",
        ),
    ] {
        assert_eq!(written(&format, &named).as_deref(), Some(key), "{format:?}");
        assert_eq!(read(&format, &named, key), backend(0), "{format:?}");
    }
}

#[test]
fn formats_of_other_systems_are_only_read() {
    for format in all() {
        let table = Table::new(&format, &three());
        assert!((0..3).all(|at| table.write(at).is_some() == is_written(&format)), "{format:?}");
        assert_eq!(table.write(3), None, "no such target");
    }
}

#[test]
fn a_well_formed_key_for_no_backend_of_this_service_is_unknown() {
    let other = [target("b9", "127.0.0.1:9199")];
    for (format, value, _) in rows() {
        let unknown = read(&format, &other, value);
        assert_eq!(unknown, Reading::Unknown, "{format:?} {value}");
        assert_eq!(read(&format, &[], value), Reading::Unknown, "{format:?} {value}");
    }
}

#[test]
fn every_secret_reads_and_the_first_writes() {
    let format = |texts: &[&str]| Format::Hash {
        secrets: texts.iter().map(|text| secret(text)).collect(),
        service: "cart".into(),
    };
    let old = Table::new(&format(&["the old secret"]), &three());
    let both = Table::new(&format(&["the new secret", "the old secret"]), &three());
    let key = old.write(1).unwrap();
    assert_eq!(both.read(key.as_bytes(), NOW), backend(1));
    assert_eq!(old.read(both.write(1).unwrap().as_bytes(), NOW), Reading::Unknown);
    let twice = Table::new(&format(&["the old secret", "the old secret"]), &three());
    assert_eq!(twice.clashes(), []);
}

#[test]
fn a_hashed_key_of_one_service_names_nothing_in_another() {
    let Format::Hash { secrets, .. } = hash() else { panic!("hash") };
    let other = Format::Hash { secrets, service: "chat".into() };
    let key = Table::new(&hash(), &three()).write(0).unwrap().to_owned();
    assert_eq!(read(&other, &three(), &key), Reading::Unknown);
}

#[test]
fn targets_with_one_name_are_told_and_the_first_is_found() {
    let targets = [target("Dest", "127.0.0.1:1"), target("dest", "127.0.0.1:1")];
    let clash = [Clash { first: 0, second: 1 }];
    for format in [Format::HashCookie(Over::Id), Format::ArrCookie(Over::Id), Format::Envoy] {
        assert_eq!(Table::new(&format, &targets).clashes(), clash, "{format:?}");
    }
    let table = Table::new(&Format::ArrCookie(Over::Id), &targets);
    assert_eq!(table.read(table.write(1).unwrap().as_bytes(), NOW), backend(0));
    assert_eq!(Table::new(&Format::Sozu, &targets).clashes(), []);
}

#[test]
fn letters_change_case_one_for_one_as_in_dotnet() {
    let upper = |text| String::from_utf16(&units(&digest::upper_utf16(text))).unwrap();
    let lower = |text| String::from_utf16(&units(&digest::lower_utf16(text))).unwrap();
    assert_eq!(upper("dest-äßıſ𐐨"), "DEST-Äßıſ𐐀");
    assert_eq!(lower("DEST-ÄİΣ"), "dest-äİσ");
}

fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}
