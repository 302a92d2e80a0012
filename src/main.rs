//! The `linli` command.

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    if let (Some("run"), Some(path)) = (args.next().as_deref(), args.next_back()) {
        return match linli::daemon::run(std::path::Path::new(&path)) {
            Ok(()) => std::process::ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("{e:#}");
                std::process::ExitCode::FAILURE
            }
        };
    }
    std::process::ExitCode::from(2)
}
