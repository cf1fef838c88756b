//! What it costs to read a key, of every format, among a hundred backends: one that names a backend,
//! and the most expensive one that a client can make up within the length that is looked at. Apart
//! from `decision`, since these are costs that a stranger chooses: none may reach a microsecond, and
//! where one does, this fails.

#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a bench measures time, and fails by panicking"
)]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use stickfast::affinity::formats::{Carrier, Format, MAX_KEY, Over, Reading, Table, Target};
use stickfast::affinity::sealed::{OpenBuffer, associated, open, seal};
use stickfast::affinity::{Binding, KeyRing};
use stickfast::model::{Secret, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000);
const LIMIT: Duration = Duration::from_micros(1);
/// Reads of one round.
const CALLS: u32 = 2_000;
const BACKENDS: usize = 100;
/// What an application keeps in the same cookie at most: browsers store 4096 bytes.
const APPLICATION: usize = 4096;

/// Measures `read` with criterion, and holds it to [`LIMIT`].
fn measure(c: &mut Criterion, name: &str, mut read: impl FnMut()) {
    c.bench_function(name, |b| b.iter(&mut read));
    // the best of many rounds: others on the machine only ever make it slower
    let rounds = (0..200).map(|_| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| read());
        start.elapsed() / CALLS
    });
    let best = rounds.min().unwrap();
    assert!(best < LIMIT, "{name} takes {best:?}");
}

fn secret(text: &str) -> Secret {
    Secret::new(text.into())
}

fn sealed(c: &mut Criterion) {
    let keys = KeyRing::new(vec![(1, secret("sixteen bytes or more"))], None, 28_800, NOW);
    let associated = associated("s", "gateway-backend");
    let binding = |text| Binding {
        issued: NOW,
        seen: NOW,
        tag: 9,
        backend: text,
        incarnation: "",
        version: "",
        home: "",
    };
    let key = seal(&keys, &associated, &binding("b42"), [7; 12], NOW).unwrap();
    // the right version and key id: it is decrypted to its end before the tag turns out wrong
    let mut bytes = [0xa5; MAX_KEY / 4 * 3];
    bytes[..2].copy_from_slice(&[1, 16]);
    let forged = URL_SAFE_NO_PAD.encode(bytes);
    assert_eq!(forged.len(), MAX_KEY);
    for (kind, key, opens) in [("valid", key, true), ("hostile", forged, false)] {
        let read = || {
            let mut buffer = OpenBuffer::default();
            let opened = open(&keys, &associated, black_box(key.as_bytes()), NOW, &mut buffer);
            black_box(opened.is_ok())
        };
        assert_eq!(read(), opens, "{kind}");
        measure(c, &format!("read/sealed/{kind}"), || {
            read();
        });
    }
}

/// Every format, with a value that names the backend `b42`, and the worst that a client can send.
fn rows() -> Vec<(&'static str, Format, String, String)> {
    // a name of the greatest length, with all that may stand beside it
    let name = "a".repeat(MAX_KEY);
    let dated = format!("{}|ZVPxA|ZVPxA", "a".repeat(MAX_KEY - 12));
    let application = "b".repeat(APPLICATION);
    // as many fields as are looked at, one of them as long as fits, and nearly an address at the end
    let mut message = [0x18, 1].repeat(14);
    message.extend(b"\x1a\xcb\x02");
    message.extend([b'x'; 0x14b]);
    message.extend(b"\x0a\x14[ffff:ffff:ffff:f::]");
    assert_eq!(message.len(), MAX_KEY / 4 * 3);
    let message = format!("\"{}\"", STANDARD.encode(message));
    assert_eq!(message.len(), MAX_KEY + 2, "the quotes do not count");
    let address = STANDARD.encode("10.0.0.42:80");
    let written = |format: &Format| table(format).write(42).unwrap().to_owned();
    let haproxy = |prefix| Format::HaProxy { prefix, dynamic: None };
    let dynamic = Format::HaProxy { prefix: false, dynamic: Some(secret("MYKEY")) };
    let hash = Format::Hash { secrets: vec![secret("sixteen bytes or more")], service: "s".into() };
    let (yarp, vkproxy) = (Format::HashCookie(Over::Id), Format::HashCookie(Over::Address));
    let arr = Format::ArrCookie(Over::Id);
    // of 10.0.0.42:80, by md5sum and openssl
    let nginx = "1d125318a1bd67b2a54e96a5364c22dc";
    let dialled = "bd1fed99b4cb5ad36d8959536ac6113e101c2008a53a90e11b07c4671d6b7d83";
    let caddy = Format::Caddy { secret: secret("secret") };
    vec![
        ("hash", hash.clone(), written(&hash), "a".repeat(32)),
        (
            "plain",
            Format::Plain(Carrier::Cookie),
            written(&Format::Plain(Carrier::Cookie)),
            message.clone(),
        ),
        ("envoy", Format::Envoy, address, message),
        ("HashCookie over id", yarp.clone(), written(&yarp), "a".repeat(16)),
        ("HashCookie over address", vkproxy.clone(), written(&vkproxy), "a".repeat(16)),
        ("ArrCookie", arr.clone(), written(&arr), "A".repeat(64)),
        ("haproxy", haproxy(false), "b42".into(), name.clone()),
        ("haproxy with dates", haproxy(false), "b42|ZVPxA|ZVPxA".into(), dated),
        ("haproxy prefix", haproxy(true), "b42~A1B2".into(), format!("{name}~{application}")),
        ("haproxy dynamic", dynamic, "0b7f5dfc2c131e6a".into(), name.clone()),
        ("nginx", Format::Nginx, nginx.into(), "a".repeat(32)),
        ("traefik", Format::Traefik, "9841831907b2b4e8".into(), "a".repeat(16)),
        ("caddy", caddy, dialled.into(), "a".repeat(64)),
        ("sozu", Format::Sozu, "b42".into(), name.clone()),
        ("servlet", Format::Servlet, "A1B2.b42".into(), format!("{application}.{name}")),
    ]
}

fn table(format: &Format) -> Table {
    let ids: Vec<String> = (0..BACKENDS).map(|n| format!("b{n}")).collect();
    let targets: Vec<Target<'_>> = ids
        .iter()
        .zip(0_u8..)
        .map(|(id, n)| Target { id, address: ([10, 0, 0, n], 80).into(), route: None, url: None })
        .collect();
    Table::new(format, &targets)
}

fn formats(c: &mut Criterion) {
    for (name, format, valid, hostile) in rows() {
        let table = table(&format);
        for (kind, value) in [("valid", valid), ("hostile", hostile)] {
            let reading = table.read(value.as_bytes(), NOW);
            let named = matches!(reading, Reading::Backend { at: 42, .. });
            assert_eq!(named, kind == "valid", "{name} {value}: {reading:?}");
            measure(c, &format!("read/{name}/{kind}"), || {
                black_box(table.read(black_box(value.as_bytes()), NOW));
            });
        }
    }
}

/// Shorter than usual: there are many, and each is quick.
fn short() -> Criterion {
    let quick = Criterion::default().warm_up_time(Duration::from_millis(300));
    quick.measurement_time(Duration::from_secs(1))
}

criterion_group!(name = benches; config = short(); targets = sealed, formats);
criterion_main!(benches);
