//! The normal form of a request path. Separate from the index because the configuration's paths
//! and the path that the backend gets take the same form: were there two, a client could reach
//! with `/%61dmin` or `/x/../admin` what a rule meant to keep apart.

use std::borrow::Cow;

/// Decodes percent-encoded unreserved characters (RFC 3986 §2.3) and then removes dot segments
/// (§5.2.4), never above the root. All else stays byte for byte: `//`, other `%XX` with their hex
/// digits as written, a stray `%`. Takes a path without its query; what does not start with `/`
/// (`*`, the empty text) is left alone. Borrowed where nothing is to be done.
///
/// `%2F` stays encoded: `/a/..%2Fb` has no dot segment here.
///
/// ```
/// # use stickfast::routing::path::normalise;
/// assert_eq!(normalise("/shop/%2E%2e/%7Eann//a%2Fb"), "/~ann//a%2Fb");
/// ```
pub fn normalise(path: &str) -> Cow<'_, str> {
    if !path.starts_with('/') {
        return Cow::Borrowed(path);
    }
    let decoded = if encodes_unreserved(path) {
        Cow::Owned(decode_unreserved(path))
    } else {
        Cow::Borrowed(path)
    };
    if has_dot_segment(&decoded) { Cow::Owned(without_dot_segments(&decoded)) } else { decoded }
}

fn encodes_unreserved(path: &str) -> bool {
    memchr::memchr_iter(b'%', path.as_bytes())
        .any(|at| path.get(at + 1..).and_then(unreserved).is_some())
}

fn decode_unreserved(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        match unreserved(piece) {
            Some((character, rest)) if !completes_triplet(&out, character) => {
                out.push(character);
                out.push_str(rest);
            }
            Some(_) | None => {
                out.push('%');
                out.push_str(piece);
            }
        }
    }
    out
}

/// The unreserved character that the text after a `%` stands for, and what follows it.
fn unreserved(after_percent: &str) -> Option<(char, &str)> {
    let mut rest = after_percent.chars();
    let high = rest.next()?.to_digit(16)?;
    let low = rest.next()?.to_digit(16)?;
    let character = char::from_u32(high * 16 + low)?;
    let unreserved =
        character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '~');
    unreserved.then_some((character, rest.as_str()))
}

/// Whether `character` would turn a stray `%` at the end of `out` into a triplet that the client
/// did not write: `%%32e` must not become `%2e`, which the next hop takes for a dot.
fn completes_triplet(out: &str, character: char) -> bool {
    let stray = match out.as_bytes() {
        [.., b'%'] => true,
        [.., b'%', digit] => digit.is_ascii_hexdigit(),
        _ => false,
    };
    stray && character.is_ascii_hexdigit()
}

fn has_dot_segment(path: &str) -> bool {
    memchr::memchr_iter(b'.', path.as_bytes()).any(|at| {
        let (before, from) = path.split_at_checked(at).unwrap_or_default();
        // The cheap question first: a path of dots is looked through once, not once for each dot.
        before.ends_with('/') && matches!(from.split('/').next().unwrap_or_default(), "." | "..")
    })
}

fn without_dot_segments(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            out.truncate(out.rfind('/').unwrap_or(0));
        }
        if !matches!(segment, "." | "..") {
            out.push('/');
            out.push_str(segment);
        } else if segments.peek().is_none() {
            out.push('/');
        }
    }
    out
}

#[cfg(test)]
mod tests;
