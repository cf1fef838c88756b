use super::*;
use http::header::{LINK, REFERER};

fn links(place: KeyPlace, path: &str) -> Links {
    let site = Site::new("https", "shop.example", path).unwrap();
    Links::new(site, place, "K9", Arc::new(|value| value.starts_with('K')))
}

fn query() -> Links {
    links(KeyPlace::Query("s".into()), "/a/cart?x=1")
}

#[test]
fn headers_with_urls_of_this_site_get_the_key() {
    let links = query();
    for (name, value, with) in [
        (LOCATION, "/x", Some("/x?s=K9")),
        (LOCATION, "https://shop.example/x#f", Some("https://shop.example/x?s=K9#f")),
        (LOCATION, "https://evil.example/x", None),
        (LOCATION, "//evil.example/x", None),
        (LOCATION, "", None),
        (CONTENT_LOCATION, "x", Some("x?s=K9")),
        (REFRESH, "5", None),
        (REFRESH, "5; url=/x", Some("5; url=/x?s=K9")),
        (REFRESH, "0;URL='/x' ", Some("0;URL='/x?s=K9' ")),
        (REFRESH, "0; url=\"/x?a=1#f\"", Some("0; url=\"/x?a=1&s=K9#f\"")),
        (REFRESH, "0; url=https://evil.example/", None),
        (LINK, "/x", None),
        (REFERER, "/x", None),
    ] {
        assert_eq!(links.header(&name, value).as_deref(), with, "{name}: {value}");
    }
}

#[test]
fn a_url_without_a_path_keeps_the_page_s_path() {
    let links = links(KeyPlace::Path("s".into()), "/a/cart;s=K1;v=2?x=1");
    assert_eq!(links.url("?b").as_deref(), Some("cart;v=2;s=K9?b"));
    assert_eq!(links.url("/x").as_deref(), Some("/x;s=K9"));
    assert_eq!(links.url("#f"), None);
    assert_eq!(links.url("#f?b"), None);
}

#[test]
fn the_first_base_of_this_site_counts_and_one_of_another_counts_for_good() {
    let links = links(KeyPlace::Path("s".into()), "/a/cart");
    let with = |base: &Base, url: &str| {
        links.splices(url, base).map(|splices| apply(url, &splices)).unwrap_or_default()
    };
    let mut base = links.base().clone();
    links.rebase(&mut base, Some("/docs/index"));
    assert_eq!(with(&base, "?b"), "index;s=K9?b");
    links.rebase(&mut base, Some("/other"));
    // which of the two counts is not sure
    assert_eq!(with(&base, "?b"), "");
    assert_eq!(with(&base, "x"), "x;s=K9");
    for foreign in [Some("https://evil.example/"), Some("//evil.example"), Some("data:,x"), None] {
        let mut base = base.clone();
        links.rebase(&mut base, foreign);
        links.rebase(&mut base, Some("/"));
        assert_eq!(with(&base, "x"), "", "{foreign:?}");
        assert_eq!(with(&base, "https://shop.example/x"), "https://shop.example/x;s=K9");
    }
}

#[test]
fn the_field_of_a_form_is_escaped_and_only_for_a_query() {
    let site = || Site::new("https", "shop.example", "/").unwrap();
    let ours: Ours = Arc::new(|_| true);
    let links = Links::new(site(), KeyPlace::Query("s".into()), "\"<&>=", Arc::clone(&ours));
    let field = "<input type=\"hidden\" name=\"s\" value=\"&quot;&lt;&amp;&gt;=\"/>";
    assert_eq!(links.field().as_deref(), Some(field));
    assert_eq!(Links::new(site(), KeyPlace::Path("s".into()), "K", ours).field(), None);
}

#[test]
fn the_key_is_not_printed() {
    assert!(!format!("{:?}", query()).contains("K9"));
}
