//! The sealed key. Nobody without the secret gets past the seal, so the bytes are tried twice: as
//! the key that a client sends, and as the plaintext of somebody who has the secret, sealed here
//! by a second implementation of the documented layout.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::Sha256;
use std::sync::LazyLock;
use stickfast::affinity::sealed::{self, MAX_KEY, OpenBuffer};
use stickfast::affinity::{KeyRing, Unreadable};
use stickfast::model::{Secret, UnixTime};

const NOW: UnixTime = UnixTime(1_800_000_000);
const SECRET: &str = "an example secret, not for use";
const NONCE: [u8; 12] = [7; 12];
/// Config id 1, and no rotation.
const KEY_ID: u8 = 16;

static RING: LazyLock<KeyRing> =
    LazyLock::new(|| KeyRing::new(vec![(1, Secret::new(SECRET.into()))], None, 28_800, NOW));

static CIPHER: LazyLock<Aes256Gcm> = LazyLock::new(|| {
    let mut key = [0; 32];
    let info = [b"stickfast affinity".as_slice(), &0_u64.to_be_bytes()].concat();
    Hkdf::<Sha256>::new(None, SECRET.as_bytes()).expand(&info, &mut key).unwrap();
    Aes256Gcm::new_from_slice(&key).unwrap()
});

fn ours() -> Box<[u8]> {
    sealed::associated("chat", "gateway-backend")
}

/// As a key, and as the plaintext in one.
pub fn holds(data: &[u8]) {
    as_a_key(data);
    as_plaintext(data);
}

/// What opens is exactly what sealing writes for what it says, and is of one service.
fn as_a_key(key: &[u8]) -> bool {
    let mut buffer = OpenBuffer::default();
    let opened = sealed::open(&RING, &ours(), key, NOW, &mut buffer);
    if key.len() > MAX_KEY {
        assert_eq!(opened, Err(Unreadable::Malformed), "longer than a key may be");
    }
    let Ok((binding, id)) = opened else { return false };
    let bytes = URL_SAFE_NO_PAD.decode(key).expect("an opened key is base64url");
    let nonce = bytes[2..14].try_into().unwrap();
    let written = sealed::seal(&RING, &ours(), &binding, nonce, NOW).expect("it fits");
    assert_eq!((written.as_bytes(), id), (key, KEY_ID), "there is one way to write it");
    for (service, name) in [("cart", "gateway-backend"), ("chat", "other"), ("", "")] {
        let mut buffer = OpenBuffer::default();
        let other = sealed::associated(service, name);
        let opened = sealed::open(&RING, &other, key, NOW, &mut buffer);
        assert_eq!(opened, Err(Unreadable::Malformed), "opens for {service}");
    }
    true
}

fn as_plaintext(plain: &[u8]) {
    let payload = Payload { msg: plain, aad: &ours() };
    let sealed = CIPHER.encrypt(&NONCE.into(), payload).expect("it can be sealed");
    let key = URL_SAFE_NO_PAD.encode([&[1, KEY_ID], &NONCE[..], &sealed].concat());
    let opens = as_a_key(key.as_bytes());
    if plain.len() < 16 + 4 {
        assert!(!opens, "two dates, a tag and four lengths are missing");
    }
}
