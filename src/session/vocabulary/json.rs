//! JSON that is carried without being understood: in its own key order and with its own spelling of numbers.
//!
//! `serde_json::Value` sorts keys and rounds large numbers; a log that others verify may do neither.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep the JSON of one event may be nested; `serde_json` reads 128 levels, and events stand inside other JSON.
pub const DEPTH_MAX: usize = 120;

/// Any JSON value as its text, without insignificant white space.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The JSON text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The value as a tree, for those who look inside; `null` for what only a lossless reader can hold.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(self.get()).unwrap_or_default()
    }

    /// The text of a JSON string; `None` for every other value.
    pub fn as_text(&self) -> Option<String> {
        serde_json::from_str(self.get()).ok()
    }
}

impl Default for Json {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        serde_json::value::to_raw_value(&value).map(Self).unwrap_or_default()
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Value::from(text).into()
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get() || self.to_value() == other.to_value()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match compact(raw.get()) {
            Cow::Borrowed(_) => Ok(Self(raw)),
            Cow::Owned(text) => RawValue::from_string(text).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

/// A JSON object in the order in which it was written; of a repeated key the last value counts, as in Python.
#[derive(Clone)]
pub struct Dict<V>(Vec<(String, V)>);

/// A JSON object whose values are not looked into.
pub type Object = Dict<Json>;

impl<V> Dict<V> {
    /// The value at `key`.
    pub fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets `key`, at its old place or at the end.
    pub fn insert(&mut self, key: impl Into<String>, value: V) {
        let key = key.into();
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(at).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V> Default for Dict<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> IntoIterator for Dict<V> {
    type Item = (String, V);
    type IntoIter = std::vec::IntoIter<(String, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Into<String>, V> FromIterator<(K, V)> for Dict<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut places = HashMap::new();
        let mut ordered: Vec<(String, V)> = Vec::new();
        for (key, value) in entries {
            let key = key.into();
            let place = *places.entry(key.clone()).or_insert(ordered.len());
            match ordered.get_mut(place) {
                Some(entry) => entry.1 = value,
                None => ordered.push((key, value)),
            }
        }
        Self(ordered)
    }
}

impl<V: PartialEq> PartialEq for Dict<V> {
    /// Two objects are equal when they say the same, in whatever order.
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<V: fmt::Debug> fmt::Debug for Dict<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<V: Serialize> Serialize for Dict<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Dict<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Dict<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dict<V>, A::Error> {
                std::iter::from_fn(|| map.next_entry::<String, V>().transpose()).collect()
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// `json` without white space between its tokens.
pub fn compact(json: &str) -> Cow<'_, str> {
    let mut strings = Strings::default();
    let is_space = |byte: u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    if !json.bytes().any(|byte| !strings.inside(byte) && is_space(byte)) {
        return Cow::Borrowed(json);
    }
    let mut strings = Strings::default();
    Cow::Owned(json.chars().filter(|&c| strings.inside(u8::try_from(c).unwrap_or(b'x')) || !c.is_ascii_whitespace()).collect())
}

/// How deep the arrays and objects of `json` are nested.
pub fn depth(json: &str) -> usize {
    let mut strings = Strings::default();
    let (mut now, mut deepest) = (0_usize, 0);
    for byte in json.bytes() {
        if strings.inside(byte) {
            continue;
        }
        match byte {
            b'[' | b'{' => now += 1,
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(now);
    }
    deepest
}

/// `json` without the keys in `unwanted`, at whatever level of nesting.
pub fn without_keys(json: &str, unwanted: &[&str]) -> String {
    if !unwanted.iter().any(|key| json.contains(key)) {
        return json.to_owned();
    }
    if json.starts_with('{')
        && let Ok(object) = serde_json::from_str::<Dict<&RawValue>>(json)
    {
        let kept: Vec<_> = object.iter().filter(|(key, _)| !unwanted.contains(key)).collect();
        let kept: Vec<_> =
            kept.iter().map(|(key, value)| format!("{}:{}", Value::from(*key), without_keys(value.get(), unwanted))).collect();
        return format!("{{{}}}", kept.join(","));
    }
    if json.starts_with('[')
        && let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(json)
    {
        let kept: Vec<_> = list.iter().map(|value| without_keys(value.get(), unwanted)).collect();
        return format!("[{}]", kept.join(","));
    }
    json.to_owned()
}

/// Follows JSON text byte by byte and knows which bytes belong to strings.
#[derive(Default)]
struct Strings {
    open: bool,
    escaped: bool,
}

impl Strings {
    /// Whether `byte`, the next one, belongs to a string; its quotes do.
    fn inside(&mut self, byte: u8) -> bool {
        if !self.open {
            self.open = byte == b'"';
            return self.open;
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.open = false,
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_numbers_are_kept() {
        let text = r#"{"z":1e400,"a":123456789012345678901234567890,"m":{"y":1,"b":[1.10]}}"#;
        let object: Object = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), text);
    }

    #[test]
    fn the_last_of_a_repeated_key_counts() {
        let object: Object = serde_json::from_str(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn only_white_space_between_tokens_goes() {
        assert_eq!(compact("{ \"a b\" :\n [1, \"é \\\" x\"] }"), "{\"a b\":[1,\"é \\\" x\"]}");
        assert_eq!(depth(r#"{"a":[{"[[[":1}]}"#), 3);
    }

    #[test]
    fn unwanted_keys_go_at_every_level() {
        assert_eq!(without_keys(r#"{"x":1,"a":[{"x":2,"é":"x"}],"b":"x"}"#, &["x"]), r#"{"a":[{"é":"x"}],"b":"x"}"#);
    }
}
