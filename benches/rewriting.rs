//! What it costs to put a key into the links of a page, beside a bare `lol_html` that sets every
//! such attribute to a fixed text. The target is at most one and a half times of it.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lol_html::Selector;
use lol_html::send::{HtmlRewriter as Bare, Settings};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use stickfast::rewriting::{HtmlRewriter, KeyPlace, Links, Site};

/// As long as a sealed key.
const KEY: &str =
    "AQx7mJ2kP0vR5tY8wZ1bC4dE6fG9hI3jK-lM_nO2pQ5rS8tU1vW4xY7zA0bC3dE6fG9hI2jK5lM8nO1p";

/// A body comes from the network in such pieces.
const CHUNK: usize = 16 * 1024;

/// A shop's page of about 100 KB: some 300 links, most of this site, forms, scripts and text.
fn page() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Shop</title>\n\
         <link rel=\"stylesheet\" href=\"/assets/site.css\">\n<base href=\"/shop/\">\n",
    );
    for n in 0..10 {
        let _ = write!(page, "<script src=\"/assets/{n}.js\"></script><script>var data{n} = [");
        for item in 0..120 {
            let _ = write!(page, "{{\"id\":{item},\"tag\":\"<b>{n}</b>\"}},");
        }
        page.push_str("];</script>\n");
    }
    page.push_str("</head><body>\n<ul class=\"nav\">\n");
    for n in 0..30 {
        let _ =
            writeln!(page, "<li class=\"item\"><a class=\"link\" href=\"/area/{n}\">{n}</a></li>");
    }
    page.push_str("</ul>\n");
    for n in 0..80 {
        let _ = write!(
            page,
            "<article id=\"p{n}\" class=\"product card\">\n\
             <a href=\"/product/{n}?from=list&amp;page=2\" title=\"Product {n}\">\
             <img src=\"/img/{n}.jpg\" alt=\"\" width=\"200\" height=\"200\" loading=\"lazy\"></a>\n\
             <h2><a href=\"product/{n}#reviews\">Product number {n}</a></h2>\n\
             <p>Some words that describe the thing, <em>at length</em>, with a few tags between \
             and <span class=\"price\">{n}.99</span> for its price; it goes on for a while, as \
             such texts do, until the reader has lost all interest in what it is that is sold.</p>\n\
             <a href=\"https://partner.example/offer?id={n}\" rel=\"nofollow\">elsewhere</a>\n\
             <p class=\"small\">Delivered in {n} days. <b>In stock.</b> Free returns.</p>\n</article>\n",
        );
        if n % 10 == 0 {
            let _ = write!(
                page,
                "<form method=\"post\" action=\"/cart/add/{n}\"><input name=\"n\" value=\"1\">\
                 <button formaction=\"/wish/{n}\">wish</button></form>\n\
                 <form action=\"/search\"><input name=\"q\"><button>find</button></form>\n",
            );
        }
    }
    for n in 0..30 {
        let _ = writeln!(page, "<a href=\"https://shop.example/help/{n}\">Help {n}</a>");
    }
    page.push_str("</body></html>\n");
    page
}

fn ours(page: &[u8], links: &Arc<Links>, out: &mut Vec<u8>) {
    let mut rewriter = HtmlRewriter::new(Arc::clone(links), "text/html; charset=utf-8").unwrap();
    page.chunks(CHUNK).for_each(|chunk| rewriter.write(chunk, out));
    rewriter.end(out);
}

fn bare(page: &[u8], selectors: &[(Selector, &'static str)], out: &mut Vec<u8>) {
    let mut settings = Settings::new_send();
    for (selector, name) in selectors {
        let handlers = lol_html::send::ElementContentHandlers::default().element(
            move |element: &mut lol_html::send::Element<'_, '_>| {
                element.set_attribute(name, black_box("/some/where?else=1"))?;
                Ok(())
            },
        );
        let selector = std::borrow::Cow::Borrowed(selector);
        settings = settings.append_element_content_handler((selector, handlers));
    }
    let mut rewriter = Bare::new(settings, |chunk: &[u8]| out.extend_from_slice(chunk));
    page.chunks(CHUNK).for_each(|chunk| rewriter.write(chunk).unwrap());
    rewriter.end().unwrap();
}

fn pages(c: &mut Criterion) {
    let page = page();
    let selectors = [
        ("a[href], area[href]", "href"),
        ("iframe[src], frame[src]", "src"),
        ("button[formaction], input[formaction]", "formaction"),
        ("form", "action"),
        ("meta[http-equiv=refresh i][content]", "content"),
        ("base[href]", "href"),
    ];
    let selectors = selectors.map(|(selector, name)| (selector.parse().unwrap(), name));
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Bytes(page.len() as u64));
    for place in [KeyPlace::Query("sessionId".into()), KeyPlace::Path("jsessionid".into())] {
        let name = place.name().to_owned();
        let site = Site::new("https", "shop.example", "/shop/list?page=1").unwrap();
        let links = Arc::new(Links::new(site, place, KEY, Arc::new(|value| value.len() > 40)));
        let mut out = Vec::new();
        ours(page.as_bytes(), &links, &mut out);
        let keys = String::from_utf8(out).unwrap().matches(KEY).count();
        assert!(keys > 200, "{keys} links were rewritten in {} bytes", page.len());
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut out = Vec::with_capacity(2 * page.len());
                ours(black_box(page.as_bytes()), &links, &mut out);
                out
            });
        });
    }
    group.bench_function("bare", |b| {
        b.iter(|| {
            let mut out = Vec::with_capacity(2 * page.len());
            bare(black_box(page.as_bytes()), &selectors, &mut out);
            out
        });
    });
    group.finish();
}

fn targets(c: &mut Criterion) {
    let place = KeyPlace::Path("jsessionid".into());
    let with = place.add("/shop/cart/items?page=2&sort=price", KEY, |_| false);
    c.bench_function("cut/key", |b| b.iter(|| place.cut(black_box(&with), |v| v.len() > 40)));
    let without = "/shop/cart/items?page=2&sort=price";
    c.bench_function("cut/none", |b| b.iter(|| place.cut(black_box(without), |_| true)));
}

criterion_group!(benches, pages, targets);
criterion_main!(benches);
