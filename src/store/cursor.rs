//! A place in the feed of all sessions, and its text form: what a consumer keeps so that it can go on exactly there.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::Shard;
use crate::session::Digest;

/// What a cursor's text begins with: the version of its form. The first form does not say of which store it is.
const PREFIX: &str = "c1-";
/// The same for one that does.
const PREFIX_MARKED: &str = "c2-";
/// The digits of its text, five bits each.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Bytes at the end that tell a whole text from one that was cut or mistyped.
const CHECK_BYTES: usize = 2;

/// Tells stores apart: made of when a store was made, so that its dumps and backups have it too, and copies into others do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreMark([u8; 4]);

impl StoreMark {
    /// The mark of the store that was made then.
    pub(crate) fn of(born: &[u8]) -> Self {
        let [a, b, c, d, ..] = Digest::of(born).0;
        Self([a, b, c, d])
    }
}

/// A place in the feed of all sessions: how far each shard was read. Opaque: only a store makes and reads one.
///
/// Its text form is short, survives a dump and a restore of the store, and is what to keep between runs.
#[derive(Debug, Clone, Default)]
pub struct FeedCursor {
    /// Of which store, once one has been read with it; the beginning is that of any.
    store: Option<StoreMark>,
    /// Only shards that were read at all, so that two equal places are equal cursors.
    places: BTreeMap<Shard, u64>,
}

/// Whether the place is the same. The beginning of a store is the beginning, whether that store is known or not.
impl PartialEq for FeedCursor {
    fn eq(&self, other: &Self) -> bool {
        self.places == other.places
    }
}

impl Eq for FeedCursor {}

impl FeedCursor {
    /// How far `shard` was read; 0 before its first event.
    pub(crate) fn position(&self, shard: Shard) -> u64 {
        self.places.get(&shard).copied().unwrap_or(0)
    }

    /// Whether it may be a place of the store with `mark`.
    pub(crate) fn is_of(&self, mark: StoreMark) -> bool {
        self.store.is_none_or(|store| store == mark)
    }

    /// Says of which store it is.
    pub(crate) const fn mark(&mut self, mark: StoreMark) {
        self.store = Some(mark);
    }

    /// Says that it is of the store that `other` is of.
    pub(crate) const fn mark_as(&mut self, other: &Self) {
        self.store = other.store;
    }

    /// Says that `shard` was read up to and with `position`.
    pub(crate) fn advance(&mut self, shard: Shard, position: u64) {
        if position > 0 && shard >= 0 {
            self.places.insert(shard, position);
        }
    }

    /// The shards that were read, and how far.
    pub(crate) fn positions(&self) -> impl Iterator<Item = (Shard, u64)> + '_ {
        self.places.iter().map(|(shard, position)| (*shard, *position))
    }

    /// The place `count` positions earlier in each shard.
    #[must_use]
    pub fn back(&self, count: u64) -> Self {
        let mut earlier = Self { store: self.store, places: BTreeMap::new() };
        for (shard, position) in self.positions() {
            earlier.advance(shard, position.saturating_sub(count));
        }
        earlier
    }

    /// Whether whoever has read up to here has read all that `other` has.
    pub fn covers(&self, other: &Self) -> bool {
        self.ahead(other).is_none()
    }

    /// How many positions lie between this place and the later place `head`.
    pub fn behind(&self, head: &Self) -> u64 {
        head.positions().map(|(shard, end)| end.saturating_sub(self.position(shard))).sum()
    }

    /// The first shard where `other` is further than this, and where.
    pub(crate) fn ahead(&self, other: &Self) -> Option<(Shard, u64)> {
        other.positions().find(|(shard, position)| *position > self.position(*shard))
    }
}

/// A text that is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a place in the feed; copy the whole cursor as it was given out")]
pub struct InvalidCursor(String);

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.store.map_or_else(Vec::new, |mark| mark.0.to_vec());
        let mut next = 0;
        for (shard, position) in self.positions() {
            put(&mut bytes, u64::try_from(shard.saturating_sub(next)).unwrap_or(0));
            put(&mut bytes, position);
            next = shard.saturating_add(1);
        }
        let check = Digest::of(&bytes);
        bytes.extend(check.0.iter().take(CHECK_BYTES));
        f.write_str(if self.store.is_some() { PREFIX_MARKED } else { PREFIX })?;
        f.write_str(&spell(&bytes))
    }
}

impl FromStr for FeedCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        parse(text).ok_or_else(|| InvalidCursor(text.chars().take(60).collect()))
    }
}

impl Serialize for FeedCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FeedCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn parse(text: &str) -> Option<FeedCursor> {
    let (digits, marked) = match text.strip_prefix(PREFIX_MARKED) {
        Some(digits) => (digits, true),
        None => (text.strip_prefix(PREFIX)?, false),
    };
    let bytes = read(digits)?;
    let (mut rest, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
    if !Digest::of(rest).0.starts_with(check) {
        return None;
    }
    let mut cursor = FeedCursor::default();
    if marked {
        let (mark, places) = rest.split_first_chunk()?;
        cursor.store = Some(StoreMark(*mark));
        rest = places;
    }
    let mut next: Shard = 0;
    while !rest.is_empty() {
        let shard = next.checked_add(Shard::try_from(take(&mut rest)?).ok()?)?;
        cursor.advance(shard, take(&mut rest)?);
        next = shard.checked_add(1)?;
    }
    Some(cursor)
}

/// Writes a number seven bits at a time, the lowest first.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(first & 0x7f);
        if (part << shift) >> shift != part {
            return None;
        }
        number |= part << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn spell(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(digit(held >> bits));
        }
    }
    if bits > 0 {
        text.push(digit(held << (5 - bits)));
    }
    text
}

fn digit(bits: u32) -> char {
    DIGITS.get((bits & 31) as usize).copied().map_or('a', char::from)
}

fn read(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|known| *known == digit)?;
        held = held << 5 | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    // What is left over is what was added to fill the last digit: less than one, and nothing in it.
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursor(positions: &[(Shard, u64)]) -> FeedCursor {
        let mut cursor = FeedCursor::default();
        for (shard, position) in positions {
            cursor.advance(*shard, *position);
        }
        cursor
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_from_its_text(positions: BTreeMap<u8, u64>, store: Option<[u8; 4]>) {
            let positions: Vec<_> = positions.into_iter().map(|(shard, position)| (Shard::from(shard), position)).collect();
            let cursor = FeedCursor { store: store.map(StoreMark), ..cursor(&positions) };
            let read: FeedCursor = cursor.to_string().parse().unwrap();
            prop_assert_eq!(read.store, cursor.store);
            prop_assert_eq!(read, cursor);
        }

        #[test]
        fn no_text_makes_a_panic(text: String) {
            let _ = format!("c1-{text}").parse::<FeedCursor>();
            let _ = format!("c2-{text}").parse::<FeedCursor>();
            let _ = text.parse::<FeedCursor>();
        }
    }

    #[test]
    fn a_cut_or_changed_cursor_is_refused() {
        let unmarked = cursor(&[(0, 123_456), (7, 3), (255, 9)]);
        let marked = FeedCursor { store: Some(StoreMark([0, 1, 2, 255])), ..unmarked.clone() };
        for text in [unmarked, marked].map(|cursor| cursor.to_string()) {
            for end in 0..text.len() {
                assert!(text[..end].parse::<FeedCursor>().is_err(), "{}", &text[..end]);
            }
            assert!(text.to_uppercase().parse::<FeedCursor>().is_err());
            assert!(format!("{text}a").parse::<FeedCursor>().is_err());
        }
    }

    #[test]
    fn a_cursor_of_one_shard_is_short_and_stays_as_it_is() {
        assert_eq!(cursor(&[(0, 1_000_000)]).to_string(), "c1-adaiipn3hy");
        assert_eq!(serde_json::to_string(&FeedCursor::default()).unwrap(), "\"c1-4oya\"");
    }

    #[test]
    fn a_later_place_covers_an_earlier_one() {
        let (early, late) = (cursor(&[(0, 3)]), cursor(&[(0, 3), (4, 1)]));
        assert!(late.covers(&early) && late.covers(&late) && !early.covers(&late));
        assert_eq!((early.behind(&late), late.behind(&early)), (1, 0));
    }
}
