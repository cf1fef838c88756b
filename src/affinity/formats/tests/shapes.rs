//! What a key has to look like, and what the formats of others allow besides.

use super::*;

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
