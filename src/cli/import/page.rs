//! YAML line by line, since comments are half of what is written.

use serde_yaml::Value;
use std::fmt;

/// Lines, each with its depth.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    lines: Vec<(usize, String)>,
}

impl Page {
    pub(super) fn line(&mut self, depth: usize, text: impl Into<String>) {
        self.lines.push((depth, text.into()));
    }

    pub(super) fn comment(&mut self, depth: usize, text: impl fmt::Display) {
        // what it shows comes from a file: nothing may end the comment
        let text = text.to_string().replace(char::is_control, " ");
        self.line(depth, format!("# {text}"));
    }

    /// The lines of another, each so much deeper.
    pub(super) fn add(&mut self, depth: usize, other: Self) {
        let deeper = other.lines.into_iter().map(|(own, text)| (own + depth, text));
        self.lines.extend(deeper);
    }

    /// The lines of another, commented out.
    pub(super) fn add_as_comment(&mut self, depth: usize, other: Self) {
        for (own, text) in other.lines {
            self.line(depth, format!("# {:own$}{text}", "", own = own * 2));
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, text) in &self.lines {
            writeln!(f, "{:width$}{text}", "", width = depth * 2)?;
        }
        Ok(())
    }
}

/// Text as a scalar, in quotes only where YAML would read something else.
pub(super) fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:*@+=".contains(c);
    // inside of brackets, where YAML takes less for text than outside
    let as_read = || serde_yaml::from_str::<Vec<Value>>(&format!("[{text}]")).ok();
    if text.chars().all(plain) && as_read() == Some(vec![Value::String(text.to_owned())]) {
        return text.to_owned();
    }
    // a double-quoted scalar of YAML takes all of JSON's escapes
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// `[a, b]`
pub(super) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let scalars: Vec<_> = texts.into_iter().map(scalar).collect();
    format!("[{}]", scalars.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_would_read_otherwise_is_in_quotes() {
        for (text, written) in [
            ("shop.example.com", "shop.example.com"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":.a.com", "\":.a.com\""),
            ("a:", "\"a:\""),
            ("*.a.com", "\"*.a.com\""),
            ("1", "\"1\""),
            ("", "\"\""),
            ("a\"b", "\"a\\\"b\""),
        ] {
            assert_eq!(list([text]), format!("[{written}]"));
            let read: Vec<String> = serde_yaml::from_str(&list([text, text])).unwrap();
            assert_eq!(read, [text, text]);
        }
    }
}
