//! The module list in `src/lib.rs` is the order of dependency: a module names only modules above
//! it, and itself. This walks every file of `src/` and fails where one names a module below it.

#![allow(
    clippy::expect_used,
    reason = "a failed expectation ends a test; .clippy.toml sees only functions marked #[test]"
)]

use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Item, UseTree};

/// What a file names of its crate.
struct Names {
    /// How many modules the file is below the crate root, inline modules included.
    depth: usize,
    found: Vec<String>,
}

impl Names {
    /// The names right below the crate root in a file whose own module is that deep.
    fn of(source: &str, depth: usize) -> Vec<String> {
        let file = syn::parse_file(source).expect("Rust");
        let mut names = Self { depth, found: Vec::new() };
        names.visit_file(&file);
        names.found
    }

    /// Takes a path apart: `crate::a::…` and a chain of `super` that ends at the crate root name `a`.
    fn take(&mut self, segments: &[String]) {
        let supers = segments.iter().take_while(|s| *s == "super").count();
        let at_root = match segments.first().map(String::as_str) {
            Some("crate") => Some(1),
            Some("super") if supers == self.depth => Some(supers),
            _ => None,
        };
        if let Some(name) = at_root.and_then(|at| segments.get(at)) {
            self.found.push(name.clone());
        }
    }

    /// Every path of a `use`, its groups multiplied out.
    fn take_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.take_use(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.take(&with(&name.ident)),
            UseTree::Rename(rename) => self.take(&with(&rename.ident)),
            UseTree::Glob(_) => self.take(before),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.take_use(tree, before);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.take_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.take(&segments);
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.depth += 1;
        visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

    /// What stands in a macro is not parsed; its words are enough.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let text = item.tokens.to_string().replace(' ', "");
        for rest in text.split("crate::").skip(1) {
            let name = rest.split(|c: char| c != '_' && !c.is_alphanumeric()).next();
            self.found.extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
        }
        visit::visit_macro(self, item);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {
        // `pub(in crate::a)` gives, it does not take.
    }
}

/// What is wrong with the names in a file of `module`: all that are not above it in `order`.
fn violations(order: &[String], module: &str, names: &[String]) -> Vec<String> {
    let above: Vec<_> = order.iter().take_while(|name| *name != module).collect();
    let wrong = names.iter().filter(|name| *name != module && !above.contains(name));
    wrong.map(|name| format!("{module} names crate::{name}")).collect()
}

/// The modules of the crate in the order of `lib.rs`.
fn order(lib: &str) -> Vec<String> {
    let file = syn::parse_file(lib).expect("Rust");
    let modules = file.items.iter().filter_map(|item| {
        if let Item::Mod(item) = item { Some(item.ident.to_string()) } else { None }
    });
    modules.collect()
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_module_names_only_modules_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let order = order(&fs::read_to_string(src.join("lib.rs")).expect("lib.rs"));
    assert!(order.len() >= 10, "the modules of lib.rs: {order:?}");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let (mut visited, mut named, mut wrong) = (0, 0, Vec::new());
    for file in &files {
        let place = file.strip_prefix(&src).expect("below src").with_extension("");
        let mut modules: Vec<_> = place.iter().map(|part| part.to_string_lossy()).collect();
        modules.pop_if(|last| last == "mod");
        // The crate root lists the modules, and `main` is another crate.
        if place == Path::new("lib") || place == Path::new("main") {
            continue;
        }
        let module = modules[0].to_string();
        assert!(order.contains(&module), "{} belongs to no module of lib.rs", file.display());
        let names = Names::of(&fs::read_to_string(file).expect("a file"), modules.len());
        visited += 1;
        named += names.len();
        let found = violations(&order, &module, &names);
        wrong.extend(found.into_iter().map(|fault| format!("{}: {fault}", place.display())));
    }
    assert!(visited >= 30, "only {visited} files were visited");
    assert!(named >= 30, "only {named} names of the crate were found");
    assert!(wrong.is_empty(), "imports point down:\n{}", wrong.join("\n"));
}

#[test]
fn a_made_up_violation_is_found_wherever_it_stands() {
    let order = order("pub mod model;\npub mod config;\npub mod proxy;\n");
    assert_eq!(order, ["model", "config", "proxy"]);
    let wrong = |source: &str| violations(&order, "config", &Names::of(source, 2));
    let found = ["config names crate::proxy"];
    for source in [
        "use crate::proxy::Gateway;",
        "use crate::{model::Id, proxy::{self, Gateway}};",
        "use crate::proxy as p;",
        "pub use crate::proxy::*;",
        "fn f() -> crate::proxy::Gateway { todo!() }",
        "fn f() { let x = crate::proxy::new(); }",
        "fn f() { println!(\"{}\", crate::proxy::NAME); }",
        "impl crate::proxy::Serve for X {}",
        "use super::super::proxy::Gateway;",
        "#[cfg(test)] mod tests { use super::super::super::proxy::Gateway; }",
        "#[cfg(test)] mod tests { use crate::proxy::Gateway; }",
    ] {
        assert_eq!(wrong(source)[..1], found, "{source}");
    }
    for source in [
        "use crate::model::Id;",
        "use crate::config::Fault;",
        "use super::fault::Fault;",
        "use super::{fault, merge};",
        "mod tests { use super::*; }",
        "/// See [`crate::proxy`].\nfn f() {}",
        "// crate::proxy\nconst S: &str = \"crate::proxy\";",
    ] {
        assert_eq!(wrong(source), [""; 0], "{source}");
    }
}
