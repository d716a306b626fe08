//! Spans of time on the command line, and the lease that every command takes that runs sessions.

use std::time::Duration;

/// How long this process counts as living.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct LeaseArgs {
    /// How long this process counts as living after it was last heard of: 500ms, 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub lease: Duration,
}

/// Reads a span of time such as `500ms`, `10s`, `2m` or `1h`.
///
/// # Errors
/// What can be written instead.
pub fn span(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("say a number and ms, s, m or h: 10s".to_owned()),
    };
    let span = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)).map(Duration::from_millis);
    let span = span.filter(|span| *span >= Duration::from_millis(100) && *span <= Duration::from_hours(24));
    span.ok_or_else(|| "say a time between 100ms and 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_has_a_unit_and_bounds() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(span("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "10", "s", "-1s", "1d", "0s", "25h", "99999999999999999999h"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
