use super::*;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

/// What the backend gets to see, once the plan is applied.
fn forwarded(peer: &str, trusted: bool, lines: &[(&str, &str)]) -> Vec<String> {
    let mut headers = headers(lines);
    let host = HeaderValue::from_static("Shop.example.com:8080");
    let plan = Forwarded::plan(peer.parse().unwrap(), trusted, &headers, Scheme::Http);
    apply(plan, &mut headers, Some(host));
    let mut seen: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    seen.sort();
    seen
}

fn apply(plan: Forwarded, headers: &mut HeaderMap, host: Option<HeaderValue>) {
    for name in plan.dropped {
        headers.remove(name);
    }
    headers.insert(&X_FORWARDED_FOR, HeaderValue::from_bytes(&plan.for_).unwrap());
    let proto = plan.proto.map(HeaderValue::from_static);
    let host = host.filter(|_| plan.host);
    for (name, value) in [(&X_FORWARDED_PROTO, proto), (&X_FORWARDED_HOST, host)] {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

const WRITTEN_ANEW: [&str; 3] = [
    "x-forwarded-for: 203.0.113.9",
    "x-forwarded-host: Shop.example.com:8080",
    "x-forwarded-proto: http",
];

#[test]
fn a_direct_client_is_announced() {
    assert_eq!(forwarded("203.0.113.9", false, &[]), WRITTEN_ANEW);
}

#[test]
fn whatever_an_untrusted_peer_claims_is_dropped() {
    let claims = [
        ("X-Forwarded-For", "1.1.1.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "bank.example"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Prefix", "/admin"),
        ("X-Forwarded-", "odd"),
        ("Forwarded", "for=1.1.1.1;proto=https"),
    ];
    assert_eq!(forwarded("203.0.113.9", false, &claims), WRITTEN_ANEW);
}

#[test]
fn underscores_do_not_smuggle_a_claim_past() {
    let claims = [("X_Forwarded_For", "1.1.1.1"), ("x-forwarded_proto", "https")];
    assert_eq!(forwarded("203.0.113.9", false, &claims), WRITTEN_ANEW);
}

#[test]
fn other_headers_are_not_touched() {
    let others = headers(&[("x-forward", "1"), ("forwarded-by", "2"), ("x-forwarde", "3")]);
    let plan = Forwarded::plan([1, 1, 1, 1].into(), false, &others, Scheme::Http);
    assert!(plan.dropped.is_empty());
}

#[test]
fn without_a_host_none_is_invented_and_a_claimed_one_goes() {
    let mut claims = headers(&[("x-forwarded-host", "bank.example")]);
    let plan = Forwarded::plan([1, 1, 1, 1].into(), false, &claims, Scheme::Https);
    apply(plan, &mut claims, None);
    assert!(!claims.contains_key("x-forwarded-host"));
    assert_eq!(claims["x-forwarded-proto"], "https");
}

#[test]
fn the_chain_of_a_trusted_peer_is_continued_in_one_line() {
    let chain = [("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")];
    let seen = forwarded("10.0.0.1", true, &chain);
    assert_eq!(seen[0], "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1");
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_trusted_peer_without_a_chain_starts_one() {
    assert_eq!(forwarded("10.0.0.1", true, &[])[0], "x-forwarded-for: 10.0.0.1");
    let empty = [("x-forwarded-for", "")];
    assert_eq!(forwarded("10.0.0.1", true, &empty)[0], "x-forwarded-for: 10.0.0.1");
}

#[test]
fn what_else_a_trusted_peer_said_is_kept() {
    let said = [
        ("forwarded", "for=1.1.1.1"),
        ("x-forwarded-host", "www.example.com"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
    ];
    let seen = forwarded("10.0.0.1", true, &said);
    assert_eq!(
        seen,
        [
            "forwarded: for=1.1.1.1",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: www.example.com",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
        ]
    );
}

#[test]
fn what_a_trusted_peer_left_out_is_written() {
    let seen = forwarded("10.0.0.1", true, &[("x-forwarded-proto", "https")]);
    assert_eq!(seen[1], "x-forwarded-host: Shop.example.com:8080");
}

#[test]
fn ipv6_peers_are_written_without_brackets_and_mapped_ones_as_ipv4() {
    assert_eq!(forwarded("2001:db8::9", false, &[])[0], "x-forwarded-for: 2001:db8::9");
    assert_eq!(forwarded("::ffff:203.0.113.9", false, &[])[0], "x-forwarded-for: 203.0.113.9");
}

fn https(trusted: bool, lines: &[&str], listener: bool) -> bool {
    let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-proto", *line)).collect();
    came_by_https(trusted, &headers(&lines), listener)
}

#[test]
fn without_a_word_the_listener_decides() {
    for listener in [true, false] {
        assert_eq!(https(true, &[], listener), listener);
        assert_eq!(https(false, &[], listener), listener);
    }
}

#[test]
fn an_untrusted_word_on_the_scheme_counts_for_nothing() {
    assert!(!https(false, &["https"], false));
    assert!(https(false, &["http"], true));
}

#[test]
fn a_trusted_word_on_the_scheme_counts() {
    assert!(https(true, &["https"], false));
    assert!(https(true, &["WSS"], false));
    assert!(!https(true, &["http"], true));
}

#[test]
fn of_several_words_the_first_of_the_last_line_counts() {
    assert!(https(true, &["http", " https , http"], false));
    assert!(!https(true, &["https", "http, https"], false));
}

#[test]
fn a_word_that_is_no_scheme_leaves_it_to_the_listener() {
    for odd in ["", "httpss", "gopher", ", https"] {
        assert!(https(true, &[odd], true), "{odd}");
        assert!(!https(true, &[odd], false), "{odd}");
    }
}

proptest! {
    #[test]
    fn any_headers_are_taken_and_an_untrusted_peer_stands_alone(
        lines in prop::collection::vec(
            ("[xX][-_]forwarded[-_](for|host|proto|x)|Forwarded|x-[a-z]{1,4}", any::<Vec<u8>>()),
            0..6,
        ),
        trusted in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &lines {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
        }
        came_by_https(trusted, &headers, false);
        let plan = Forwarded::plan([203, 0, 113, 9].into(), trusted, &headers, Scheme::Http);
        prop_assert!(plan.for_.ends_with(b"203.0.113.9"));
        apply(plan, &mut headers, None);
        prop_assert_eq!(headers.get_all(&X_FORWARDED_FOR).iter().count(), 1);
        if !trusted {
            prop_assert_eq!(&headers[&X_FORWARDED_FOR], "203.0.113.9");
            prop_assert_eq!(headers.keys().filter(|name| speaks_of_the_client(name.as_ref())).count(), 2);
        }
    }
}

#[test]
fn every_address_is_written_as_it_is_read() {
    for octets in [[0, 0, 0, 0], [1, 20, 109, 255], [10, 0, 100, 99], [255, 255, 255, 255]] {
        let plan = Forwarded::plan(octets.into(), false, &HeaderMap::new(), Scheme::Http);
        assert_eq!(&*plan.for_, IpAddr::from(octets).to_string().as_bytes());
    }
}
