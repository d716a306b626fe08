//! From an [`Item`] to JSON: V0's stored form, and the form that it exports.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::action::Action;
use super::item::{Content, Item};
use super::json::{Json, without_keys};
use super::observation::Extras;

/// What an exported observation leaves out, at every level of its `extras`.
const NOT_EXPORTED: &[&str] = &[
    "dom_object",
    "axtree_object",
    "active_page_index",
    "last_browser_action",
    "last_browser_action_error",
    "focused_element_bid",
    "extra_element_properties",
    "screenshot",
    "set_of_marks",
];

/// How many of [`NOT_EXPORTED`] are left out also when screenshots are wanted.
const NEVER_EXPORTED: usize = 7;

impl Item {
    /// The JSON text under which V0 stores this, in V0's order of keys.
    pub fn encode(&self) -> String {
        to_text(&Encoded { item: self, left_out: &[], form: Form::Whole })
    }

    /// The body under which Rekindle stores this: without what the event's envelope says, and without what V0 computes.
    pub fn encode_body(&self) -> String {
        to_text(&Encoded { item: self, left_out: &[], form: Form::Body })
    }

    /// The JSON text under which V0 exports this: as stored, without the bulky insides of a browser.
    pub fn encode_trajectory(&self, screenshots: bool) -> String {
        let count = if screenshots { NEVER_EXPORTED } else { NOT_EXPORTED.len() };
        to_text(&Encoded { item: self, left_out: NOT_EXPORTED.get(..count).unwrap_or(NOT_EXPORTED), form: Form::Whole })
    }
}

/// Nothing in the vocabulary can fail to be written: keys are texts and every value is finite in depth.
fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// How much of an item is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Body,
}

struct Encoded<'a> {
    item: &'a Item,
    left_out: &'a [&'a str],
    form: Form,
}

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Item { id, timestamp, source, cause, timeout, tool_call_metadata, llm_metrics, content } = self.item;
        let mut map = serializer.serialize_map(None)?;
        if self.form == Form::Whole {
            entry(&mut map, "id", id)?;
            entry(&mut map, "timestamp", timestamp)?;
            entry(&mut map, "source", source)?;
            map.serialize_entry("message", &content.message())?;
            entry(&mut map, "cause", cause)?;
        }
        match content {
            Content::Action(action) => map.serialize_entry("action", action.tag())?,
            Content::Observation(observation) => map.serialize_entry("observation", observation.extras.tag())?,
        }
        entry(&mut map, "tool_call_metadata", tool_call_metadata)?;
        entry(&mut map, "llm_metrics", llm_metrics)?;
        match content {
            Content::Action(action) => {
                map.serialize_entry("args", action)?;
                entry(&mut map, "timeout", timeout)?;
            }
            Content::Observation(observation) => {
                map.serialize_entry("content", &observation.content)?;
                if self.left_out.is_empty() {
                    map.serialize_entry("extras", &observation.extras)?;
                } else {
                    let kept = without_keys(&to_text(&observation.extras), self.left_out);
                    map.serialize_entry("extras", &serde_json::from_str::<Json>(&kept).map_err(serde::ser::Error::custom)?)?;
                }
                if self.form == Form::Whole {
                    entry(&mut map, "success", &observation.extras.success())?;
                }
            }
        }
        map.end()
    }
}

fn entry<M: SerializeMap>(map: &mut M, key: &'static str, value: &Option<impl Serialize>) -> Result<(), M::Error> {
    value.as_ref().map_or(Ok(()), |value| map.serialize_entry(key, value))
}

impl Extras {
    /// Whether it went well, for the observations that know.
    pub const fn success(&self) -> Option<bool> {
        match self {
            Self::Run(run) => Some(run.metadata.exit_code == 0),
            Self::RunIpython(_) => Some(true),
            Self::Null
            | Self::Browse(_)
            | Self::Read(_)
            | Self::Write(_)
            | Self::Edit(_)
            | Self::Delegate(_)
            | Self::Success
            | Self::Error(_)
            | Self::AgentStateChanged(_)
            | Self::UserRejected
            | Self::Condense
            | Self::Think
            | Self::Recall(_)
            | Self::Mcp(_)
            | Self::Download(_)
            | Self::TaskTracking(_)
            | Self::LoopDetection => None,
        }
    }
}

impl Serialize for Action {
    /// Writes the `args`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null | Self::CondensationRequest => serializer.serialize_map(Some(0))?.end(),
            Self::Run(args) => args.serialize(serializer),
            Self::RunIpython(args) => args.serialize(serializer),
            Self::Browse(args) => args.serialize(serializer),
            Self::BrowseInteractive(args) => args.serialize(serializer),
            Self::Read(args) => args.serialize(serializer),
            Self::Write(args) => args.serialize(serializer),
            Self::Edit(args) => args.serialize(serializer),
            Self::Think(args) => args.serialize(serializer),
            Self::Finish(args) => args.serialize(serializer),
            Self::Reject(args) => args.serialize(serializer),
            Self::Delegate(args) => args.serialize(serializer),
            Self::Recall(args) => args.serialize(serializer),
            Self::ChangeAgentState(args) => args.serialize(serializer),
            Self::Message(args) => args.serialize(serializer),
            Self::System(args) => args.serialize(serializer),
            Self::Condensation(args) => args.serialize(serializer),
            Self::CallToolMcp(args) => args.serialize(serializer),
            Self::TaskTracking(args) => args.serialize(serializer),
            Self::LoopRecovery(args) => args.serialize(serializer),
        }
    }
}

impl Serialize for Extras {
    /// Writes the `extras`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null | Self::Success | Self::UserRejected | Self::Condense | Self::Think | Self::LoopDetection => {
                serializer.serialize_map(Some(0))?.end()
            }
            Self::Run(extras) => extras.serialize(serializer),
            Self::RunIpython(extras) => extras.serialize(serializer),
            Self::Browse(extras) => extras.serialize(serializer),
            Self::Read(extras) => extras.serialize(serializer),
            Self::Write(extras) => extras.serialize(serializer),
            Self::Edit(extras) => extras.serialize(serializer),
            Self::Delegate(extras) => extras.serialize(serializer),
            Self::Error(extras) => extras.serialize(serializer),
            Self::AgentStateChanged(extras) => extras.serialize(serializer),
            Self::Recall(extras) => extras.serialize(serializer),
            Self::Mcp(extras) => extras.serialize(serializer),
            Self::Download(extras) => extras.serialize(serializer),
            Self::TaskTracking(extras) => extras.serialize(serializer),
        }
    }
}
