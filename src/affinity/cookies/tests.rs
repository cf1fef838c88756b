use super::*;
use proptest::prelude::*;

fn names() -> CookieNames {
    CookieNames::new("ours", "cart", false)
}

fn cut(value: &str) -> (Option<String>, Vec<String>) {
    let names = names();
    let cut = Cutter::new([&names]).cut(value.as_bytes(), Some(&names));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (cut.rest.map(|rest| text(&rest)), cut.found.iter().map(|found| text(found.key)).collect())
}

#[test]
fn our_cookie_is_cut_out_wherever_it_stands() {
    for (value, rest) in [
        ("ours=k", ""),
        ("ours=k; a=1", "a=1"),
        ("a=1; ours=k", "a=1"),
        ("a=1; ours=k; b=2", "a=1; b=2"),
        ("a=1;ours=k;b=2", "a=1;b=2"),
        ("a=1 ;  ours=k ; b=\"x;y\"", "a=1 ;  b=\"x;y\""),
        ("ours=k;", ""),
        ("a; ours=k; =x; b==", "a; =x; b=="),
    ] {
        assert_eq!(cut(value), (Some(rest.into()), vec!["k".into()]), "{value}");
    }
}

#[test]
fn a_value_without_our_cookie_is_left_alone() {
    for value in ["", "a=1", "ours", "Ours=k; xours=k; ours2=k", "; ;; a=1 "] {
        assert_eq!(cut(value), (None, vec![]), "{value}");
    }
}

#[test]
fn both_names_and_doubles_are_found_in_order_and_no_more_than_four() {
    let (rest, found) = cut("ours=1; ours-1c42ddc0=2; a=b; ours=3; ours=4; ours=5");
    assert_eq!(rest.as_deref(), Some("a=b"));
    assert_eq!(found, ["1", "2", "3", "4"]);
}

#[test]
fn cookies_of_other_rules_are_cut_out_but_not_read() {
    let (cart, chat) = (names(), CookieNames::new("other", "chat", true));
    let cutter = Cutter::new([&cart, &chat]);
    let cut = cutter.cut(b"other=x; ours=k; a=1", Some(&cart));
    assert_eq!(cut.rest.as_deref(), Some(b"a=1".as_slice()), "{cut:?}");
    assert_eq!(cut.found.as_slice(), [Candidate { key: b"k", current: true }]);
}

proptest! {
    #[test]
    fn all_other_bytes_of_cookie_stay(
        before in prop::collection::vec("[a-nA-Z0-9]{1,6}=[!-:<-~]{0,8}", 0..4),
        after in prop::collection::vec("[a-nA-Z0-9]{1,6}=[!-:<-~]{0,8}", 0..4),
        key in "[A-Za-z0-9_-]{0,40}", separator in prop::sample::select(vec![";", "; ", " ; "]),
    ) {
        let ours = format!("ours={key}");
        let with: Vec<&str> =
            before.iter().map(String::as_str).chain([ours.as_str()]).chain(after.iter().map(String::as_str)).collect();
        let without: Vec<&str> = before.iter().chain(&after).map(String::as_str).collect();
        let (rest, found) = cut(&with.join(separator));
        prop_assert_eq!(rest, Some(without.join(separator)));
        prop_assert_eq!(found, vec![key]);
    }

    #[test]
    fn any_bytes_are_taken(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let names = names();
        let cut = Cutter::new([&names]).cut(&value, Some(&names));
        let rest = cut.rest.map_or_else(|| value.clone(), |rest| rest.to_vec());
        prop_assert!(rest.len() <= value.len());
        let again = Cutter::new([&names]).cut(&rest, Some(&names));
        prop_assert!(again.found.is_empty());
    }
}
