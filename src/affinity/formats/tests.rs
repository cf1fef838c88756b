use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

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

/// Made once, since properties ask them for every value.
static TABLES: LazyLock<Vec<(Format, Table)>> = LazyLock::new(|| {
    all().into_iter().map(|format| (format.clone(), Table::new(&format, &three()))).collect()
});

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
fn a_key_of_the_wrong_shape_is_malformed() {
    for (format, value) in [
        (hash(), "F926970339BAD86E4A7119A9FCC2EBF4"),
        (hash(), "f926970339bad86e4a7119a9fcc2ebf"),
        (Format::HashCookie(Over::Id), "615D6CD1B28160F0"),
        (
            Format::ArrCookie(Over::Id),
            "ce3762a8e5bfb452c5071cc80c81e9c89a87369b0e8f7866cb437c1a181a865f",
        ),
        (Format::Envoy, "\"Cg4xMjcuMC4wLjE6OTEwMQ=="),
        (Format::Envoy, "Cg4xMjcuMC4wLjE6OTEwMQ"),
        (Format::Envoy, "127.0.0.1:9101"),
        (Format::Envoy, "ZXhhbXBsZTo4MA=="),
        (Format::Envoy, "\"\""),
        (haproxy(false, None), "b1|"),
        (haproxy(false, None), "b1|ZVPx"),
        (haproxy(false, None), "b1|ZVPxA|ZVP-A"),
        (haproxy(false, None), "b1|ZVPxA|ZVPxA|ZVPxA"),
        (haproxy(false, None), "|ZVPxA"),
        (haproxy(true, None), "~A1B2"),
        (Format::Servlet, "A1B2."),
    ] {
        assert_eq!(read(&format, &three(), value), Reading::Malformed, "{format:?} {value}");
    }
}

#[test]
fn nothing_longer_than_a_key_may_be_is_decoded() {
    for format in all() {
        for length in [MAX_KEY + 1, MAX_KEY + 2, 100_000] {
            // base64 and a bare name; a name before a tilde and behind a dot
            for value in ["A".repeat(length), format!("{0}~x.{0}", "A".repeat(length))] {
                let reading = read(&format, &three(), &value);
                assert!(
                    matches!(reading, Reading::Malformed | Reading::NoKey),
                    "{format:?} {length} {reading:?}"
                );
            }
        }
        assert_eq!(at(&format, &three(), ""), None);
    }
    let message = format!("\"{}\"", "A".repeat(MAX_KEY + 4));
    assert_eq!(read(&Format::Envoy, &three(), &message), Reading::Malformed);
}

#[test]
fn an_address_that_also_parses_as_protobuf_is_an_address() {
    let targets = [target("b", "10.0.0.1:80")];
    assert_eq!(read(&Format::Envoy, &targets, "MTAuMC4wLjE6ODA="), backend(0));
}

#[test]
fn ipv6_addresses_are_in_brackets_and_may_be_printed_otherwise() {
    let targets = [target("b", "[2001:db8::1]:8080")];
    assert_eq!(read(&Format::Envoy, &targets, "WzIwMDE6ZGI4OjoxXTo4MDgw"), backend(0));
    assert_eq!(read(&Format::Envoy, &targets, "\"ChJbMjAwMTpkYjg6OjFdOjgwODA=\""), backend(0));
    // base64 of [2001:DB8:0::1]:8080
    assert_eq!(read(&Format::Envoy, &targets, "WzIwMDE6REI4OjA6OjFdOjgwODA="), backend(0));
    // printf '[2001:db8::1]:8080' | md5sum
    assert_eq!(read(&Format::Nginx, &targets, "72bad8912b6fb5f0c640f64f70cb45b7"), backend(0));
}

#[test]
fn an_envoy_key_ends_when_it_says_so_unless_its_clock_was_none() {
    let table = Table::new(&Format::Envoy, &three());
    let key = b"\"Cg4xMjcuMC4wLjE6OTEwMhCb9ojYBg==\"";
    assert_eq!(table.read(key, UnixTime(1_795_308_315)), backend(1));
    assert_eq!(table.read(key, UnixTime(1_795_308_316)), Reading::Expired);
    let none = Table::new(&Format::Envoy, &[]);
    assert_eq!(none.read(key, UnixTime(1_795_308_316)), Reading::Expired, "whosever it was");
    // expires 999999999, seconds since some start; and 1000000000, a date of 2001
    let boot = b"\"Cg4xMjcuMC4wLjE6OTEwMRD/k+vcAw==\"";
    assert_eq!(table.read(boot, NOW), backend(0));
    let old = b"\"Cg4xMjcuMC4wLjE6OTEwMRCAlOvcAw==\"";
    assert_eq!(table.read(old, NOW), Reading::Expired);
}

#[test]
fn a_protobuf_message_may_have_more_fields_in_any_order() {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let table = Table::new(&Format::Envoy, &three());
    let address = b"\x0a\x0e127.0.0.1:9101";
    for more in
        [&b"\x18\x01"[..], b"\x19\0\0\0\0\0\0\0\0", b"\x1a\x02hi", b"\x1d\0\0\0\0", b"\x10\0"]
    {
        for message in [[address, more].concat(), [more, address].concat()] {
            let key = encode(&message);
            assert_eq!(table.read(key.as_bytes(), NOW), backend(0), "{message:?}");
        }
    }
    let last = encode(&[&b"\x0a\x0e127.0.0.1:9103"[..], address].concat());
    assert_eq!(table.read(last.as_bytes(), NOW), backend(0), "of two the last counts");
    for broken in [
        &b"\x1b"[..],
        b"\x02\x01a",
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x1a\x7f",
    ] {
        let key = encode(&[address, broken].concat());
        assert_eq!(table.read(key.as_bytes(), NOW), Reading::Malformed, "{broken:?}");
    }
    assert_eq!(table.read(encode(b"\x10\x05").as_bytes(), NOW), Reading::Malformed, "no address");
    for (more, reading) in [(15, backend(0)), (16, Reading::Malformed), (150, Reading::Malformed)] {
        let key = encode(&[&address[..], &b"\x18\x01".repeat(more)].concat());
        assert_eq!(table.read(key.as_bytes(), NOW), reading, "{more} more fields");
    }
}

#[test]
fn dates_of_haproxy_are_told() {
    let targets = [Target { route: Some("s1"), ..target("b1", "127.0.0.1:9101") }];
    let told = |value| {
        let reading = read(&haproxy(false, None), &targets, value);
        let Reading::Backend { at: 0, application: None, dates } = reading else {
            panic!("{value}: {reading:?}")
        };
        dates
    };
    let date = Some(UnixTime(1_700_000_000));
    assert_eq!(told("s1"), Dates::default());
    assert_eq!(told("s1|ZVPxA"), Dates { last: date, first: None });
    assert_eq!(told("s1|ZVPxA|ZVPxA"), Dates { last: date, first: date });
    assert_eq!(told("s1|AAAAA|ZVPxA"), Dates { last: None, first: date });
    assert_eq!(told("s1|/////").last, Some(UnixTime(u32::MAX - 3)));
}

#[test]
fn what_the_application_keeps_in_the_cookie_reaches_it() {
    let prefix = Table::new(&haproxy(true, None), &three());
    let long = "A".repeat(4_000);
    for (value, rest) in [
        ("b1~A1B2".to_owned(), "A1B2"),
        ("b1~".to_owned(), ""),
        ("b1~a~b".to_owned(), "a~b"),
        (format!("b1~{long}"), &long),
    ] {
        let expected =
            Reading::Backend { at: 0, application: Some(rest.as_bytes()), dates: Dates::default() };
        assert_eq!(prefix.read(value.as_bytes(), NOW), expected);
    }
    assert_eq!(prefix.read(b"b9~A1B2", NOW), Reading::Unknown);
    assert_eq!(prefix.read(b"b1", NOW), Reading::NoKey, "the application's alone");
    assert_eq!(prefix.application(b"b1"), Some(&b"b1"[..]));

    let servlet = Table::new(&Format::Servlet, &three());
    assert_eq!(servlet.application(b"A1B2.b1"), Some(&b"A1B2.b1"[..]), "it wants its route");
    assert_eq!(servlet.read(b"A1B2", NOW), Reading::NoKey);
    assert_eq!(at(&Format::Servlet, &three(), "A1.B2.b2"), Some(1), "the last dot");

    assert_eq!(Table::new(&Format::Sozu, &three()).application(b"b1"), None);
}

#[test]
fn only_the_name_of_a_backend_is_cut_off_before_a_tilde() {
    let named = Table::new(&haproxy(true, None), &three());
    let dynamic = Table::new(&haproxy(true, Some("MYKEY")), &three());
    let long = format!("{}~x", "A".repeat(MAX_KEY + 1));
    for value in ["b9~A1B2", "light~dark", "B1~A1B2", "~A1B2", "~", "a~b1~c", "b1", "", &long] {
        for table in [&named, &dynamic] {
            assert_eq!(table.application(value.as_bytes()), Some(value.as_bytes()), "{value}");
        }
    }
    assert_eq!(
        dynamic.application(b"b1~A1B2"),
        Some(&b"b1~A1B2"[..]),
        "no name where it is hashed"
    );
    assert_eq!(dynamic.application(b"0850e255b3ddd68b~A1B2"), Some(&b"A1B2"[..]));
    assert_eq!(named.application(b"b1~light~dark"), Some(&b"light~dark"[..]));
}

#[test]
fn the_operators_names_are_those_of_the_other_system() {
    let targets = [Target {
        route: Some("node1"),
        url: Some("https://shop.internal"),
        ..target("b1", "127.0.0.1:9101")
    }];
    assert_eq!(at(&Format::Servlet, &targets, "A1B2.node1"), Some(0));
    assert_eq!(at(&Format::Sozu, &targets, "b1"), None, "the id is not");
    assert_eq!(at(&Format::Nginx, &targets, "node1"), Some(0));
    assert_eq!(at(&Format::Nginx, &targets, "1fcb7e810098aceacd231d9d55434642"), Some(0));
    // printf 'https://shop.internal' | sha256sum
    assert_eq!(at(&Format::Traefik, &targets, "09345b5c0491b547"), Some(0));
    assert_eq!(at(&Format::Traefik, &targets, "c268f781ab94296e"), Some(0), "its address, too");
    let dynamic = haproxy(false, Some("MYKEY"));
    assert_eq!(at(&dynamic, &targets, "node1"), Some(0), "a server's own cookie wins");
    assert_eq!(at(&dynamic, &targets, "0850e255b3ddd68b"), None);
}

#[test]
fn a_server_that_is_written_by_name_is_hashed_by_name() {
    let mut targets = [target("b1", "127.0.0.1:9101")];
    targets[0].url = Some("http://shop.internal:8080");
    // printf http://shop.internal:8080 | sha256sum
    assert_eq!(at(&Format::Traefik, &targets, "b55d4e016007541c"), Some(0));
    // printf shop.internal:8080 | openssl dgst -sha256 -hmac secret
    let key = "d62b4b1e5cb6c3beac195354187af58b8b88cebec71397b4ecb77518b9a06dcc";
    assert_eq!(at(&caddy(), &targets, key), Some(0));
    let by_address = "a874d02b3cc55163a80cdd8595b8a40b346d74832f4da20a0c031639fe3ec687";
    assert_eq!(at(&caddy(), &targets, by_address), Some(0));
}

#[test]
fn a_server_of_traefik_may_be_written_with_a_slash_at_its_end() {
    let mut targets = [target("b1", "127.0.0.1:29101")];
    for url in [None, Some("http://127.0.0.1:29101"), Some("http://127.0.0.1:29101/")] {
        targets[0].url = url;
        // as Traefik 3.7.15 wrote them, without and with the slash
        for key in ["22078429f865a13c", "8a78dd12072d7354"] {
            assert_eq!(at(&Format::Traefik, &targets, key), Some(0), "{url:?} {key}");
        }
        assert_eq!(Table::new(&Format::Traefik, &targets).clashes(), []);
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

/// Formats that may read each other's keys: they are one format, or their names are plain words.
fn coincide(a: &Format, b: &Format) -> bool {
    use Format::{Envoy, HaProxy, Nginx, Plain, Servlet, Sozu};
    let words = |format: &Format| matches!(format, HaProxy { .. } | Nginx | Sozu | Servlet);
    let addresses = |format: &Format| matches!(format, Envoy | Plain(_));
    a == b || words(a) && words(b) || addresses(a) && addresses(b)
}

#[test]
fn a_key_of_one_format_never_names_a_backend_in_another() {
    let mut keys: Vec<(Format, String, usize)> =
        rows().into_iter().map(|(format, value, at)| (format, value.to_owned(), at)).collect();
    for format in all() {
        let table = Table::new(&format, &three());
        let written =
            (0..3).filter_map(|at| Some((format.clone(), table.write(at)?.to_owned(), at)));
        keys.extend(written);
    }
    assert!(keys.len() > 40, "there are keys to try");
    for (minted, key, expected) in &keys {
        for reader in all() {
            match at(&reader, &three(), key) {
                None => assert_ne!(&reader, minted, "{key}"),
                Some(at) => {
                    assert!(coincide(&reader, minted), "{reader:?} {minted:?} {key}");
                    assert_eq!(at, *expected, "{reader:?} {minted:?} {key}");
                }
            }
        }
    }
}

#[test]
fn reading_allocates_nothing() {
    for (format, value, expected) in rows() {
        let table = Table::new(&format, &three());
        let counted = allocation_counter::measure(|| {
            let reading = table.read(value.as_bytes(), NOW);
            assert!(matches!(reading, Reading::Backend { at, .. } if at == expected));
        });
        assert_eq!(counted.count_total, 0, "{format:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_read_without_panic(value in proptest::collection::vec(any::<u8>(), 0..700)) {
        for (_, table) in &*TABLES {
            let (_, _) = (table.read(&value, NOW), table.application(&value));
        }
    }

    #[test]
    fn any_base64_of_any_bytes_reads_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        use base64::Engine;
        let value = base64::engine::general_purpose::STANDARD.encode(bytes);
        Table::new(&Format::Envoy, &three()).read(value.as_bytes(), NOW);
    }

    #[test]
    fn words_with_separators_read_as_a_backend_only_by_its_name(
        value in "(b[1-4]|x|)([.~|](b[1-4]|ZVPxA|x|)){0,3}",
    ) {
        for (format, table) in &*TABLES {
            if let Reading::Backend { at, .. } = table.read(value.as_bytes(), NOW) {
                prop_assert!(value.contains(three()[at].id), "{format:?} {value}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_backend(
        ids in proptest::collection::btree_set("[a-z0-9.-]{1,40}", 1..12),
        first in any::<std::net::IpAddr>(),
        port in 1..60_000_u16,
    ) {
        let targets: Vec<_> = (port..)
            .zip(&ids)
            .map(|(port, id)| {
                Target { id, address: SocketAddr::new(first, port), route: None, url: None }
            })
            .collect();
        for format in all().iter().filter(|format| is_written(format)) {
            let table = Table::new(format, &targets);
            prop_assert_eq!(table.clashes(), []);
            for at in 0..targets.len() {
                let key = table.write(at).unwrap();
                prop_assert_eq!(table.read(key.as_bytes(), NOW), backend(at));
            }
        }
    }
}
