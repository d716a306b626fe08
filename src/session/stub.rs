#![allow(missing_docs)]
use super::*;
#[derive(Debug)]
pub struct ItemError;
impl Item {
    pub fn decode(_: &str) -> Result<Item, ItemError> {
        Err(ItemError)
    }
    pub fn encode_body(&self) -> String {
        "{}".into()
    }
}
impl From<Content> for Item {
    fn from(content: Content) -> Self {
        Item {
            id: None,
            timestamp: None,
            source: None,
            cause: None,
            timeout: None,
            tool_call_metadata: None,
            llm_metrics: None,
            content,
        }
    }
}
