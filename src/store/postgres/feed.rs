//! Reading the feed: what is new in each shard, those that are the furthest behind first, in as few statements as can be.

use std::cmp::Reverse;

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::super::content::Opener;
use super::super::read::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use super::super::statements::postgres as sql;
use super::super::{DamagedEvent, FeedCursor, FeedDamage, FeedPage, FeedRow, Shard, StoreError};
use super::decode;
use super::reader::{Trouble, with_body};
use crate::session::Seq;

/// Reads what stands in the feeds of all shards behind `after`.
pub(super) async fn feed(
    connection: &mut PgConnection,
    named: bool,
    routed: bool,
    mut opener: Opener,
    after: FeedCursor,
    limit: u32,
) -> Result<FeedPage, Trouble> {
    let heads = sqlx::query(sql::FEED_HEADS).persistent(named).fetch_all(&mut *connection).await?;
    let mut news = Vec::new();
    for row in &heads {
        let (shard, head): (Shard, i64) = (row.try_get(0)?, row.try_get(1)?);
        let position = i64::try_from(after.position(shard)).unwrap_or(i64::MAX);
        if head < position {
            let (at, head) = (after.position(shard), u64::try_from(head).unwrap_or_default());
            return Err(Trouble::Refused(StoreError::Ahead { shard, at, head }));
        }
        if head > position {
            news.push(News { shard, position, head });
        }
    }
    // Those that are the furthest behind first, so that none starves.
    news.sort_by_key(|news| (Reverse(news.count()), news.shard));
    let mut page = FeedPage { next: after, ..FeedPage::default() };
    let limit = usize::try_from(limit.min(PAGE_ROWS_MAX)).unwrap_or(usize::MAX);
    let (mut rest, mut bytes) = (news.as_slice(), 0);
    while page.rows.len() < limit && bytes < PAGE_BYTES_MAX {
        let room = i64::try_from(limit - page.rows.len()).unwrap_or(i64::MAX);
        // What fits whole is read together: asking shard by shard takes longer than reading.
        let small = if routed { 0 } else { fitting(rest, room) };
        let (now, later) = rest.split_at_checked(small.max(1)).unwrap_or((rest, &[]));
        rest = later;
        match now {
            [] => break,
            [news] => {
                let query = sqlx::query(sql::FEED).bind(news.shard).bind(news.position).bind(news.head).bind(room);
                let rows = query.persistent(named).fetch_all(&mut *connection).await?;
                let whole = i64::try_from(rows.len()).is_ok_and(|count| count < room);
                bytes += feed_shard(connection, named, &mut page, news.part(whole), &rows, &mut opener).await?;
            }
            many => {
                let (shards, (positions, ends)): (Vec<_>, (Vec<_>, Vec<_>)) =
                    many.iter().map(|news| (news.shard, (news.position, news.head))).unzip();
                let query = sqlx::query(sql::FEED_OF_SHARDS).bind(shards).bind(positions).bind(ends).bind(room);
                let rows = query.persistent(named).fetch_all(&mut *connection).await?;
                let mut left = rows.as_slice();
                for (news, place) in many.iter().zip(1_i64..) {
                    if bytes >= PAGE_BYTES_MAX {
                        break;
                    }
                    let mut count = 0;
                    while let Some(row) = left.get(count)
                        && row.try_get::<i64, _>(PLACE)? == place
                    {
                        count += 1;
                    }
                    let (rows, others) = left.split_at_checked(count).unwrap_or((left, &[]));
                    left = others;
                    bytes += feed_shard(connection, named, &mut page, news.part(true), rows, &mut opener).await?;
                }
            }
        }
    }
    Ok(page)
}

/// The column behind those of an event: which of the shards that were asked it is of.
const PLACE: usize = 15;

/// What a reader has not seen yet of a shard.
struct News {
    shard: Shard,
    /// Where it stands.
    position: i64,
    /// Where the shard's feed ends.
    head: i64,
}

impl News {
    const fn count(&self) -> i64 {
        self.head - self.position
    }

    /// The rows that were read of it; `whole` when they are all.
    fn part(&self, whole: bool) -> Part {
        Part { shard: self.shard, position: self.position, last: whole.then_some(self.head) }
    }
}

/// How many of `news`, from the first on, have room for all that they have.
fn fitting(news: &[News], mut room: i64) -> usize {
    let fits = |news: &&News| {
        room -= news.count();
        room >= 0
    };
    news.iter().take_while(fits).count()
}

/// What of a shard a page takes.
struct Part {
    shard: Shard,
    /// Where it begins, not included.
    position: i64,
    /// Where it ends if all rows up to there were asked for.
    last: Option<i64>,
}

async fn feed_shard(
    connection: &mut PgConnection,
    named: bool,
    page: &mut FeedPage,
    part: Part,
    rows: &[PgRow],
    opener: &mut Opener,
) -> Result<usize, Trouble> {
    let Part { shard, position, last } = part;
    let mut before = position;
    let mut bytes = 0;
    for row in rows {
        if bytes >= PAGE_BYTES_MAX {
            return Ok(bytes);
        }
        let pos = decode::position(row).map_err(|what| Trouble::Refused(StoreError::Unavailable(what.into())))?;
        let place = i64::try_from(pos).unwrap_or(i64::MAX);
        if place > before + 1 {
            missing(connection, named, page, shard, before + 1, place - 1).await?;
        }
        before = place;
        page.next.advance(shard, pos);
        let event = match decode::event(row, None) {
            Ok(event) => with_body(connection, named, shard, event, opener).await?,
            Err(damaged) => Err(damaged),
        };
        match event {
            Ok(row) => {
                bytes += row.body_bytes();
                page.rows.push(FeedRow { shard, pos, row });
            }
            Err(event) => page.damaged.push(FeedDamage { shard, pos, event }),
        }
    }
    if let Some(last) = last
        && last > before
    {
        missing(connection, named, page, shard, before + 1, last).await?;
        page.next.advance(shard, u64::try_from(last).unwrap_or_default());
    }
    Ok(bytes)
}

/// Passes over positions that have no event: purged ones are known, others are damage.
async fn missing(
    connection: &mut PgConnection,
    named: bool,
    page: &mut FeedPage,
    shard: Shard,
    first: i64,
    last: i64,
) -> Result<(), Trouble> {
    let query = sqlx::query(sql::HOLES).persistent(named).bind(shard).bind(first).bind(last);
    let purged: i64 = query.fetch_one(connection).await?.try_get(0)?;
    if purged < last - first + 1 {
        let what = format!("of the positions {first} to {last} of shard {shard} not all are there");
        let event = DamagedEvent { session: None, seq: Seq::ZERO, what };
        page.damaged.push(FeedDamage { shard, pos: u64::try_from(last).unwrap_or_default(), event });
    }
    Ok(())
}
