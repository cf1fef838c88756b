//! The command line: what the operator asked for, carried out, and the exit code.

mod ctl;
mod demo;
mod explain;
pub mod import;
mod man;
mod plan;

use crate::server::{self, Files, Program};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A load balancer that keeps each client with the backend that holds its state.
#[derive(Parser, Debug)]
#[command(name = "stickfast", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve until a signal ends it: SIGTERM after open requests, SIGINT at once. SIGHUP reads the
    /// files again, SIGUSR2 hands over to a new process.
    Run(Run),
    /// Say whether the files are valid: exit code 0, or 1 with every fault on standard error.
    Check(Sources),
    /// Say what would happen to a request, and why.
    Explain(Explain),
    /// Ask or change a running instance, through its admin listener. Exit code 0: done, 1: refused,
    /// 3: nobody answers.
    Ctl(ctl::Ctl),
    /// Say what a change of the configuration moves: `plan -c OLD -- -c NEW`.
    Plan(plan::Change),
    /// Serve three toy backends and the gateway in one process, to try it out.
    Demo(DemoOptions),
    /// Print a fresh secret for `sessionAffinity.keys`.
    Keygen,
    /// Turn the configuration of another load balancer into ours.
    Import {
        #[command(subcommand)]
        from: Foreign,
    },
    /// Write the manual pages.
    #[command(hide = true)]
    Man {
        /// The directory they go into.
        folder: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
enum Foreign {
    /// The `ReverseProxy` section of YARP or `VKProxy`: YAML on standard output, on standard error
    /// what has no counterpart.
    Yarp {
        /// An appsettings.json.
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Sources {
    /// A configuration file; several are merged in order.
    #[arg(short = 'c', long = "config", value_name = "FILE", required = true)]
    config: Vec<PathBuf>,
}

#[derive(Args, Debug)]
struct Run {
    #[command(flatten)]
    sources: Sources,
    /// Take over from the process that waits there. A running process gives this to the successor
    /// that it starts (SIGUSR2, or `stickfast ctl upgrade`).
    #[arg(long, value_name = "SOCKET")]
    upgrade: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Explain {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    asked: explain::Asked,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct DemoOptions {
    /// A file that is merged over the demo's own configuration.
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Vec<PathBuf>,
}

/// Carries out the command line of this process.
pub fn main() -> ExitCode {
    match Cli::parse().command.carry_out() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

impl Command {
    fn carry_out(self) -> anyhow::Result<ExitCode> {
        let done = match self {
            Self::Ctl(ctl) => return Ok(ctl::run(ctl, environment)),
            Self::Run(run) => Ok(server::run(server::Start {
                signals: server::Signals::take()?,
                files: files(None, run.sources.config),
                on_open: Box::new(|_| {}),
                program: program(),
                predecessor: run.upgrade,
            })?),
            Self::Check(sources) => {
                let names: Vec<String> =
                    sources.config.iter().map(|path| path.display().to_string()).collect();
                for warning in server::check(&files(None, sources.config))? {
                    eprintln!("warning: {warning}");
                }
                println!("{} is valid", names.join(" + "));
                Ok(())
            }
            Self::Explain(Explain { sources, asked, json }) => {
                explain::run(&files(None, sources.config), asked, json)
            }
            Self::Plan(change) => plan::run(change),
            Self::Demo(options) => demo::run(options.config),
            Self::Keygen => {
                println!("{}", server::keygen());
                Ok(())
            }
            Self::Import { from: Foreign::Yarp { file } } => import_yarp(&file),
            Self::Man { folder } => Ok(man::write(Cli::command(), &folder)?),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

/// `None` where the system does not say what is running.
fn program() -> Option<Program> {
    Some(Program::new(std::env::args_os(), std::env::current_exe().ok()?))
}

fn import_yarp(file: &Path) -> anyhow::Result<()> {
    let name = file.display();
    let json = std::fs::read_to_string(file).map_err(|why| anyhow::anyhow!("{name}: {why}"))?;
    let imported = import::yarp(&json).map_err(|why| anyhow::anyhow!("{name}:{why}"))?;
    for warning in &imported.warnings {
        eprintln!("warning: {warning}");
    }
    print!("{}", imported.yaml);
    Ok(())
}

fn files(built_in: Option<(&'static str, &'static str)>, paths: Vec<PathBuf>) -> Files {
    Files { built_in, paths, environment: Box::new(environment) }
}

#[allow(clippy::disallowed_methods, reason = "the one place that may read the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
