//! The shape of the code: which layer may use which, and that every test file is in the one test binary.

use std::fs;
use std::path::{Path, PathBuf};

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn assert_free_of(folder: &str, words: &[&str]) {
    let files = rust_files(&source().join(folder));
    assert!(!files.is_empty(), "src/{folder} is there");
    for file in files {
        let code = code(&file);
        for word in words {
            assert!(!code.contains(word), "{} says {word:?}, which src/{folder} may not", file.display());
        }
    }
}

#[test]
fn arrows_between_layers_go_one_way() {
    let up = |layers: &[&str]| layers.iter().map(|layer| format!("crate::{layer}")).collect::<Vec<_>>();
    for (folder, above) in [
        ("session", &["store", "projection", "engine", "host", "trajectory", "audit", "cli"][..]),
        ("store", &["projection", "engine", "host", "trajectory", "audit", "cli"][..]),
        ("projection", &["engine", "host", "trajectory", "audit", "cli"][..]),
        ("engine", &["host", "trajectory", "audit", "cli"][..]),
        ("host", &["store", "projection", "trajectory", "audit", "cli"][..]),
        ("trajectory", &["engine", "host", "audit", "cli"][..]),
        ("audit", &["host", "trajectory", "cli"][..]),
    ] {
        let above = up(above);
        assert_free_of(folder, &above.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn the_pure_core_knows_no_async_no_database_no_clock_and_no_chance() {
    assert_free_of(
        "session",
        &[
            "async ",
            ".await",
            "sqlx",
            "rusqlite",
            "tokio",
            "SystemTime",
            "Instant::now",
            "Utc::now",
            "now_v7",
            "new_v4",
            "getrandom",
            "std::fs",
        ],
    );
}

#[test]
fn the_time_is_read_in_one_file() {
    for file in rust_files(&source()) {
        if !file.ends_with("engine/clock.rs") {
            let code = code(&file);
            assert!(!code.contains("SystemTime::now") && !code.contains("Utc::now"), "{} reads the clock", file.display());
        }
    }
}

#[test]
fn every_test_file_is_in_the_test_binary() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = fs::read_to_string(tests.join("main.rs")).unwrap();
    for entry in fs::read_dir(&tests).unwrap().flatten() {
        let name = entry.path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(name == "main" || main.contains(&format!("mod {name};")), "tests/it/{name} is not in main.rs");
    }
}
