//! The contract of [`Store`](super::Store) as tests: one function per guarantee, over any store.
//!
//! Whoever brings a store of their own runs all of them with [`store_conformance!`](crate::store_conformance):
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use rekindle::store::{MemoryStore, SharedStore};
//!
//! async fn make_store() -> (SharedStore, ()) {
//!     (Arc::new(MemoryStore::new()), ()) // yours here
//! }
//! rekindle::store_conformance!(make_store);
//! # fn main() {}
//! ```
//!
//! The second part of what `make_store` returns is kept until the test is over, a directory to be deleted for example.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod append;
mod chain;
mod directory;
mod feed;
mod forks;
mod inbox;
mod ownership;
mod packing;
mod read;
mod read_models;
mod repeat;
mod search;
mod storage;

pub use append::*;
pub use chain::*;
pub use directory::*;
pub use feed::*;
pub use forks::*;
pub use inbox::*;
pub use ownership::*;
pub use packing::*;
pub use read::*;
pub use read_models::*;
pub use repeat::*;
pub use search::*;
pub use storage::*;

use uuid::Uuid;

use super::{Append, Appended, Expected, FeedCursor, Order, Page, Pieces, Read, Row, SharedStore, StoreError, Writer};
use crate::session::{EventId, Kind, NewEvent, NodeId, Recorded, Seq, SessionId, Source, Timestamp};

/// Makes a `#[tokio::test]` of each guarantee; `$make` is an async function that returns a fresh empty store and what must outlive it.
/// Attributes before it, such as `#[ignore]`, stand on each test. Before a store that cannot be searched stands `without search:`.
#[macro_export]
macro_rules! store_conformance {
    ($(#[$attribute:meta])* $make:path) => {
        $crate::store_conformance! { @log [$(#[$attribute])*] $make }
        $crate::store_conformance! { @cases [$(#[$attribute])*] $make;
            a_search_finds_exactly_what_meets_it,
            a_search_keeps_to_its_days,
            hits_come_in_pages,
            an_index_that_somebody_moved_is_not_moved_again,
            what_is_redacted_or_purged_is_not_found,
            a_dropped_index_is_made_again,
            sessions_are_told_by_what_they_are_alike_in,
            sessions_are_told_by_the_models_that_their_events_name
        }
    };
    (without search: $(#[$attribute:meta])* $make:path) => {
        $crate::store_conformance! { @log [$(#[$attribute])*] $make }
    };
    (@log $attributes:tt $make:path) => {
        $crate::store_conformance! { @cases $attributes $make;
            // append
            a_first_append_begins_at_one,
            no_session_is_refused_when_there_is_one,
            no_session_is_admitted_when_there_is_none,
            exact_is_admitted_at_the_head,
            exact_is_refused_elsewhere_and_names_the_head,
            exact_zero_means_that_there_is_no_session,
            exact_is_refused_when_there_is_no_session,
            any_is_admitted_when_there_is_a_session,
            any_is_admitted_when_there_is_none,
            a_refused_append_leaves_nothing,
            an_append_is_one_whole,
            one_bad_event_refuses_the_whole_append,
            too_few_and_too_many_events_are_invalid,
            strange_kinds_are_kept_and_broken_ones_refused,
            a_body_must_look_like_json,
            appends_to_many_sessions_at_once_do_not_disturb_each_other,
            racing_appends_get_dense_seqs,
            of_racing_writers_at_one_head_one_wins,
            one_conflict_among_many_appends_spoils_none_of_the_others,
            cancelled_appends_are_neither_lost_nor_doubled_nor_half_done,
            // repeat
            a_repeated_append_answers_what_the_first_did,
            a_repeated_append_is_answered_after_others_came,
            a_repeated_append_is_answered_under_any,
            a_repeated_append_is_answered_after_a_takeover,
            a_repeated_takeover_is_answered,
            a_repeated_long_body_is_recognised,
            the_same_append_at_once_from_many_callers_is_done_once,
            an_id_with_other_content_is_reused,
            an_id_of_another_session_is_no_repetition,
            a_partly_repeated_append_is_refused,
            an_id_twice_in_one_append_is_invalid,
            // ownership
            a_takeover_raises_the_epoch,
            a_takeover_must_be_of_the_next_epoch,
            a_takeover_may_begin_a_session,
            the_owner_may_append,
            a_former_owner_is_fenced,
            fenced_comes_before_conflict,
            anyone_may_append_without_touching_ownership,
            of_racing_takeovers_one_wins,
            // read
            a_page_is_bounded_and_says_that_there_is_more,
            a_page_from_the_end_is_newest_first,
            a_page_has_both_its_bounds,
            a_session_that_is_not_there_has_no_events,
            events_come_back_as_they_were_appended,
            odd_text_is_kept_byte_for_byte,
            long_bodies_are_kept_byte_for_byte,
            pages_of_long_bodies_are_bounded,
            a_page_in_pieces_is_the_page,
            a_reader_that_sees_an_event_sees_all_before_it,
            // feed
            the_feed_has_all_events_in_commit_order,
            the_feed_goes_on_from_its_cursor,
            the_feed_misses_nothing_while_many_write,
            a_commit_rings,
            a_wait_without_commits_ends,
            a_commit_rings_for_whoever_follows_all,
            the_head_of_the_feed_is_where_it_ends,
            a_cursor_ahead_of_the_feed_is_refused,
            // read_models
            a_checkpoint_and_its_documents_move_together,
            a_checkpoint_that_somebody_moved_is_not_moved_again,
            of_racing_runners_one_moves_the_checkpoint,
            documents_of_shards_and_versions_stand_beside_each_other,
            documents_are_found_by_the_beginning_of_their_keys,
            a_quarantined_session_is_known_until_it_is_released,
            who_does_not_know_the_quarantine_stores_nothing,
            a_dropped_projection_leaves_nothing,
            // directory
            a_session_row_follows_its_log,
            directory_columns_come_back,
            an_append_without_a_directory_keeps_it,
            sessions_are_listed_by_last_change,
            a_list_is_bounded,
            sessions_that_are_due_can_be_listed,
            a_session_is_found_by_the_beginning_of_its_id,
            a_session_keeps_its_name,
            a_name_belongs_to_one_session,
            a_name_needs_a_session,
            // storage
            blobs_are_kept_by_their_content,
            a_blob_that_is_not_there_is_none,
            a_snapshot_comes_back,
            the_newest_snapshot_at_or_before_a_seq_is_found,
            snapshots_of_other_reducers_are_not_found,
            a_snapshot_may_be_put_twice,
            only_the_newest_snapshots_are_kept,
            the_first_snapshot_of_each_stretch_is_kept,
            a_lease_is_known,
            a_lease_passes,
            a_lease_can_be_renewed,
            a_lease_can_be_ended,
            the_nodes_are_listed,
            the_store_tells_about_itself,
            a_closed_store_refuses,
            // inbox
            a_letter_reaches_the_node_that_it_is_for,
            letters_come_in_order_and_bounded,
            a_letter_is_begun_once,
            an_answer_is_taken_once,
            a_withdrawn_letter_is_never_carried_out,
            // forks
            a_fork_goes_on_where_the_other_log_was_left,
            a_fork_leaves_the_other_session_as_it_was,
            pages_of_a_fork_cross_into_what_it_shares,
            a_fork_of_a_fork_lies_on_the_session_that_holds_the_event,
            a_fork_needs_the_event_that_it_names,
            a_fork_is_refused_where_there_is_a_session,
            a_fork_that_is_begun_again_is_the_same,
            the_feed_holds_what_a_fork_wrote_itself,
            a_fork_finds_what_its_history_was_given,
            redacting_drops_the_snapshots_of_forks,
            what_a_fork_reads_is_not_purged,
            // chain
            the_chain_of_a_session_verifies,
            the_chain_verifies_across_pages,
            the_chain_verifies_from_an_anchor,
            a_redacted_body_is_gone_and_the_chain_still_holds,
            a_redacted_long_body_is_gone,
            redacting_twice_changes_nothing,
            redacting_what_is_not_there_is_invalid,
            redacting_drops_the_snapshots_that_saw_the_body,
            a_session_that_is_not_there_cannot_be_verified,
            // packing
            a_packed_session_reads_as_before,
            a_packed_session_is_read_in_pieces_as_before,
            what_is_redacted_in_a_packed_session_is_gone,
            a_packed_session_that_goes_on_is_packed_on,
            forks_of_packed_sessions_read_as_before,
            a_packed_session_can_be_purged,
            a_packed_session_is_copied_as_it_was,
            content_of_a_packed_session_comes_back,
            what_goes_on_is_not_packed,
        }
    };
    (@cases $attributes:tt $make:path; $($case:ident),* $(,)?) => {
        $($crate::store_conformance! { @case $attributes $make; $case })*
    };
    (@case [$(#[$attribute:meta])*] $make:path; $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])*
        async fn $case() {
            let (store, _kept) = $make().await;
            $crate::store::conformance::$case(&store).await;
            store.close().await;
        }
    };
}

/// A session nobody else uses.
pub fn new_session() -> SessionId {
    SessionId::from_uuid(Uuid::now_v7())
}

/// A node nobody else is.
pub fn new_node() -> NodeId {
    NodeId::from_uuid(Uuid::now_v7())
}

/// An event whose body tells it from others.
pub fn event(what: &str) -> NewEvent {
    event_of(format!(r#"{{"what":"{what}"}}"#))
}

/// An event of this body.
pub fn event_of(body: String) -> NewEvent {
    NewEvent {
        id: EventId::from_uuid(Uuid::now_v7()),
        kind: Kind::known("note.added"),
        v: 1,
        at: Timestamp(1_767_225_600_000_000),
        source: Source::Environment,
        cause: None,
        must_understand: false,
        body,
    }
}

/// Events that tell each other apart.
pub fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|index| event(&index.to_string())).collect()
}

/// An append by nobody in particular.
pub fn append(session: SessionId, expected: Expected, events: Vec<NewEvent>) -> Append {
    Append { session, expected, writer: Writer::Anyone, events, directory: None }
}

/// Appends `count` events wherever the session stands.
pub async fn given(store: &SharedStore, session: SessionId, count: usize) -> Appended {
    store.append(append(session, Expected::Any, events(count))).await.unwrap()
}

/// All rows of a session, read in pages of `limit`.
pub async fn all_rows(store: &SharedStore, session: SessionId, limit: u32) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map_or(Seq::ZERO, Row::seq);
        let Page { rows: page, more } = store.read(Read { limit, ..Read::forward(session, after) }).await.unwrap();
        rows.extend(page);
        if !more {
            return rows;
        }
    }
}

/// Reads a page in pieces, which must be the page; how many rows of it came before it was whole.
async fn in_pieces(store: &SharedStore, read: Read) -> usize {
    let (pieces, mut taken) = Pieces::of(&read);
    let rest = store.read_in_pieces(read, pieces).await.unwrap();
    let mut rows = Vec::new();
    while let Ok(piece) = taken.try_recv() {
        rows.extend(piece);
    }
    let before = rows.len();
    rows.extend(rest.rows);
    assert_eq!(Page { rows, more: rest.more }, store.read(read).await.unwrap(), "{read:?}");
    before
}

/// All events of a session.
pub async fn all_events(store: &SharedStore, session: SessionId) -> Vec<Recorded> {
    all_rows(store, session, 512).await.into_iter().map(into_event).collect()
}

fn into_event(row: Row) -> Recorded {
    match row {
        Row::Event { event, .. } => event,
        Row::Damaged { seq, what } => panic!("event {seq} is damaged: {what}"),
    }
}

fn seqs(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.seq().0).collect()
}

fn range(session: SessionId, after: u64, upto: u64, order: Order, limit: u32) -> Read {
    Read { session, after: Seq(after), upto: Seq(upto), order, limit }
}

fn is_conflict<T>(result: &Result<T, StoreError>, at: u64) -> bool {
    matches!(result, Err(StoreError::Conflict { head, .. }) if head.0 == at)
}

fn is_fenced<T>(result: &Result<T, StoreError>, by: u64) -> bool {
    matches!(result, Err(StoreError::Fenced { current, .. }) if current.0 == by)
}
