//! The files of the operator: whatever stands in them is read or refused with its place. Two files,
//! where a NUL divides the bytes.

use stickfast::config::{self, Fault, Source};

fn sources(data: &str) -> Vec<Source> {
    let texts = data.split('\0').take(2).enumerate();
    texts.map(|(n, text)| Source { name: format!("f{n}.yaml"), text: text.into() }).collect()
}

fn env(name: &str) -> Option<String> {
    name.starts_with('A').then(|| "127.0.0.1:0".to_owned())
}

/// As one or two files, where the bytes are text.
pub fn holds(data: &[u8]) {
    let Ok(data) = std::str::from_utf8(data) else { return };
    let (config, faults) = config::read(sources(data), &env);
    assert!(config.is_some() || !faults.is_empty(), "it is refused with a reason");
    for fault in &faults {
        has_a_place(fault, data);
    }
    match config::load(sources(data), &env) {
        Ok(_) => assert!(faults.is_empty()),
        Err(refused) => {
            assert_eq!(refused.len(), faults.len());
            assert!(faults.iter().all(|fault| refused.iter().any(|other| other == fault)));
        }
    }
}

/// `file:line:column: …`, a line that the file has.
fn has_a_place(fault: &Fault, data: &str) {
    let shown = fault.to_string();
    let mut parts = shown.splitn(4, ':');
    let file = parts.next().unwrap_or_default();
    let Some(number) = file.strip_prefix('f').and_then(|rest| rest.strip_suffix(".yaml")) else {
        panic!("of no file: {shown}");
    };
    let text = data.split('\0').nth(number.parse().unwrap()).expect("a file that was read");
    let (line, column) = (parts.next().map(str::parse), parts.next().map(str::parse));
    if let (Some(Ok(line)), Some(Ok(column))) = (line, column) {
        let (line, column): (usize, usize) = (line, column);
        // every end of a line that YAML knows
        let lines = 1 + text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
        assert!((1..=lines).contains(&line) && column >= 1, "{shown}");
    }
    assert!(!parts.next().unwrap_or_default().trim().is_empty(), "{shown}");
}
