//! Which requests a route takes, in the patterns of our rules. Several patterns of one kind that a
//! rule cannot hold become several rules; a condition that no rule can hold is told as a reason, so
//! that the rule does not take what the route did not.

use super::page::Page;
use super::section::Section;
use super::{Import, ImportError};

/// The conditions of one route.
#[derive(Default)]
pub(super) struct Match {
    /// Empty: any.
    pub(super) hosts: Vec<String>,
    /// One of these; at least one.
    pub(super) paths: Vec<String>,
    pub(super) methods: Vec<String>,
    /// For each header one of these values.
    pub(super) headers: Vec<(String, Vec<String>)>,
    /// Why no rule can say this.
    pub(super) reasons: Vec<String>,
    /// Comments about what is not quite the same.
    pub(super) comments: Page,
}

pub(super) fn read(route: &mut Section) -> Result<Match, ImportError> {
    let Some(mut section) = route.optional("Match")? else {
        let reasons = vec!["it has no `Match`".to_owned()];
        return Ok(Match { paths: vec!["/*".to_owned()], reasons, ..Match::default() });
    };
    let import = section.import;
    let mut found = Match::default();
    for host in section.texts("Hosts")? {
        found.host(import, &section.path_of("Hosts"), host);
    }
    if found.hosts.iter().any(|host| host == "*") {
        found.hosts.clear();
    }
    for path in section.texts("Paths")? {
        found.vkproxy_path(import, &section.path_of("Paths"), path);
    }
    if let Some(path) = section.text("Path")? {
        found.yarp_path(import, path);
    }
    if found.paths.is_empty() {
        found.paths.push("/*".to_owned());
    }
    found.methods = section.texts("Methods")?.iter().map(|m| m.to_ascii_uppercase()).collect();
    headers(&mut section, &mut found)?;
    for key in ["QueryParameters", "Statement"] {
        if section.node(key).is_some() {
            found.reasons.push(format!("`{key}` has no counterpart"));
        }
    }
    section.comment_on_the_rest(&mut found.comments, 0);
    Ok(found)
}

impl Match {
    fn host(&mut self, import: &Import, path: &str, host: &str) {
        let host = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') && !name.is_empty() => {
                import.warn(format!("{path}: the port of `{host}` is left out"));
                name
            }
            Some(_) | None => host,
        };
        match host.strip_prefix('*') {
            Some(rest) if !rest.is_empty() && !rest.starts_with('.') => {
                import.warn(format!(
                    "{path}: `{host}` takes `{rest}` and what is below it here, no other host that \
                     ends so"
                ));
                self.hosts.extend([rest.to_owned(), format!("*.{rest}")]);
            }
            Some(_) | None => self.hosts.push(host.to_owned()),
        }
    }

    /// `*`, `/cart` or `/cart*`.
    fn vkproxy_path(&mut self, import: &Import, key: &str, path: &str) {
        let rooted = |path: &str| format!("/{}", path.trim_start_matches('/'));
        let pattern = match path.strip_suffix('*') {
            None => rooted(path),
            Some(prefix) => {
                let folder = prefix.trim_end_matches('/');
                if folder == prefix && !prefix.is_empty() {
                    import.warn(format!(
                        "{key}: `{path}` takes `{prefix}` and what is below it here, not every \
                         path that begins so"
                    ));
                }
                if folder.is_empty() { "/*".to_owned() } else { format!("{}/*", rooted(folder)) }
            }
        };
        self.path(import, pattern, path);
    }

    /// A route template: only a catch-all at its end can be said.
    fn yarp_path(&mut self, import: &Import, path: &str) {
        let rooted = format!("/{}", path.trim_start_matches('/'));
        let pattern = match rooted.split_once('{') {
            None => rooted,
            Some((prefix, parameter)) => {
                let prefix = prefix.rsplit_once('/').map_or("", |(before, _)| before);
                let is_all = parameter.strip_prefix('*').and_then(|name| name.strip_suffix('}'));
                let plain = is_all.is_some_and(|name| !name.contains(['{', '}', ':', '/', '=']));
                let at_start = rooted.starts_with(&format!("{prefix}/{{"));
                if !plain || !at_start {
                    self.reasons.push(format!("`{path}` is more than a prefix"));
                }
                format!("{prefix}/*")
            }
        };
        self.path(import, pattern, path);
    }

    fn path(&mut self, import: &Import, pattern: String, theirs: &str) {
        warn_of_case(import, &pattern);
        let bare = pattern.strip_suffix("/*").unwrap_or(&pattern);
        let odd = |c: char| "*?#{}".contains(c) || c.is_whitespace() || c.is_control();
        let dots = bare.split('/').any(|segment| segment == "." || segment == "..");
        if dots || bare.contains(odd) {
            self.reasons.push(format!("`{theirs}` is not a path for a rule"));
        }
        self.paths.push(pattern);
    }
}

/// Theirs ignore case in paths, ours do not.
fn warn_of_case(import: &Import, pattern: &str) {
    if pattern.contains(|c: char| c.is_ascii_alphabetic()) {
        import.warn(
            "paths of rules know upper and lower case apart, those of the old gateway do not",
        );
    }
}

/// A list of `{Name, Values, Mode}`, or a map of names and values.
fn headers(section: &mut Section, found: &mut Match) -> Result<(), ImportError> {
    if let Some(pairs) = section.named_texts("Headers")? {
        let pairs =
            pairs.into_iter().map(|(name, value)| (name.to_owned(), vec![value.to_owned()]));
        found.headers.extend(pairs);
        return Ok(());
    }
    for (_, mut header) in section.sections("Headers")? {
        let Some(name) = header.text("Name")? else {
            return Err(header.refuse("`Name` is missing"));
        };
        let values = header.texts("Values")?;
        let mode = header.text("Mode")?.unwrap_or("ExactHeader");
        let values: Vec<_> = values.into_iter().map(str::to_owned).collect();
        if !mode.eq_ignore_ascii_case("ExactHeader") || values.is_empty() {
            found.reasons.push(format!("`{mode}` of the header `{name}` has no counterpart"));
        }
        let letters = values.iter().any(|v| v.contains(|c: char| c.is_ascii_alphabetic()));
        if header.flag("IsCaseSensitive")? != Some(true) && letters {
            let path = &header.path;
            header.import.warn(format!("{path}: values know upper and lower case apart here"));
        }
        header.comment_on_the_rest(&mut found.comments, 0);
        found.headers.push((name.to_owned(), values));
    }
    Ok(())
}
