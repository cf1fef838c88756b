//! The normal form of a host as clients send it, so that the index compares plain text.

use std::borrow::Cow;

/// Takes the value of `Host` or `:authority`, drops the port and one trailing dot and lowers ASCII
/// letters. An IPv6 address keeps its brackets. Whether the text is a host at all is not judged
/// here: what cannot be split is only lowered. Borrowed where no letter changes.
///
/// ```
/// # use stickfast::routing::host::normalise;
/// assert_eq!(normalise("Shop.Example.com.:8443"), "shop.example.com");
/// assert_eq!(normalise("[::1]:8080"), "[::1]");
/// ```
pub fn normalise(host: &str) -> Cow<'_, str> {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

fn without_port(host: &str) -> &str {
    let Some((name, port)) = host.rsplit_once(':') else { return host };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_v6 = name.starts_with('[') && name.ends_with(']');
    if is_port && (is_v6 || !name.contains(':')) { name } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_host_in_normal_form_is_borrowed() {
        for host in ["example.com", "", "[::1]", "10.0.0.1", "xn--bcher-kva.example"] {
            assert!(matches!(normalise(host), Cow::Borrowed(same) if same == host), "{host}");
        }
    }

    #[test]
    fn the_port_goes() {
        assert_eq!(normalise("example.com:80"), "example.com");
        assert_eq!(normalise("example.com:"), "example.com");
        assert_eq!(normalise("[2001:db8::1]:8443"), "[2001:db8::1]");
    }

    #[test]
    fn one_trailing_dot_goes() {
        assert_eq!(normalise("example.com."), "example.com");
        assert_eq!(normalise("example.com.:80"), "example.com");
        assert_eq!(normalise("example.com.."), "example.com.");
    }

    #[test]
    fn letters_are_lowered() {
        assert_eq!(normalise("WWW.Example.COM:80"), "www.example.com");
        assert_eq!(normalise("[2001:DB8::A]"), "[2001:db8::a]");
    }

    #[test]
    fn what_is_no_port_stays() {
        assert_eq!(normalise("example.com:http"), "example.com:http");
        assert_eq!(normalise("::1"), "::1");
        assert_eq!(normalise("a:1:2"), "a:1:2");
    }

    proptest! {
        #[test]
        fn any_input_is_taken(host in any::<String>()) {
            prop_assert!(normalise(&host).len() <= host.len());
        }
    }
}
