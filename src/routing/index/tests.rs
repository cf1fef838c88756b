use super::*;
use crate::routing::Path;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

fn rule() -> Matchers {
    Matchers::default()
}

impl Matchers {
    fn order(self, order: i64) -> Self {
        Self { order, ..self }
    }

    fn host(mut self, host: &str) -> Self {
        self.hosts.push(match host.strip_prefix("*.") {
            Some(name) => Host::Below(name.to_owned()),
            None => Host::Exact(host.to_owned()),
        });
        self
    }

    fn path(self, path: &str) -> Self {
        let path = match path.strip_suffix("/*") {
            Some(prefix) => Path::Below(prefix.to_owned()),
            None => Path::Exact(path.to_owned()),
        };
        Self { path, ..self }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((HeaderName::from_static(name), HeaderValue::from_static(value)));
        self
    }

    fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }
}

fn get(rules: &[Matchers], host: &str, path: &str) -> Option<usize> {
    Index::build(rules).find(host, path, &Method::GET, &HeaderMap::new())
}

#[test]
fn no_rules_find_nothing() {
    assert_eq!(get(&[], "example.com", "/"), None);
}

#[test]
fn a_rule_without_conditions_fits_everything() {
    for (host, path) in [("", ""), ("example.com", "/a/b"), ("[::1]", "*")] {
        assert_eq!(get(&[rule()], host, path), Some(0));
    }
}

#[test]
fn lower_order_beats_every_closer_match() {
    let close = rule().host("example.com").path("/cart").header("x-beta", "1");
    assert_eq!(get(&[close.clone(), rule().order(-1)], "example.com", "/cart"), Some(1));
    let wild = rule().host("*.example.com").order(-1);
    let exact = rule().host("www.example.com").path("/cart");
    assert_eq!(get(&[exact, wild], "www.example.com", "/cart"), Some(1));
}

#[test]
fn a_wildcard_of_higher_order_does_not_hide_one_of_lower_order() {
    let exact = rule().host("a.example.com");
    let wild = rule().host("*.example.com");
    let rules = [exact, wild.clone().order(1), wild.order(-1)];
    assert_eq!(get(&rules, "a.example.com", "/"), Some(2));
}

#[test]
fn an_exact_host_beats_a_wildcard() {
    let rules = [rule().host("*.example.com").path("/cart"), rule().host("www.example.com")];
    assert_eq!(get(&rules, "www.example.com", "/cart"), Some(1));
}

#[test]
fn the_longer_wildcard_wins() {
    let rules = [rule().host("*.com").path("/cart"), rule().host("*.example.com")];
    assert_eq!(get(&rules, "www.example.com", "/cart"), Some(1));
    assert_eq!(get(&rules, "example.com", "/cart"), Some(0));
}

#[test]
fn a_wildcard_beats_no_host() {
    let rules = [rule().path("/cart"), rule().host("*.example.com")];
    assert_eq!(get(&rules, "www.example.com", "/cart"), Some(1));
}

#[test]
fn an_exact_path_beats_a_prefix() {
    let rules = [rule().path("/chat/*").header("x-beta", "1"), rule().path("/chat")];
    assert_eq!(get(&rules, "h", "/chat"), Some(1));
}

#[test]
fn the_longer_prefix_wins() {
    let rules = [rule().path("/*"), rule().path("/a/*"), rule().path("/a/b/*")];
    for (path, winner) in [("/a/b/c", 2), ("/a/b", 2), ("/a/bc", 1), ("/a", 1), ("/ab", 0)] {
        assert_eq!(get(&rules, "h", path), Some(winner), "{path}");
    }
}

#[test]
fn a_prefix_beats_any_path() {
    assert_eq!(get(&[rule(), rule().path("/*")], "h", "/"), Some(1));
    assert_eq!(get(&[rule(), rule().path("/*")], "h", "*"), Some(0));
}

#[test]
fn more_matchers_win() {
    let one = rule().header("x-beta", "1");
    let two = rule().header("x-beta", "1").method(Method::GET).method(Method::POST);
    let index = Index::build(&[rule(), one, two]);
    let mut headers = HeaderMap::new();
    assert_eq!(index.find("h", "/", &Method::GET, &headers), Some(0));
    headers.append("x-beta", HeaderValue::from_static("1"));
    assert_eq!(index.find("h", "/", &Method::GET, &headers), Some(2));
    assert_eq!(index.find("h", "/", &Method::PUT, &headers), Some(1));
}

#[test]
fn methods_count_as_one_matcher() {
    let many = rule().method(Method::GET).method(Method::POST);
    assert_eq!(get(&[rule().method(Method::GET), many], "h", "/"), Some(0));
}

#[test]
fn among_equals_the_first_in_the_file_wins() {
    assert_eq!(get(&[rule().path("/a"), rule().path("/a")], "h", "/a"), Some(0));
}

#[test]
fn a_prefix_fits_itself_and_what_lies_below() {
    let rules = [rule().path("/chat/*")];
    for (path, fits) in [("/chat", true), ("/chat/", true), ("/chat/1", true), ("/chatter", false)]
    {
        assert_eq!(get(&rules, "h", path).is_some(), fits, "{path}");
    }
}

#[test]
fn an_exact_path_fits_nothing_below() {
    assert_eq!(get(&[rule().path("/cart")], "h", "/cart/"), None);
}

#[test]
fn a_wildcard_fits_any_depth_but_not_its_own_name() {
    let rules = [rule().host("*.example.com")];
    for (host, fits) in [
        ("a.example.com", true),
        ("c.b.a.example.com", true),
        ("example.com", false),
        ("badexample.com", false),
        ("com", false),
    ] {
        assert_eq!(get(&rules, host, "/").is_some(), fits, "{host}");
    }
}

#[test]
fn a_rule_with_several_hosts_ranks_by_the_one_that_fits() {
    let rules = [rule().host("*.example.com").host("example.org"), rule().host("*.org")];
    assert_eq!(get(&rules, "example.org", "/"), Some(0));
    assert_eq!(get(&rules, "www.example.com", "/"), Some(0));
    assert_eq!(get(&rules, "www.example.org", "/"), Some(1));
}

#[test]
fn the_next_best_rule_stands_in_where_headers_or_method_do_not_fit() {
    let rules = [
        rule().host("*.com").path("/*"),
        rule().host("a.com").path("/x").method(Method::POST),
        rule().host("a.com").path("/x").header("x-beta", "1"),
    ];
    assert_eq!(get(&rules, "a.com", "/x"), Some(0));
}

#[test]
fn any_field_line_with_the_value_will_do() {
    let index = Index::build(&[rule().header("x-beta", "1")]);
    let mut headers = HeaderMap::new();
    headers.append("x-beta", HeaderValue::from_static("0"));
    assert_eq!(index.find("h", "/", &Method::GET, &headers), None);
    headers.append("x-beta", HeaderValue::from_static("1"));
    assert_eq!(index.find("h", "/", &Method::GET, &headers), Some(0));
}

#[test]
fn among_ten_thousand_rules_the_right_one_is_found() {
    let rules: Vec<_> = (0..10_000)
        .map(|n| rule().host(&format!("h{}.example.com", n / 10)).path(&format!("/p{}/*", n % 10)))
        .collect();
    let index = Index::build(&rules);
    for n in 0..10_000 {
        let host = format!("h{}.example.com", n / 10);
        let path = format!("/p{}/x", n % 10);
        assert_eq!(index.find(&host, &path, &Method::GET, &HeaderMap::new()), Some(n));
    }
}

#[test]
fn a_host_of_dots_costs_no_more_than_the_deepest_wildcard() {
    assert_eq!(suffixes(&".".repeat(8192), 2).count(), 2);
}

/// Whether the rule fits and how well, straight from the documentation: the greatest wins.
fn standing(
    rule: &Matchers,
    host: &str,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<impl Ord + use<>> {
    let closest = rule.hosts.iter().filter_map(|pattern| match pattern {
        Host::Exact(name) => (host == name).then_some(usize::MAX),
        Host::Below(name) => host.ends_with(&format!(".{name}")).then_some(name.len()),
    });
    let host = if rule.hosts.is_empty() { Some(0) } else { closest.max() }?;
    let path = match &rule.path {
        Path::Any => Some(0),
        Path::Exact(exact) => (path == exact).then_some(usize::MAX),
        Path::Below(prefix) => {
            (path == prefix || path.starts_with(&format!("{prefix}/"))).then_some(prefix.len() + 1)
        }
    }?;
    let has = |(name, value): &(HeaderName, HeaderValue)| {
        headers.iter().any(|(other, line)| other == name && line == value)
    };
    let fits = rule.headers.iter().all(has)
        && (rule.methods.is_empty() || rule.methods.iter().any(|one| one == method));
    let matchers = rule.headers.len() + usize::from(!rule.methods.is_empty());
    fits.then_some((-rule.order, host, path, matchers))
}

fn scan_all(
    rules: &[Matchers],
    host: &str,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<usize> {
    // `max_by_key` takes the last of equals, the file's first must win.
    (0..rules.len())
        .rev()
        .filter_map(|at| Some((at, standing(&rules[at], host, path, method, headers)?)))
        .max_by(|(_, one), (_, other)| one.cmp(other))
        .map(|(at, _)| at)
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::GET), Just(Method::POST)]
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    ("x-[ab]", "[01]").prop_map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
}

fn matchers() -> impl Strategy<Value = Matchers> {
    let host = prop_oneof![
        "[ab](\\.a){0,2}".prop_map(Host::Exact),
        "[ab](\\.a){0,2}".prop_map(Host::Below),
    ];
    let path = prop_oneof![
        Just(Path::Any),
        "(/a?|/b){1,2}".prop_map(Path::Exact),
        "(/a?|/b){0,3}".prop_map(Path::Below),
    ];
    let hosts = prop::collection::vec(host, 0..3);
    let headers = prop::collection::vec(header(), 0..2);
    let methods = prop::collection::vec(method(), 0..2);
    (-1..2i64, hosts, path, headers, methods).prop_map(|(order, hosts, path, headers, methods)| {
        Matchers { order, hosts, path, headers, methods }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_index_finds_what_a_scan_over_all_rules_finds(
        rules in prop::collection::vec(matchers(), 0..24),
        host in "[ab](\\.a){0,3}",
        path in "(/a?|/b){1,4}|\\*",
        method in method(),
        headers in prop::collection::vec(header(), 0..4),
    ) {
        let headers: HeaderMap = headers.into_iter().fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        });
        let found = Index::build(&rules).find(&host, &path, &method, &headers);
        prop_assert_eq!(found, scan_all(&rules, &host, &path, &method, &headers));
    }
}
