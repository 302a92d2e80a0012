//! The gateway's binary: see [`linli::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    linli::cli::main()
}
