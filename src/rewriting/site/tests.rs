use super::*;
use proptest::prelude::*;

fn site() -> Site {
    Site::new("https", "shop.example", "/a/cart?x=1").unwrap()
}

#[test]
fn urls_of_this_site_are_told_from_all_others() {
    for (own, url) in [
        (true, "/cart"),
        (true, "/"),
        (true, "cart"),
        (true, "../cart?a:b"),
        (true, "?a=//evil.example"),
        (true, "./:x/y/../z"),
        (true, "a/b:c"),
        (true, " /cart "),
        (true, "//shop.example/cart"),
        (true, "//SHOP.example:443"),
        (true, "https://shop.example"),
        (true, "https://shop.example?x"),
        (true, "HTTPS://Shop.Example:443/cart#x"),
        (true, "https://shop.example:/x"),
        (true, "/x?back=https://evil.example/\\"),
        (false, ""),
        (false, "  "),
        (false, "#x"),
        (false, " #x"),
        (false, "http://shop.example/cart"),
        (false, "http://shop.example:443/cart"),
        (false, "https://shop.example:8443/"),
        (false, "https://evil.example/"),
        (false, "//evil.example/"),
        (false, "https://shop.example.evil.example/"),
        (false, "https://shop.example@evil.example/"),
        (false, "https://user@shop.example/"),
        (false, "https://shop.example:pw@evil.example/"),
        (false, "//shop.example@evil.example"),
        (false, "\\\\evil.example"),
        (false, "/\\evil.example"),
        (false, "\\/evil.example"),
        (false, "https:\\\\evil.example"),
        (false, "https://shop.example\\@evil.example"),
        (false, "https://shop.example\\.evil.example"),
        (false, "///evil.example"),
        (false, "////evil.example"),
        (false, "https:///evil.example"),
        (false, "https:/evil.example"),
        (false, "https:evil.example"),
        (false, "/\t/evil.example"),
        (false, "/\n\\evil.example"),
        (false, "ht\ntps://evil.example"),
        (false, "\u{1}//evil.example"),
        (false, "\t//evil.example"),
        (false, ".:a"),
        (false, "mailto:a@shop.example"),
        (false, "javascript:void(0)"),
        (false, " JavaScript:alert(1)"),
        (false, "java\tscript:alert(1)"),
        (false, "data:text/html,x"),
        (false, "tel:123"),
        (false, "ftp://shop.example/"),
        (false, "blob:https://shop.example/x"),
        (false, "x-app://shop.example/"),
        (false, "https://shop。example.evil.example/"),
    ] {
        assert_eq!(site().is_same_site(url), own, "{url:?}");
    }
}

#[test]
fn under_a_base_of_another_site_only_whole_urls_are_ours() {
    for (own, url) in [
        (false, "/cart"),
        (false, "cart"),
        (false, "?a"),
        (false, "//shop.example/"),
        (true, "https://shop.example/"),
        (false, "https://evil.example/"),
    ] {
        assert_eq!(site().owns(url, false), own, "{url}");
    }
}

#[test]
fn a_port_is_part_of_the_site() {
    let site = Site::new("http", "[::1]:8080", "/").unwrap();
    assert!(site.is_same_site("http://[::1]:8080/x"));
    assert!(site.is_same_site("//[0:0::1]:8080/x"));
    assert!(!site.is_same_site("http://[::1]/x"));
    let site = Site::new("HTTP", "h:80", "/").unwrap();
    assert!(site.is_same_site("http://h/") && !site.is_same_site("https://h/"));
}

#[test]
fn what_is_no_plain_url_is_no_site() {
    for (scheme, authority, path) in [
        ("ftp", "h", "/"),
        ("https", "", "/"),
        ("https", "u@h", "/"),
        ("https", "h/x", "/"),
        ("https", "h:x", "/"),
        ("https", "h?", "/"),
        ("https", "h h", "/"),
        ("https", "h", "*"),
        ("https", "h", ""),
    ] {
        assert!(Site::new(scheme, authority, path).is_none(), "{scheme}://{authority}{path}");
    }
}

proptest! {
    /// The judge is the WHATWG parser, which is what browsers do.
    #[test]
    fn what_is_called_ours_is_ours_to_a_browser(
        url in "[ \t\n]?(https?|HTTPS|x)?:?[/\\\\\t]{0,3}(shop\\.example|Shop|evil|u@)?[:@/.\\\\?#\t]{0,3}(shop\\.example|443|x)?[a-z/:@?#\\\\\t ]{0,6}",
    ) {
        let site = site();
        if site.is_same_site(&url) {
            let resolved = site.url().join(&url).unwrap();
            prop_assert!(site.is_origin_of(&resolved), "{:?} is {}", &url, &resolved);
        }
    }

    #[test]
    fn no_text_does_harm(url in "\\PC{0,30}") {
        let site = site();
        if site.is_same_site(&url) {
            prop_assert!(site.is_origin_of(&site.url().join(&url).unwrap()));
        }
    }
}
