//! Envoy's cookie, which is our `plain` too: an address in base64, bare or in a protobuf message.

use super::tables::of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use stickfast::affinity::formats::{Carrier, Format, Reading};

/// As the value that a client sends, and as the bytes under its base64.
pub fn holds(data: &[u8]) {
    let encoded = STANDARD.encode(data);
    let quoted = format!("\"{encoded}\"");
    let bare = decode(data);
    assert!(bare.is_none() || data.is_ascii(), "only base64 names a backend");
    let wrapped = decode(encoded.as_bytes());
    assert_eq!(decode(quoted.as_bytes()), wrapped, "quotes are no part of it");
    if let Some(at) = wrapped {
        let address = format!("127.0.0.1:910{}", at + 1);
        let named = data.windows(address.len()).any(|part| part == address.as_bytes());
        // the standard library reads one IPv4 address and port in one way only
        assert!(named, "the address stands in it");
    }
}

/// The backend that `value` names, the same in all formats of this kind.
fn decode(value: &[u8]) -> Option<usize> {
    let formats = [Format::Envoy, Format::Plain(Carrier::Cookie), Format::Plain(Carrier::Header)];
    let mut readings = of(|format| formats.contains(format)).map(|tables| {
        let reading = tables.read(value);
        match reading {
            Reading::Backend { at, application, .. } => {
                assert_eq!(application, None);
                (reading, Some(at))
            }
            Reading::Expired | Reading::Unknown | Reading::Malformed => (reading, None),
            Reading::NoKey => panic!("the cookie is the gateway's alone"),
        }
    });
    let first = readings.next().expect("a format");
    assert!(readings.all(|other| other == first), "one format under three names");
    first.1
}
