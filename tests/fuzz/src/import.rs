//! The JSON of YARP: what is taken becomes a configuration whose every key is known and in place,
//! what is not is refused with its place.

use stickfast::cli::import::yarp;
use stickfast::config::{self, Fault, Source};

/// As an `appsettings.json`, where the bytes are text.
pub fn holds(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    match yarp(json) {
        Ok(imported) => {
            let source = Source { name: "imported.yaml".into(), text: imported.yaml.clone() };
            let (config, faults) = config::read(vec![source], &|_| None);
            assert!(config.is_some(), "it is YAML: {}", imported.yaml);
            // what was nonsense there is nonsense here, and `check` says where; what the importer
            // adds of its own is right
            let ours = ["unknown key", "not supported yet", "found a ", "has a YAML tag"];
            let is_ours = |fault: &Fault| ours.iter().any(|what| fault.to_string().contains(what));
            let faults: Vec<_> = faults.into_iter().filter(is_ours).collect();
            assert_eq!(faults, [], "{}", imported.yaml);
            assert!(imported.warnings.iter().all(|warning| !warning.trim().is_empty()));
        }
        Err(refused) => {
            let shown = refused.to_string();
            let mut parts = shown.splitn(3, ':');
            let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
            let (line, column) = (number(), number());
            let lines = 1 + json.lines().count();
            assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{shown}");
            assert!(column.is_some_and(|column| column >= 1), "{shown}");
            assert!(parts.next().is_some_and(|problem| !problem.trim().is_empty()), "{shown}");
        }
    }
}
