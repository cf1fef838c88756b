//! The normal form of a host: the start of what was sent, in lower case, without port and dot.

use stickfast::routing::host::normalise;

/// As the value of `Host`, where the bytes are text.
pub fn holds(data: &[u8]) {
    let Ok(host) = std::str::from_utf8(data) else { return };
    let normal = normalise(host);
    let lowered = host.to_ascii_lowercase();
    let cut = lowered.strip_prefix(&*normal).expect("only the end is cut");
    let cut = cut.strip_prefix('.').unwrap_or(cut);
    let port = cut.strip_prefix(':').unwrap_or(cut);
    assert!(port.bytes().all(|byte| byte.is_ascii_digit()), "one dot and a port, no more");
    assert!(cut.is_empty() || cut.starts_with(':'), "digits go only with their colon");
    if host.starts_with('[') && host.ends_with(']') {
        assert_eq!(normal, lowered, "an IPv6 address has no port inside");
    }
    // however it is written: upper case, a port behind a plain name
    assert_eq!(normalise(&host.to_ascii_uppercase()), normal);
    if !host.contains(':') {
        assert_eq!(normalise(&format!("{host}:8443")), normal);
    }
}
