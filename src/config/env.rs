//! `${NAME}` and `${NAME:-default}` in scalar values. As in a shell, the default also stands in
//! for a variable that is set to nothing. What a variable holds is not expanded again.

use super::fault::Refused;

/// The text with every variable filled in; `None` when there is none in it. Refusals never show
/// the text, which may be a secret.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, Refused> {
    let Some((head, mut rest)) = text.split_once("${") else { return Ok(None) };
    let mut expanded = head.to_owned();
    loop {
        let (variable, tail) = rest.split_once('}').ok_or_else(malformed)?;
        expanded.push_str(&value(variable, env)?);
        let Some((plain, next)) = tail.split_once("${") else {
            expanded.push_str(tail);
            return Ok(Some(expanded));
        };
        expanded.push_str(plain);
        rest = next;
    }
}

fn value(variable: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Refused> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_name || default.is_some_and(|default| default.contains("${")) {
        return Err(malformed());
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Refused::new(
            format!("the environment variable {name} is not set"),
            format!("set it, or write ${{{name}:-default}}"),
        )),
    }
}

fn malformed() -> Refused {
    Refused::new("a `${` that names no variable", "write ${NAME} or ${NAME:-default}")
}
