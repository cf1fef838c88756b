//! The formats that name a backend by a digest: `Hash`, `HashCookie`,
//! `ArrCookie`, Traefik, Caddy. nginx, which may write a word instead, is among the routes.

use super::tables::of;
use stickfast::affinity::formats::{Format, Reading};

/// In all of them.
pub fn holds(data: &[u8]) {
    let digits = |format: &Format| match format {
        Format::HashCookie(_) | Format::Traefik => Some(16),
        Format::Hash { .. } => Some(32),
        Format::ArrCookie(_) | Format::Caddy { .. } => Some(64),
        Format::Plain(_)
        | Format::Envoy
        | Format::Nginx
        | Format::HaProxy { .. }
        | Format::Sozu
        | Format::Servlet => None,
    };
    let mut named = None;
    for tables in of(|format| digits(format).is_some()) {
        let upper = matches!(tables.format, Format::ArrCookie(_));
        let is_digit = |byte: &u8| {
            byte.is_ascii_digit()
                || if upper { matches!(byte, b'A'..=b'F') } else { matches!(byte, b'a'..=b'f') }
        };
        let shaped = Some(data.len()) == digits(&tables.format) && data.iter().all(is_digit);
        let reading = tables.read(data);
        assert_eq!(reading == Reading::Malformed, !shaped, "{:?}", tables.format);
        let Some(at) = tables.read_name(data) else { continue };
        if let Some(written) = tables.three.write(at) {
            assert_eq!(written.as_bytes(), data, "there is one way to write it");
        }
        assert_eq!(named.replace(&tables.format), None, "a digest is of one format");
    }
}
