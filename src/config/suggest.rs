//! "Did you mean …?" for names that nobody knows.

/// The known name that `wrong` most likely stands for, as a question.
pub(super) fn did_you_mean(wrong: &str, known: &[&str]) -> Option<String> {
    let wrong = wrong.to_lowercase();
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong, &name.to_lowercase());
    let (nearest, distance) =
        known.iter().map(|name| (name, distance(name))).min_by_key(|(_, distance)| *distance)?;
    let tolerated = (wrong.chars().count() / 3).max(1);
    (distance <= tolerated).then(|| format!("did you mean `{nearest}`?"))
}
