//! The rewriter of HTML pages: a stream in, a stream out.
//!
//! `lol_html` only tells where the links are. It hands every byte through as it came, and the
//! [`tape`] makes the changes on the way. So nothing of a page is written anew but what the key
//! needs, and at any moment it is known how far the page has come: when the parser gives up, the
//! rest follows as it is, and no byte is lost or sent twice.

mod attribute;
mod page;
mod tape;

use super::links::Links;
use encoding_rs::Encoding;
use lol_html::send::HtmlRewriter as Parser;
use lol_html::{AsciiCompatibleEncoding, MemorySettings};
use page::Page;
use parking_lot::Mutex;
use std::sync::Arc;
use tape::{Sink, Tape};

/// What the parser may hold back, in bytes: a tag that is cut by the chunks of the body, and the
/// names of the open elements. A page that needs more goes on unchanged.
pub const MAX_BUFFERED: usize = 256 * 1024;

/// Adds a key to the links of one page. See [`Links`] for which.
///
/// A link before a `<base>` of another site that comes late (HTML wants it first) has got its key
/// by then. So has a form when, after its end, a button of another form says it submits to another
/// site.
#[derive(Debug)]
pub struct HtmlRewriter {
    /// `None` once the page goes on unchanged.
    parser: Option<Parser<'static, Sink>>,
    /// Where the parser writes; locked for one chunk or one tag, and never by two.
    tape: Arc<Mutex<Tape>>,
    /// What was given to the parser and has not come out.
    held: Vec<u8>,
    started: bool,
}

impl HtmlRewriter {
    /// A rewriter for a page of this `Content-Type`. `None` where the charset is one in which
    /// markup is not ASCII.
    pub fn new(links: Arc<Links>, content_type: &str) -> Option<Self> {
        Self::with_memory(links, content_type, MAX_BUFFERED)
    }

    fn with_memory(links: Arc<Links>, content_type: &str, memory: usize) -> Option<Self> {
        if !is_like_ascii(content_type) {
            return None;
        }
        let tape = Arc::new(Mutex::new(Tape::default()));
        let memory = MemorySettings::new().with_max_allowed_memory_usage(memory);
        let bytes = AsciiCompatibleEncoding::new(encoding_rs::WINDOWS_1252)?;
        let settings = Page::new(links, Arc::clone(&tape))
            .settings()?
            // Every byte is one character, whatever the charset: places in a value are places in
            // the page. All that matters in a URL is ASCII.
            .with_encoding(bytes)
            .with_adjust_charset_on_meta_tag(false)
            .with_memory_settings(memory)
            .with_strict(true);
        let parser = Parser::new(settings, Sink(Arc::clone(&tape)));
        Some(Self { parser: Some(parser), tape, held: Vec::new(), started: false })
    }

    /// Takes the next part of the body and appends what can go on to `out`.
    pub fn write(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if chunk.is_empty() {
            return;
        }
        // the mark of UTF-16, which overrides the charset of the header
        if !self.started && matches!(chunk.first(), Some(0xFE | 0xFF)) {
            self.parser = None;
        }
        self.started = true;
        // an escape begins text of ISO-2022-JP, which a page can name in itself; there letters are
        // no letters
        let end = self.parser.as_ref().and_then(|_| memchr::memchr(0x1B, chunk));
        let (parsed, raw) = chunk.split_at(end.unwrap_or(chunk.len()));
        self.parse(parsed, out);
        if !raw.is_empty() {
            self.give_up(raw, 0, out);
        }
    }

    fn parse(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        let Some(parser) = &mut self.parser else {
            out.extend_from_slice(chunk);
            return;
        };
        out.reserve(chunk.len());
        let before = self.tape.lock().load(out);
        let parsed = parser.write(chunk);
        let gone = self.tape.lock().unload(out) - before;
        if parsed.is_ok() {
            self.hold(chunk, gone);
        } else {
            self.give_up(chunk, gone, out);
        }
    }

    /// Ends the page and appends what is left of it to `out`.
    pub fn end(mut self, out: &mut Vec<u8>) {
        let Some(parser) = self.parser.take() else { return };
        let before = self.tape.lock().load(out);
        let parsed = parser.end();
        let gone = self.tape.lock().unload(out) - before;
        if parsed.is_err() {
            self.give_up(&[], gone, out);
        }
    }

    /// Whether links are still rewritten.
    pub fn is_active(&self) -> bool {
        self.parser.is_some()
    }

    /// Keeps what the parser keeps, after `gone` bytes of `held` and `chunk` came out.
    fn hold(&mut self, chunk: &[u8], gone: usize) {
        if let Some(of_chunk) = gone.checked_sub(self.held.len()) {
            self.held.clear();
            self.held.extend_from_slice(chunk.get(of_chunk..).unwrap_or_default());
        } else {
            self.held.drain(..gone);
            self.held.extend_from_slice(chunk);
        }
    }

    /// Lets everything that did not come out go on as it is, and all that follows.
    fn give_up(&mut self, chunk: &[u8], gone: usize, out: &mut Vec<u8>) {
        self.hold(chunk, gone);
        out.append(&mut self.held);
        self.parser = None;
    }
}

/// Whether the charset of a `Content-Type`, if it names one, writes ASCII as ASCII.
fn is_like_ascii(content_type: &str) -> bool {
    let charset = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
    });
    // what browsers do not know, they ignore
    charset
        .and_then(|label| Encoding::for_label(label.as_bytes()))
        .is_none_or(|encoding| AsciiCompatibleEncoding::new(encoding).is_some())
}

#[cfg(test)]
mod tests;
