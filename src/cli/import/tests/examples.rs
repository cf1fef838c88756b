//! Whole files in, our YAML and the warnings out.

use super::*;

const SPEC: &str = include_str!("spec5.json");
const YARP: &str = include_str!("yarp.json");

#[test]
fn the_example_of_spec_5_loads() {
    let config = loaded(&yarp(SPEC).unwrap().yaml).unwrap();
    let service = &config.services[0];
    let backends: Vec<_> = service.backends.iter().map(|b| b.address.value.as_str()).collect();
    assert_eq!(service.id.value, "apidemo");
    assert_eq!(backends, ["127.0.0.1:9101", "127.0.0.1:9102", "127.0.0.1:9103"]);
    let cookie = &config.rules[0].affinity.as_ref().unwrap().cookie;
    assert_eq!((cookie.name.as_str(), cookie.http_only), ("SessionAffinity", true));
}

#[test]
fn the_example_of_spec_5_as_text() {
    assert_snapshot!(yaml(SPEC, false), @r#"
      services:
        apidemo:
          backends:
            - { address: 127.0.0.1:9101 }
            - { address: 127.0.0.1:9102 }
            - { address: 127.0.0.1:9103 }
          loadBalancing: { policy: round-robin }
      router:
        rules:
          - id: a
            order: 0
            hosts: [api.com]
            path: /*
            serviceName: apidemo
            sessionAffinity:
              policy: Cookie
              cookie:
                name: SessionAffinity
                path: /
                # not supported yet: expires: 13s
                httpOnly: true
                secure: false
                # not supported yet: sameSite: unspecified
            # not supported yet: mirror: apidemoMirror
    "#);
    assert_snapshot!(warnings(SPEC, false), @"
    19:21: ReverseProxy.Clusters.apidemo.Metadata: not supported yet: expires: 13s
    19:21: ReverseProxy.Clusters.apidemo.Metadata: not supported yet: sameSite: unspecified; lax stands in
    keys that are sealed here end after 30m of silence and after 8h in all, those of the old gateway never did: set `sessionAffinity.idleTimeout` and `absoluteTimeout` where that is too short
    service `apidemo`: keys sealed by .NET Data Protection cannot be read: each of its clients is bound anew, once
    12:28: ReverseProxy.Routes.a.Metadata.MirrorCluster: not supported yet: mirror: apidemoMirror
    ");
}

#[test]
fn https_backends_of_the_spec_speak_tls_where_that_is_built() {
    let json = cluster(r#""X":1"#).replace("http://10.0.0.1", "https://xxx.lt");
    assert_snapshot!(yaml(&json, false), @"
    services:
      a:
        backends: []
          # not supported yet: https: https://xxx.lt
        # not taken over: ReverseProxy.Clusters.a.X
    router:
      rules:
    ");
    assert_snapshot!(yaml(&json, true), @"
    services:
      a:
        backends:
          - { id: d1, address: xxx.lt:443 }
        tls: { verify: true }
        # not taken over: ReverseProxy.Clusters.a.X
    router:
      rules:
    ");
}

#[test]
fn a_service_speaks_one_of_http_and_https() {
    let mixed = r#"{"ReverseProxy":{"Clusters":{"a":{"Destinations":{
        "d1":{"Address":"https://10.0.0.1"},"d2":{"Address":"http://10.0.0.2"}}}}}}"#;
    let imported = yarp(mixed).unwrap();
    assert!(imported.yaml.contains("{ id: d1, address: 10.0.0.1:443 }"), "{}", imported.yaml);
    assert!(imported.yaml.contains("http and https in one service"), "{}", imported.yaml);
    assert!(!imported.yaml.contains("- { id: d2"), "{}", imported.yaml);
}

#[test]
fn a_file_of_yarp_loads() {
    let config = loaded(&yarp(YARP).unwrap().yaml).unwrap();
    let rules: Vec<_> = config.rules.iter().map(|rule| rule.id.value.as_str()).collect();
    assert_eq!(rules, ["shop", "beta", "beta-2"]);
    assert_eq!(config.services[0].health_check.as_ref().unwrap().unhealthy_threshold, 2);
}

#[test]
fn the_affinity_of_a_cluster_is_written_once_and_counts_for_each_of_its_routes() {
    let yaml = yarp(YARP).unwrap().yaml;
    assert_eq!(yaml.matches("sessionAffinity:").count(), 1, "{yaml}");
    let config = loaded(&yaml).unwrap();
    let service = config.services[0].affinity.as_ref().unwrap();
    assert_eq!((service.cookie.name.as_str(), service.encoding), ("Shop", Encoding::HashCookie));
    for rule in &config.rules {
        let affinity = rule.affinity.as_ref().unwrap();
        assert_eq!(affinity.cookie, service.cookie, "{}", rule.id.value);
        assert_eq!((affinity.encoding, affinity.key_over), (Encoding::HashCookie, KeyOver::Id));
        assert_eq!(affinity.on_missing, OnMissing::Reject);
        assert_eq!(affinity.on_unhealthy, OnUnhealthy::Reject);
    }
}

#[test]
fn a_file_of_yarp_as_text() {
    assert_snapshot!(yaml(YARP, true), @r#"
    services:
      shop:
        backends:
          - { id: shop/1, address: 127.0.0.1:9101 }
          - { id: shop/2, address: 127.0.0.1:9102 }
          # not taken over: ReverseProxy.Clusters.shop.Destinations.shop/2.Health
        loadBalancing: { policy: power-of-two }
        healthCheck:
          type: http
          path: /api/health
          interval: 10s
          timeout: 2s
          healthyThreshold: 1
          unhealthyThreshold: 2
        timeouts: { read: 100s }
        sessionAffinity:
          policy: HashCookie
          keyOver: id
          onMissing: reject
          onUnhealthy: reject
          cookie:
            name: Shop
            path: /
            maxAge: 1h
            httpOnly: true
            secure: true
            sameSite: none
    router:
      rules:
        - id: shop
          hosts: ["*.example.com"]
          path: /shop/*
          methods: [GET, POST]
          serviceName: shop
          # not taken over: ReverseProxy.Routes.shop.AuthorizationPolicy
        - id: beta
          order: -1
          path: /*
          headers: { x-beta: "1" }
          serviceName: shop
        - id: beta-2
          order: -1
          path: /*
          headers: { x-beta: "2" }
          serviceName: shop
    "#);
    assert_snapshot!(warnings(YARP, true), @"
    40:70: ReverseProxy.Clusters.shop.Destinations.shop/2.Health: not taken over
    paths of rules know upper and lower case apart, those of the old gateway do not
    8:32: ReverseProxy.Routes.shop.AuthorizationPolicy: not taken over
    ");
    assert_snapshot!(yaml(YARP, false), @r#"
    services:
      shop:
        backends:
          - { id: shop/1, address: 127.0.0.1:9101 }
          - { id: shop/2, address: 127.0.0.1:9102 }
          # not taken over: ReverseProxy.Clusters.shop.Destinations.shop/2.Health
        # not supported yet: loadBalancing: { policy: power-of-two }
        healthCheck:
          type: http
          path: /api/health
          interval: 10s
          timeout: 2s
          healthyThreshold: 1
          unhealthyThreshold: 2
        timeouts: { read: 100s }
    router:
      rules:
        - id: shop
          hosts: ["*.example.com"]
          path: /shop/*
          methods: [GET, POST]
          serviceName: shop
          sessionAffinity:
            # not supported yet: policy: HashCookie
            # not supported yet: keyOver: id
            # not supported yet: onMissing: reject
            # not supported yet: onUnhealthy: reject
            cookie:
              name: Shop
              path: /
              maxAge: 1h
              httpOnly: true
              secure: true
              sameSite: none
          # not taken over: ReverseProxy.Routes.shop.AuthorizationPolicy
        - id: beta
          order: -1
          path: /*
          headers: { x-beta: "1" }
          serviceName: shop
          sessionAffinity:
            # not supported yet: policy: HashCookie
            # not supported yet: keyOver: id
            # not supported yet: onMissing: reject
            # not supported yet: onUnhealthy: reject
            cookie:
              name: Shop
              path: /
              maxAge: 1h
              httpOnly: true
              secure: true
              sameSite: none
        - id: beta-2
          order: -1
          path: /*
          headers: { x-beta: "2" }
          serviceName: shop
          sessionAffinity:
            # not supported yet: policy: HashCookie
            # not supported yet: keyOver: id
            # not supported yet: onMissing: reject
            # not supported yet: onUnhealthy: reject
            cookie:
              name: Shop
              path: /
              maxAge: 1h
              httpOnly: true
              secure: true
              sameSite: none
    "#);
    assert_snapshot!(warnings(YARP, false), @"
    40:70: ReverseProxy.Clusters.shop.Destinations.shop/2.Health: not taken over
    26:32: ReverseProxy.Clusters.shop.LoadBalancingPolicy: not supported yet: loadBalancing: { policy: power-of-two }; round-robin stands in
    27:28: ReverseProxy.Clusters.shop.SessionAffinity: not supported yet: policy: HashCookie; a sealed cookie stands in
    27:28: ReverseProxy.Clusters.shop.SessionAffinity: not supported yet: keyOver: id
    27:28: ReverseProxy.Clusters.shop.SessionAffinity: not supported yet: onMissing: reject; such clients are bound anew
    27:28: ReverseProxy.Clusters.shop.SessionAffinity: not supported yet: onUnhealthy: reject; such clients are bound anew
    keys that are sealed here end after 30m of silence and after 8h in all, those of the old gateway never did: set `sessionAffinity.idleTimeout` and `absoluteTimeout` where that is too short
    service `shop`: its keys cannot be read yet: each of its clients is bound anew, once
    paths of rules know upper and lower case apart, those of the old gateway do not
    8:32: ReverseProxy.Routes.shop.AuthorizationPolicy: not taken over
    ");
}
