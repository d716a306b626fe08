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
                map.serialize_entry("args", &Args(action))?;
                entry(&mut map, "timeout", timeout)?;
            }
            Content::Observation(observation) => {
                map.serialize_entry("content", &observation.content)?;
                if self.left_out.is_empty() {
                    map.serialize_entry("extras", &Fields(&observation.extras))?;
                } else {
                    let kept = without_keys(&to_text(&Fields(&observation.extras)), self.left_out);
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

/// The `args` of an action; without its tag, so no form of an action that could be read back.
struct Args<'a>(&'a Action);

impl Serialize for Args<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Action::Null | Action::CondensationRequest => serializer.serialize_map(Some(0))?.end(),
            Action::Run(args) => args.serialize(serializer),
            Action::RunIpython(args) => args.serialize(serializer),
            Action::Browse(args) => args.serialize(serializer),
            Action::BrowseInteractive(args) => args.serialize(serializer),
            Action::Read(args) => args.serialize(serializer),
            Action::Write(args) => args.serialize(serializer),
            Action::Edit(args) => args.serialize(serializer),
            Action::Think(args) => args.serialize(serializer),
            Action::Finish(args) => args.serialize(serializer),
            Action::Reject(args) => args.serialize(serializer),
            Action::Delegate(args) => args.serialize(serializer),
            Action::Recall(args) => args.serialize(serializer),
            Action::ChangeAgentState(args) => args.serialize(serializer),
            Action::Message(args) => args.serialize(serializer),
            Action::System(args) => args.serialize(serializer),
            Action::Condensation(args) => args.serialize(serializer),
            Action::CallToolMcp(args) => args.serialize(serializer),
            Action::TaskTracking(args) => args.serialize(serializer),
            Action::LoopRecovery(args) => args.serialize(serializer),
        }
    }
}

/// The `extras` of an observation, likewise.
struct Fields<'a>(&'a Extras);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Extras::Null | Extras::Success | Extras::UserRejected | Extras::Condense | Extras::Think | Extras::LoopDetection => {
                serializer.serialize_map(Some(0))?.end()
            }
            Extras::Run(extras) => extras.serialize(serializer),
            Extras::RunIpython(extras) => extras.serialize(serializer),
            Extras::Browse(extras) => extras.serialize(serializer),
            Extras::Read(extras) => extras.serialize(serializer),
            Extras::Write(extras) => extras.serialize(serializer),
            Extras::Edit(extras) => extras.serialize(serializer),
            Extras::Delegate(extras) => extras.serialize(serializer),
            Extras::Error(extras) => extras.serialize(serializer),
            Extras::AgentStateChanged(extras) => extras.serialize(serializer),
            Extras::Recall(extras) => extras.serialize(serializer),
            Extras::Mcp(extras) => extras.serialize(serializer),
            Extras::Download(extras) => extras.serialize(serializer),
            Extras::TaskTracking(extras) => extras.serialize(serializer),
        }
    }
}
