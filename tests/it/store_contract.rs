//! Every store keeps the same contract.

mod memory {
    use std::sync::Arc;

    use rekindle::store::{MemoryStore, SharedStore};

    async fn make_store() -> (SharedStore, ()) {
        (Arc::new(MemoryStore::new()), ())
    }

    rekindle::store_conformance!(make_store);
}

mod sqlite {
    use rekindle::store::{OpenOptions, SharedStore, connect};

    async fn make_store() -> (SharedStore, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("store.db").display());
        (connect(&url, OpenOptions::default()).await.unwrap(), directory)
    }

    rekindle::store_conformance!(make_store);
}

mod sqlite_encrypted {
    use rekindle::store::{Bodies, OpenOptions, SharedStore, connect};

    async fn make_store() -> (SharedStore, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("store.db").display());
        let keys = Some(directory.path().join("keys"));
        (connect(&url, OpenOptions { bodies: Bodies::Encrypted, keys, ..OpenOptions::default() }).await.unwrap(), directory)
    }

    rekindle::store_conformance!(without search: make_store);
}
