//! `rekindle files`: what a session's workspace held, as the log says; one file of it, or all of it written out again.

use std::path::PathBuf;
use std::sync::Arc;

use clap_complete::ArgValueCompleter;
use serde::Serialize;

use super::Context;
use super::address::{Address, find};
use super::complete::sessions;
use super::exit::{CliError, Exit};
use super::location;
use super::output::{Cell, JsonList, Side, table};
use super::paint::Tone;
use super::text::{bytes, count, one_line};
use crate::engine::EngineError;
use crate::engine::ports::{Contents, Listing, RestoredFiles, Workspaces};
use crate::engine::snapshots::{Kept, listing, snapshot_at};
use crate::host::snapshots::LocalWorkspaces;
use crate::session::workspace::{LeftOutWhy, Node, PathText};

/// Show the files of a session's workspace as they were, print one, or write all out again
///
/// S@N is the newest snapshot at or before event N. Snapshots are taken before an agent begins and at the end of each of its turns.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The session; S@N for its files as they were at event N
    #[arg(value_name = "S[@N]", default_value = "@last", add = ArgValueCompleter::new(sessions))]
    address: Address,
    /// A file to print, or a directory to list, from the workspace on
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// Write all files into this directory, which must be new or empty
    #[arg(long, value_name = "DIR", conflicts_with = "path")]
    to: Option<PathBuf>,
}

/// A line of `files -o json`.
#[derive(Serialize)]
struct FileView<'a> {
    path: PathText,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    node: Option<&'a Node>,
    /// Why it is not in the snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOutWhy>,
}

/// Shows files, or writes them out.
///
/// # Errors
/// When there is no such session, event, snapshot or file, or something cannot be read or written.
pub async fn run(context: &mut Context, args: Args) -> Result<Exit, CliError> {
    let store = context.store().await?;
    let row = find(context, store.as_ref(), &args.address.session).await?;
    let at = args.address.at(&row)?;
    let Some(last) = snapshot_at(store.as_ref(), row.id, at).await? else {
        return Err(CliError::NotFound(format!("session {} has no snapshot of its workspace at or before event {at}", row.id)));
    };
    let contents = Kept::new(store, row.id);
    let all = listing(&contents, last.manifest).await.map_err(EngineError::from)?;
    if let Some(directory) = args.to {
        let directory = location::absolute(&directory)?;
        let restored = LocalWorkspaces.restore(&all, Arc::new(contents), &directory).await.map_err(EngineError::from)?;
        let RestoredFiles { files, bytes } = restored;
        let said = format!("{} of {} as at event {} are in {}", count(files, "file"), row.id, last.at, directory.display());
        context.note(format_args!("{said} ({})", super::text::bytes(bytes)));
        return Ok(Exit::Done);
    }
    let below = args.path.as_deref().map(inside).unwrap_or_default();
    match all.entries.get(&below) {
        Some(Node::File { content, .. }) => {
            let text = contents.content(*content).await.map_err(EngineError::from)?;
            context.out.raw(&text)?;
            return Ok(Exit::Done);
        }
        Some(Node::Link { target }) => {
            context.out.line(format_args!("-> {}", one_line(&target.lossy())))?;
            return Ok(Exit::Done);
        }
        Some(Node::Directory { .. }) => {}
        None if below.is_empty() => {}
        None => {
            let path = String::from_utf8_lossy(&below).into_owned();
            let left_out = all.left_out.iter().find(|left| left.path.lossy() == path);
            let why = left_out.map_or_else(String::new, |left| format!(": it was left out ({})", left.why));
            let said = format!("the snapshot at event {} has no {}{why}", last.at, one_line(&path));
            return Err(CliError::NotFound(said));
        }
    }
    print(context, &all, &below)?;
    Ok(Exit::Done)
}

fn print(context: &mut Context, all: &Listing, below: &[u8]) -> Result<(), CliError> {
    let is_below = |path: &[u8]| below.is_empty() || (path.starts_with(below) && path.get(below.len()) == Some(&b'/'));
    let has_more = |path: &[u8]| {
        let mut start = path.to_vec();
        start.push(b'/');
        all.entries.range(start.clone()..).next().is_some_and(|(next, _)| next.starts_with(&start))
    };
    let is_shown = |path: &[u8], node: &Node| is_below(path) && !(matches!(node, Node::Directory { .. }) && has_more(path));
    let entries = all.entries.iter().filter(|(path, node)| is_shown(path, node));
    let left_out = all.left_out.iter().filter(|left| left.path.bytes().is_some_and(|path| is_below(&path)));
    if !context.out.is_table() {
        let mut list = JsonList::begin(&mut context.out)?;
        for (path, node) in entries {
            list.push(&mut context.out, &FileView { path: PathText::new(path), node: Some(node), left_out: None })?;
        }
        for left in left_out {
            list.push(&mut context.out, &FileView { path: left.path.clone(), node: None, left_out: Some(left.why) })?;
        }
        list.end(&mut context.out)?;
        return Ok(());
    }
    let mut rows = Vec::new();
    for (path, node) in entries {
        let path = String::from_utf8_lossy(path);
        let path = one_line(&path);
        rows.push(match node {
            Node::File { size, executable, content } => {
                vec![
                    Cell::new(if *executable { "program" } else { "file" }),
                    Cell::new(bytes(*size)),
                    Cell::new(content.short()).tone(Tone::Dim),
                    Cell::new(path),
                ]
            }
            Node::Link { target } => {
                let path = format!("{path} -> {}", one_line(&target.lossy()));
                vec![Cell::new("link"), Cell::new(""), Cell::new(""), Cell::new(path)]
            }
            Node::Directory { .. } => vec![Cell::new("empty"), Cell::new(""), Cell::new(""), Cell::new(format!("{path}/"))],
        });
    }
    for left in left_out {
        let path = left.path.lossy();
        let path = Cell::new(one_line(&path)).tone(Tone::Dim);
        rows.push(vec![Cell::new("left out").tone(Tone::Warn), Cell::new(""), Cell::new(left.why.as_str()), path]);
    }
    let columns = [("KIND", Side::Left), ("SIZE", Side::Right), ("CONTENT", Side::Left), ("PATH", Side::Left)];
    table(&mut context.out, &columns, &rows)?;
    if all.left_out_more > 0 {
        context.note(format_args!("{} more were left out", all.left_out_more));
    }
    Ok(())
}

/// A path from the workspace on, however it is said.
fn inside(path: &std::path::Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Component;
    let path = path.strip_prefix(crate::engine::ports::WORKSPACE).unwrap_or(path);
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.as_bytes()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join(&b'/')
}
