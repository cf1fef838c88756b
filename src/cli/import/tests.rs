//! A setting in, our YAML and the warnings out; and what comes out loads. Whole files are beside it.

mod examples;

use super::{Feature, SUPPORTED, convert, yarp};
use crate::config::{Config, Encoding, Faults, KeyOver, OnMissing, OnUnhealthy, Source, load};
use insta::assert_snapshot;

/// Of every feature: built, or none.
fn all(built: bool) -> Vec<(Feature, bool)> {
    SUPPORTED.iter().map(|(feature, _)| (*feature, built)).collect()
}

fn loaded(yaml: &str) -> Result<Config, Faults> {
    load(vec![Source { name: "out.yaml".to_owned(), text: yaml.to_owned() }], &|_| None)
}

/// The part of the file below its head.
fn yaml(json: &str, built: bool) -> String {
    let yaml = convert(json, &all(built)).unwrap().yaml;
    yaml.split_once("gateway:\n").unwrap().1.to_owned()
}

fn warnings(json: &str, built: bool) -> String {
    convert(json, &all(built)).unwrap().warnings.join("\n")
}

fn error(json: &str) -> String {
    yarp(json).unwrap_err().to_string()
}

fn routes(routes: &str) -> String {
    let clusters = r#"{"a":{"Destinations":[{"Address":"http://10.0.0.1"}]}}"#;
    format!(r#"{{"ReverseProxy":{{"Routes":{routes},"Clusters":{clusters}}}}}"#)
}

fn cluster(cluster: &str) -> String {
    format!(
        r#"{{"ReverseProxy":{{"Clusters":{{"a":{{"Destinations":{{"d1":{{"Address":"http://10.0.0.1"}}}},{cluster}}}}}}}}}"#
    )
}

/// Flip the entry in `SUPPORTED` that this names.
#[test]
fn what_is_said_to_be_supported_loads_and_nothing_else() {
    let affinity = |policy: &str, cookie: &str| {
        cluster(&format!(
            r#""SessionAffinity":{{"Enabled":true,"Policy":"{policy}","AffinityKeyName":"k","Cookie":{{"SameSite":"Lax",{cookie}"Path":"/"}}}}"#
        ))
    };
    let policy = |policy: &str| cluster(&format!(r#""LoadBalancingPolicy":"{policy}""#));
    for (feature, says) in SUPPORTED {
        let json = match feature {
            Feature::ArrCookie => affinity("ArrCookie", ""),
            Feature::HashCookie | Feature::KeyOver => affinity("HashCookie", ""),
            Feature::CustomHeader => affinity("CustomHeader", ""),
            Feature::CookieExpires => affinity("Cookie", r#""Expiration":"00:00:13","#),
            Feature::CookieExtensions => affinity("Cookie", r#""Extensions":"Priority=High","#),
            Feature::CookieIsEssential => affinity("Cookie", r#""IsEssential":true,"#),
            Feature::SameSiteUnspecified => affinity("Cookie", "").replace("Lax", "Unspecified"),
            Feature::Reject => affinity("Cookie", "")
                .replace(r#""Policy""#, r#""FailurePolicy":"Return503Error","Policy""#),
            Feature::AffinityOfService => affinity("Cookie", ""),
            Feature::HttpsBackends => cluster(r#""X":1"#).replace("http://", "https://"),
            Feature::Random => policy("Random"),
            Feature::LeastConnections => policy("LeastRequests"),
            Feature::PowerOfTwo => policy("PowerOfTwoChoices"),
        };
        let json = json.replace(
            r#""Clusters""#,
            r#""Routes":{"r":{"ClusterId":"a","Match":{"Path":"/"}}},"Clusters""#,
        );
        let with = convert(&json, &[(*feature, true)]).unwrap().yaml;
        let without = convert(&json, &[]).unwrap().yaml;
        assert_ne!(with, without, "{feature:?} is not in the text");
        let faults = loaded(&with).map_or_else(|faults| faults.to_string(), |_| String::new());
        assert_eq!(faults.is_empty(), *says, "{feature:?}: {faults}\n{with}");
    }
}

#[test]
fn comments_trailing_commas_and_a_byte_order_mark_are_taken() {
    let json = "\u{feff}// a\n{ /* { */ \"ReverseProxy\": { \"Clusters\": { \"a\": {\n\
        \"Destinations\": [ { \"Address\": \"http://10.0.0.1/\", }, /* , */ ], // http://x\n } } } , }";
    let config = loaded(&yarp(json).unwrap().yaml).unwrap();
    assert_eq!(config.services[0].backends[0].address.value, "10.0.0.1:80");
}

#[test]
fn errors_name_line_and_column() {
    assert_eq!(error("{\n  \"a\": x\n}"), "2:8: expected value");
    assert_eq!(error("{}"), "1:1: no `ReverseProxy` section");
    let one = "{\"ReverseProxy\": {\n  \"Clusters\": {\n    \"a\": { \"Destinations\": [ { \"Address\" : \"ftp://x\" } ] } } } }";
    assert_eq!(
        error(one),
        "3:44: `Address`: found \"ftp://x\", expected a URL such as http://10.0.0.1:8080"
    );
    let two = routes("{\"r\":\n{\"ClusterId\":\n   \"b\",\"Match\":{}}}");
    assert_eq!(error(&two), "3:4: there is no cluster \"b\"");
    assert_eq!(
        error("{\"ReverseProxy\":{},\n \"reverseproxy\":{}}").split(": ").nth(1),
        Some("the key \"reverseproxy\" stands here twice")
    );
    let three =
        cluster("\n\"Metadata\":{\"SessionAffinity\":\"Cookie\",\n\"CookieExpires\":\"13s\"}");
    assert!(
        error(&three).starts_with("3:17: `CookieExpires`: found \"13s\", expected a time span")
    );
    let four = cluster(r#""LoadBalancingPolicy":"${HOME}""#);
    assert!(error(&four).contains("variable"), "{}", error(&four));
}

#[test]
fn an_address_that_our_language_refuses_is_refused_here() {
    for address in ["http://09.0.0.1:80", "http://a:0", "http://a~b:80", "10.0.0.1"] {
        let json = cluster("").replace("http://10.0.0.1", address);
        let said = error(&json);
        assert!(said.contains("expected a URL such as http://10.0.0.1:8080"), "{address}: {said}");
    }
}

#[test]
fn hashed_keys_of_vkproxy_are_made_of_addresses() {
    let json = cluster(r#""Metadata":{"SessionAffinity":"hashcookie","SessionAffinityKey":"k"}"#);
    let text = convert(
        &json,
        &[
            (Feature::HashCookie, true),
            (Feature::KeyOver, true),
            (Feature::AffinityOfService, true),
        ],
    )
    .unwrap();
    assert!(text.yaml.contains("policy: HashCookie\n        keyOver: address\n"), "{}", text.yaml);
    assert!(!text.warnings.join("\n").contains("bound anew"), "{:?}", text.warnings);
    let named = json.replace("10.0.0.1", "app");
    assert!(warnings(&named, true).contains("bound anew, once"));
    assert!(warnings(&json, false).contains("bound anew, once"));
}

#[test]
fn every_setting_of_a_cookie_is_taken_over() {
    let json = cluster(
        r#""Metadata":{"SessionAffinity":"Cookie","SessionAffinityKey":"k","CookieDomain":"example.com",
        "CookieExpires":"00:00:13","CookieExtensions":"Partitioned; a=b","CookieHttpOnly":"False",
        "CookieIsEssential":true,"CookieMaxAge":"1.00:00:00","CookiePath":"/x","CookieSameSite":"strict",
        "CookieSecurePolicy":"SameAsRequest","JwtSigningKey":"hidden"}"#,
    );
    assert_snapshot!(yaml(&json, true), @"
    services:
      a:
        backends:
          - { id: d1, address: 10.0.0.1:80 }
        sessionAffinity:
          policy: Cookie
          cookie:
            name: k
            path: /x
            domain: example.com
            maxAge: 1d
            expires: 13s
            httpOnly: false
            secure: auto
            sameSite: strict
            isEssential: true
            extensions: [Partitioned, a=b]
        # not taken over: ReverseProxy.Clusters.a.Metadata.JwtSigningKey
    router:
      rules:
    ");
    assert!(!yarp(&json).unwrap().yaml.contains("hidden"));
}

#[test]
fn a_route_that_a_rule_cannot_say_is_a_comment() {
    let json = routes(
        r#"{"one":{"ClusterId":"A","Match":{"Path":"/api/{id}/x"}},
            "two":{"ClusterId":"a","Match":{"Path":"/{**all}","Headers":[{"Name":"x","Mode":"Exists"}]}},
            "three":{"ClusterId":"a","Match":{"Hosts":["*api.com","b.com:81"],"Paths":["/foo*","/bar"],
                     "Headers":{"x-a":"1"}},"Timeout":"00:00:10"}}"#,
    );
    assert_snapshot!(yaml(&json, false), @r#"
    services:
      a:
        backends:
          - { address: 10.0.0.1:80 }
    router:
      rules:
        # left out, since `/api/{id}/x` is more than a prefix; what comes nearest:
        # - id: one
        #   path: /api/*
        #   serviceName: a
        # left out, since `Exists` of the header `x` has no counterpart; what comes nearest:
        # - id: two
        #   path: /*
        #   serviceName: a
        - id: three
          hosts: [api.com, "*.api.com", b.com]
          path: /foo/*
          headers: { x-a: "1" }
          serviceName: a
          # not taken over: ReverseProxy.Routes.three.Timeout
        - id: three-2
          hosts: [api.com, "*.api.com", b.com]
          path: /bar
          headers: { x-a: "1" }
          serviceName: a
    "#);
    assert_snapshot!(warnings(&json, false), @"
    paths of rules know upper and lower case apart, those of the old gateway do not
    ReverseProxy.Routes.one: left out, since `/api/{id}/x` is more than a prefix
    ReverseProxy.Routes.two: left out, since `Exists` of the header `x` has no counterpart
    ReverseProxy.Routes.three.Match.Hosts: `*api.com` takes `api.com` and what is below it here, no other host that ends so
    ReverseProxy.Routes.three.Match.Hosts: the port of `b.com:81` is left out
    ReverseProxy.Routes.three.Match.Paths: `/foo*` takes `/foo` and what is below it here, not every path that begins so
    4:55: ReverseProxy.Routes.three.Timeout: not taken over
    ");
    loaded(&yarp(&json).unwrap().yaml).unwrap();
}

#[test]
fn names_that_do_not_fit_are_made_to() {
    let json = r#"{"ReverseProxy":{"Clusters":{"a b":{"Destinations":{"d 1":{"Address":"http://h:1"},"d-1":{"Address":"http://h:2"}}},
        "a-b":{"Destinations":[{"Address":"[::1]:80"}]}},"Routes":{"r":{"ClusterId":"a b","Match":{"Path":"api/{**x}"}}}}}"#;
    let config = loaded(&yarp(json).unwrap().yaml).unwrap();
    let names: Vec<_> = config.services.iter().map(|s| s.id.value.as_str()).collect();
    let ids: Vec<_> = config.services[0].backends.iter().map(|b| b.id.value.as_str()).collect();
    assert_eq!((names, ids), (vec!["a-b", "a-b-2"], vec!["d-1", "d-1-2"]));
    assert_eq!(config.rules[0].service.value, "a-b");
}

#[test]
fn text_from_the_file_never_becomes_yaml_of_its_own() {
    let json = routes(
        r#"{"r":{"ClusterId":"a","Match":{"Path":"/","Headers":{"x":"a\" }\n  b: 1","y":"no","\ud83d\ude00":"a\u0085b"}},"Metadata":{"x\ngateway: {}":1}}}"#,
    );
    let text = yarp(&json).unwrap().yaml;
    let tree: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let headers = &tree["gateway"]["router"]["rules"][0]["headers"];
    assert_eq!(headers["x"], "a\" }\n  b: 1");
    assert_eq!((headers["y"].as_str(), headers["😀"].as_str()), (Some("no"), Some("a\u{85}b")));
}
