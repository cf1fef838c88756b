//! Every decoder of what a client, or a file, hands in, held to the invariants of `tests/fuzz`: with
//! each seed, and with what proptest makes of the pieces that matter to it. The fuzz targets look
//! deeper for longer; this is what every test run knows without them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken invariant ends a test"
)]
#![allow(unreachable_pub, reason = "the invariants are shared with the fuzz targets")]

#[path = "fuzz/src/lib.rs"]
mod invariants;

use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

type Target = (&'static str, fn(&[u8]));

/// Every target by its name.
const TARGETS: [Target; 11] = [
    ("config", invariants::config::holds),
    ("cookies", invariants::cookies::holds),
    ("digests", invariants::digests::holds),
    ("envoy", invariants::envoy::holds),
    ("forwarded", invariants::forwarded::holds),
    ("haproxy", invariants::haproxy::holds),
    ("host", invariants::host::holds),
    ("import", invariants::import::holds),
    ("path", invariants::path::holds),
    ("routes", invariants::routes::holds),
    ("sealed", invariants::sealed::holds),
];

fn fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(path)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_target_is_tested_here_has_seeds_and_is_built() {
    let here = TARGETS.map(|(name, _)| name);
    assert_eq!(names(&fuzz("fuzz_targets")), here);
    assert_eq!(names(&fuzz("seeds")), here);
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for name in here {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

#[test]
fn every_seed_holds() {
    for (target, holds) in TARGETS {
        let dir = fuzz("seeds").join(target);
        let mut seeds = 0;
        for seed in fs::read_dir(&dir).unwrap() {
            let path = seed.unwrap().path();
            eprintln!("{}", path.display());
            holds(&fs::read(&path).unwrap());
            seeds += 1;
        }
        assert!(seeds > 2, "{target}");
    }
}

/// Up to `most` of these, one after the other.
fn words(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces), 0..most).prop_map(|words| words.concat())
}

const COOKIES: &[&str] = &[
    "ours",
    "ours-1c42ddc0",
    "other",
    "SRV",
    "SID",
    "JSESSIONID",
    "a",
    "=",
    "=",
    "=",
    ";",
    ";",
    "; ",
    " ",
    "\t",
    "~",
    ".",
    "b1",
    "\"",
    "k",
];
const KEYS: &[&str] = &[
    "b1",
    "b2",
    "b4",
    "0850e255b3ddd68b",
    "|",
    "|",
    "~",
    ".",
    "ZVPxA",
    "/////",
    "AAAAA",
    "x",
    "\"",
    "MTI3LjAuMC4xOjkxMDE=",
    "Cg4xMjcuMC4wLjE6OTEwMQ==",
    "c268f781ab94296e",
    "f926970339bad86e4a7119a9fcc2ebf4",
    "f926970339bad86e",
    "4A71",
    "\n\u{e}127.0.0.1:9101",
    "127.0.0.1:9103",
    "\u{10}",
    "\u{18}\u{1}",
    "\0",
];
const PATHS: &[&str] =
    &["/", "/", ".", ".", "%", "%2e", "%2E", "%32", "%65", "%2f", "2", "e", "é", "a"];
const HOSTS: &[&str] = &["a", "A", ".", ":", "80", "[", "]", "::1", "é", "İ", "shop.example"];
const FORWARDED: &[&str] = &[
    "\n",
    "\n1:",
    "\n2:",
    "\n3:",
    ",",
    ", ",
    "10.0.0.2",
    "203.0.113.9",
    "[2001:db8::9]",
    "fd00::2",
    ":80",
    "::ffff:10.0.0.3",
    "https",
    "http",
    "x",
    " ",
];
const YAML: &[&str] = &[
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    "gateway:",
    "router:",
    "sessionAffinity:",
    "rules:",
    "services:",
    "backends:",
    "- ",
    "{ ",
    " }",
    "id: ",
    "address: ",
    "127.0.0.1:1",
    "cookie: ",
    "name: ",
    "maxAge: ",
    "keys: ",
    "secret: ",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "<<: ",
    "${A}",
    "${",
    "}",
    "\0",
    "1",
    "1h",
    "x",
    "'",
    "\"",
    "!t ",
    "|",
    "# ",
];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "//",
    "/*",
    "*/",
    "\n",
    "\"ReverseProxy\":{",
    "\"Routes\":{",
    "\"Clusters\":{",
    "\"c\":{",
    "\"Destinations\":{",
    "\"Destinations\":[",
    "\"Address\":",
    "\"http://a\"",
    "\"Metadata\":{",
    "\"SessionAffinity\":",
    "\"Cookie\"",
    "\"ClusterId\":",
    "\"Match\":{",
    "\"Path\":",
    "\"/a/{**x}\"",
    "true",
    "null",
    "1.5",
    "\"\\u00e9\"",
    "\"",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn any_bytes_hold_everywhere(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for (_, holds) in TARGETS {
            holds(&bytes);
        }
    }

    #[test]
    fn any_cookies_hold(line in words(COOKIES, 40)) {
        invariants::cookies::holds(line.as_bytes());
    }

    #[test]
    fn any_keys_hold(key in words(KEYS, 8)) {
        for (target, holds) in TARGETS {
            if ["envoy", "haproxy", "digests", "routes", "sealed"].contains(&target) {
                holds(key.as_bytes());
            }
        }
    }

    #[test]
    fn any_sealed_plaintext_holds(
        issued in 1_799_999_000..1_800_001_000_u32, seen in 1_799_999_000..1_800_001_000_u32,
        tag: u64, fields in prop::collection::vec((-1..2_i8, "[ -~é]{0,90}"), 3..6),
    ) {
        let mut plain = [issued.to_be_bytes(), seen.to_be_bytes()].concat();
        plain.extend(tag.to_be_bytes());
        for (off, text) in &fields {
            plain.push(u8::try_from(text.len()).unwrap().wrapping_add_signed(*off));
            plain.extend(text.as_bytes());
        }
        invariants::sealed::holds(&plain);
    }

    #[test]
    fn any_paths_and_hosts_hold(path in words(PATHS, 16), host in words(HOSTS, 8)) {
        invariants::path::holds(format!("/{path}").as_bytes());
        invariants::path::holds(path.as_bytes());
        invariants::host::holds(host.as_bytes());
    }

    #[test]
    fn any_chain_of_proxies_holds(trusted: bool, lines in words(FORWARDED, 70)) {
        invariants::forwarded::holds(&[&[u8::from(trusted)], lines.as_bytes()].concat());
    }

    #[test]
    fn any_files_hold(yaml in words(YAML, 30), json in words(JSON, 20)) {
        invariants::config::holds(yaml.as_bytes());
        invariants::import::holds(json.as_bytes());
    }

    #[test]
    fn a_seed_with_a_piece_changed_holds(
        target in 0..TARGETS.len(), seed: prop::sample::Index, at: prop::sample::Index, length in 0..12_usize,
        piece in prop_oneof![
            words(KEYS, 3), words(COOKIES, 3), words(FORWARDED, 3), words(YAML, 3), words(JSON, 3)
        ],
    ) {
        let (name, holds) = TARGETS[target];
        let dir = fuzz("seeds").join(name);
        let mut seeds: Vec<_> = fs::read_dir(dir).unwrap().map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        let mut bytes = fs::read(seed.get(&seeds)).unwrap();
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + length);
        bytes.splice(at..end, piece.bytes());
        holds(&bytes);
    }
}
