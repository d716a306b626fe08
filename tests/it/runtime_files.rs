//! What the agent can rely on when it reads, writes and edits files.

use std::os::unix::fs::{PermissionsExt, symlink};

use rekindle::host::runtime::local::Isolation;
use rekindle::session::observation::FileEdited;
use rekindle::session::{Extras, Observation};
use serde_json::json;

use super::runtime_support::{Local, isolations, local};

fn edited(observation: &Observation) -> &FileEdited {
    match &observation.extras {
        Extras::Edit(edited) => edited,
        other => panic!("not an edit: {other:?} {}", observation.content),
    }
}

async fn replace(local: &Local, path: &str, old: &str, new: &str) -> Observation {
    local.edit(json!({ "path": path, "command": "str_replace", "old_str": old, "new_str": new })).await
}

#[tokio::test]
async fn a_file_is_created_edited_and_restored_step_by_step() {
    let local = local(Isolation::Auto).await;
    let path = "/workspace/f.txt";
    let text = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n";
    let made = local.edit(json!({ "path": path, "command": "create", "file_text": text })).await;
    assert_eq!(made.content, "File created successfully at: /workspace/f.txt");
    assert!(!edited(&made).prev_exist);
    let again = local.edit(json!({ "path": path, "command": "create", "file_text": "x" })).await;
    assert_eq!(
        again.content,
        "ERROR:\nInvalid `path` parameter: /workspace/f.txt. File already exists at: /workspace/f.txt. Cannot overwrite files using command \
         `create`."
    );
    let changed = replace(&local, path, "6", "six\nsixth").await;
    assert_eq!(
        changed.content,
        "The file /workspace/f.txt has been edited. Here's the result of running `cat -n` on a snippet of /workspace/f.txt:\n     3\t3\n     \
         4\t4\n     5\t5\n     6\tsix\n     7\tsixth\n     8\t7\n     9\t8\n    10\t9\n    11\t10\n    12\t\nReview the changes and make sure they are as \
         expected. Edit the file again if necessary."
    );
    let extras = edited(&changed);
    assert_eq!(extras.diff.as_deref(), Some("--- /workspace/f.txt\n+++ /workspace/f.txt\n@@ -6 +6,2 @@\n-6\n+six\n+sixth"));
    assert_eq!((extras.old_content.as_deref(), extras.new_content.as_deref()), (Some("6"), Some("six\nsixth")));
    assert_eq!((extras.path.as_str(), extras.prev_exist, extras.impl_source.as_str()), (path, true, "oh_aci"));
    let inserted = local.edit(json!({ "path": path, "command": "insert", "insert_line": 0, "new_str": "zero" })).await;
    assert!(inserted.content.starts_with(
        "The file /workspace/f.txt has been edited. Here's the result of running `cat -n` on a snippet of the edited file:\n     1\tzero\n     2\t1\n"
    ));
    assert!(inserted.content.ends_with(
        "Review the changes and make sure they are as expected (correct indentation, no duplicate lines, etc). Edit the file again if necessary."
    ));
    let undone = local.edit(json!({ "path": path, "command": "undo_edit" })).await;
    assert!(undone.content.starts_with("Last edit to /workspace/f.txt undone successfully. Here's the result of running `cat -n` on /workspace/f.txt:\n     1\t1\n"));
    local.edit(json!({ "path": path, "command": "undo_edit" })).await;
    assert_eq!(local.file("f.txt"), text.as_bytes());
    local.edit(json!({ "path": path, "command": "undo_edit" })).await;
    let none = local.edit(json!({ "path": path, "command": "undo_edit" })).await;
    assert_eq!(none.content, "ERROR:\nNo edit history found for /workspace/f.txt.");
}

#[tokio::test]
async fn an_ambiguous_or_absent_text_is_not_replaced() {
    let local = local(Isolation::Auto).await;
    local.put("f", "a\nb a\nc\n");
    let many = replace(&local, "/workspace/f", "a", "x").await;
    assert_eq!(
        many.content,
        "ERROR:\nNo replacement was performed. Multiple occurrences of old_str `a` in lines [1, 2]. Please ensure it is unique."
    );
    let none = replace(&local, "/workspace/f", "zz", "x").await;
    assert_eq!(none.content, "ERROR:\nNo replacement was performed, old_str `zz` did not appear verbatim in /workspace/f.");
    assert_eq!(edited(&none).diff.as_deref(), Some(""));
    let same = replace(&local, "/workspace/f", "c", "c").await;
    assert_eq!(
        same.content,
        "ERROR:\nInvalid `new_str` parameter: c. No replacement was performed. `new_str` and `old_str` must be different."
    );
    let far = local.edit(json!({ "path": "/workspace/f", "command": "insert", "insert_line": 4, "new_str": "x" })).await;
    assert_eq!(
        far.content,
        "ERROR:\nInvalid `insert_line` parameter: 4. It should be within the range of allowed values: [0, 3]"
    );
    let gone = replace(&local, "/workspace/g", "a", "b").await;
    assert_eq!(
        gone.content,
        "ERROR:\nInvalid `path` parameter: /workspace/g. The path /workspace/g does not exist. Please provide a valid path."
    );
    assert_eq!(local.file("f"), b"a\nb a\nc\n");
}

#[tokio::test]
async fn a_view_numbers_lines_and_lists_directories() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok("mkdir -p a/b/c .git/x && touch a/f a/.h .hidden z && printf 'one\\ntwo\\nthree\\n' > a/b/t && ln -s a link && ln -s /etc out").await;
        let listed = local.read(json!({ "path": "/workspace", "impl_source": "oh_aci" })).await;
        assert_eq!(
            listed.content,
            "Here's the files and directories up to 2 levels deep in /workspace, excluding hidden items:\n/workspace/\n/workspace/a/\n\
             /workspace/a/b/\n/workspace/a/f\n/workspace/link/\n/workspace/link/b/\n/workspace/link/f\n/workspace/out\n/workspace/z\n\n2 \
             hidden files/directories in this directory are excluded. You can use 'ls -la /workspace' to see them."
        );
        let whole = local.read(json!({ "path": "/workspace/a/b/t", "impl_source": "oh_aci" })).await;
        assert_eq!(
            whole.content,
            "Here's the result of running `cat -n` on /workspace/a/b/t:\n     1\tone\n     2\ttwo\n     3\tthree\n     4\t\n"
        );
        let part = local.read(json!({ "path": "/workspace/a/b/t", "impl_source": "oh_aci", "view_range": [2, -1] })).await;
        assert_eq!(part.content, "Here's the result of running `cat -n` on /workspace/a/b/t:\n     2\ttwo\n     3\tthree\n");
        let wrong = local.read(json!({ "path": "/workspace/a/b/t", "impl_source": "oh_aci", "view_range": [2, 9] })).await;
        assert_eq!(
            wrong.content,
            "ERROR:\nInvalid `view_range` parameter: [2, 9]. Its second element `9` should be smaller than the number of lines in the file: `3`."
        );
    }
}

#[tokio::test]
async fn plain_reads_and_writes_take_lines() {
    let local = local(Isolation::Auto).await;
    local.ok("mkdir d; cd d").await;
    let written = local.write(json!({ "path": "sub/f", "content": "a\nb\nc" })).await;
    assert!(matches!(&written.extras, Extras::Write(written) if written.path == "/workspace/d/sub/f"), "{written:?}");
    assert_eq!(local.file("d/sub/f"), b"a\nb\nc\n");
    let read = local.read(json!({ "path": "sub/f", "start": 1, "end": 2 })).await;
    assert_eq!(read.content, "b\n");
    local.write(json!({ "path": "/workspace/d/sub/f", "content": "B1\nB2", "start": 1, "end": 2 })).await;
    assert_eq!(local.file("d/sub/f"), b"a\nB1\nB2\nc\n");
    let missing = local.read(json!({ "path": "nope" })).await;
    assert_eq!(missing.content, "File not found: /workspace/d/nope. Your current working directory is /workspace/d.");
    assert!(matches!(missing.extras, Extras::Error(_)));
    let directory = local.read(json!({ "path": "/workspace/d" })).await;
    assert_eq!(directory.content, "Path is a directory: /workspace/d. You can only read files");
}

#[tokio::test]
async fn line_ends_encoding_and_mode_survive_an_edit() {
    let local = local(Isolation::Auto).await;
    local.put("crlf", "one\r\ntwo\r\n");
    std::fs::set_permissions(local.workspace.join("crlf"), std::fs::Permissions::from_mode(0o750)).unwrap();
    replace(&local, "/workspace/crlf", "one\ntwo", "1\n2").await;
    assert_eq!(local.file("crlf"), b"1\r\n2\r\n");
    assert_eq!(std::fs::metadata(local.workspace.join("crlf")).unwrap().permissions().mode() & 0o777, 0o750);
    local.put("latin", b"caf\xe9\nx\n");
    replace(&local, "/workspace/latin", "x", "y").await;
    assert_eq!(local.file("latin"), b"caf\xe9\ny\n");
    local.put("open", "last");
    local.edit(json!({ "path": "/workspace/open", "command": "insert", "insert_line": 1, "new_str": "new" })).await;
    assert_eq!(local.file("open"), b"last\nnew\n");
    assert_eq!(local.ok("ls -A | sort | tr '\\n' ' '").await, "crlf latin open", "no temporary file is left");
}

#[tokio::test]
async fn what_is_no_text_is_not_edited() {
    let local = local(Isolation::Auto).await;
    local.put("b", b"\x7fELF\0\0");
    let edit = replace(&local, "/workspace/b", "E", "F").await;
    assert_eq!(
        edit.content,
        "ERROR:\nFile validation failed for /workspace/b: File appears to be binary and this file type cannot be read or edited by this tool."
    );
    assert_eq!(local.read(json!({ "path": "/workspace/b", "impl_source": "oh_aci" })).await.content, "ERROR_BINARY_FILE");
    assert_eq!(local.read(json!({ "path": "/workspace/b" })).await.content, "ERROR_BINARY_FILE");
    local.put("big", vec![b'x'; (10 << 20) + 1]);
    assert_eq!(
        replace(&local, "/workspace/big", "x", "y").await.content,
        "ERROR:\nFile validation failed for /workspace/big: File is too large (10.0MB). Maximum allowed size is 10MB."
    );
    local.ok("mkfifo p").await;
    assert!(local.read(json!({ "path": "/workspace/p" })).await.content.contains("cannot be read: not a regular file"));
    assert!(replace(&local, "/workspace/p", "x", "y").await.content.contains("not a regular file"));
}

#[tokio::test]
async fn nothing_outside_of_the_workspace_is_read_or_written() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    for isolation in isolations() {
        let local = local(isolation).await;
        symlink(&secret, local.workspace.join("link")).unwrap();
        symlink(outside.path(), local.workspace.join("dir")).unwrap();
        symlink("..", local.workspace.join("up")).unwrap();
        symlink("loop", local.workspace.join("loop")).unwrap();
        let secret = secret.to_str().unwrap();
        for path in [
            secret,
            "/workspace/link",
            "/workspace/dir/secret",
            "/workspace/up/x",
            "/workspace/../etc/passwd",
            "../x",
            "/workspace/loop",
            "/workspace",
        ] {
            let create = local.edit(json!({ "path": path, "command": "create", "file_text": "x" })).await;
            assert!(create.content.starts_with("ERROR:\n"), "{path}: {}", create.content);
            for refused in [local.write(json!({ "path": path, "content": "x" })).await, local.read(json!({ "path": path })).await]
            {
                assert!(matches!(refused.extras, Extras::Error(_)), "{path}: {refused:?}");
            }
        }
        let read = local.read(json!({ "path": secret, "impl_source": "oh_aci" })).await;
        assert_eq!(
            read.content,
            format!("You're not allowed to access this path: {secret}. You can only access paths inside the workspace.")
        );
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
        // Links that stay inside work, also those that name the workspace as the agent does.
        local.ok("echo in > real; ln -s /workspace/real absolute; ln -s real relative; mkdir d; ln -s ../real d/up").await;
        for path in ["absolute", "relative", "d/up"] {
            assert_eq!(local.read(json!({ "path": path })).await.content, "in\n", "{path}");
        }
        replace(&local, "/workspace/absolute", "in", "changed").await;
        assert_eq!(local.file("real"), b"changed\n");
        assert!(std::fs::symlink_metadata(local.workspace.join("absolute")).unwrap().is_symlink());
    }
}

#[tokio::test]
async fn an_edit_by_a_model_or_of_a_strange_command_is_refused() {
    let local = local(Isolation::Plain).await;
    local.put("f", "x");
    let model = local.edit(json!({ "path": "/workspace/f", "content": "y", "impl_source": "llm_based_edit" })).await;
    assert!(matches!(model.extras, Extras::Error(_)));
    let strange = local.edit(json!({ "path": "/workspace/f", "command": "shred" })).await;
    assert_eq!(
        strange.content,
        "ERROR:\nUnrecognized command shred. The allowed commands for the oh_editor tool are: view, create, str_replace, insert, undo_edit"
    );
    let missing = local.edit(json!({ "path": "/workspace/f", "command": "str_replace" })).await;
    assert_eq!(missing.content, "ERROR:\nParameter `old_str` is required for command: str_replace.");
}

#[tokio::test]
async fn a_link_that_comes_and_goes_leads_no_file_action_out() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("f"), "secret").unwrap();
    for isolation in isolations() {
        let local = local(isolation).await;
        local.ok("mkdir d; echo inside > d/f").await;
        symlink(outside.path(), local.workspace.join("link")).unwrap();
        let (directory, link) = (local.workspace.join("d"), local.workspace.join("link"));
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let swapping = std::thread::spawn(move || {
            let (flags, at) = (nix::fcntl::RenameFlags::RENAME_EXCHANGE, nix::fcntl::AT_FDCWD);
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                nix::fcntl::renameat2(at, &directory, at, &link, flags).unwrap();
            }
        });
        let mut refused = 0;
        for round in 0..200 {
            let file = format!("/workspace/d/new{round}/f");
            let told = [
                local.write(json!({ "path": file, "content": "x" })).await,
                local.edit(json!({ "path": format!("/workspace/d/made{round}"), "command": "create", "file_text": "x" })).await,
                replace(&local, "/workspace/d/f", "inside", "inside").await,
                local.read(json!({ "path": "/workspace/d/f" })).await,
                local.read(json!({ "path": "/workspace/d", "impl_source": "oh_aci" })).await,
            ];
            refused += told.iter().filter(|told| told.content.contains("not allowed to access")).count();
            assert!(told.iter().all(|told| !told.content.contains("secret")), "{told:?}");
        }
        drop(stop);
        swapping.join().unwrap();
        assert!(refused > 0, "the link was never there");
        let names: Vec<_> = std::fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["f"], "{isolation:?}");
        assert_eq!(std::fs::read(outside.path().join("f")).unwrap(), b"secret");
    }
}

#[tokio::test]
async fn a_workspace_that_was_deleted_is_named_and_not_made_again() {
    for isolation in isolations() {
        let local = local(isolation).await;
        local.put("f", "x");
        std::fs::remove_dir_all(&local.workspace).unwrap();
        let gone = format!("the workspace {} is gone", local.workspace.display());
        for told in [
            local.write(json!({ "path": "/workspace/a/f", "content": "x" })).await,
            local.read(json!({ "path": "/workspace/f" })).await,
            local.edit(json!({ "path": "/workspace/f", "command": "create", "file_text": "x" })).await,
        ] {
            assert!(told.content.contains(&gone), "{isolation:?}: {told:?}");
        }
        assert!(local.sh("echo alive").await.content.ends_with("alive"));
        assert!(!local.workspace.exists());
        local.runtime.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_others_may_not_read_stays_so() {
    let local = local(Isolation::Auto).await;
    local.ok("umask 077; echo a > f").await;
    replace(&local, "/workspace/f", "a", "b").await;
    assert_eq!(std::fs::metadata(local.workspace.join("f")).unwrap().permissions().mode() & 0o777, 0o600);
}
