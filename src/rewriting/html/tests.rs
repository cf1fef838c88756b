use super::super::place::KeyPlace;
use super::super::site::Site;
use super::*;
use proptest::prelude::*;
use url::Url;

const HTML: &str = "text/html; charset=utf-8";

fn links(place: KeyPlace) -> Arc<Links> {
    let site = Site::new("https", "shop.example", "/a/cart?x=1").unwrap();
    Arc::new(Links::new(site, place, "K9", Arc::new(|value| value.starts_with('K'))))
}

fn query() -> Arc<Links> {
    links(KeyPlace::Query("s".into()))
}

fn path() -> Arc<Links> {
    links(KeyPlace::Path("s".into()))
}

/// The page after it came through in chunks of that size.
fn in_chunks(links: &Arc<Links>, page: &[u8], size: usize) -> Vec<u8> {
    let mut rewriter = HtmlRewriter::new(Arc::clone(links), HTML).unwrap();
    let mut out = Vec::new();
    page.chunks(size).for_each(|chunk| rewriter.write(chunk, &mut out));
    rewriter.end(&mut out);
    out
}

fn rewritten(links: &Arc<Links>, page: &str) -> String {
    let whole = in_chunks(links, page.as_bytes(), page.len().max(1));
    let bytewise = in_chunks(links, page.as_bytes(), 1);
    assert_eq!(whole, bytewise, "{page}");
    String::from_utf8(whole).unwrap()
}

#[test]
fn the_rewriter_can_be_sent() {
    fn is_send<T: Send>() {}
    is_send::<HtmlRewriter>();
}

#[test]
fn links_get_the_key_and_all_else_stays() {
    for (page, with) in [
        ("<a href=\"/x\">y</a>", "<a href=\"/x?s=K9\">y</a>"),
        ("<A  HREF = '/x' id=1 >", "<A  HREF = '/x?s=K9' id=1 >"),
        ("<a href=/x>y", "<a href=/x?s=K9>y"),
        ("<a href=/x/>y", "<a href=/x/?s=K9>y"),
        ("<a href=\"/x?a=1&amp;b=2\">", "<a href=\"/x?a=1&amp;b=2&amp;s=K9\">"),
        ("<a href=\"/x?a=1&b=2#f\">", "<a href=\"/x?a=1&b=2&amp;s=K9#f\">"),
        ("<a href='\n/x\n'>", "<a href='\n/x?s=K9\n'>"),
        ("<a href=\"/é?ü#ß\">", "<a href=\"/é?ü&amp;s=K9#ß\">"),
        ("<a href=\"&#47;x&#x3f;a\">", "<a href=\"&#47;x&#x3f;a&amp;s=K9\">"),
        ("<a href=\"/x?s=K1&amp;a=1\">", "<a href=\"/x?a=1&#38;s=K9\">"),
        ("<a href=\"/x?s=K1#f\">", "<a href=\"/x?s=K9#f\">"),
        ("<a href=/x href=//evil.example>", "<a href=/x?s=K9 href=//evil.example>"),
        ("<area href=x><iframe src=x></iframe>", "<area href=x?s=K9><iframe src=x?s=K9></iframe>"),
        ("<frameset><frame src=x>", "<frameset><frame src=x?s=K9>"),
        (
            "<input formaction=x><button formaction=x>",
            "<input formaction=x?s=K9><button formaction=x?s=K9>",
        ),
        (
            "<meta http-equiv=Refresh content=\"5; url=/x\">",
            "<meta http-equiv=Refresh content=\"5; url=/x?s=K9\">",
        ),
        (
            "<meta http-equiv=\"refresh\" content=\"0;URL='/x?a&amp;b'\">",
            "<meta http-equiv=\"refresh\" content=\"0;URL='/x?a&amp;b&amp;s=K9'\">",
        ),
        ("<form method=post action=/x></form>", "<form method=post action=/x?s=K9></form>"),
        ("<svg><a href=/x /></svg>", "<svg><a href=/x?s=K9 /></svg>"),
        ("<base href=/docs/><a href=x>", "<base href=/docs/><a href=x?s=K9>"),
        (
            "<base href=//evil.example/><a href=https://shop.example/>",
            "<base href=//evil.example/><a href=https://shop.example/?s=K9>",
        ),
    ] {
        assert_eq!(rewritten(&query(), page), with);
    }
}

#[test]
fn what_leads_elsewhere_or_nowhere_stays() {
    for page in [
        "<a href=\"//evil.example/\">",
        "<a href=\"&sol;&sol;evil.example/\">",
        "<a href=\"&#47;&#47;evil.example/\">",
        "<a href=\"/&#9;/evil.example/\">",
        "<a href=\"/&Tab;/evil.example/\">",
        "<a href=\"https&colon;//evil.example/\">",
        "<a href=\"/&bsol;evil.example\">",
        "<a href=\"javascript:go('/x')\">",
        "<a href=\"jav&#x0A;ascript:go('/x')\">",
        "<a href=\"mailto:a@shop.example\">",
        "<a href=\"#top\">",
        "<a href=\"\">",
        "<a href>",
        "<a name=x>",
        "<link href=/x><img src=/x><script src=/x></script>",
        "<script>\"<a href='/x'>\"</script>",
        "<style><a href=/x></style><!-- <a href=/x> --><textarea><a href=/x></textarea>",
        "<p title=\"<a href='/x'>\">",
        "<meta http-equiv=refresh content=5><meta name=refresh content=\"5; url=/x\">",
        "<base href=//evil.example/><a href=/x><form action=/x></form>",
        "<base href=/><base href=https://evil.example/><base href=/><a href=/x>",
        "<template><base href=//evil.example/></template><a href=/x>",
        "<base href=\"&sol;&sol;evil.example/\"><a href=/x>",
        "<form method=post></form><form method=POST action=\"\"></form>",
        "<form method=dialog action=/x></form>",
        "<form action=//evil.example></form>",
        "<form action=/x><button formaction=//evil.example></button></form>",
        "<button form=f formaction=\"&sol;/evil.example\"></button><form id=f action=/x></form>",
    ] {
        assert_eq!(rewritten(&query(), page), page);
    }
}

#[test]
fn a_form_that_drops_its_query_gets_a_field() {
    let field = "<input type=\"hidden\" name=\"s\" value=\"K9\"/>";
    for (start, end) in [
        ("<form action=/x><p>a", "</form>b"),
        ("<form>", "</form>"),
        ("<form action=\"\" method=GET>", "</form>"),
        ("<form action=\"#f\" method=other>", "</form>"),
        ("<table><tr><form action=/x><td>", "</td></form></tr></table>"),
        ("<div><form action=/x><p>", "</div></form>"),
        ("<form action=//evil.example></form><form action=/x>", "</form>"),
        ("<form action=/x><button formaction=''></button>", "</form>"),
    ] {
        let page = [start, end].concat();
        let (start, end) = match page.find("</td>") {
            // the cell ends before the form does
            Some(at) => page.split_at(at + "</td>".len()),
            None => (start, end),
        };
        assert_eq!(rewritten(&query(), &page), [start, field, end].concat());
    }
    let page = "<form action=/x><button formaction=/y></button></form>";
    let with = format!("<form action=/x><button formaction=/y?s=K9></button>{field}</form>");
    assert_eq!(rewritten(&query(), page), with);
}

#[test]
fn a_path_parameter_needs_no_field() {
    for (page, with) in [
        ("<form action=/x></form><form></form>", "<form action=/x;s=K9></form><form></form>"),
        ("<a href=\"?b\">", "<a href=\"cart;s=K9?b\">"),
        ("<a href=\"/x?a&amp;b\">", "<a href=\"/x&#59;s=K9?a&amp;b\">"),
        ("<a href=\"/a&copy\">", "<a href=\"/a&copy&#59;s=K9\">"),
        ("<a href=\"..\">", "<a href=\"../;s=K9\">"),
        ("<base href=/d/e><a href=?b>", "<base href=/d/e><a href=e;s=K9?b>"),
    ] {
        assert_eq!(rewritten(&path(), page), with);
    }
}

#[test]
fn charsets_like_ascii_are_rewritten_and_others_go_through() {
    for (known, kind) in [
        (true, "text/html"),
        (true, "text/html; charset=\"UTF-8\""),
        (true, "text/html;x=y; Charset=shift_jis"),
        (true, "text/html; charset=iso-8859-1"),
        (true, "text/html; charset=unheard-of"),
        (false, "text/html; charset=utf-16"),
        (false, "text/html; charset=UTF-16BE"),
        (false, "text/html; charset=iso-2022-jp"),
    ] {
        assert_eq!(HtmlRewriter::new(query(), kind).is_some(), known, "{kind}");
    }
}

#[test]
fn bytes_that_are_no_utf_8_stay() {
    let page = b"<a href=\"/\x93\x5f?\xe9\">\xff\x81</a>";
    let with = b"<a href=\"/\x93\x5f?\xe9&amp;s=K9\">\xff\x81</a>";
    assert_eq!(in_chunks(&query(), page, 1), with);
}

#[test]
fn a_page_in_utf_16_goes_through() {
    let page: Vec<u8> = [0xFF, 0xFE].into_iter().chain(*b"<a href=/x>").collect();
    assert_eq!(in_chunks(&query(), &page, 3), page);
}

#[test]
fn after_an_escape_of_iso_2022_jp_a_page_goes_on_unchanged() {
    let page = "<a href=/x>\u{1b}$B<a href=/y>\u{1b}(B<a href=/z>";
    assert_eq!(rewritten(&query(), page), page.replace("/x", "/x?s=K9"));
    let page = "<a href=/x title='\u{1b}$B'><a href=/y>";
    assert_eq!(rewritten(&query(), page), page);
}

#[test]
fn only_so_many_forms_get_a_field() {
    let with = rewritten(&query(), &"<form></form>".repeat(1030));
    assert_eq!(with.matches("K9").count(), 1024);
}

#[test]
fn what_the_parser_cannot_tell_goes_on_unchanged() {
    let page = "<a href=/x>a<select><xmp><script>b</script></select><a href=/y>c";
    let with = "<a href=/x?s=K9>a<select><xmp><script>b</script></select><a href=/y>c";
    assert_eq!(rewritten(&query(), page), with);
}

#[test]
fn past_the_memory_limit_a_page_goes_on_unchanged() {
    let long = "x".repeat(9000);
    let page = format!("<a href=/x>a</a><a title=\"{long}\" href=/y>b</a><a href=/z>c</a>");
    for size in [1, 7, 500, 2000, 20_000] {
        let mut rewriter = HtmlRewriter::with_memory(query(), HTML, 6000).unwrap();
        let mut out = Vec::new();
        page.as_bytes().chunks(size).for_each(|chunk| rewriter.write(chunk, &mut out));
        let active = rewriter.is_active();
        rewriter.end(&mut out);
        let mut with = page.replace("=/x", "=/x?s=K9");
        if active {
            with = with.replace("=/y", "=/y?s=K9").replace("=/z", "=/z?s=K9");
        }
        assert_eq!(String::from_utf8(out).unwrap(), with, "chunks of {size}");
        assert_eq!(active, size == 20_000, "chunks of {size}");
    }
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut rewriter = HtmlRewriter::new(query(), HTML).unwrap();
    let (mut out, mut sent) = (Vec::new(), 10);
    rewriter.write(b"<a title=\"", &mut out);
    for _ in 0..100 {
        rewriter.write(&[b'x'; 8192], &mut out);
        sent += 8192;
        assert!(sent - out.len() <= MAX_BUFFERED + 8192);
    }
    assert!(!rewriter.is_active());
}

#[test]
fn a_page_that_ends_within_a_tag_is_whole() {
    for page in ["<a href=\"/x", "<a href=/x", "<", "</", "<!--", "<a", "", "<script><"] {
        assert_eq!(rewritten(&query(), page), page);
    }
}

/// Bits of markup that make interesting pages when put together.
fn page() -> impl Strategy<Value = String> {
    let bit = prop::sample::select(vec![
        "<a href=\"",
        "<a href='",
        "<a href=",
        "<form action=\"",
        "<form>",
        "</form>",
        "<base href=\"",
        "<button formaction=\"",
        "<meta http-equiv=refresh content=\"0;url=",
        "<iframe src=\"",
        "\"",
        "'",
        ">",
        "\">",
        "/",
        "//",
        "\\",
        "/x",
        "?a=1",
        "?s=K1",
        "&",
        "&amp;",
        "&#47;",
        "&sol;",
        ";",
        "#f",
        "shop.example",
        "evil.example",
        "https:",
        "http:",
        "javascript:",
        "@",
        ":443",
        " ",
        "\t",
        "\n",
        "text",
        "é",
        "<script>",
        "</script>",
        "<!--",
        "-->",
        "<select>",
        "<xmp>",
        "<template>",
        "<svg>",
        "<table>",
        "</table>",
        "</a>",
        "<div>",
        "</div>",
        "..",
        "s",
        "=",
        "%2e",
    ]);
    prop::collection::vec(prop_oneof![bit.prop_map(str::to_owned), link()], 0..20)
        .prop_map(|bits| bits.concat())
}

/// An element that leads somewhere, with the tricks of URLs.
fn link() -> impl Strategy<Value = String> {
    let start = prop::sample::select(vec!["<a href=\"", "<iframe src=\"", "<base href=\""]);
    let bit = prop::sample::select(vec![
        "/",
        "//",
        "\\",
        "x",
        "?a",
        "&amp;",
        "&#47;",
        "&sol;",
        "#f",
        "shop.example",
        "evil.example",
        "https://",
        "https:",
        "http:",
        "@",
        ":443",
        "\t",
        "..",
    ]);
    let url = prop::collection::vec(bit, 1..4).prop_map(|bits| bits.concat());
    (start, url).prop_map(|(start, url)| [start, &url, "\">"].concat())
}

/// All URLs of a page as a browser resolves them in document order, by means of their own: no
/// character reference but those that [`page`] can make.
fn resolved(html: &str) -> Vec<Url> {
    use lol_html::{RewriteStrSettings, element, rewrite_str};
    let page = Url::parse("https://shop.example/a/cart?x=1").unwrap();
    let (mut base, mut urls) = (None, Vec::new());
    let visit = element!("*", |element: &mut lol_html::html_content::Element<'_, '_>| {
        for name in ["href", "src", "action", "formaction", "content"] {
            let Some(value) = element.get_attribute(name) else { continue };
            let value = value.replace("&#47;", "/").replace("&#47", "/").replace("&sol;", "/");
            let value = value.replace("&#38;", "&").replace("&#59;", ";").replace("&amp;", "&");
            let value = value.strip_prefix("0;url=").unwrap_or(&value);
            let against: &Url = base.as_ref().unwrap_or(&page);
            let Ok(url) = against.join(value.trim_matches(['"', '\''])) else { continue };
            if element.tag_name() == "base" && base.is_none() {
                base = Some(url);
            } else {
                urls.push(url);
            }
        }
        Ok(())
    });
    let settings = RewriteStrSettings::new().with_strict(false);
    rewrite_str(html, settings.append_element_content_handler(visit)).unwrap();
    urls
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chunks_make_no_difference(page in page(), cuts in prop::collection::vec(1_usize..9, 1..40)) {
        for links in [query(), path()] {
            let whole = in_chunks(&links, page.as_bytes(), page.len().max(1));
            let mut rewriter = HtmlRewriter::new(links, HTML).unwrap();
            let (mut out, mut rest) = (Vec::new(), page.as_bytes());
            for cut in cuts.iter().cycle() {
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                rewriter.write(chunk, &mut out);
                rest = tail;
                if rest.is_empty() { break; }
            }
            rewriter.end(&mut out);
            prop_assert_eq!(String::from_utf8(out), String::from_utf8(whole));
        }
    }

    #[test]
    fn no_other_site_gets_the_key(page in page()) {
        for links in [query(), path()] {
            let with = in_chunks(&links, page.as_bytes(), page.len().max(1));
            let with = String::from_utf8(with).unwrap();
            for url in resolved(&with).into_iter().filter(|url| url.as_str().contains("K9")) {
                let origin = url.origin().ascii_serialization();
                prop_assert_eq!(origin, "https://shop.example", "{} in {}", url, with);
            }
        }
    }

    #[test]
    fn a_page_without_links_of_this_site_stays(page in page()) {
        let page = page.replace("<a", "<i").replace("<form", "<i").replace("<iframe", "<i");
        let page = page.replace("<button", "<i").replace("<meta", "<i");
        prop_assert_eq!(String::from_utf8(in_chunks(&query(), page.as_bytes(), 5)).unwrap(), page);
    }

    #[test]
    fn any_bytes_come_through(page in prop::collection::vec(any::<u8>(), 0..200), size in 1_usize..50) {
        let out = in_chunks(&query(), &page, size);
        prop_assert!(out.len() >= page.len());
    }
}
