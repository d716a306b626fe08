//! What git's own files hold, uncompressed: a secret that was committed is in no text of `.git`.

use flate2::{Decompress, FlushDecompress, Status};

/// The most that one object may become, in bytes.
const OBJECT_MAX: usize = 256 * 1024 * 1024;
/// How much is uncompressed at a time, in bytes.
const STEP: usize = 64 * 1024;

/// An object that cannot be read, so that nobody can say what it holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opaque;

/// A part of what a file of git holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A text of its own.
    Whole(&'a [u8]),
    /// What was put between parts of another one.
    Between(&'a [u8]),
}

/// Calls `look` with all that the file at `path`, below `.git`, holds in compressed form.
pub(super) fn parts(path: &[u8], bytes: &[u8], look: &mut impl FnMut(Part<'_>)) -> Result<(), Opaque> {
    let Some(at) = path.windows(9).rposition(|part| part == b"/objects/") else {
        return Ok(());
    };
    let below = path.get(at + 9..).unwrap_or_default();
    if below.ends_with(b".pack") {
        return pack(bytes, look);
    }
    let is_loose = below.len() > 3 && below.get(2) == Some(&b'/') && below.iter().all(|c| c.is_ascii_hexdigit() || *c == b'/');
    if is_loose {
        let (object, _) = inflate(bytes)?;
        look(Part::Whole(&object));
    }
    Ok(())
}

/// The objects of a pack, one after the other.
fn pack(bytes: &[u8], look: &mut impl FnMut(Part<'_>)) -> Result<(), Opaque> {
    let count = match bytes {
        [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
        _ => return Err(Opaque),
    };
    let mut rest = bytes.get(12..).ok_or(Opaque)?;
    for _ in 0..count {
        let (kind, mut more) = next(&mut rest).map(|byte| (byte >> 4 & 7, byte & 0x80 != 0))?;
        while more {
            more = next(&mut rest)? & 0x80 != 0;
        }
        match kind {
            1..=4 => {}
            // Where the object is that it changes.
            6 => while next(&mut rest)? & 0x80 != 0 {},
            7 => rest = rest.get(20..).ok_or(Opaque)?,
            _ => return Err(Opaque),
        }
        let (object, used) = inflate(rest)?;
        rest = rest.get(used..).ok_or(Opaque)?;
        if matches!(kind, 6 | 7) { delta(&object, look)? } else { look(Part::Whole(&object)) }
    }
    Ok(())
}

/// What a delta puts between what it takes over.
fn delta(mut rest: &[u8], look: &mut impl FnMut(Part<'_>)) -> Result<(), Opaque> {
    for _length in ["before", "after"] {
        while next(&mut rest)? & 0x80 != 0 {}
    }
    let mut put = Vec::new();
    while !rest.is_empty() {
        let order = next(&mut rest)?;
        if order & 0x80 == 0 {
            let (part, after) = rest.split_at_checked(usize::from(order)).ok_or(Opaque)?;
            put.extend_from_slice(part);
            rest = after;
        } else {
            rest = rest.get((order & 0x7f).count_ones() as usize..).ok_or(Opaque)?;
            look(Part::Between(&put));
            put.clear();
        }
    }
    look(Part::Between(&put));
    Ok(())
}

fn next(rest: &mut &[u8]) -> Result<u8, Opaque> {
    let (first, after) = rest.split_first().ok_or(Opaque)?;
    *rest = after;
    Ok(*first)
}

/// What the bytes begin with, uncompressed, and how many of them that was.
fn inflate(bytes: &[u8]) -> Result<(Vec<u8>, usize), Opaque> {
    let mut state = Decompress::new(true);
    let mut object = Vec::new();
    loop {
        let used = usize::try_from(state.total_in()).map_err(|_| Opaque)?;
        let (before_in, before_out) = (state.total_in(), state.total_out());
        object.reserve(STEP);
        let rest = bytes.get(used..).ok_or(Opaque)?;
        let status = state.decompress_vec(rest, &mut object, FlushDecompress::None).map_err(|_| Opaque)?;
        if status == Status::StreamEnd {
            return Ok((object, usize::try_from(state.total_in()).map_err(|_| Opaque)?));
        }
        let stands = state.total_in() == before_in && state.total_out() == before_out;
        if stands || object.len() > OBJECT_MAX {
            return Err(Opaque);
        }
    }
}
