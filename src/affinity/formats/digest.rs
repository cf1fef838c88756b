//! The formulas that name a backend by a digest. All of them are worked out once for each backend;
//! nothing here runs while a request is served.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use twox_hash::XxHash64;

/// XXH64 (seed 0), 16 lower-case hex digits.
pub(super) fn xxh64(bytes: &[u8]) -> String {
    format!("{:016x}", XxHash64::oneshot(0, bytes))
}

/// MD5, 32 lower-case hex digits.
pub(super) fn md5(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

/// SHA-256, 64 lower-case hex digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// HMAC-SHA-256, 64 lower-case hex digits. Secrets of every length, also of none, have one.
pub(super) fn hmac_sha256(secret: &[u8], message: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    mac.update(message);
    Some(hex(&mac.finalize().into_bytes()))
}

/// The first `digits` of a hex text.
pub(super) fn first(digits: usize, mut hex: String) -> String {
    hex.truncate(digits);
    hex
}

/// UTF-16LE of `text`, upper-cased as .NET's invariant culture does it: one character for one, and
/// the two that would become plain `I` and `S` stay.
pub(super) fn upper_utf16(text: &str) -> Vec<u8> {
    utf16(text.chars().map(|c| if matches!(c, 'ı' | 'ſ') { c } else { only(c, c.to_uppercase()) }))
}

/// UTF-16LE of `text`, lower-cased, one character for one.
pub(super) fn lower_utf16(text: &str) -> Vec<u8> {
    utf16(text.chars().map(|c| only(c, c.to_lowercase())))
}

/// The other case of `c` where that is one character, else `c`.
fn only(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    mapped.next().filter(|_| mapped.next().is_none()).unwrap_or(c)
}

fn utf16(chars: impl Iterator<Item = char>) -> Vec<u8> {
    let text: String = chars.collect();
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
