//! What stands in a key beside, or instead of, an address: dates, the application's part, the operator's names.

use super::*;

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
