use super::*;
use proptest::prelude::*;

fn query() -> KeyPlace {
    KeyPlace::Query("s".into())
}

fn path() -> KeyPlace {
    KeyPlace::Path("s".into())
}

/// Keys of ours begin with K in these tests.
fn ours(value: &str) -> bool {
    value.starts_with('K')
}

#[test]
fn keys_are_cut_out_and_the_rest_stays_byte_for_byte() {
    for (place, url, keys, rest) in [
        (query(), "/cart?s=K1", &["K1"][..], Some("/cart")),
        (query(), "/cart?a=1&s=K1", &["K1"], Some("/cart?a=1")),
        (query(), "/cart?s=K1&a=%2f", &["K1"], Some("/cart?a=%2f")),
        (query(), "/cart?a=1&s=K1&b=+&&c", &["K1"], Some("/cart?a=1&b=+&&c")),
        (query(), "/cart?&s=K1", &["K1"], Some("/cart?")),
        (query(), "/cart?s=K1&", &["K1"], Some("/cart?")),
        (query(), "/cart?s=K1&s=K2", &["K1", "K2"], Some("/cart")),
        (query(), "/cart?s=K1&s=K2&a", &["K1", "K2"], Some("/cart?a")),
        (query(), "/cart?a&s=K1&b&s=K2", &["K1", "K2"], Some("/cart?a&b")),
        (query(), "/cart?s=app&s=K2", &["K2"], Some("/cart?s=app")),
        (query(), "/cart?s=%4b%3D%22", &["K=\""], Some("/cart")),
        (query(), "/cart?s=K+/=", &["K+/="], Some("/cart")),
        (query(), "/cart?s=app", &[], None),
        (query(), "/cart?S=K1&xs=K1&s&sx=K1", &[], None),
        (query(), "/cart?", &[], None),
        (query(), "/s=K1", &[], None),
        (query(), "/cart;s=K1?a", &[], None),
        (query(), "/a?b?s=K1", &[], None),
        (query(), "", &[], None),
        (path(), "/cart;s=K1", &["K1"], Some("/cart")),
        (path(), "/cart;s=K1?s=K9", &["K1"], Some("/cart?s=K9")),
        (path(), "/a;s=K1/b;v=1;s=K2;w/c", &["K1", "K2"], Some("/a/b;v=1;w/c")),
        (path(), "/cart;s=A1B2.node1", &[], None),
        (path(), "/cart;s=A1B2.node1;s=K1?x", &["K1"], Some("/cart;s=A1B2.node1?x")),
        (path(), "/;s=K1", &["K1"], Some("/")),
        (path(), "//x;s=K1", &["K1"], Some("//x")),
        (path(), "/s=K1/;S=K1;s", &[], None),
        (path(), ";s=K1", &["K1"], Some("")),
    ] {
        let cut = place.cut(url, ours);
        assert_eq!(cut.keys().collect::<Vec<_>>(), keys, "{place:?} {url}");
        assert_eq!(cut.rest.as_deref(), rest, "{place:?} {url}");
    }
}

#[test]
fn the_application_s_own_values_are_found_too() {
    let cut = path().cut("/cart;s=A1B2.node1;s=K1", ours);
    let found: Vec<_> = cut.found.iter().map(|found| (&*found.value, found.ours)).collect();
    assert_eq!(found, [("A1B2.node1", false), ("K1", true)]);
}

#[test]
fn only_the_first_values_are_read_and_all_are_cut_out() {
    let cut = query().cut("/?s=K1&s=K2&s=K3&s=K4&s=K5", ours);
    assert_eq!(cut.keys().count(), MAX_KEYS);
    assert_eq!(cut.rest.as_deref(), Some("/"));
    let cut = query().cut("/?s=K1&s=A&s=K3&s=K4&s=K5&s=A6", ours);
    assert_eq!(cut.rest.as_deref(), Some("/?s=A&s=A6"));
}

#[test]
fn what_is_too_long_is_cut_out_and_is_no_key() {
    let long = format!("K{}", "%41".repeat(MAX_KEY));
    let url = format!("/?a&s={long}");
    let cut = query().cut(&url, ours);
    assert_eq!((cut.found.len(), cut.rest.as_deref()), (0, Some("/?a")));
    let url = format!("/?a&s=K{}", "%41".repeat(MAX_KEY - 1));
    assert_eq!(query().cut(&url, ours).keys().count(), 1);
}

#[test]
fn a_value_that_is_no_utf_8_is_read_as_sent() {
    assert_eq!(query().cut("/?s=K%ff", ours).found[0].value, "K%ff");
}

#[test]
fn keys_are_put_where_they_belong() {
    for (place, url, with) in [
        (query(), "/cart", "/cart?s=K9"),
        (query(), "/cart?a=1", "/cart?a=1&s=K9"),
        (query(), "/cart?", "/cart?&s=K9"),
        (query(), "/cart#top?x", "/cart?s=K9#top?x"),
        (query(), "/cart?a#top", "/cart?a&s=K9#top"),
        (query(), "cart ", "cart?s=K9 "),
        (query(), "?a=1", "?a=1&s=K9"),
        (query(), "", "?s=K9"),
        (query(), "http://h", "http://h?s=K9"),
        (query(), "//h/a?b", "//h/a?b&s=K9"),
        (query(), "/cart?s=K1", "/cart?s=K9"),
        (query(), "/cart?s=K1&a#f", "/cart?a&s=K9#f"),
        (query(), "/cart?s=app", "/cart?s=app&s=K9"),
        (path(), "/cart", "/cart;s=K9"),
        (path(), "/cart?a=1#f", "/cart;s=K9?a=1#f"),
        (path(), "/cart/", "/cart/;s=K9"),
        (path(), "/cart;s=K1;v=1?a", "/cart;v=1;s=K9?a"),
        (path(), "/cart;s=A1B2", "/cart;s=A1B2;s=K9"),
        (path(), "cart", "cart;s=K9"),
        (path(), "http://h", "http://h/;s=K9"),
        (path(), "http://h?a", "http://h/;s=K9?a"),
        (path(), "//h#f", "//h/;s=K9#f"),
        (path(), " //h/x ", " //h/x;s=K9 "),
        (path(), "..", "../;s=K9"),
        (path(), "a/%2E.?b", "a/%2E./;s=K9?b"),
        (path(), "?a=1", "?a=1"),
        (path(), "", ""),
    ] {
        assert_eq!(place.add(url, "K9", ours), with, "{place:?} {url}");
    }
}

#[test]
fn a_key_is_escaped() {
    assert_eq!(query().add("/", "a+/=\"&;#é", ours), "/?s=a%2B%2F%3D%22%26%3B%23%C3%A9");
}

#[test]
fn a_reference_without_a_path_takes_the_segment_it_is_relative_to() {
    for (url, segment, with) in [
        ("?a=1", "cart", "cart;s=K?a=1"),
        ("?a=1", "", ";s=K?a=1"),
        ("?a=1", "a:b", "./a:b;s=K?a=1"),
        ("x?a=1", "cart", "x;s=K?a=1"),
    ] {
        let splices = path().splices(url, "s=K", Some(segment), ours).unwrap();
        assert_eq!(apply(url, &splices), with);
    }
}

#[test]
fn names_need_no_escapes() {
    assert!(KeyPlace::is_name("jsessionid") && KeyPlace::is_name("X_s-1.~"));
    for name in ["", "a b", "a=b", "a;b", "a&b", "é", "a\"b", "a/b"] {
        assert!(!KeyPlace::is_name(name), "{name}");
    }
}

proptest! {
    #[test]
    fn what_was_added_is_cut_out_again(
        url in "/[a-c/;=&%s.]{0,12}(\\?[a-c/;=&%s?]{0,12})?",
        key in "\\PC{1,20}",
        query in any::<bool>(),
    ) {
        let place = KeyPlace::Query("key".into());
        let place = if query { place } else { KeyPlace::Path("key".into()) };
        // that a directory and `..` mean the same is told elsewhere
        let last = url.split('?').next().unwrap().rsplit('/').next().unwrap();
        prop_assume!(query || !is_dots(last));
        prop_assume!(query || !url.starts_with("//"));
        let with = place.add(&url, &key, |_| true);
        let cut = place.cut(&with, |value| value == key);
        prop_assert_eq!(cut.rest.as_deref(), Some(url.as_str()), "{}", &with);
        prop_assert_eq!(cut.keys().collect::<Vec<_>>(), [key.as_str()]);
    }

    #[test]
    fn any_text_is_cut_without_harm(url in "\\PC{0,40}", tail in "[;/?&=#s]{0,20}") {
        let url = url + &tail;
        for place in [query(), path()] {
            let cut = place.cut(&url, |_| false);
            prop_assert_eq!(cut.rest, None);
            let cut = place.cut(&url, |_| true);
            if let Some(rest) = &cut.rest {
                prop_assert!(rest.len() < url.len());
            }
            place.add(&url, "K", |_| true);
        }
    }
}
