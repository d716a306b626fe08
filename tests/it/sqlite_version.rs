//! SQLite before 3.51.3 can lose committed pages in its write-ahead log: the library that is linked must be newer, for both users.

const LEAST: i32 = 3_051_003;

#[test]
fn the_writer_has_a_library_that_does_not_lose_pages() {
    let found = rusqlite::version_number();
    assert!(found >= LEAST, "rusqlite is linked with {}", rusqlite::version());
}

#[tokio::test]
async fn the_rest_has_the_same_library() {
    use sqlx::{Connection as _, Row as _};
    let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let row = sqlx::query("select sqlite_version()").fetch_one(&mut connection).await.unwrap();
    assert_eq!(row.get::<String, _>(0), rusqlite::version());
}
