//! `sessionAffinity` of the router, of a service and of a rule, laid over one another.

use crate::harness::{Backend, Gateway, Setup, check};

#[test]
fn each_layer_changes_what_it_says_and_leaves_the_rest() {
    let [a1, s1] = ["a1", "s1"].map(Backend::start);
    let setup = Setup::of(&[&a1])
        .service("shop", &[&s1])
        .option("sessionAffinity: { cookie: { name: of-the-service }, idleTimeout: 20m }")
        .rules(&[
            "id: own, path: /own/*, serviceName: shop, sessionAffinity: { cookie: { path: /own } }",
            "id: shop, path: /shop/*, serviceName: shop",
            "id: app, serviceName: app",
        ])
        .sticky_with("cookie: { name: of-the-router, sameSite: strict }");
    let gateway = Gateway::start(&setup);
    for (path, starts, has) in [
        ("/own/x", "of-the-service=", "Path=/own"),
        ("/shop/x", "of-the-service=", "Path=/;"),
        ("/", "of-the-router=", "Path=/;"),
    ] {
        let answer = gateway.client().get(path);
        let [cookie] = answer.cookies().try_into().expect("one cookie");
        assert!(
            cookie.starts_with(starts) && format!("{cookie};").contains(has),
            "{path}: {cookie}"
        );
        assert!(cookie.contains("SameSite=Strict"), "{path}: {cookie}");
    }
}

#[test]
fn a_section_that_is_there_is_on_unless_it_says_otherwise() {
    let [a1, a2] = ["a1", "a2"].map(Backend::start);
    let off = "{ enabled: false }";
    let named = "{ cookie: { name: x } }";
    for (router, service, rule, cookies) in [
        (Some("enabled: true"), None, None, 1),
        (Some("enabled: true"), Some(off), None, 0),
        (Some("enabled: true"), Some(off), Some(named), 1),
        (Some("enabled: true"), Some(named), Some(off), 0),
        (Some("enabled: false"), Some(named), None, 1),
        (Some("enabled: false"), None, Some(named), 1),
        (Some("enabled: false"), Some(off), None, 0),
        (Some("enabled: false"), None, None, 0),
        (None, Some(named), None, 1),
        (None, Some(off), Some(named), 1),
        (None, None, None, 0),
    ] {
        let mut setup = Setup::of(&[&a1, &a2]);
        if let Some(service) = service {
            setup = setup.option(&format!("sessionAffinity: {service}"));
        }
        if let Some(router) = router {
            setup = setup.router(&format!("sessionAffinity: {{ {router} }}"));
        }
        let own = rule.map(|rule| format!(", sessionAffinity: {rule}")).unwrap_or_default();
        let setup = setup.rules(&[&format!("id: r, serviceName: app{own}")]);
        let gateway = Gateway::start(&setup);
        let met = gateway.client().get("/").cookies().len();
        assert_eq!(met, cookies, "router {router:?}, service {service:?}, rule {rule:?}");
    }
}

#[test]
fn a_service_has_affinity_without_any_rule() {
    let [a1, a2] = ["a1", "a2"].map(Backend::start);
    let yaml = format!(
        "gateway:
  server: {{ listeners: [{{ address: \"127.0.0.1:0\" }}], stateDir: \"${{STICKFAST_TEST_DIR}}\", log: {{ format: json }} }}
  admin: {{ address: \"127.0.0.1:0\" }}
  services:
    app:
      backends: [{{ id: a1, address: \"{}\" }}, {{ id: a2, address: \"{}\" }}]
      sessionAffinity: {{ cookie: {{ name: alone }} }}
",
        a1.address(),
        a2.address()
    );
    let gateway = Gateway::start(&yaml);
    let mut client = gateway.client();
    let home = client.get("/").backend();
    assert!(client.cookie("alone").is_some());
    for _ in 0..4 {
        assert_eq!(client.get("/").backend(), home);
    }
}

#[test]
fn a_fault_is_told_once_and_with_its_place() {
    let file = |service: &str, router: &str, rule: &str| {
        format!(
            "gateway:
  services:
    app:
      backends: [{{ address: \"127.0.0.1:9\" }}]
      sessionAffinity: {service}
    shop:
      backends: [{{ address: \"127.0.0.1:9\" }}]
  router:
    serviceHeader: x-service
    rules:
      - {{ id: one, path: /one, serviceName: app }}
      - {{ id: two, path: /two, serviceName: app, sessionAffinity: {rule} }}
      - {{ id: three, serviceName: shop }}
    sessionAffinity: {router}
"
        )
    };
    assert!(check(&file("{}", "{}", "{}")).stderr.is_empty());
    for (service, router, rule, place) in [
        ("{ onFull: waite }", "{}", "{}", "stickfast.yaml:5:34:"),
        ("{ onfull: wait }", "{}", "{}", "stickfast.yaml:5:"),
        ("{ idleTimeout: 9h }", "{}", "{}", "stickfast.yaml:5:"),
        ("{ keys: [{ id: 1, secret: short }] }", "{}", "{}", "stickfast.yaml:5:"),
        ("{}", "{ burst: { window: often } }", "{}", "stickfast.yaml:14:"),
        ("{}", "{}", "{ cookie: { path: no } }", "stickfast.yaml:12:"),
    ] {
        let said = check(&file(service, router, rule)).stderr;
        let faults: Vec<_> = said.lines().filter(|l| l.contains("stickfast.yaml:")).collect();
        assert_eq!(faults.len(), 1, "{service} {router} {rule}\n{said}");
        assert!(faults[0].contains(place), "{place}\n{said}");
    }
}
