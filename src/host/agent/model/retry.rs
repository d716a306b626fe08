//! Asking again what may succeed later.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::fault::may_succeed_later;
use super::{Answer, ChatModel, Request};
use crate::engine::ports::{Delta, Deltas, ModelFailure, Usage};

/// The wait before the first retry, unless the endpoint asks for another one; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// An endpoint that asks to be left alone for longer than this is; whoever runs the session decides.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// Lets time pass.
#[async_trait]
pub trait Pause: Send + Sync + 'static {
    /// Returns after `wait`.
    async fn pause(&self, wait: Duration);
}

/// Lets real time pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioPause;

#[async_trait]
impl Pause for TokioPause {
    async fn pause(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}

/// How often is asked again.
pub struct Patience<'a> {
    /// At most this often after the first time.
    pub retries: u32,
    /// Lets time pass.
    pub pause: &'a dyn Pause,
}

/// An answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The answer.
    pub answer: Answer,
    /// How each try before it failed.
    pub retries: Vec<String>,
    /// How long the try that was answered took.
    pub latency: Duration,
    /// What was used by all tries.
    pub usage: Usage,
}

impl Patience<'_> {
    /// Asks `model` until it answers, or until asking again is no use.
    ///
    /// # Errors
    /// [`ModelFailure`]: the last one, with what all tries used.
    pub async fn ask(&self, model: &dyn ChatModel, request: &Request, deltas: &dyn Deltas) -> Result<Heard, ModelFailure> {
        let mut retries = Vec::new();
        let mut usage = Usage::default();
        loop {
            let began = Instant::now();
            let mut failure = match model.ask(request, deltas).await {
                Ok(answer) => {
                    let usage = sum(usage, answer.usage);
                    return Ok(Heard { answer, retries, latency: began.elapsed(), usage });
                }
                Err(failure) => failure,
            };
            usage = sum(usage, failure.usage);
            let tried = u32::try_from(retries.len()).unwrap_or(u32::MAX);
            let wait = if tried < self.retries { wait_before_retry(tried, &failure, chance()) } else { None };
            let Some(wait) = wait else {
                failure.usage = usage;
                if tried > 0 {
                    failure.message = format!("{} (tried {} times)", failure.message, tried + 1);
                }
                return Err(failure);
            };
            let told =
                format!("{}; trying again in {:.1} s ({}/{})", failure.message, wait.as_secs_f64(), tried + 1, self.retries);
            deltas.delta(Delta::Retry(told));
            retries.push(failure.message);
            self.pause.pause(wait).await;
        }
    }
}

/// How long to wait before the next try after `tried` retries; `None` when asking again is no use. `chance` is between 0 and 1, so that
/// many who were refused together do not come back together.
fn wait_before_retry(tried: u32, failure: &ModelFailure, chance: f64) -> Option<Duration> {
    if !may_succeed_later(failure.class) {
        return None;
    }
    let doubled = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tried)).min(WAIT_MAX);
    let jittered = doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
    match failure.retry_after {
        Some(asked) if asked > RETRY_AFTER_MAX => None,
        // Coming back a little later than asked for spreads those who were all told the same.
        Some(asked) => Some(asked + jittered.mul_f64(0.1)),
        None => Some(jittered),
    }
}

/// A number between 0 and 1, or the middle where the machine gives no chance.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// What two tries used; the cost is unknown when that of either is, unless one used nothing.
fn sum(before: Usage, now: Usage) -> Usage {
    if before == Usage::default() {
        return now;
    }
    if now == Usage::default() {
        return before;
    }
    Usage {
        prompt_tokens: before.prompt_tokens.saturating_add(now.prompt_tokens),
        completion_tokens: before.completion_tokens.saturating_add(now.completion_tokens),
        cached_tokens: before.cached_tokens.saturating_add(now.cached_tokens),
        cost_micro_usd: before.cost_micro_usd.zip(now.cost_micro_usd).map(|(before, now)| before.saturating_add(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ports::ModelErrorClass;

    fn failure(class: ModelErrorClass, retry_after: Option<u64>) -> ModelFailure {
        let retry_after = retry_after.map(Duration::from_secs);
        ModelFailure { class, message: "m".into(), retry_after, usage: Usage::default() }
    }

    #[test]
    fn waits_double_are_bounded_and_differ() {
        let wait = |tried, chance| wait_before_retry(tried, &failure(ModelErrorClass::Internal, None), chance).unwrap();
        assert_eq!((wait(0, 0.0), wait(0, 1.0)), (Duration::from_millis(500), Duration::from_secs(1)));
        assert_eq!(wait(3, 1.0), Duration::from_secs(8));
        assert_eq!(wait(500, 1.0), WAIT_MAX);
    }

    #[test]
    fn the_wait_that_is_asked_for_is_kept_and_one_too_long_is_left_to_others() {
        let wait = |asked| wait_before_retry(0, &failure(ModelErrorClass::RateLimit, Some(asked)), 1.0);
        assert_eq!(wait(0), Some(Duration::from_millis(100)));
        assert_eq!(wait(30), Some(Duration::from_millis(30_100)));
        assert_eq!(wait(121), None);
    }

    #[test]
    fn what_cannot_succeed_later_is_not_asked_again() {
        for class in [ModelErrorClass::Authentication, ModelErrorClass::ContextWindow, ModelErrorClass::BadAnswer] {
            assert_eq!(wait_before_retry(0, &failure(class, None), 0.5), None);
        }
    }

    #[test]
    fn a_cost_that_is_known_of_only_one_of_two_tries_is_unknown() {
        let of = |tokens, cost| Usage { prompt_tokens: tokens, cost_micro_usd: cost, ..Usage::default() };
        assert_eq!(sum(of(1, Some(5)), of(2, Some(6))), of(3, Some(11)));
        assert_eq!(sum(of(1, None), of(2, Some(6))), of(3, None));
        assert_eq!(sum(Usage::default(), of(2, Some(6))), of(2, Some(6)));
    }
}
