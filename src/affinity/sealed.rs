//! The sealed key, `encoding: secure`: what is inside, and how it is closed and opened.
//!
//! ```text
//! base64url, no padding, of  version 1 ‖ key id ‖ nonce (12) ‖ AES-256-GCM(plaintext) ‖ tag (16)
//! associated data            service ‖ 0 ‖ configured cookie name
//! plaintext                  issued u32 ‖ last seen u32 ‖ session tag u64   (big-endian)
//!                            then backend id, incarnation, version, home backend,
//!                            each behind its length in one byte
//! ```
//!
//! A key of one service does not open for another, since the service is authenticated with it.

use super::keyring::KeyRing;
use crate::model::UnixTime;
use aes_gcm::Nonce;
use aes_gcm::aead::{AeadInOut, Tag, inout::InOutBuf};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Longest key that is looked at, in characters.
pub const MAX_KEY: usize = 512;
const MAX_BYTES: usize = MAX_KEY / 4 * 3;
const VERSION: u8 = 1;
const HEAD: usize = 2 + NONCE;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Clocks of gateways may differ by this many seconds.
const SKEW: u32 = 120;

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'k> {
    /// When the client was bound.
    pub issued: UnixTime,
    /// When the key was last written.
    pub seen: UnixTime,
    /// Random, made at the binding; only used to count.
    pub tag: u64,
    /// The backend.
    pub backend: &'k str,
    /// The start of that backend that holds the state; empty where backends do not tell.
    pub incarnation: &'k str,
    /// The release that ran there; empty where none is configured.
    pub version: &'k str,
    /// Where the client belongs when it had to move; empty while it is there.
    pub home: &'k str,
}

impl Binding<'_> {
    /// Whether its times are none that are still to come.
    pub fn is_of_the_past(&self, now: UnixTime) -> bool {
        let latest = UnixTime(now.0.saturating_add(SKEW));
        self.issued <= latest && self.seen <= latest
    }
}

/// A binding that is kept beyond its key. What was allocated for one holds the next.
#[derive(Debug, Default)]
pub struct Noted {
    issued: UnixTime,
    seen: UnixTime,
    tag: u64,
    backend: String,
    incarnation: String,
    version: String,
    home: String,
}

impl Noted {
    /// Keeps `binding` instead of the last one.
    pub fn note(&mut self, binding: &Binding<'_>) {
        let Binding { issued, seen, tag, backend, incarnation, version, home } = *binding;
        (self.issued, self.seen, self.tag) = (issued, seen, tag);
        backend.clone_into(&mut self.backend);
        incarnation.clone_into(&mut self.incarnation);
        version.clone_into(&mut self.version);
        home.clone_into(&mut self.home);
    }

    /// The one that is kept.
    pub fn binding(&self) -> Binding<'_> {
        Binding {
            issued: self.issued,
            seen: self.seen,
            tag: self.tag,
            backend: &self.backend,
            incarnation: &self.incarnation,
            version: &self.version,
            home: &self.home,
        }
    }
}

/// Why a key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not a key, altered, of another service, or of a clock too far ahead.
    Malformed,
    /// Sealed with a key that this gateway does not have, or no longer has.
    UnknownKey,
}

/// Room for an opened key; on the caller's stack, so that opening allocates nothing.
pub struct OpenBuffer([u8; MAX_BYTES]);

impl Default for OpenBuffer {
    fn default() -> Self {
        Self([0; MAX_BYTES])
    }
}

/// Opens `key` as the client sent it; also tells the id of the key that had sealed it.
pub fn open<'b>(
    keys: &KeyRing,
    associated: &[u8],
    key: &[u8],
    now: UnixTime,
    buffer: &'b mut OpenBuffer,
) -> Result<(Binding<'b>, u8), Unreadable> {
    use Unreadable::{Malformed, UnknownKey};
    if key.len() > MAX_KEY {
        return Err(Malformed);
    }
    let length = URL_SAFE_NO_PAD.decode_slice(key, &mut buffer.0).map_err(|_| Malformed)?;
    let bytes = buffer.0.get_mut(..length).ok_or(Malformed)?;
    let (head, sealed) = bytes.split_first_chunk_mut::<HEAD>().ok_or(Malformed)?;
    let [VERSION, key_id, nonce @ ..] = *head else { return Err(Malformed) };
    let (plain, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(Malformed)?;
    let ciphers = keys.at(now);
    let cipher = ciphers.get(key_id).ok_or(UnknownKey)?;
    let (nonce, tag) = (Nonce::from(nonce), Tag::<aes_gcm::Aes256Gcm>::from(*tag));
    cipher
        .decrypt_inout_detached(&nonce, associated, InOutBuf::from(&mut *plain), &tag)
        .map_err(|_| Malformed)?;
    let binding = read(plain).ok_or(Malformed)?;
    if !binding.is_of_the_past(now) {
        return Err(Malformed);
    }
    Ok((binding, key_id))
}

/// Closes `binding` under the key in force at `now`. `nonce` must be fresh random bytes.
///
/// # Errors
/// `None` when the fields are too long for a key; configuration limits names so that they fit.
pub fn seal(
    keys: &KeyRing,
    associated: &[u8],
    binding: &Binding<'_>,
    nonce: [u8; NONCE],
    now: UnixTime,
) -> Option<String> {
    let (ciphers, sealing) = (keys.at(now), keys.season(now).sealing);
    let mut bytes = [0; MAX_BYTES];
    let (head, rest) = bytes.split_first_chunk_mut::<HEAD>()?;
    let (start, at) = head.split_at_mut(2);
    start.copy_from_slice(&[VERSION, sealing]);
    at.copy_from_slice(&nonce);
    let length = write(binding, rest)?;
    let (plain, rest) = rest.split_at_mut_checked(length)?;
    let tag = ciphers
        .get(sealing)?
        .encrypt_inout_detached(&Nonce::from(nonce), associated, InOutBuf::from(plain))
        .ok()?;
    rest.first_chunk_mut::<TAG>()?.copy_from_slice(&tag);
    Some(URL_SAFE_NO_PAD.encode(bytes.get(..HEAD + length + TAG)?))
}

/// The shortest key: head, times, tag, four empty fields, seal.
const SHORTEST: usize = (HEAD + 20 + TAG).div_ceil(3) * 4 - 1;

/// Whether `text` has the shape of a key, be it one of ours or not: one that was altered, or sealed
/// with a key that is not known any more, still has it, which hardly any other text does.
pub fn looks_sealed(text: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    // the version in the first byte, whose last two bits are in the second digit
    let versioned = matches!(text, [b'A', b'Q'..=b'Z' | b'a'..=b'f', ..]);
    versioned && (SHORTEST..=MAX_KEY).contains(&text.len()) && text.iter().all(digit)
}

/// What a key is authenticated with besides its own bytes.
pub fn associated(service: &str, cookie_name: &str) -> Box<[u8]> {
    [service.as_bytes(), &[0], cookie_name.as_bytes()].concat().into()
}

fn read(plain: &[u8]) -> Option<Binding<'_>> {
    let (issued, rest) = plain.split_first_chunk()?;
    let (seen, rest) = rest.split_first_chunk()?;
    let (tag, mut rest) = rest.split_first_chunk()?;
    let mut field = || {
        let (length, tail) = rest.split_first()?;
        let (text, tail) = tail.split_at_checked(usize::from(*length))?;
        rest = tail;
        // most are empty, which need no look at their bytes
        if text.is_empty() { Some("") } else { std::str::from_utf8(text).ok() }
    };
    let [backend, incarnation, version, home] = [field()?, field()?, field()?, field()?];
    rest.is_empty().then_some(Binding {
        issued: UnixTime(u32::from_be_bytes(*issued)),
        seen: UnixTime(u32::from_be_bytes(*seen)),
        tag: u64::from_be_bytes(*tag),
        backend,
        incarnation,
        version,
        home,
    })
}

/// Writes the plaintext to the start of `out`, leaving room for the tag; tells its length.
fn write(binding: &Binding<'_>, out: &mut [u8]) -> Option<usize> {
    let room = out.len().checked_sub(TAG)?;
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        let end = at + bytes.len();
        out.get_mut(at..end).filter(|_| end <= room)?.copy_from_slice(bytes);
        at = end;
        Some(())
    };
    put(&binding.issued.0.to_be_bytes())?;
    put(&binding.seen.0.to_be_bytes())?;
    put(&binding.tag.to_be_bytes())?;
    for field in [binding.backend, binding.incarnation, binding.version, binding.home] {
        put(&[u8::try_from(field.len()).ok()?])?;
        put(field.as_bytes())?;
    }
    Some(at)
}

#[cfg(test)]
mod tests;
