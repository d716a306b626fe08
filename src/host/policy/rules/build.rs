//! Programs that build, test and install.

use super::options::Options;
use crate::host::policy::shell::{Call, Does, Shell};

/// Programs that build, test, check or format the project that they are run in. They run the project's own code, as a person who
/// works on it does all day.
const PROJECT: &[&str] = &[
    "make",
    "gmake",
    "cmake",
    "ninja",
    "meson",
    "bazel",
    "buck",
    "gradle",
    "gradlew",
    "mvn",
    "mvnw",
    "ant",
    "sbt",
    "rake",
    "just",
    "task",
    "tox",
    "nox",
    "pytest",
    "py.test",
    "mypy",
    "ruff",
    "black",
    "isort",
    "flake8",
    "pylint",
    "pyright",
    "coverage",
    "rustc",
    "rustfmt",
    "cargo-clippy",
    "clippy-driver",
    "gcc",
    "g++",
    "cc",
    "c++",
    "clang",
    "clang++",
    "clang-format",
    "clang-tidy",
    "ld",
    "as",
    "ar",
    "ranlib",
    "strip",
    "javac",
    "java",
    "kotlinc",
    "scalac",
    "ghc",
    "stack",
    "cabal",
    "tsc",
    "eslint",
    "prettier",
    "jest",
    "vitest",
    "mocha",
    "webpack",
    "vite",
    "rollup",
    "esbuild",
    "gofmt",
    "golangci-lint",
    "staticcheck",
    "rspec",
    "rubocop",
    "phpunit",
    "ctest",
    "valgrind",
    "shellcheck",
    "shfmt",
    "protoc",
    "sphinx-build",
    "mkdocs",
    "pre-commit",
    "hyperfine",
];

/// Programs of this family.
pub(in crate::host::policy) fn judge(shell: &mut Shell<'_>, call: &Call<'_>) -> Option<Does> {
    let options = Options::of(call.args, "Cj");
    let command = options.subcommand();
    let version_free = call.name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
    let does = Does { shows: true, ..Does::default() };
    let is_project = PROJECT.contains(&call.name) || PROJECT.contains(&version_free.trim_end_matches('-'));
    if is_project {
        project(shell, call);
        return Some(does);
    }
    let installs = match (call.name, version_free, command) {
        ("cargo", _, "install" | "uninstall" | "publish" | "yank" | "login" | "add" | "update" | "fetch" | "search") => true,
        ("cargo", ..) => false,
        ("go", _, "get" | "install" | "mod") => true,
        ("go", ..) => false,
        (_, "pip" | "pipx" | "uv" | "conda" | "mamba" | "poetry" | "pdm" | "easy_install", command) => {
            !matches!(command, "list" | "show" | "freeze" | "check" | "--version" | "info" | "env" | "" | "config" | "run")
        }
        ("npm" | "pnpm" | "yarn" | "bun", _, command) => {
            let runs_project = matches!(
                command,
                "test" | "run" | "run-script" | "start" | "ls" | "list" | "t" | "build" | "lint" | "why" | "pack" | "--version"
            );
            !runs_project
        }
        (
            "gem" | "bundle" | "bundler" | "composer" | "mix" | "nuget" | "dotnet" | "swift" | "opam" | "cpan" | "cpanm"
            | "luarocks",
            _,
            command,
        ) => !matches!(command, "exec" | "test" | "build" | "run" | "list" | "format" | "compile" | "check" | "restore"),
        (
            "apt" | "apt-get" | "aptitude" | "dpkg" | "yum" | "dnf" | "rpm" | "apk" | "pacman" | "zypper" | "brew" | "snap"
            | "flatpak" | "port" | "emerge" | "nix" | "nix-env" | "nix-shell" | "nix-build" | "rustup" | "nvm" | "pyenv" | "asdf"
            | "sdk",
            _,
            command,
        ) => {
            let reads = matches!(command, "list" | "show" | "search" | "info" | "policy" | "which" | "--version")
                || call
                    .args
                    .first()
                    .is_some_and(|arg| matches!(arg.text.as_str(), "-l" | "-L" | "-s" | "-S" | "-q" | "-qa" | "-ql"));
            if matches!(command, "remove" | "purge" | "autoremove" | "uninstall" | "erase" | "del") {
                shell.findings.high("system.remove", call.text, "removes programs from the machine");
                return Some(does);
            }
            !reads
        }
        ("npx" | "pnpx" | "bunx" | "uvx" | "dlx", ..) => {
            let local = PROJECT.contains(&command) && !options.has('y', "yes");
            if !local {
                shell.findings.medium("code.fetched", call.text, "fetches a program and runs it");
            }
            return Some(Does { runs_words: true, ..does });
        }
        _ => return None,
    };
    if installs {
        let publishes = matches!(command, "publish" | "push" | "yank" | "deploy" | "upload" | "unpublish" | "login");
        if publishes {
            shell.findings.high("send.publish", call.text, "publishes to everybody");
        } else {
            shell.findings.medium("install", call.text, "installs what others wrote, which runs on its own");
        }
    } else if matches!(call.name, "poetry" | "uv" | "pdm" | "bundle" | "conda") && matches!(command, "run" | "exec") {
        let inner: Vec<_> = call.args.iter().skip_while(|arg| arg.text != command).skip(1).cloned().collect();
        return Some(shell.argv(inner, None, call.text));
    }
    Some(does)
}

/// What a build is told may be more than to build.
fn project(shell: &mut Shell<'_>, call: &Call<'_>) {
    let sets_shell = call.args.iter().any(|arg| arg.text.starts_with("SHELL=") || arg.text.starts_with("--eval"));
    let is_install = matches!(call.name, "make" | "gmake" | "ninja" | "cmake")
        && call.args.iter().any(|arg| matches!(arg.text.as_str(), "install" | "uninstall" | "--install"));
    if sets_shell {
        shell.findings.medium("code.inline", call.text, "runs code from an argument");
    }
    if is_install {
        shell.findings.medium("install", call.text, "installs what was built");
    }
    let outputs = Options::of(call.args, "oIlLDfWC").values(Some('o'), "");
    if matches!(call.name, "gcc" | "g++" | "cc" | "c++" | "clang" | "clang++" | "rustc" | "ld" | "as") {
        outputs.iter().for_each(|output| super::files::writes(shell, output, call.text));
    }
}
