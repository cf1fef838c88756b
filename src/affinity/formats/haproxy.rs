//! HAProxy's `cookie` value: the server's own text, or a digest of its address (`dynamic`), with
//! dates behind it (`maxidle`, `maxlife`) or before the application's value (`prefix`).

use super::{Dates, digest};
use crate::model::UnixTime;
use std::net::{IpAddr, SocketAddr};

/// What `dynamic` gives a server: XXH64 over the key, the bytes of the address, and the port in
/// four bytes.
pub(super) fn dynamic(key: &[u8], address: SocketAddr) -> String {
    let port = u32::from(address.port()).to_be_bytes();
    digest::xxh64(&match address.ip() {
        IpAddr::V4(ip) => [key, &ip.octets(), &port].concat(),
        IpAddr::V6(ip) => [key, &ip.octets(), &port].concat(),
    })
}

/// Takes `value`, `value|last` or `value|last|first` apart; `None` when what is behind the bars is
/// no date.
pub(super) fn split_dates(value: &[u8]) -> Option<(&[u8], Dates)> {
    let mut parts = value.split(|b| *b == b'|');
    let name = parts.next()?;
    let mut dates = [None; 2];
    for slot in &mut dates {
        let Some(text) = parts.next() else { break };
        *slot = Some(date(text)?).filter(|date| *date != NO_DATE);
    }
    let [last, first] = dates;
    parts.next().is_none().then_some((name, Dates { last, first }))
}

const NO_DATE: UnixTime = UnixTime(0);

/// Thirty bits in five characters, the most significant first, in steps of four seconds.
fn date(text: &[u8]) -> Option<UnixTime> {
    let text: &[u8; 5] = text.try_into().ok()?;
    let steps = text.iter().try_fold(0, |sum: u32, c| Some(sum << 6 | u32::from(digit(*c)?)))?;
    Some(UnixTime(steps << 2))
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
