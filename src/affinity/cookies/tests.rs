use super::*;
use proptest::prelude::*;

fn names() -> CookieNames {
    CookieNames::new("ours", "cart", false)
}

fn wanted(names: &CookieNames) -> Wanted<'_> {
    Wanted { names: Some(names), ..Wanted::default() }
}

fn cut(value: &str) -> (Option<String>, Vec<String>) {
    let names = names();
    let cut = Cutter::new([&names]).cut(value.as_bytes(), wanted(&names));
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
    let cut = cutter.cut(b"other=x; ours=k; a=1", wanted(&cart));
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
        let cut = Cutter::new([&names]).cut(&value, wanted(&names));
        let rest = cut.rest.map_or_else(|| value.clone(), |rest| rest.to_vec());
        prop_assert!(rest.len() <= value.len());
        let again = Cutter::new([&names]).cut(&rest, wanted(&names));
        prop_assert!(again.found.is_empty());
    }
}

#[test]
fn a_foreign_cookie_is_read_and_only_what_is_the_applications_stays() {
    use crate::affinity::formats::{Format, Target};
    let address = ([127, 0, 0, 1], 9101).into();
    let targets = [Target { id: "b1", address, route: None, url: None }];
    let adopted = |cookie, format: &Format| Adopted::new(cookie, format, &targets);
    let all = [
        adopted("SRV", &Format::HaProxy { prefix: false, dynamic: None }),
        adopted("SID", &Format::HaProxy { prefix: true, dynamic: None }),
        adopted("JSESSIONID", &Format::Servlet),
    ];
    let names = names();
    let cutter = Cutter::new([&names]);
    for (value, rest, foreign) in [
        ("a=1; SRV=b1; b=2", Some("a=1; b=2"), vec![(0, "b1")]),
        ("SID=b1~A1B2; a=1", Some("SID=A1B2; a=1"), vec![(1, "b1~A1B2")]),
        ("a=1; SID=b1~A1B2", Some("a=1; SID=A1B2"), vec![(1, "b1~A1B2")]),
        ("SID=light~dark; a=1", None, vec![(1, "light~dark")]),
        ("a=1; SID=b9~A1B2; ours=k", Some("a=1; SID=b9~A1B2"), vec![(1, "b9~A1B2")]),
        ("ours=k;SID=b1~A1B2;c=3", Some("SID=A1B2;c=3"), vec![(1, "b1~A1B2")]),
        ("JSESSIONID=A1B2.b1; a=1", None, vec![(2, "A1B2.b1")]),
        ("a=1; ours=k; JSESSIONID=A1B2.b1", Some("a=1; JSESSIONID=A1B2.b1"), vec![(2, "A1B2.b1")]),
    ] {
        let cut = cutter
            .cut(value.as_bytes(), Wanted { names: Some(&names), adopted: &all, sessions: &[] });
        let text = cut.rest.as_ref().map(|rest| String::from_utf8(rest.to_vec()).unwrap());
        assert_eq!(text.as_deref(), rest, "{value}");
        let found: Vec<_> =
            cut.foreign.iter().map(|(at, v)| (*at, std::str::from_utf8(v).unwrap())).collect();
        assert_eq!(found, foreign, "{value}");
    }
}
