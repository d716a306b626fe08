//! Letters: what reaches whom, and that nothing is carried out twice.

use std::sync::Arc;

use super::*;
use crate::store::Letter;

fn letter(to: NodeId, command: &str) -> Letter {
    Letter { to, id: Uuid::now_v7(), session: new_session(), command: command.to_owned() }
}

/// Whole, and nobody else.
pub async fn a_letter_reaches_the_node_that_it_is_for(store: &SharedStore) {
    let (node, other) = (new_node(), new_node());
    let sent = letter(node, r#"{"do":"this"}"#);
    store.post(sent.clone()).await.unwrap();
    store.post(sent.clone()).await.unwrap();
    assert_eq!(store.letters(node, 10).await.unwrap(), [sent]);
    assert_eq!(store.letters(other, 10).await.unwrap(), []);
}

/// As they were sent, in portions.
pub async fn letters_come_in_order_and_bounded(store: &SharedStore) {
    let node = new_node();
    let sent: Vec<_> = (0..3).map(|n| letter(node, &format!("{n}"))).collect();
    for letter in &sent {
        store.post(letter.clone()).await.unwrap();
    }
    assert_eq!(store.letters(node, 2).await.unwrap(), sent[..2]);
    assert_eq!(store.letters(node, 10).await.unwrap(), sent);
}

/// However many want to carry it out.
pub async fn a_letter_is_begun_once(store: &SharedStore) {
    let node = new_node();
    let sent = letter(node, "{}");
    store.post(sent.clone()).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.begin(node, sent.id).await.unwrap() })
        })
        .collect();
    let mut begun = 0;
    for task in tasks {
        begun += usize::from(task.await.unwrap());
    }
    assert_eq!(begun, 1);
    assert_eq!(store.letters(node, 10).await.unwrap(), [], "what is begun is not shown again");
    assert!(!store.withdraw(node, sent.id).await.unwrap());
    store.post(sent.clone()).await.unwrap();
    assert_eq!(store.letters(node, 10).await.unwrap(), [], "nor when it is sent again");
}

/// And then it is gone.
pub async fn an_answer_is_taken_once(store: &SharedStore) {
    let node = new_node();
    let sent = letter(node, "{}");
    store.post(sent.clone()).await.unwrap();
    assert_eq!(store.take_answer(node, sent.id).await.unwrap(), None);
    assert!(store.begin(node, sent.id).await.unwrap());
    assert_eq!(store.take_answer(node, sent.id).await.unwrap(), None, "begun is not answered");
    assert!(matches!(store.answer(node, sent.id, "").await, Err(StoreError::Invalid(_))));
    store.answer(node, sent.id, r#"{"done":7}"#).await.unwrap();
    assert_eq!(store.take_answer(node, sent.id).await.unwrap().as_deref(), Some(r#"{"done":7}"#));
    assert_eq!(store.take_answer(node, sent.id).await.unwrap(), None);
}

/// Nobody finds it any more, and nobody can begin it.
pub async fn a_withdrawn_letter_is_never_carried_out(store: &SharedStore) {
    let node = new_node();
    let sent = letter(node, "{}");
    store.post(sent.clone()).await.unwrap();
    assert!(store.withdraw(node, sent.id).await.unwrap());
    assert!(!store.withdraw(node, sent.id).await.unwrap());
    assert_eq!(store.letters(node, 10).await.unwrap(), []);
    assert!(!store.begin(node, sent.id).await.unwrap());
    store.answer(node, sent.id, "{}").await.unwrap();
    assert_eq!(store.take_answer(node, sent.id).await.unwrap(), None);
}
