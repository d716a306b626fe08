//! What the calls of a session's models used, one after another: the way to the sums that [`usage`](super::usage) tells.

use serde::Serialize;

use super::Projection;
use crate::session::event::ModelFailed;
use crate::session::metrics::Metrics;
use crate::session::model::{CallReport, CallUsage};
use crate::session::{Content, Event, Recorded, Seq, Timestamp};

/// Above this many calls neighbours are told as one, so that a long session takes no more room than a short one.
const CALLS_MAX: usize = 1024;

/// A call of a model, or some that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// The event that tells the last of them.
    pub seq: Seq,
    /// When that was.
    #[serde(serialize_with = "super::moment")]
    pub at: Timestamp,
    /// How many calls this is.
    pub calls: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Millionths of a US dollar; unset when nobody can tell.
    pub cost_micro_usd: Option<u64>,
    /// How long they took, in microseconds; 0 where nobody said.
    pub latency_us: u64,
}

/// What was used, call by call.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Spending {
    /// The calls, in order; neighbours are one where there are more than can be told.
    pub spent: Vec<Spent>,
    /// The models that were named, in the order in which they were.
    pub models: Vec<String>,
    /// How many calls stand in one of `spent`, the last one aside.
    joined: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost_micro_usd: u64,
}

impl Projection for Spending {
    fn apply(&mut self, event: &Recorded) {
        match event.kind.as_str() {
            "model.responded" => {
                if let Event::ModelResponded(CallReport { model, usage, latency_us, .. }) = Event::read(event) {
                    self.named(&model);
                    self.called(event, &usage, latency_us);
                }
            }
            "model.failed" => {
                if let Event::ModelFailed(ModelFailed { usage, .. }) = Event::read(event)
                    && usage != CallUsage::default()
                {
                    self.called(event, &usage, 0);
                }
            }
            _ if event.kind.family() == "action" => {
                if let Event::Item(entry) = Event::read(event)
                    && let (Content::Action(_), Some(metrics)) = (&entry.item.content, &entry.item.llm_metrics)
                {
                    self.accumulated(event, metrics);
                }
            }
            _ => {}
        }
    }
}

impl Spending {
    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.spent.iter().map(|spent| spent.calls).sum()
    }

    fn named(&mut self, model: &str) {
        if !matches!(model, "" | "default") && !self.models.iter().any(|known| known == model) {
            self.models.push(model.to_owned());
        }
    }

    fn called(&mut self, event: &Recorded, usage: &CallUsage, latency_us: u64) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(usage.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(usage.completion_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(usage.cost_micro_usd.unwrap_or(0));
        self.push(Spent {
            seq: event.seq,
            at: event.at,
            calls: 1,
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cost_micro_usd: usage.cost_micro_usd,
            latency_us,
        });
    }

    /// V0 says sums beside its actions: what they grew by is what was used since.
    fn accumulated(&mut self, event: &Recorded, metrics: &Metrics) {
        let figure = |tokens: i64| u64::try_from(tokens).unwrap_or(0);
        let (mut prompt, mut completion) = (0, 0);
        if let Some(tokens) = &metrics.accumulated_token_usage {
            self.named(&tokens.model);
            prompt = figure(tokens.prompt_tokens).saturating_sub(self.prompt_tokens);
            completion = figure(tokens.completion_tokens).saturating_sub(self.completion_tokens);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as casts of floats saturate")]
        let cost = (metrics.accumulated_cost * 1e6).round() as u64;
        let cost = cost.saturating_sub(self.cost_micro_usd);
        if (prompt, completion, cost) == (0, 0, 0) {
            return;
        }
        let cost_micro_usd = Some(cost).filter(|cost| *cost > 0);
        self.called(
            event,
            &CallUsage { prompt_tokens: prompt, completion_tokens: completion, cost_micro_usd, cached_tokens: 0 },
            0,
        );
    }

    fn push(&mut self, spent: Spent) {
        let joined = self.joined.max(1);
        match self.spent.last_mut() {
            Some(last) if last.calls < joined => *last = last.with(&spent),
            _ => self.spent.push(spent),
        }
        if self.spent.len() > CALLS_MAX {
            let pairs = self.spent.chunks(2).filter_map(|pair| match pair {
                [one, two] => Some(one.with(two)),
                [one] => Some(*one),
                _ => None,
            });
            self.spent = pairs.collect();
            self.joined = joined.saturating_mul(2);
        }
    }
}

impl Spent {
    /// Both together.
    #[must_use]
    pub fn with(&self, next: &Self) -> Self {
        let cost_micro_usd = match (self.cost_micro_usd, next.cost_micro_usd) {
            (None, None) => None,
            (one, two) => Some(one.unwrap_or(0).saturating_add(two.unwrap_or(0))),
        };
        Self {
            seq: next.seq,
            at: next.at,
            calls: self.calls + next.calls,
            prompt_tokens: self.prompt_tokens.saturating_add(next.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(next.completion_tokens),
            cost_micro_usd,
            latency_us: self.latency_us.saturating_add(next.latency_us),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Body, EventId, Kind, SessionId, Source};

    fn event(seq: u64, kind: &'static str, body: String) -> Recorded {
        Recorded {
            session: SessionId::from_uuid(uuid::Uuid::nil()),
            seq: Seq(seq),
            id: EventId::from_uuid(uuid::Uuid::nil()),
            kind: Kind::known(kind),
            v: 1,
            at: Timestamp(i64::try_from(seq).unwrap()),
            source: Source::Agent,
            cause: None,
            must_understand: false,
            body: Body::Json(body),
        }
    }

    fn responded(seq: u64, read: u64, cost: u64) -> Recorded {
        let request = "0".repeat(64);
        let body = format!(
            r#"{{"model":"m","usage":{{"prompt_tokens":{read},"completion_tokens":3,"cost_micro_usd":{cost}}},"request":"{request}","latency_us":7}}"#
        );
        event(seq, "model.responded", body)
    }

    fn accumulated(seq: u64, read: u64) -> Recorded {
        let body = format!(
            r#"{{"action":"think","args":{{"thought":"x"}},"llm_metrics":{{"accumulated_cost":0.5,"accumulated_token_usage":{{"model":"v0","prompt_tokens":{read},"completion_tokens":3}}}}}}"#
        );
        event(seq, "action.think", body)
    }

    #[test]
    fn what_a_sum_grew_by_is_a_call_and_the_same_sum_is_none() {
        let spending = Spending::default().fold(&[accumulated(1, 10), accumulated(2, 10), accumulated(3, 25)]);
        let read: Vec<u64> = spending.spent.iter().map(|spent| spent.prompt_tokens).collect();
        assert_eq!((read.as_slice(), spending.models.as_slice()), ([10, 15].as_slice(), ["v0".to_owned()].as_slice()));
        assert_eq!(spending.spent[0].cost_micro_usd, Some(500_000));
        assert_eq!(spending.spent[1].cost_micro_usd, None);
    }

    #[test]
    fn a_call_that_its_actions_repeat_as_a_sum_counts_once() {
        let spending = Spending::default().fold(&[responded(1, 10, 500_000), accumulated(2, 10)]);
        assert_eq!((spending.calls(), spending.spent[0].latency_us), (1, 7));
    }

    #[test]
    fn many_calls_take_bounded_room_and_none_is_lost() {
        let events: Vec<Recorded> = (1..=5000).map(|seq| responded(seq, 10, 3)).collect();
        let spending = Spending::default().fold(&events);
        assert!(spending.spent.len() <= CALLS_MAX, "{}", spending.spent.len());
        let sum = |of: fn(&Spent) -> u64| spending.spent.iter().map(of).sum::<u64>();
        assert_eq!((spending.calls(), sum(|spent| spent.prompt_tokens)), (5000, 50_000));
        assert_eq!(sum(|spent| spent.cost_micro_usd.unwrap()), 15_000);
        assert!(spending.spent.is_sorted_by_key(|spent| spent.seq));
    }
}
