//! Fields that V0's own reader takes in more than one form.

use serde::{Deserialize, Deserializer};

/// An integer, also when it was written as a float, a boolean or a text.
pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Integer(i64),
        Float(f64),
        Boolean(bool),
        Text(String),
    }

    let not_whole = |what: &dyn std::fmt::Display| serde::de::Error::custom(format!("{what} is not a whole number"));
    match Form::deserialize(deserializer) {
        Ok(Form::Integer(number)) => Ok(number),
        #[expect(clippy::cast_possible_truncation, reason = "whole and far inside the range")]
        Ok(Form::Float(number)) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(number as i64),
        Ok(Form::Float(number)) => Err(not_whole(&number)),
        Ok(Form::Boolean(truth)) => Ok(i64::from(truth)),
        Ok(Form::Text(text)) => text.trim().parse().map_err(|_| not_whole(&format_args!("{text:?}"))),
        Err(_) => Err(serde::de::Error::custom("not a whole number")),
    }
}

/// A key that may be missing, be null, or hold a value: the outer `None` is the missing key.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
