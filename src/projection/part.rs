//! A part of a session's state, named by a path into its JSON form.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::ser::{Error as _, Impossible, SerializeStruct, Serializer};
use serde_json::Value;

use crate::session::Session;

/// A path to a part of a state: a JSON pointer such as `/usage/cost_micro_usd`, or the same with dots, `usage.cost_micro_usd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePath(Vec<String>);

impl FromStr for StatePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
            None => text.trim_start_matches('.').split('.').map(str::to_owned).collect(),
        };
        // What `state` prints holds the state under this name; a state has no such part itself.
        if parts.len() > 1 && parts.first().is_some_and(|first| first == "state") {
            parts.remove(0);
        }
        if parts.iter().any(String::is_empty) {
            return Err(format!("{text:?} is no path into a state; write one as /usage/prompt_tokens or usage.prompt_tokens"));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for StatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "/{}", part.replace('~', "~0").replace('/', "~1")))
    }
}

impl StatePath {
    /// This part of `state`; `None` where it has none.
    pub fn of(&self, state: &Session) -> Option<Value> {
        let (first, rest) = self.0.split_first()?;
        let field = state.serialize(OneField(first)).ok().flatten()?;
        rest.iter().try_fold(field, |value, part| match value {
            Value::Object(mut object) => object.remove(part),
            Value::Array(mut list) => {
                let index = part.parse::<usize>().ok().filter(|index| *index < list.len())?;
                Some(list.swap_remove(index))
            }
            _ => None,
        })
    }

    /// The paths in `state` that end as this one does, for whoever has left out where it stands.
    pub fn meant(&self, state: &Session) -> Vec<Self> {
        let mut found = Vec::new();
        if let Ok(value) = serde_json::to_value(state) {
            self.look(&value, &mut Vec::new(), &mut found);
        }
        found
    }

    fn look(&self, value: &Value, at: &mut Vec<String>, found: &mut Vec<Self>) {
        let Value::Object(object) = value else { return };
        for (key, value) in object {
            at.push(key.clone());
            if at.ends_with(&self.0) {
                found.push(Self(at.clone()));
            }
            self.look(value, at, found);
            at.pop();
        }
    }
}

/// Serialises one field of a struct and no other: states are looked at once per event, and most of one is of no interest.
struct OneField<'a>(&'a str);

type Failure = serde_json::Error;
type Not = Impossible<Option<Value>, Failure>;

fn no_struct<T>() -> Result<T, Failure> {
    Err(Failure::custom("only a struct has fields"))
}

macro_rules! no_structs {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, _: $type) -> Result<Option<Value>, Failure> {
            no_struct()
        })*
    };
}

impl<'a> Serializer for OneField<'a> {
    type Ok = Option<Value>;
    type Error = Failure;
    type SerializeSeq = Not;
    type SerializeTuple = Not;
    type SerializeTupleStruct = Not;
    type SerializeTupleVariant = Not;
    type SerializeMap = Not;
    type SerializeStruct = Picked<'a>;
    type SerializeStructVariant = Not;

    no_structs! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_u8(u8)
        serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_f32(f32) serialize_f64(f64) serialize_char(char)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_unit_struct(&'static str)
    }

    fn serialize_none(self) -> Result<Option<Value>, Failure> {
        no_struct()
    }

    fn serialize_some<T: ?Sized + Serialize>(self, _: &T) -> Result<Option<Value>, Failure> {
        no_struct()
    }

    fn serialize_unit(self) -> Result<Option<Value>, Failure> {
        no_struct()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Option<Value>, Failure> {
        no_struct()
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, _: &T) -> Result<Option<Value>, Failure> {
        no_struct()
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Option<Value>, Failure> {
        no_struct()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Not, Failure> {
        no_struct()
    }

    fn serialize_tuple(self, _: usize) -> Result<Not, Failure> {
        no_struct()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Not, Failure> {
        no_struct()
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Not, Failure> {
        no_struct()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Not, Failure> {
        no_struct()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Picked<'a>, Failure> {
        Ok(Picked { name: self.0, value: None })
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Not, Failure> {
        no_struct()
    }
}

/// The field, once it has come by.
struct Picked<'a> {
    name: &'a str,
    value: Option<Value>,
}

impl SerializeStruct for Picked<'_> {
    type Ok = Option<Value>;
    type Error = Failure;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, key: &'static str, value: &T) -> Result<(), Failure> {
        if key == self.name {
            self.value = Some(serde_json::to_value(value)?);
        }
        Ok(())
    }

    fn end(self) -> Result<Option<Value>, Failure> {
        Ok(self.value)
    }
}

/// A part of a state that an event changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where, as a JSON pointer.
    pub path: String,
    /// What it was; nothing where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is; nothing where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// What differs between two states, but for their version and time, which always do. Lists that differ are told whole.
pub fn changes(old: &Session, new: &Session) -> Vec<Change> {
    let mut changes = Vec::new();
    if let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) {
        compare(&mut Vec::new(), Some(&old), Some(&new), &mut changes);
    }
    changes.retain(|change| !matches!(change.path.as_str(), "/version" | "/at"));
    changes
}

fn compare(at: &mut Vec<String>, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let gone = old.keys().filter(|key| !new.contains_key(*key));
            for key in new.keys().chain(gone) {
                at.push(key.clone());
                compare(at, old.get(key), new.get(key), changes);
                at.pop();
            }
        }
        (old, new) => {
            let path = StatePath(at.clone()).to_string();
            changes.push(Change { path, old: old.cloned(), new: new.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::AgentState;

    fn of(path: &str, state: &Session) -> Option<Value> {
        path.parse::<StatePath>().unwrap().of(state)
    }

    #[test]
    fn a_path_finds_what_the_whole_json_holds_there() {
        let mut state =
            Session { agent_reason: "why".to_owned(), told: vec!["a".to_owned(), "b".to_owned()], ..Session::default() };
        state.usage.prompt_tokens = 7;
        let whole = serde_json::to_value(&state).unwrap();
        for pointer in
            ["/agent", "/agent_reason", "/usage/prompt_tokens", "/usage", "/told/1", "/told/2", "/model", "/none", "/agent/x"]
        {
            assert_eq!(of(pointer, &state).as_ref(), whole.pointer(pointer), "{pointer}");
        }
        assert_eq!(of("usage.prompt_tokens", &state), Some(7.into()));
        assert_eq!(of("/state/usage/prompt_tokens", &state), Some(7.into()));
        assert!("a..b".parse::<StatePath>().is_err() && "/".parse::<StatePath>().is_err());
    }

    #[test]
    fn who_leaves_out_where_a_part_stands_is_told() {
        let meant = "prompt_tokens".parse::<StatePath>().unwrap().meant(&Session::default());
        assert_eq!(meant.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/usage/prompt_tokens"]);
    }

    #[test]
    fn changes_are_told_by_their_place() {
        let old = Session { told: vec!["a".to_owned()], ..Session::default() };
        let mut new = Session { agent: AgentState::Running, version: crate::session::Seq(9), ..Session::default() };
        new.counts.errors = 2;
        let mut changes = changes(&old, &new);
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(paths, ["/agent", "/counts/errors", "/told"]);
        assert_eq!((changes[1].old.clone(), changes[1].new.clone()), (Some(0.into()), Some(2.into())));
        assert_eq!(changes[2].new, None);
    }
}
