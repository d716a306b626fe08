//! What a call cost.
//!
//! The endpoint's own word counts most, then the price that the session was told, then a table of well-known models. Of what is none of
//! these nothing is claimed: an unknown cost is not a cost of zero.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::frames::Used;
use crate::session::{ModelApi, ModelSpec, Price};

/// The table, with its date and source.
const TABLE: &str = include_str!("prices.json");

static PRICES: LazyLock<Option<Table>> = LazyLock::new(|| serde_json::from_str(TABLE).ok());

/// A million tokens, and the millionths of a dollar.
const MILLION: f64 = 1_000_000.0;

#[derive(Debug, Deserialize)]
struct Table {
    models: HashMap<String, Listed>,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Rate {
    input: f64,
    cached_input: Option<f64>,
    output: f64,
}

#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(flatten)]
    rate: Rate,
    above: Option<Above>,
}

/// What a longer prompt costs.
#[derive(Debug, Deserialize)]
struct Above {
    prompt_tokens: u64,
    #[serde(flatten)]
    rate: Rate,
}

/// What `used` cost, in millionths of a US dollar; `None` when nobody can tell.
pub fn cost(spec: &ModelSpec, used: &Used) -> Option<u64> {
    if let Some(cost) = used.cost_usd {
        return micro(cost * MILLION);
    }
    let rate = match spec.price {
        Some(price) => Rate::from(price),
        None => listed(&spec.name, used.prompt)?,
    };
    // Anthropic asks a quarter more for what is written to its cache for five minutes, which is all that is asked for here.
    let cache_write = match spec.api {
        ModelApi::Anthropic => rate.input * 1.25,
        ModelApi::OpenAi => rate.input,
    };
    let plain = used.prompt.saturating_sub(used.cached).saturating_sub(used.cache_written);
    let parts = [
        (plain, rate.input),
        (used.cached, rate.cached_input.unwrap_or(rate.input)),
        (used.cache_written, cache_write),
        (used.completion, rate.output),
    ];
    // Dollars per million tokens are millionths of a dollar per token.
    #[expect(clippy::cast_precision_loss, reason = "tokens are far below 2^53")]
    micro(parts.iter().map(|(tokens, rate)| *tokens as f64 * rate).sum())
}

impl From<Price> for Rate {
    #[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53")]
    fn from(price: Price) -> Self {
        let dollars = |micro: u64| micro as f64 / MILLION;
        Self { input: dollars(price.input), cached_input: Some(dollars(price.cached_input)), output: dollars(price.output) }
    }
}

fn micro(cost: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
    (cost.is_finite() && (0.0..1e18).contains(&cost)).then(|| cost.round() as u64)
}

/// The rate of a model that the table knows: by its name, also behind the name of its provider or before a date.
fn listed(name: &str, prompt_tokens: u64) -> Option<Rate> {
    let models = &PRICES.as_ref()?.models;
    let name = name.rsplit('/').next()?.to_ascii_lowercase();
    let listed = models.get(name.as_str()).or_else(|| models.get(undated(&name)?))?;
    let above = listed.above.as_ref().filter(|above| prompt_tokens > above.prompt_tokens);
    Some(above.map_or(listed.rate, |above| above.rate))
}

/// `name` without `-2026-01-31`, `-20260131` or `-latest` at its end.
fn undated(name: &str) -> Option<&str> {
    if let Some(name) = name.strip_suffix("-latest") {
        return Some(name);
    }
    let end = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let date = name.get(end.len()..)?;
    // Digits before the date belong to the name: `gpt-4.1-2025-04-14`, `claude-opus-4-1-20250805`.
    [11, 9].iter().find_map(|&length| {
        let at = date.len().checked_sub(length)?;
        let tail = date.get(at..)?;
        let digits = tail.bytes().filter(u8::is_ascii_digit).count();
        (tail.starts_with('-') && digits == 8).then(|| name.get(..end.len() + at)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(prompt: u64, cached: u64, completion: u64) -> Used {
        Used { prompt, cached, completion, ..Used::default() }
    }

    fn of(api: ModelApi, name: &str, used: Used) -> Option<u64> {
        cost(&ModelSpec::new(api, name), &used)
    }

    #[test]
    fn the_table_is_whole_and_says_where_it_is_from() {
        assert!(PRICES.as_ref().unwrap().models.len() > 30);
        let table: serde_json::Value = serde_json::from_str(TABLE).unwrap();
        assert!(table["version"].as_str().unwrap().len() == 10 && table["source"].as_str().unwrap().contains("https://"));
    }

    #[test]
    fn a_known_model_costs_what_its_tokens_cost() {
        // 900 000 tokens at 2.50, 100 000 at 1.25, 10 000 at 10 dollars a million.
        assert_eq!(of(ModelApi::OpenAi, "gpt-4o", used(1_000_000, 100_000, 10_000)), Some(2_250_000 + 125_000 + 100_000));
        assert_eq!(of(ModelApi::OpenAi, "openai/gpt-4o-2024-08-06", used(1000, 0, 0)), Some(2500));
        assert_eq!(of(ModelApi::OpenAi, "gpt-4.1-2025-04-14", used(1000, 0, 0)), Some(2000));
        let written = Used { cache_written: 1000, ..used(2000, 0, 0) };
        assert_eq!(of(ModelApi::Anthropic, "claude-opus-4-1-20250805", written), Some(15_000 + 18_750));
    }

    #[test]
    fn a_longer_prompt_is_dearer_where_the_table_says_so() {
        let (short, long) =
            (of(ModelApi::OpenAi, "gpt-5.5", used(272_000, 0, 0)), of(ModelApi::OpenAi, "gpt-5.5", used(272_001, 0, 0)));
        assert_eq!((short, long), (Some(1_360_000), Some(2_720_010)));
    }

    #[test]
    fn nothing_is_claimed_of_what_is_not_known() {
        for name in ["gpt-4o-audio-preview", "my-model", "gpt-4o-mini-tts", "llama-3-70b", ""] {
            assert_eq!(of(ModelApi::OpenAi, name, used(1000, 0, 1000)), None, "{name}");
        }
    }

    #[test]
    fn what_the_endpoint_says_and_what_the_session_was_told_count_more_than_the_table() {
        let price = Price { input: 1_000_000, cached_input: 0, output: 2_000_000 };
        let spec = ModelSpec { price: Some(price), ..ModelSpec::new(ModelApi::OpenAi, "gpt-4o") };
        assert_eq!(cost(&spec, &used(1000, 500, 100)), Some(500 + 200));
        let said = Used { cost_usd: Some(0.001_234_4), ..used(1000, 0, 100) };
        assert_eq!(cost(&spec, &said), Some(1234));
        assert_eq!(cost(&spec, &Used { cost_usd: Some(0.0), ..said }), Some(0));
    }
}
