//! The subject of a client's certificate as text for a header, after RFC 4514: the most specific
//! part first, and everything escaped that could be taken for a separator, so that no certificate
//! can pretend to be another.

use std::fmt::Write as _;
use x509_parser::prelude::{FromDer, X509Certificate};

/// `CN=alice,O=Example`; `None` if the certificate cannot be read.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut parts = Vec::new();
    for relative in parsed.subject().iter_rdn() {
        let mut pairs = Vec::new();
        for pair in relative.iter() {
            let oid = pair.attr_type().to_id_string();
            let name = NAMES.iter().find(|(known, _)| *known == oid);
            let name = name.map_or(oid.as_str(), |(_, name)| name);
            pairs.push(format!("{name}={}", escaped(pair.attr_value().data)));
        }
        parts.push(pairs.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

/// The short names of RFC 4514 §3, and the one of mail addresses.
const NAMES: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.iter().enumerate() {
        let edge = (*byte == b' ' && (at == 0 || at == last)) || (*byte == b'#' && at == 0);
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' ' | b'#' if edge => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            // a header carries ASCII everywhere, other bytes only somewhere
            other => {
                let _ = write!(text, "\\{other:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_can_be_taken_for_another_part() {
        assert_eq!(escaped(b"a,CN=root"), "a\\,CN\\=root");
        assert_eq!(escaped(b" a b "), "\\ a b\\ ");
        assert_eq!(escaped(b"#1\r\nX: y"), "\\#1\\0D\\0AX: y");
        assert_eq!(escaped("ü".as_bytes()), "\\C3\\BC");
    }
}
