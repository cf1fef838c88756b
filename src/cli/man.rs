//! `stickfast man`: manual pages from the command line itself, one for each command, so that none can
//! be out of date. Hidden: it is for those who package the program.

mod sections;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::io;
use std::path::Path;

/// A file name, and what goes in.
type Page = (String, Vec<u8>);

/// Writes a page for `command` and each command below it into `folder`, which is made if need be.
///
/// # Errors
/// What keeps a file from being written.
pub(super) fn write(command: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, page) in pages(command)? {
        fs::write(folder.join(name), page)?;
    }
    Ok(())
}

fn pages(command: Command) -> io::Result<Vec<Page>> {
    let mut command = command.disable_help_subcommand(true);
    // gives those below their full names
    command.build();
    let mut pages = Vec::new();
    collect(&command, None, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, above: Option<&str>, pages: &mut Vec<Page>) -> io::Result<()> {
    let source = format!("stickfast {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("Stickfast");
    let mut page = Vec::new();
    man.render(&mut page)?;
    let name = man.get_filename();
    match above {
        None => sections::of_the_program().to_writer(&mut page)?,
        Some(above) => see_also(above).to_writer(&mut page)?,
    }
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, Some(name.trim_end_matches(".1")), pages)?;
    }
    pages.push((name, page));
    Ok(())
}

fn see_also(page: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text([bold(page), roman("(1)")]);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    /// The name of each command as its page has it, with its own flags.
    fn commands(command: &Command, above: &str, found: &mut Vec<(String, Vec<String>)>) {
        let name = format!("{above}{}", command.get_name());
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
        let flags = shown.flat_map(|argument| {
            let long = argument.get_long().map(|long| format!("--{long}"));
            long.into_iter().chain(argument.get_short().map(|short| format!("-{short}")))
        });
        found.push((format!("{name}.1"), flags.collect()));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            commands(below, &format!("{name}-"), found);
        }
    }

    #[test]
    fn every_command_has_a_page_that_names_each_of_its_flags() {
        let pages = pages(Cli::command()).unwrap();
        let mut expected = Vec::new();
        commands(&Cli::command(), "", &mut expected);
        assert!(expected.len() > 12, "{expected:?}");
        assert!(expected.iter().any(|(name, _)| name == "stickfast-import-yarp.1"), "{expected:?}");
        assert!(expected.iter().map(|(_, flags)| flags.len()).sum::<usize>() > 15, "{expected:?}");
        for (name, flags) in &expected {
            let page = pages.iter().find(|(page, _)| page == name);
            let (_, page) = page.unwrap_or_else(|| panic!("no page {name}"));
            let text = String::from_utf8(page.clone()).unwrap().replace('\\', "");
            for flag in flags {
                assert!(text.contains(&format!("fB{flag}fR")), "{name}: {flag}\n{text}");
            }
        }
        assert_eq!(pages.len(), expected.len(), "no page of anything else");
    }

    #[test]
    fn the_page_of_the_program_has_what_its_operator_looks_up() {
        let pages = pages(Cli::command()).unwrap();
        let (_, page) = pages.iter().find(|(name, _)| name == "stickfast.1").unwrap();
        let text = String::from_utf8(page.clone()).unwrap().replace('\\', "");
        for heading in ["FILES", "SIGNALS", "ENVIRONMENT", "\"EXIT STATUS\""] {
            assert!(text.contains(&format!(".SH {heading}\n")), "{heading}\n{text}");
        }
        for word in ["SIGUSR2", "STICKFAST_ADMIN_TOKEN", "affinity.key", "SSL_CERT_FILE"] {
            assert!(text.contains(word), "{word}\n{text}");
        }
    }
}
