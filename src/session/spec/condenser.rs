//! What is done with a history that grows too long for its agent.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::ModelSpec;

/// The least to which a history may be held: below it there would be no room for an answer of the model and its outcomes.
const MAX_LEAST: u32 = 8;

/// What is done with a history that grows too long.
///
/// The task, and what memory told of the workspace, are never forgotten; a call of a tool and its outcome go together. Stored as `true`
/// and `false` where older versions knew no more than that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
pub enum Condenser {
    /// Nothing: one that outgrows the model's window ends the agent's work in an error.
    None,
    /// What is older is left out.
    Window {
        /// How many of the first events stay.
        keep_first: u32,
        /// When the agent sees more events than this, half as many stay. When unset, half of them go once the model's window is
        /// exceeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u32>,
    },
    /// What is older is replaced by a summary that a model writes.
    Summary {
        /// How many of the first events stay.
        keep_first: u32,
        /// As in [`Window`](Self::Window).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u32>,
        /// The model that writes it; the agent's own when unset.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Box<ModelSpec>>,
    },
}

impl Condenser {
    /// Half is left out once the model's window is exceeded: all that older versions knew beside nothing.
    pub const WHEN_FULL: Self = Self::Window { keep_first: 1, max: None };

    /// What a session has where nobody says otherwise: V0's `llm` condenser with the figures of V0's sessions.
    pub const fn usual() -> Self {
        Self::Summary { keep_first: 4, max: Some(120), model: None }
    }

    /// How many of the first events stay: always fewer than half of the most.
    pub fn keep_first(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Window { keep_first, .. } | Self::Summary { keep_first, .. } => {
                self.max().map_or(*keep_first, |max| (*keep_first).min((max / 2).saturating_sub(1)))
            }
        }
    }

    /// The most events that the agent sees, where that has a limit.
    pub fn max(&self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::Window { max, .. } | Self::Summary { max, .. } => max.map(|max| max.max(MAX_LEAST)),
        }
    }

    /// Whether a model is asked to sum up what goes.
    pub const fn summarises(&self) -> bool {
        matches!(self, Self::Summary { .. })
    }
}

impl Default for Condenser {
    fn default() -> Self {
        Self::WHEN_FULL
    }
}

impl Serialize for Condenser {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_bool(false),
            when_full if *when_full == Self::WHEN_FULL => serializer.serialize_bool(true),
            // The form that is derived.
            other => Self::serialize(other, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Condenser {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Condenser;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a condenser with its type")
            }

            fn visit_bool<E: Error>(self, condenses: bool) -> Result<Condenser, E> {
                Ok(if condenses { Condenser::WHEN_FULL } else { Condenser::None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Condenser, A::Error> {
                // The form that is derived.
                Condenser::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{AgentConfig, ModelApi};

    fn stored(condenser: &Condenser) -> String {
        serde_json::to_string(condenser).unwrap()
    }

    #[test]
    fn what_older_versions_stored_is_read_and_written_as_it_was() {
        for (text, condenser) in [("true", Condenser::WHEN_FULL), ("false", Condenser::None)] {
            assert_eq!(serde_json::from_str::<Condenser>(text).unwrap(), condenser);
            assert_eq!(stored(&condenser), text);
        }
        let config = r#"{"model":{"name":"m","api":"open_ai","timeout_ms":300000,"retries":5},"tools":[],"condense":true}"#;
        let read: AgentConfig = serde_json::from_str(config).unwrap();
        assert_eq!((&read.condense, serde_json::to_string(&read).unwrap().as_str()), (&Condenser::WHEN_FULL, config));
        let silent: AgentConfig = serde_json::from_str(&config.replace(r#","condense":true"#, "")).unwrap();
        assert_eq!(silent.condense, Condenser::WHEN_FULL);
    }

    #[test]
    fn each_condenser_is_stored_whole() {
        let model = Some(Box::new(ModelSpec::new(ModelApi::Anthropic, "small")));
        for condenser in [
            Condenser::Window { keep_first: 2, max: Some(50) },
            Condenser::usual(),
            Condenser::Summary { keep_first: 1, max: None, model },
        ] {
            assert_eq!(serde_json::from_str::<Condenser>(&stored(&condenser)).unwrap(), condenser);
        }
        assert_eq!(stored(&Condenser::usual()), r#"{"type":"summary","keep_first":4,"max":120}"#);
        assert!(serde_json::from_str::<Condenser>(r#"{"type":"magic"}"#).is_err());
    }

    #[test]
    fn there_is_always_room_for_something_new() {
        for (keep_first, max) in [(0, 0), (50, 1), (u32::MAX, 120), (4, 120)] {
            let condenser = Condenser::Window { keep_first, max: Some(max) };
            assert!(condenser.keep_first() < condenser.max().unwrap() / 2, "{condenser:?}");
        }
    }
}
