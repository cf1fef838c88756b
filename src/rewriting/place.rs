//! Where in a URL a key stands, and how it gets in and out: text only, without a thought of whose
//! URL it is (that is [`super::Site`]).

use super::splice::{Splice, Splices, apply};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::ops::Range;

/// Values that are read from one URL; a client that sends more is playing.
pub const MAX_KEYS: usize = 4;

/// The longest key in bytes, decoded.
pub const MAX_KEY: usize = 512;

/// What is escaped in a key: everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the key stands in a URL. A name must satisfy [`KeyPlace::is_name`]; names are compared
/// exactly, as Tomcat and Jetty compare that of a path parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A parameter of the query: `/cart?sessionId=KEY`.
    Query(Box<str>),
    /// A parameter of the path: `/cart;jsessionid=KEY`. Written on the last segment, read on any.
    Path(Box<str>),
}

/// A value under the name of a [`KeyPlace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'u> {
    /// Decoded where that gives UTF-8, else as sent. A `+` is a plus: a key has no spaces.
    pub value: Cow<'u, str>,
    /// Whether it is a key of ours, and was cut out; else it is the application's.
    pub ours: bool,
}

/// A URL taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cut<'u> {
    /// The first [`MAX_KEYS`] values under the name in order, less those longer than [`MAX_KEY`].
    pub found: SmallVec<[Found<'u>; MAX_KEYS]>,
    /// The URL without keys of ours; `None` when nothing was cut out.
    pub rest: Option<String>,
}

impl Cut<'_> {
    /// The keys of ours, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.found.iter().filter(|found| found.ours).map(|found| found.value.as_ref())
    }
}

/// A parameter `name=value` of a URL, without its separators.
struct Param {
    at: Range<usize>,
    /// Where the value begins.
    value: usize,
}

type Params = SmallVec<[Param; MAX_KEYS]>;

/// Where the parts of a URL reference lie.
struct Parts {
    /// Where the path begins, after scheme and authority.
    path: usize,
    /// Where it ends; a `?` follows if there is a query.
    path_end: usize,
    /// Where path and query end; a fragment, or white space that browsers strip, may follow.
    end: usize,
    /// Whether an authority comes before the path.
    authority: bool,
}

impl Parts {
    /// Of what stands in a request line: all of it is path and query.
    fn of_target(target: &str) -> Self {
        let end = target.find('#').unwrap_or(target.len());
        let path_end = find(target, 0..end, b'?').unwrap_or(end);
        Self { path: 0, path_end, end, authority: false }
    }

    /// Of a URL reference, which may begin with scheme and authority.
    fn of_reference(url: &str) -> Self {
        let end = url.find('#').unwrap_or_else(|| url.trim_end_matches(|c| c <= ' ').len());
        let path_end = find(url, 0..end, b'?').unwrap_or(end);
        let head = url.get(..path_end).unwrap_or_default();
        let first = find(head, 0..path_end, b'/').unwrap_or(path_end);
        let slashes = head.get(first..).is_some_and(|tail| tail.starts_with("//"));
        let scheme = head.get(..first).unwrap_or_default().trim_start_matches(|c| c <= ' ');
        let authority = slashes && (scheme.is_empty() || scheme.ends_with(':'));
        let path =
            if authority { find(head, first + 2..path_end, b'/').unwrap_or(path_end) } else { 0 };
        Self { path, path_end, end, authority }
    }
}

/// The place of `byte` within a range of `text`.
fn find(text: &str, range: Range<usize>, byte: u8) -> Option<usize> {
    let start = range.start;
    memchr::memchr(byte, text.as_bytes().get(range)?).map(|at| start + at)
}

impl KeyPlace {
    /// Whether a parameter can be called so without escapes, in a URL and in HTML: not empty, of
    /// letters, digits and `-._~` only.
    pub fn is_name(name: &str) -> bool {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        !name.is_empty() && name.bytes().all(fits)
    }

    /// The name of the parameter.
    pub fn name(&self) -> &str {
        let (Self::Query(name) | Self::Path(name)) = self;
        name
    }

    /// Reads what stands under the name in a request target (or in a URL), and takes all values out
    /// that are keys of ours. Only the first [`MAX_KEYS`] are told. Values that are longer than
    /// [`MAX_KEY`] are offered to `ours`, but are no keys.
    pub fn cut<'u>(&self, path_and_query: &'u str, ours: impl Fn(&str) -> bool) -> Cut<'u> {
        let mut cut = Cut::default();
        if !path_and_query.contains(self.name()) {
            return cut;
        }
        let parts = Parts::of_target(path_and_query);
        let mut taken = Params::new();
        for param in self.params(path_and_query, &parts) {
            let value = decoded(path_and_query, &param);
            let ours = ours(&value);
            if value.len() <= MAX_KEY && cut.found.len() < MAX_KEYS {
                cut.found.push(Found { value, ours });
            }
            if ours {
                taken.push(param);
            }
        }
        if !taken.is_empty() {
            cut.rest = Some(apply(path_and_query, &self.removal(path_and_query, &parts, &taken)));
        }
        cut
    }

    /// Puts `key` into a URL reference, before a fragment. Values of the same name that are `ours`
    /// give way; an application's own stay. A reference without a path (`?a=1`) keeps none, so for
    /// [`KeyPlace::Path`] it comes back as it is.
    pub fn add(&self, url: &str, key: &str, ours: impl Fn(&str) -> bool) -> String {
        apply(url, &self.splices(url, &self.written(key), None, ours).unwrap_or_default())
    }

    /// `name=key`, as it stands in a URL.
    pub(super) fn written(&self, key: &str) -> String {
        format!("{}={}", self.name(), utf8_percent_encode(key, ESCAPED))
    }

    /// The changes that put `written` into a URL reference. `segment` is the last segment of the
    /// URL that the reference is relative to, for references that leave the path out.
    pub(super) fn splices(
        &self,
        url: &str,
        written: &str,
        segment: Option<&str>,
        ours: impl Fn(&str) -> bool,
    ) -> Option<Splices> {
        let parts = Parts::of_reference(url);
        let mut splices = Splices::new();
        let mut rest = parts.path_end < parts.end;
        if url.contains(self.name()) {
            let mut taken = self.params(url, &parts);
            taken.retain(|param| ours(&decoded(url, param)));
            splices = self.removal(url, &parts, &taken);
            rest &= splices.first().is_none_or(|splice| splice.at.start != parts.path_end);
        }
        let (at, before) = match self {
            Self::Query(_) => (parts.end, if rest { "&" } else { "?" }.into()),
            Self::Path(_) => (parts.path_end, Self::before_path_parameter(url, &parts, segment)?),
        };
        splices.push(Splice { at: at..at, text: [before.as_ref(), written].concat() });
        Some(splices)
    }

    /// What comes before a path parameter that is put at the end of the path.
    fn before_path_parameter(
        url: &str,
        parts: &Parts,
        segment: Option<&str>,
    ) -> Option<Cow<'static, str>> {
        let path = url.get(parts.path..parts.path_end).unwrap_or_default();
        if path.trim_start_matches(|c| c <= ' ').is_empty() {
            return match (parts.authority, segment) {
                (true, _) => Some("/;".into()),
                // what has a colon would be read as a scheme
                (false, Some(own)) if own.contains(':') => Some(format!("./{own};").into()),
                (false, Some(own)) => Some(format!("{own};").into()),
                (false, None) => None,
            };
        }
        let last = path.rsplit('/').next().unwrap_or_default().trim_start_matches(|c| c <= ' ');
        // `..;name=key` would be a name, not the directory above
        Some(if is_dots(last) { "/;".into() } else { ";".into() })
    }

    /// The parameters under the name.
    fn params(&self, url: &str, parts: &Parts) -> Params {
        let (range, separator, ends): (_, _, &[u8]) = match self {
            Self::Query(_) => ((parts.path_end + 1).min(parts.end)..parts.end, b'&', b"&"),
            Self::Path(_) => (parts.path..parts.path_end, b';', b";/"),
        };
        let mut params = Params::new();
        let bytes = url.as_bytes().get(range.clone()).unwrap_or_default();
        let next = |from: usize| {
            let tail = bytes.get(from..).unwrap_or_default();
            from + tail.iter().position(|b| ends.contains(b)).unwrap_or(tail.len())
        };
        // a query begins with a parameter, a path with a name
        let mut at = if matches!(self, Self::Query(_)) { 0 } else { next(0) + 1 };
        let mut in_params = at == 0 || bytes.get(at - 1) == Some(&separator);
        while at < bytes.len() {
            let end = next(at);
            let param = bytes.get(at..end).unwrap_or_default();
            let value = param.strip_prefix(self.name().as_bytes());
            if in_params && let Some(value) = value.and_then(|tail| tail.strip_prefix(b"=")) {
                let range = range.start + at..range.start + end;
                params.push(Param { value: range.end - value.len(), at: range });
            }
            in_params = bytes.get(end) == Some(&separator);
            at = end + 1;
        }
        params
    }

    /// The changes that take `params` out, each with one separator.
    fn removal(&self, url: &str, parts: &Parts, params: &[Param]) -> Splices {
        let gone = |at: Range<usize>| Splice { at, text: String::new() };
        if matches!(self, Self::Path(_)) {
            return params.iter().map(|param| gone(param.at.start - 1..param.at.end)).collect();
        }
        let query = url.get(parts.path_end + 1..parts.end).unwrap_or_default();
        if params.len() == query.split('&').count() {
            // nothing is left: the `?` goes too
            return [gone(parts.path_end..parts.end)].into_iter().collect();
        }
        let mut first = parts.path_end + 1;
        let ranges = params.iter().map(|param| {
            let Range { start, end } = param.at;
            if start == first {
                first = end + 1;
                gone(start..first)
            } else {
                gone(start - 1..end)
            }
        });
        ranges.collect()
    }
}

fn decoded<'u>(url: &'u str, param: &Param) -> Cow<'u, str> {
    let value = url.get(param.value..param.at.end).unwrap_or_default();
    percent_decode_str(value).decode_utf8().unwrap_or(Cow::Borrowed(value))
}

/// Whether a segment is `.` or `..`, as browsers read it.
fn is_dots(segment: &str) -> bool {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}

#[cfg(test)]
mod tests;
