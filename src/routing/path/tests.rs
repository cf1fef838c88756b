use super::*;
use proptest::prelude::*;

fn is_borrowed(path: &str) -> bool {
    matches!(normalise(path), Cow::Borrowed(same) if same == path)
}

fn dot_segments(path: &str) -> usize {
    path.split('/').filter(|segment| matches!(*segment, "." | "..")).count()
}

#[test]
fn a_plain_path_is_borrowed() {
    for plain in ["/", "/cart/1", "/a//b", "/.well-known/x.y", "/a..b/...", "/a%20b%2Fc", "/é/%"] {
        assert!(is_borrowed(plain), "{plain}");
    }
}

#[test]
fn what_is_not_a_path_is_left_alone() {
    for odd in ["*", "", "..", "a/../b", "%61"] {
        assert!(is_borrowed(odd), "{odd}");
    }
}

#[test]
fn dot_segments_are_removed_as_the_rfc_says() {
    for (path, normal) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/.", "/"),
        ("/..", "/"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/a/../", "/"),
        ("/a//../b", "/a/b"),
        ("/.//a", "//a"),
    ] {
        assert_eq!(normalise(path), normal, "{path}");
    }
}

#[test]
fn nothing_climbs_above_the_root() {
    assert_eq!(normalise("/../../etc/passwd"), "/etc/passwd");
    assert_eq!(normalise("/a/../../../b"), "/b");
}

#[test]
fn encoded_unreserved_characters_are_decoded() {
    assert_eq!(normalise("/%61%2D%5f%7E%39"), "/a-_~9");
}

#[test]
fn encoded_dots_are_dots() {
    assert_eq!(normalise("/public/%2e%2E/admin"), "/admin");
    assert_eq!(normalise("/public/.%2e/admin"), "/admin");
    assert_eq!(normalise("/%/%2e%2e/x"), "/x");
}

#[test]
fn other_triplets_stay_as_written() {
    assert_eq!(normalise("/%61%2f%2F%3f%00%c3%A9"), "/a%2f%2F%3f%00%c3%A9");
    assert_eq!(normalise("/%61/..%2fb"), "/a/..%2fb");
}

#[test]
fn decoding_happens_once() {
    assert!(is_borrowed("/%252e%252e/x"));
    for nested in ["/%%32e%%32e/x", "/%2%65", "/%%34%31"] {
        let once = normalise(nested).into_owned();
        assert_eq!(normalise(&once), once, "{nested}");
    }
    assert_eq!(normalise("/%%32e/x"), "/%%32e/x");
}

#[test]
fn a_stray_percent_is_kept() {
    assert_eq!(normalise("/%zz/%4/%/%61%"), "/%zz/%4/%/a%");
    assert_eq!(normalise("/%+f/%é/./"), "/%+f/%é/");
}

/// A path of pieces that matter: any other text would hardly ever spell a triplet.
fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        2 => Just("/"), 2 => Just("."), 2 => Just("%"), 2 => Just("%2e"), 1 => Just("%2E"),
        1 => Just("%32"), 1 => Just("%65"), 1 => Just("%2f"), 1 => Just("2"), 1 => Just("e"),
        1 => Just("é"),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn normalising_twice_changes_nothing_more(path in path()) {
        let once = normalise(&path).into_owned();
        prop_assert_eq!(normalise(&once), once.as_str());
    }

    #[test]
    fn no_dot_segment_is_left(path in path()) {
        let normal = normalise(&path);
        prop_assert!(normal.starts_with('/'));
        prop_assert_eq!(dot_segments(&normal), 0);
        // Nor does one appear where the next hop decodes once more.
        let decoded = normal.replace("%2e", ".").replace("%2E", ".");
        prop_assert_eq!(dot_segments(&decoded), 0);
    }

    #[test]
    fn any_input_is_taken(path in any::<String>()) {
        prop_assert!(normalise(&path).len() <= path.len());
    }

    #[test]
    fn without_percent_and_dot_segments_nothing_is_touched(path in "/[a-c./]{0,16}") {
        prop_assume!(dot_segments(&path) == 0);
        prop_assert!(is_borrowed(&path));
    }
}
