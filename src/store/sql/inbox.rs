//! Letters in a database. A letter that was begun and not answered yet has an empty answer.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{ColumnIndex, Decode, Encode, Executor, Row as _, Type};
use uuid::Uuid;

use super::{SqlStore, statement};
use crate::session::{NodeId, Seq, SessionId, Timestamp};
use crate::store::StoreError;
use crate::store::cipher::What;
use crate::store::dialect::Dialect;
use crate::store::inbox::{Inbox, Letter, is_answer};
use crate::store::statements::common as sql;

/// How long a letter stays that nobody asks about.
const KEPT: Duration = Duration::from_hours(24);

impl<D: Dialect> SqlStore<D>
where
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
{
    /// A letter as it was written.
    fn opened(&self, letter: Letter) -> Result<Letter, StoreError> {
        let Some(key) = self.dialect.secrecy().key(letter.session)? else { return Ok(letter) };
        let damaged = |what| StoreError::Damaged { session: letter.session, seq: Seq::ZERO, what };
        let command = key.open_text(What::Letter(letter.id), &letter.command).map_err(damaged)?;
        Ok(Letter { command, ..letter })
    }
}

#[async_trait]
impl<D> Inbox for SqlStore<D>
where
    D: Dialect,
    for<'c> &'c mut <D::Db as sqlx::Database>::Connection: Executor<'c, Database = D::Db>,
    for<'q> i32: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> i64: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> String: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    for<'q> Uuid: Encode<'q, D::Db> + Decode<'q, D::Db> + Type<D::Db>,
    usize: ColumnIndex<<D::Db as sqlx::Database>::Row>,
{
    async fn post(&self, letter: Letter) -> Result<(), StoreError> {
        let shard = self.dialect.shard_of_node(letter.to);
        self.has_key(letter.session).await?;
        let command = match self.dialect.secrecy().key(letter.session)? {
            None => letter.command,
            Some(key) => key.seal_text(What::Letter(letter.id), &letter.command).map_err(StoreError::Invalid)?,
        };
        self.write(move |transaction| {
            Box::pin(async move {
                let now: i64 = statement(D::NOW).fetch_one(&mut **transaction).await?.try_get(0)?;
                let old = now.saturating_sub(Timestamp(0).plus(KEPT).0);
                statement(sql::SWEEP_LETTERS).bind(shard).bind(old).execute(&mut **transaction).await?;
                let insert = statement(sql::POST_LETTER)
                    .bind(shard)
                    .bind(letter.to.as_uuid())
                    .bind(letter.id)
                    .bind(letter.session.as_uuid())
                    .bind(now)
                    .bind(command);
                insert.execute(&mut **transaction).await?;
                Ok(())
            })
        })
        .await
    }

    async fn letters(&self, node: NodeId, limit: u32) -> Result<Vec<Letter>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let query = statement(sql::LETTERS).bind(self.dialect.shard_of_node(node)).bind(node.as_uuid()).bind(i64::from(limit));
        let rows = self.fetch(query).await?;
        let letter = |row: &<D::Db as sqlx::Database>::Row| {
            let session = SessionId::from_uuid(row.try_get(1)?);
            Ok(Letter { to: node, id: row.try_get(0)?, session, command: row.try_get(2)? })
        };
        let letters: Vec<Letter> = rows.iter().map(letter).collect::<Result<_, _>>().map_err(failed)?;
        // One whose key is gone can be carried out by nobody, and must not hold up the others.
        let readable = letters.into_iter().filter_map(|letter| match self.opened(letter) {
            Ok(letter) => Some(letter),
            Err(error) => {
                tracing::warn!(%error, "a letter cannot be read and is left");
                None
            }
        });
        Ok(readable.collect())
    }

    async fn begin(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        let shard = self.dialect.shard_of_node(node);
        self.write(move |transaction| {
            Box::pin(async move {
                let update = statement(sql::BEGIN_LETTER).bind(shard).bind(node.as_uuid()).bind(letter);
                Ok(D::rows_affected(&update.execute(&mut **transaction).await?) > 0)
            })
        })
        .await
    }

    async fn answer(&self, node: NodeId, letter: Uuid, answer: &str) -> Result<(), StoreError> {
        is_answer(answer)?;
        let (shard, answer) = (self.dialect.shard_of_node(node), answer.to_owned());
        self.write(move |transaction| {
            Box::pin(async move {
                let update = statement(sql::ANSWER_LETTER).bind(shard).bind(node.as_uuid()).bind(letter).bind(answer);
                update.execute(&mut **transaction).await?;
                Ok(())
            })
        })
        .await
    }

    async fn take_answer(&self, node: NodeId, letter: Uuid) -> Result<Option<String>, StoreError> {
        self.dialect.readable()?;
        let failed = |error| self.dialect.failed_read(error);
        let shard = self.dialect.shard_of_node(node);
        let query = statement(sql::ANSWER).bind(shard).bind(node.as_uuid()).bind(letter);
        let Some(row) = self.fetch(query).await?.pop() else { return Ok(None) };
        let answer: String = row.try_get(0).map_err(failed)?;
        self.write(move |transaction| {
            Box::pin(async move {
                let delete = statement(sql::DROP_LETTER).bind(shard).bind(node.as_uuid()).bind(letter);
                delete.execute(&mut **transaction).await?;
                Ok(Some(answer))
            })
        })
        .await
    }

    async fn withdraw(&self, node: NodeId, letter: Uuid) -> Result<bool, StoreError> {
        let shard = self.dialect.shard_of_node(node);
        self.write(move |transaction| {
            Box::pin(async move {
                let delete = statement(sql::WITHDRAW_LETTER).bind(shard).bind(node.as_uuid()).bind(letter);
                Ok(D::rows_affected(&delete.execute(&mut **transaction).await?) > 0)
            })
        })
        .await
    }
}
