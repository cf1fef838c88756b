//! The formats that name a backend by a plain word: sozu's, nginx' (or by a digest), and the route
//! behind the last dot of a servlet container's session id.

use super::tables::of;
use stickfast::affinity::formats::{Format, MAX_KEY, Reading};

/// In both.
pub fn holds(data: &[u8]) {
    let name = |at: usize| format!("b{}", at + 1);
    for tables in of(|format| *format == Format::Sozu) {
        let named = tables.read_name(data);
        assert!(named.is_none_or(|at| name(at).as_bytes() == data), "it is the whole value");
    }
    for tables in of(|format| *format == Format::Nginx) {
        let named = tables.read_name(data);
        let is_digest = data.len() == 32 && data.iter().all(u8::is_ascii_hexdigit);
        assert!(named.is_none_or(|at| name(at).as_bytes() == data || is_digest));
    }
    for tables in of(|format| *format == Format::Servlet) {
        assert_eq!(tables.three.application(data), Some(data), "the container wants its route");
        let route = data.iter().rposition(|byte| *byte == b'.').map(|dot| &data[dot + 1..]);
        match (tables.read(data), route) {
            (Reading::NoKey, route) => assert_eq!(route, None),
            (Reading::Backend { at, .. }, route) => assert_eq!(route, Some(name(at).as_bytes())),
            (Reading::Malformed, Some(route)) => {
                assert!(route.is_empty() || route.len() > MAX_KEY);
            }
            (Reading::Unknown, Some(route)) => {
                assert!((0..3).all(|at| name(at).as_bytes() != route));
            }
            (reading, route) => panic!("{reading:?} {route:?}"),
        }
    }
}
