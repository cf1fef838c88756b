//! Any text at every format: none panics, none allocates, and none takes the key of another.

use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

/// Made once, since properties ask them for every value.
static TABLES: LazyLock<Vec<(Format, Table)>> = LazyLock::new(|| {
    all().into_iter().map(|format| (format.clone(), Table::new(&format, &three()))).collect()
});

/// Formats that may read each other's keys: they are one format, or their names are plain words.
fn coincide(a: &Format, b: &Format) -> bool {
    use Format::{Envoy, HaProxy, Nginx, Plain, Servlet, Sozu};
    let words = |format: &Format| matches!(format, HaProxy { .. } | Nginx | Sozu | Servlet);
    let addresses = |format: &Format| matches!(format, Envoy | Plain(_));
    a == b || words(a) && words(b) || addresses(a) && addresses(b)
}

#[test]
fn a_key_of_one_format_never_names_a_backend_in_another() {
    let mut keys: Vec<(Format, String, usize)> =
        rows().into_iter().map(|(format, value, at)| (format, value.to_owned(), at)).collect();
    for format in all() {
        let table = Table::new(&format, &three());
        let written =
            (0..3).filter_map(|at| Some((format.clone(), table.write(at)?.to_owned(), at)));
        keys.extend(written);
    }
    assert!(keys.len() > 40, "there are keys to try");
    for (minted, key, expected) in &keys {
        for reader in all() {
            match at(&reader, &three(), key) {
                None => assert_ne!(&reader, minted, "{key}"),
                Some(at) => {
                    assert!(coincide(&reader, minted), "{reader:?} {minted:?} {key}");
                    assert_eq!(at, *expected, "{reader:?} {minted:?} {key}");
                }
            }
        }
    }
}

#[test]
fn reading_allocates_nothing() {
    for (format, value, expected) in rows() {
        let table = Table::new(&format, &three());
        let counted = allocation_counter::measure(|| {
            let reading = table.read(value.as_bytes(), NOW);
            assert!(matches!(reading, Reading::Backend { at, .. } if at == expected));
        });
        assert_eq!(counted.count_total, 0, "{format:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_read_without_panic(value in proptest::collection::vec(any::<u8>(), 0..700)) {
        for (_, table) in &*TABLES {
            let (_, _) = (table.read(&value, NOW), table.application(&value));
        }
    }

    #[test]
    fn any_base64_of_any_bytes_reads_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        use base64::Engine;
        let value = base64::engine::general_purpose::STANDARD.encode(bytes);
        Table::new(&Format::Envoy, &three()).read(value.as_bytes(), NOW);
    }

    #[test]
    fn words_with_separators_read_as_a_backend_only_by_its_name(
        value in "(b[1-4]|x|)([.~|](b[1-4]|ZVPxA|x|)){0,3}",
    ) {
        for (format, table) in &*TABLES {
            if let Reading::Backend { at, .. } = table.read(value.as_bytes(), NOW) {
                prop_assert!(value.contains(three()[at].id), "{format:?} {value}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_backend(
        ids in proptest::collection::btree_set("[a-z0-9.-]{1,40}", 1..12),
        first in any::<std::net::IpAddr>(),
        port in 1..60_000_u16,
    ) {
        let targets: Vec<_> = (port..)
            .zip(&ids)
            .map(|(port, id)| {
                Target { id, address: SocketAddr::new(first, port), route: None, url: None }
            })
            .collect();
        for format in all().iter().filter(|format| is_written(format)) {
            let table = Table::new(format, &targets);
            prop_assert_eq!(table.clashes(), []);
            for at in 0..targets.len() {
                let key = table.write(at).unwrap();
                prop_assert_eq!(table.read(key.as_bytes(), NOW), backend(at));
            }
        }
    }
}
