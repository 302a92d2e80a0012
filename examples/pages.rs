//! The pages for people and shells, from the one definition of the command line: a man page for each
//! command, and completions for bash, zsh and fish. The same sources make the same bytes.
//!
//! `cargo run --example pages -- FOLDER [COMMAND…]` writes `FOLDER/man` and `FOLDER/completions`, without
//! the commands that are named: a package's program hasn't all of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use linli::cli::args::Args;
use reference_cloud::Arguments;

/// The page of the configuration's format, which no command line defines.
const CONFIGURATION: &str = include_str!("linli.toml.5");

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.context("usage: pages FOLDER [COMMAND…]")?;
    let without: Vec<String> = std::env::args().skip(2).collect();
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for made in [&man, &completions] {
        fs::create_dir_all(made).with_context(|| format!("making {}", made.display()))?;
    }
    let version = env!("CARGO_PKG_VERSION");
    pages(linli(&without), &man, &format!("linli {version}"))?;
    pages(
        Arguments::command(),
        &man,
        &format!("linli-reference-cloud {version}"),
    )?;
    fs::write(
        man.join("linli.toml.5"),
        CONFIGURATION.replace("@VERSION@", version),
    )?;
    for (shell, name) in [
        (Shell::Bash, "linli"),
        (Shell::Zsh, "_linli"),
        (Shell::Fish, "linli.fish"),
    ] {
        let mut file = fs::File::create(completions.join(name))?;
        clap_complete::generate(shell, &mut shown(linli(&without)), "linli", &mut file);
    }
    Ok(())
}

/// The gateway's commands but those.
fn linli(without: &[String]) -> Command {
    let mut command = Args::command();
    for name in without {
        if command.find_subcommand(name).is_some() {
            command = command.mut_subcommand(name, |sub| sub.hide(true));
        }
    }
    command
}

/// A page for the command, and one for each below it that is shown.
fn pages(command: Command, folder: &Path, source: &str) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    below(command, folder, source)
}

fn below(command: Command, folder: &Path, source: &str) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        below(sub.clone(), folder, source)?;
    }
    let page = Man::new(command).source(source).manual("Linli");
    page.generate_to(folder).map(drop)
}

/// The command without what is hidden: completions would offer it.
fn shown(command: Command) -> Command {
    let mut bare = Command::new("linli")
        .args(command.get_arguments().cloned())
        .disable_help_subcommand(true);
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        bare = bare.subcommand(sub.clone());
    }
    bare
}
