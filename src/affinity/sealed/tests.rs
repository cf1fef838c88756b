use super::*;
use crate::model::Secret;
use proptest::prelude::*;
use std::num::NonZeroU32;

const NOW: UnixTime = UnixTime(1_800_000_000);

fn keys(secret: &str) -> KeyRing {
    KeyRing::new(vec![(1, Secret::new(secret.into()))], None, 28_800, NOW)
}

fn binding() -> Binding<'static> {
    Binding {
        issued: NOW,
        seen: NOW,
        tag: 42,
        backend: "b1",
        incarnation: "",
        version: "v1",
        home: "",
    }
}

fn sealed(keys: &KeyRing) -> String {
    seal(keys, &associated("chat", "gateway-backend"), &binding(), [7; 12], NOW).unwrap()
}

fn read(keys: &KeyRing, service: &str, key: &str, now: UnixTime) -> Result<String, Unreadable> {
    let aad = associated(service, "gateway-backend");
    open(keys, &aad, key.as_bytes(), now, &mut OpenBuffer::default())
        .map(|(binding, _)| binding.backend.to_owned())
}

#[test]
fn a_key_has_the_documented_layout() {
    let keys = keys("a secret of sixteen bytes");
    let bytes = URL_SAFE_NO_PAD.decode(sealed(&keys)).unwrap();
    assert_eq!(bytes[..2], [1, 16], "version, then config id 1 × 16 + period 0");
    assert_eq!(bytes[2..14], [7; 12]);
    assert_eq!(bytes.len(), 14 + 16 + (1 + 2) + 1 + (1 + 2) + 1 + 16);
}

/// Computed with Python's `cryptography` (HKDF and AESGCM), not with this code: any change of the
/// format would log out the clients of a gateway that is upgraded.
#[test]
fn a_key_sealed_by_another_program_opens() {
    let keys = keys("an example secret, not for use");
    let key = include_str!("vector.txt").trim();
    assert_eq!(read(&keys, "chat", key, NOW), Ok("b1".into()));
}

/// Else each answer would write the key anew, and none would be the one that is due.
#[test]
fn a_key_is_sealed_under_the_id_of_its_time_also_where_a_clock_was_set_back() {
    let secrets = vec![(1, Secret::new("a secret of sixteen bytes".into()))];
    let keys = KeyRing::new(secrets, NonZeroU32::new(3_600), 28_800, NOW);
    let aad = associated("chat", "gateway-backend");
    for back in [0, 3_600, 1, 3_601, 7_200] {
        let now = UnixTime(NOW.0 - back);
        let key = seal(&keys, &aad, &Binding { issued: now, seen: now, ..binding() }, [7; 12], now);
        let mut buffer = OpenBuffer::default();
        let opened = open(&keys, &aad, key.unwrap().as_bytes(), now, &mut buffer);
        assert_eq!(opened.map(|(_, id)| id), Ok(keys.season(now).sealing), "{back}");
    }
}

#[test]
fn a_key_of_one_service_does_not_open_for_another() {
    let keys = keys("a secret of sixteen bytes");
    assert_eq!(read(&keys, "chat", &sealed(&keys), NOW), Ok("b1".into()));
    assert_eq!(read(&keys, "cart", &sealed(&keys), NOW), Err(Unreadable::Malformed));
}

#[test]
fn a_key_of_another_secret_is_unreadable_and_of_another_id_unknown() {
    let ours = keys("a secret of sixteen bytes");
    let other = keys("quite another secret");
    assert_eq!(read(&other, "chat", &sealed(&ours), NOW), Err(Unreadable::Malformed));
    let second =
        KeyRing::new(vec![(2, Secret::new("a secret of sixteen bytes".into()))], None, 1, NOW);
    assert_eq!(read(&second, "chat", &sealed(&ours), NOW), Err(Unreadable::UnknownKey));
}

#[test]
fn clocks_may_differ_by_two_minutes() {
    let keys = keys("a secret of sixteen bytes");
    let key = sealed(&keys);
    assert_eq!(read(&keys, "chat", &key, UnixTime(NOW.0 - 120)), Ok("b1".into()));
    assert_eq!(read(&keys, "chat", &key, UnixTime(NOW.0 - 121)), Err(Unreadable::Malformed));
}

#[test]
fn a_rotated_key_opens_until_the_absolute_time_and_on_a_gateway_one_period_behind() {
    let ring = |now| {
        KeyRing::new(
            vec![(1, Secret::new("a secret of sixteen bytes".into()))],
            std::num::NonZeroU32::new(1000),
            3000,
            now,
        )
    };
    let key = sealed(&ring(NOW));
    let at = |seconds: i64| UnixTime((i64::from(NOW.0) + seconds).try_into().unwrap());
    for (seconds, opens) in [(0, true), (2_999, true), (3_999, true), (4_000, false)] {
        let now = at(seconds);
        assert_eq!(read(&ring(now), "chat", &key, now).is_ok(), opens, "{seconds}");
    }
    assert_eq!(read(&ring(at(-1)), "chat", &key, at(-1)), Ok("b1".into()));
}

#[test]
fn fields_that_do_not_fit_are_refused_not_cut() {
    let keys = keys("a secret of sixteen bytes");
    let long = "x".repeat(200);
    let binding = Binding { backend: &long, home: &long, ..binding() };
    assert_eq!(seal(&keys, b"", &binding, [0; 12], NOW), None);
}

proptest! {
    #[test]
    fn opening_what_was_sealed_gives_the_same(
        issued in 0..=NOW.0, seen in 0..=NOW.0, tag: u64, nonce: [u8; 12],
        backend in "[ -~]{1,100}", incarnation in "[ -~]{0,32}", version in "[ -~]{0,64}", home in "[ -~]{0,100}",
    ) {
        let keys = keys("a secret of sixteen bytes");
        let binding = Binding {
            issued: UnixTime(issued), seen: UnixTime(seen), tag,
            backend: &backend, incarnation: &incarnation, version: &version, home: &home,
        };
        let key = seal(&keys, b"aad", &binding, nonce, NOW).unwrap();
        prop_assert!(key.len() <= MAX_KEY);
        let mut buffer = OpenBuffer::default();
        prop_assert_eq!(open(&keys, b"aad", key.as_bytes(), NOW, &mut buffer), Ok((binding, 16)));
    }

    #[test]
    fn any_mutated_byte_is_unreadable(at: prop::sample::Index, to in any::<u8>()) {
        let keys = keys("a secret of sixteen bytes");
        let key = sealed(&keys).into_bytes();
        let mut mutated = key.clone();
        let at = at.index(key.len());
        mutated[at] = to;
        prop_assume!(mutated != key);
        let aad = associated("chat", "gateway-backend");
        prop_assert!(open(&keys, &aad, &mutated, NOW, &mut OpenBuffer::default()).is_err());
    }

    #[test]
    fn garbage_and_truncation_never_panic(garbage in prop::collection::vec(any::<u8>(), 0..700), cut: prop::sample::Index) {
        let keys = keys("a secret of sixteen bytes");
        prop_assert!(open(&keys, b"", &garbage, NOW, &mut OpenBuffer::default()).is_err());
        let key = sealed(&keys);
        let cut = cut.index(key.len());
        prop_assert!(read(&keys, "chat", &key[..cut], NOW).is_err());
    }
}
