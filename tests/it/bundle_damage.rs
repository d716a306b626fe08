//! What can be done to a bundle, by accident or by somebody who knows how one is written.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rekindle::audit::SignerKey;
use rekindle::audit::bundle::{BlobRecord, Record};
use rekindle::session::{Digest, EventId, Kind, Seq, SessionId, Source, Timestamp};
use rekindle::store::chain::digest;

use crate::bundle_support::{Chance, event_at, events, lines, rehash, sealed, sealed_records, signed};

/// A bundle to which something was done.
pub struct Damaged {
    pub how: &'static str,
    pub bytes: Vec<u8>,
    /// Whether it can be found, and so must be.
    pub shows: bool,
}

/// What is damaged.
pub struct Good<'a> {
    pub bytes: &'a [u8],
    pub records: Vec<Record>,
    /// Another one, of another session.
    pub other: Vec<Record>,
    /// Who signed it, if anybody did.
    pub key: Option<&'a SignerKey>,
    /// Whether only that one's signatures count.
    pub pinned: bool,
}

type Doing = fn(&Good<'_>, &mut Chance) -> Option<(Vec<u8>, bool)>;

/// Everything that is done, by name.
pub const DOINGS: [(&str, Doing); 28] = [
    ("a bit is flipped", flip),
    ("it is cut off", cut),
    ("a line is cut off its end", cut_end),
    ("something is behind the end", behind),
    ("an event's body is edited", edit),
    ("an event's envelope is edited", envelope),
    ("another salt", salt),
    ("a body is made up where one was redacted", unredact),
    ("a body is taken out with a right digest", redact),
    ("an event is put in twice", insert),
    ("an event is made up", make_up),
    ("an event is left out", delete),
    ("two events change places", swap),
    ("an event of another session", foreign_event),
    ("the header of another session", foreign_header),
    ("another head", head),
    ("hashes are computed anew, the head is not", stale_head),
    ("all is computed anew", rewrite),
    ("the proofs are taken out", unsign),
    ("another key signs", other_key),
    ("a proof is edited", proof),
    ("an ancestor is edited", ancestor),
    ("content is edited", blob),
    ("content is left out", no_blob),
    ("content that nobody asked for", extra_blob),
    ("a line is written in another way", form),
    ("a text that is hard to read is put in", hard_text),
    ("a checkpoint is written in another way", checkpoint),
];

/// Does it, where it can be done to this one.
pub fn damaged(good: &Good<'_>, doing: usize, chance: &mut Chance) -> Option<Damaged> {
    let (how, doing) = DOINGS[doing];
    let (bytes, shows) = doing(good, chance)?;
    (bytes != good.bytes).then_some(Damaged { how, bytes, shows })
}

/// What somebody else wrote who knows the format: the last line fits.
fn forged(records: &[Record]) -> Option<(Vec<u8>, bool)> {
    Some((sealed_records(records), true))
}

/// One of the events, its place among the lines, and which it is.
fn one(records: &[Record], chance: &mut Chance) -> (usize, usize) {
    let events = events(records);
    let nth = chance.below(events.len());
    (events[nth], nth)
}

fn flip(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut bytes = good.bytes.to_vec();
    let at = chance.below(bytes.len());
    bytes[at] ^= 1 << chance.below(8);
    Some((bytes, true))
}

fn cut(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    Some((good.bytes[..chance.below(good.bytes.len())].to_vec(), true))
}

fn cut_end(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut lines = lines(good.bytes);
    for _ in 0..1 + chance.below(2) {
        lines.pop();
    }
    let mut bytes = lines.join(&b'\n');
    bytes.push(b'\n');
    Some((bytes, true))
}

fn behind(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut bytes = good.bytes.to_vec();
    let lines = lines(good.bytes);
    let more: [&[u8]; 4] = [b"\n", b"more", b"{}\n", chance.of(&lines).as_slice()];
    let chosen: &[u8] = chance.of::<&[u8]>(&more);
    bytes.extend_from_slice(chosen);
    Some((bytes, true))
}

fn edit(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, _) = one(&records, chance);
    let body = event_at(&mut records, at).body.as_mut()?;
    match chance.below(3) {
        0 => body.push(' '),
        1 => *body = r#"{"what":"something else"}"#.to_owned(),
        _ => body.insert(0, '\n'),
    }
    forged(&records)
}

fn envelope(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, _) = one(&records, chance);
    let event = event_at(&mut records, at);
    match chance.below(9) {
        0 => event.session = SessionId::from_uuid(chance.uuid()),
        1 => event.seq = Seq(chance.next() >> 40),
        2 => event.id = EventId::from_uuid(chance.uuid()),
        3 => event.kind = Kind::new(*chance.of(&["observation.run", "session.closed", "action.run", ""])),
        4 => event.v = event.v.wrapping_add(1),
        5 => event.at = Timestamp(event.at.0.wrapping_add(1)),
        6 => event.source = if event.source == Source::Agent { Source::User } else { Source::Agent },
        7 => event.cause = if event.cause.is_some() { None } else { Some(Seq(0)) },
        _ => event.must_understand = !event.must_understand,
    }
    forged(&records)
}

fn salt(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, _) = one(&records, chance);
    *event_at(&mut records, at).salt.as_mut()? = chance.bytes();
    forged(&records)
}

fn unredact(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let redacted = events(&records).into_iter().find(|at| event_at(&mut records.clone(), *at).digest.is_some())?;
    let event = event_at(&mut records, redacted);
    (event.body, event.salt, event.digest) = (Some("{}".to_owned()), Some(chance.bytes()), None);
    forged(&records)
}

/// What a redaction does, so that nobody can tell the two apart; but content that only this body asked for is left over.
fn redact(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, _) = one(&records, chance);
    let event = event_at(&mut records, at);
    event.digest = Some(digest(&event.salt.take()?, &event.body.take()?));
    Some((sealed_records(&records), false))
}

fn insert(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, _) = one(&records, chance);
    let (to, _) = one(&records, chance);
    records.insert(to, records[at].clone());
    forged(&records)
}

/// As one that was appended, and the later ones as appended behind it.
fn make_up(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, nth) = one(&records, chance);
    let mut event = event_at(&mut records, at).clone();
    event.id = EventId::from_uuid(chance.uuid());
    records.insert(at, Record::Event(Box::new(event)));
    for at in events(&records).into_iter().skip(nth + 1) {
        let event = event_at(&mut records, at);
        event.seq = event.seq.next();
    }
    rehash(&mut records, nth);
    forged(&records)
}

fn delete(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, _) = one(&records, chance);
    records.remove(at);
    forged(&records)
}

fn swap(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let ((a, _), (b, _)) = (one(&records, chance), one(&records, chance));
    records.swap(a, b);
    forged(&records)
}

fn foreign_event(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, nth) = one(&records, chance);
    records[at] = good.other[*events(&good.other).get(nth)?].clone();
    forged(&records)
}

fn foreign_header(good: &Good<'_>, _: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    records[0] = good.other[0].clone();
    forged(&records)
}

fn head(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let Record::Header(header) = &mut records[0] else { unreachable!() };
    match chance.below(5) {
        0 => header.hash = Digest(chance.bytes()),
        1 => header.head = Seq(header.head.0 - 1),
        2 => (header.head, header.of) = (header.head.next(), header.of.next()),
        3 => (header.head, header.of) = (Seq(i64::MAX as u64), Seq(i64::MAX as u64)),
        _ => header.session = SessionId::from_uuid(chance.uuid()),
    }
    forged(&records)
}

fn stale_head(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, nth) = one(&records, chance);
    event_at(&mut records, at).id = EventId::from_uuid(chance.uuid());
    rehash(&mut records, nth);
    forged(&records)
}

/// Whoever computes all of it anew is found by nothing but a signature.
fn rewrite(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, nth) = one(&records, chance);
    event_at(&mut records, at).id = EventId::from_uuid(chance.uuid());
    let last = rehash(&mut records, nth);
    let hashes: Vec<(Seq, Digest)> = records
        .iter()
        .filter_map(|record| if let Record::Event(event) = record { Some((event.seq, event.hash)) } else { None })
        .collect();
    for record in &mut records {
        match record {
            Record::Header(header) => header.hash = last,
            Record::Ancestor(ancestor) => ancestor.hash = hashes.iter().find(|(seq, _)| *seq == ancestor.upto)?.1,
            _ => {}
        }
    }
    Some((sealed_records(&records), good.key.is_some()))
}

fn unsign(good: &Good<'_>, _: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let unsigned: Vec<Record> =
        good.records.iter().filter(|record| !matches!(record, Record::Key(_) | Record::Proof(_))).cloned().collect();
    Some((sealed_records(&unsigned), good.pinned))
}

/// Of the same name.
fn other_key(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let key = SignerKey::from_seed(good.key?.verifier().name(), chance.bytes()).unwrap();
    let mut records = signed(chance, &good.records, &key);
    if chance.one_in(2) {
        records.retain(|record| !matches!(record, Record::Key(_)));
        let at = records.iter().position(|record| matches!(record, Record::Proof(_)))?;
        records.insert(at, good.records.iter().find(|record| matches!(record, Record::Key(_)))?.clone());
        return forged(&records);
    }
    Some((sealed_records(&records), good.pinned))
}

fn proof(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let record = records.iter_mut().find_map(|record| match record {
        Record::Proof(proof) => Some(proof),
        _ => None,
    })?;
    match chance.below(6) {
        0 => record.index += 1 + (chance.next() >> 60),
        1 => record.seq = Seq(record.seq.0 + 1),
        2 => record.path.push(Digest(chance.bytes())),
        3 => *record.path.first_mut()? = Digest(chance.bytes()),
        4 => record.checkpoint = record.checkpoint.replacen('\n', "\n1", 1),
        _ => record.checkpoint.insert(chance.below(4), 'x'),
    }
    forged(&records)
}

fn ancestor(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let Record::Ancestor(ancestor) = records.get_mut(1)? else { return None };
    match chance.below(5) {
        0 => ancestor.hash = Digest(chance.bytes()),
        1 => ancestor.upto = Seq(ancestor.upto.0 - 1),
        2 => ancestor.upto = ancestor.upto.next(),
        3 => ancestor.session = SessionId::from_uuid(chance.uuid()),
        _ => drop(records.remove(1)),
    }
    forged(&records)
}

fn a_blob<'a>(records: &'a mut [Record], chance: &mut Chance) -> Option<(usize, &'a mut BlobRecord)> {
    let blobs: Vec<_> = (0..records.len()).filter(|at| matches!(records[*at], Record::Blob(_))).collect();
    let at = *blobs.get(chance.below(blobs.len().max(1)))?;
    match &mut records[at] {
        Record::Blob(blob) => Some((at, blob)),
        _ => None,
    }
}

fn blob(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (_, blob) = a_blob(&mut records, chance)?;
    match chance.below(4) {
        0 => blob.content = BASE64_STANDARD.encode(chance.bytes::<20>()),
        1 => blob.digest = Digest(chance.bytes()),
        2 => blob.content.push('='),
        _ => blob.content.insert(0, ' '),
    }
    forged(&records)
}

fn no_blob(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let (at, _) = a_blob(&mut records, chance)?;
    records.remove(at);
    forged(&records)
}

fn extra_blob(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut records = good.records.clone();
    let bytes = chance.bytes::<20>();
    let mut extra = BlobRecord { digest: Digest::of(&bytes), content: BASE64_STANDARD.encode(bytes) };
    if let Some((_, blob)) = a_blob(&mut records, chance).filter(|_| chance.one_in(2)) {
        extra = blob.clone();
    }
    let last = *events(&records).last()?;
    records.insert(last + 1, Record::Blob(extra));
    forged(&records)
}

/// What other readers of JSON may take for the same, or for something else.
fn form(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    let mut lines = lines(good.bytes);
    let at = chance.below(lines.len() - 1);
    let text = String::from_utf8(lines[at].clone()).unwrap();
    let (open, rest) = text.split_once(":{")?;
    let written = match chance.below(9) {
        0 => format!("{open}: {{{rest}"),
        1 => format!("{text} "),
        2 => format!("\u{feff}{text}"),
        3 => format!("{open}:{{\"later\":1,{rest}"),
        4 => format!("{open}:{{{rest}").replacen("}}", ",\"later\":null}}", 1),
        5 => text.replacen("\":\"", "\":\"\\u0041", 1),
        6 => text.replacen("\"seq\":", "\"seq\":0,\"seq\":", 1),
        7 => text.replacen("\"seq\":", "\"seq\":-", 1),
        _ => String::new(),
    };
    lines[at] = written.into_bytes();
    Some((sealed(&lines), true))
}

/// What readers of JSON, of numbers and of texts take in different ways; it may land where nothing covers it.
fn hard_text(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    const TEXTS: [&str; 16] = [
        "\"",
        "\\",
        "\\ud800",
        "\\u001F",
        "\\/",
        "0",
        "-",
        "9223372036854775808",
        "18446744073709551616",
        "e5",
        ".0",
        " ",
        "\u{7f}",
        "\u{feff}",
        "=",
        "A",
    ];
    let mut bytes = good.bytes.to_vec();
    let at = chance.below(bytes.len());
    let text = chance.of::<&str>(&TEXTS).bytes();
    bytes.splice(at..at + chance.below(2), text);
    Some((sealed(&lines(&bytes)), false))
}

/// As notes may be, and as they may not.
fn checkpoint(good: &Good<'_>, chance: &mut Chance) -> Option<(Vec<u8>, bool)> {
    const TEXTS: [&str; 10] =
        ["\n", "— ", " ", "0", "\u{1}", "\u{85}", "=", "— a AAAAAAA=\n", "— a AAAAAA==\n", "— log.example/one AAAAAAA=\n"];
    let mut records = good.records.clone();
    let record = records.iter_mut().find_map(|record| match record {
        Record::Proof(proof) => Some(proof),
        _ => None,
    })?;
    let places: Vec<usize> = record.checkpoint.char_indices().map(|(at, _)| at).collect();
    let at = if chance.one_in(2) { record.checkpoint.len() } else { *chance.of(&places) };
    record.checkpoint.insert_str(at, chance.of::<&str>(&TEXTS));
    Some((sealed_records(&records), false))
}
