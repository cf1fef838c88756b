//! Envoy's `stateful_session` value: base64 of `ip:port` (the old form, and that of headers), or of
//! the protobuf message `envoy.Cookie { string address = 1; uint64 expires = 2; }`, as a cookie in
//! double quotes.

use super::MAX_KEY;
use crate::model::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::net::SocketAddr;

const MAX_BYTES: usize = MAX_KEY / 4 * 3;
/// Old Envoys counted `expires` from the start of the machine; values below this are of those.
const FIRST_UNIX_TIME: u64 = 1_000_000_000;
/// Fields of a message that are looked at; Envoy writes two. A client could pack nearly two hundred
/// into a key, and reading them all would take longer than anything else a key can ask for.
const MAX_FIELDS: usize = 16;

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) address: SocketAddr,
    expires: Option<u64>,
}

impl Said {
    pub(super) fn expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|end| end >= FIRST_UNIX_TIME && end < u64::from(now.0))
    }
}

/// Reads a value of either form, in quotes or not; `None` when it is of neither.
pub(super) fn decode(value: &[u8]) -> Option<Said> {
    let bare = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let value = bare.unwrap_or(value);
    if value.len() > MAX_KEY {
        return None;
    }
    let mut buffer = [0; MAX_BYTES];
    let length = STANDARD.decode_slice(value, &mut buffer).ok()?;
    let bytes = buffer.get(..length)?;
    // the old form first: some addresses (`10.0.0.1:80`) are also well-formed protobuf
    if let Some(address) = address(bytes) {
        return Some(Said { address, expires: None });
    }
    message(bytes)
}

/// The old form.
pub(super) fn encode_address(address: SocketAddr) -> String {
    STANDARD.encode(address.to_string())
}

/// The current form, without an end.
pub(super) fn encode_message(address: SocketAddr) -> Option<String> {
    let text = address.to_string();
    // one byte of length is enough: the longest address has 58 characters
    let length = u8::try_from(text.len()).ok().filter(|length| *length < 0x80)?;
    let bytes = [&[ADDRESS_TAG, length], text.as_bytes()].concat();
    Some(format!("\"{}\"", STANDARD.encode(bytes)))
}

/// Field 1, a length and that many bytes.
const ADDRESS_TAG: u8 = 1 << 3 | 2;

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// As any protobuf parser would: of a repeated field the last counts, unknown ones are passed over.
fn message(mut rest: &[u8]) -> Option<Said> {
    let (mut found, mut expires) = (None, None);
    for _ in 0..MAX_FIELDS {
        if rest.is_empty() {
            break;
        }
        let tag = varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 2) => found = Some(bytes(&mut rest)?),
            (2, 0) => expires = Some(varint(&mut rest)?),
            (_, 0) => drop(varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => drop(bytes(&mut rest)?),
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    rest.is_empty().then_some(Said { address: address(found?)?, expires })
}

fn bytes<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
