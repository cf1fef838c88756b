//! Answers of the API in words, for people.

use serde_json::Value;
use std::fmt::Write as _;

pub(super) fn problem(problem: &Value) -> String {
    let mut words = member(problem, "detail");
    for fault in list(problem, "faults") {
        let _ = write!(words, "\n{}", plain(fault));
    }
    words
}

pub(super) fn status(status: &Value) -> String {
    let serving = if status.get("serving") == Some(&Value::Bool(true)) {
        "serving"
    } else {
        "not serving (starting, or draining)"
    };
    format!(
        "stickfast {}, process {}: {serving}\nup for {} s, configuration number {}\n{} connections, \
         {} requests under way",
        member(status, "version"),
        member(status, "pid"),
        member(status, "uptime_seconds"),
        member(status, "generation"),
        member(status, "connections"),
        member(status, "active_requests"),
    )
}

pub(super) fn reload(reloaded: &Value) -> String {
    let changed = list(reloaded, "changed");
    let mut words = match changed.len() {
        0 => "read again: nothing is different".to_owned(),
        _ => "read again and in force:".to_owned(),
    };
    for difference in changed {
        let (what, path) = (member(difference, "change"), member(difference, "path"));
        let _ = write!(words, "\n  {what:<8} {path}");
    }
    let waiting = list(reloaded, "needs_restart");
    if !waiting.is_empty() {
        words.push_str("\ntakes effect with `stickfast ctl upgrade`:");
        for key in waiting {
            let _ = write!(words, "\n  {}", plain(key));
        }
    }
    words
}

pub(super) fn upgrade(upgraded: &Value) -> String {
    format!("process {} serves; the one before it finishes its requests", member(upgraded, "pid"))
}

pub(super) fn config(config: &Value) -> String {
    serde_yaml::to_string(config).unwrap_or_default().trim_end().to_owned()
}

/// A table, each column as wide as its widest cell.
pub(super) fn backends(backends: &Value) -> String {
    const COLUMNS: [&str; 8] =
        ["service", "id", "address", "state", "health", "takes", "weight", "in_flight"];
    let mut rows: Vec<Vec<String>> =
        vec![COLUMNS.iter().map(|name| name.replace('_', " ").to_uppercase()).collect()];
    for backend in backends.as_array().into_iter().flatten() {
        rows.push(COLUMNS.iter().map(|name| member(backend, name)).collect());
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).filter_map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn member(value: &Value, key: &str) -> String {
    value.get(key).map(plain).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reload_says_what_changed_and_what_waits() {
        let reloaded = json!({
            "changed": [{ "path": "services.app.backends[b2]", "change": "added" }],
            "needs_restart": ["server.threads"],
        });
        let expected = "read again and in force:\n  added    services.app.backends[b2]\n\
                        takes effect with `stickfast ctl upgrade`:\n  server.threads";
        assert_eq!(reload(&reloaded), expected);
        let nothing = json!({ "changed": [], "needs_restart": [] });
        assert_eq!(reload(&nothing), "read again: nothing is different");
    }

    #[test]
    fn backends_are_a_table() {
        let answer = json!([{ "service": "app", "id": "b1", "address": "127.0.0.1:9101",
            "state": "active", "health": "healthy", "takes": "anyone", "weight": 1,
            "in_flight": 12 }]);
        let table = backends(&answer);
        let (head, row) = table.split_once('\n').unwrap();
        assert_eq!(head.find("IN FLIGHT"), row.rfind("12"), "{table}");
        assert!(row.starts_with("app      b1  127.0.0.1:9101  active"), "{table}");
    }

    #[test]
    fn a_problem_is_followed_by_its_faults() {
        let answer = json!({ "detail": "no", "faults": ["a:1:2: x"] });
        assert_eq!(problem(&answer), "no\na:1:2: x");
    }
}
