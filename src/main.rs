//! The `rekindle` program.

use std::process::ExitCode;

#[cfg(feature = "cli")]
fn main() -> ExitCode {
    use clap::{CommandFactory, Parser};
    use rekindle::cli::{Cli, Traces, exit, run};
    use tracing_subscriber::EnvFilter;

    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("REKINDLE_LOG").unwrap_or_else(|_| EnvFilter::new(cli.trace_filter()));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(Traces::default()).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(run(cli));
    // What still runs in the background must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            if !error.is_silent() {
                eprintln!("error: {}", exit::told(&error));
            }
            error.exit().into()
        }
    }
}

#[cfg(not(feature = "cli"))]
fn main() -> ExitCode {
    eprintln!("error: built without the feature `cli`");
    ExitCode::FAILURE
}
