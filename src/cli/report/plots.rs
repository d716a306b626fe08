//! Plots as inline SVG: sums over time, and bars one beside the other. Each says in words what it shows.

use std::fmt::Write as _;

use maud::{Markup, html};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// What is plotted together.
pub(super) struct Plot<'a> {
    /// Tells it from the others of the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it shows, in a sentence, for those who do not see it.
    pub(super) said: String,
    /// One or two series.
    pub(super) series: &'a [Series],
    /// What stands below, from left to right.
    pub(super) from: String,
    pub(super) to: String,
    /// How a value is written.
    pub(super) written: fn(f64) -> String,
}

/// Values of one kind.
pub(super) struct Series {
    pub(super) name: &'static str,
    /// Where they stand from left to right (0 to 1), and the values, none below 0.
    pub(super) points: Vec<(f64, f64)>,
}

/// The style of a series.
const STYLES: [&str; 2] = ["one", "two"];

impl Plot<'_> {
    /// Sums: each value holds until the next one.
    pub(super) fn lines(&self) -> Markup {
        let top = self.series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
        let lines = html! {
            @for (series, style) in self.series.iter().zip(STYLES) {
                polyline class=(style) points=(steps(&series.points, top)) {}
            }
        };
        self.figure(top, &lines)
    }

    /// Bars; those of the second series stand on those of the first.
    pub(super) fn bars(&self) -> Markup {
        let many = self.series.first().map_or(0, |series| series.points.len());
        let value = |series: &Series, index: usize| series.points.get(index).map_or(0.0, |point| point.1);
        let sum = |index: usize| self.series.iter().map(|series| value(series, index)).sum::<f64>();
        let top = (0..many).map(sum).fold(0.0, f64::max);
        #[expect(clippy::cast_precision_loss, reason = "there are few bars")]
        let wide = (WIDTH - LEFT - RIGHT) / many.max(1) as f64;
        let bars = html! {
            @for index in 0..many {
                @for (nth, (series, style)) in self.series.iter().zip(STYLES).enumerate() {
                    @let below: f64 = self.series.iter().take(nth).map(|series| value(series, index)).sum();
                    @let high = value(series, index);
                    @if high > 0.0 {
                        rect class=(style) x=(number(LEFT + wide * as_number(index))) y=(number(y(below + high, top)))
                            width=(number((wide * 0.9).min(24.0))) height=(number(y(below, top) - y(below + high, top))) {}
                    }
                }
            }
        };
        self.figure(top, &bars)
    }

    fn figure(&self, top: f64, drawn: &Markup) -> Markup {
        let (base, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let (title, said) = (format!("{}-title", self.id), format!("{}-said", self.id));
        let marks = if top > 0.0 { vec![0.0, top / 2.0, top] } else { vec![0.0] };
        html! {
            figure {
                figcaption {
                    (self.title)
                    @if self.series.len() > 1 {
                        @for (series, style) in self.series.iter().zip(STYLES) { " " span.key.(style) { (series.name) } }
                    }
                }
                svg role="img" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } width=(WIDTH) height=(HEIGHT)
                    aria-labelledby={ (title) " " (said) } {
                    title id=(title) { (self.title) }
                    desc id=(said) { (self.said) }
                    @for mark in marks {
                        path.axis d={ "M" (LEFT) " " (number(y(mark, top))) "H" (end) } {}
                        text x=(LEFT - 6.0) y=(number(y(mark, top) + 4.0)) text-anchor="end" { ((self.written)(mark)) }
                    }
                    text x=(LEFT) y=(base + 16.0) { (self.from) }
                    text x=(end) y=(base + 16.0) text-anchor="end" { (self.to) }
                    (drawn)
                }
            }
        }
    }
}

fn steps(points: &[(f64, f64)], top: f64) -> String {
    let mut text = String::new();
    let mut held = 0.0;
    for (x, value) in points {
        let x = LEFT + x.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
        let _ = write!(text, "{},{} {},{} ", number(x), number(y(held, top)), number(x), number(y(*value, top)));
        held = *value;
    }
    let _ = write!(text, "{},{}", number(WIDTH - RIGHT), number(y(held, top)));
    text
}

/// The height at which a value stands.
fn y(value: f64, top: f64) -> f64 {
    let base = HEIGHT - BOTTOM;
    if top > 0.0 { base - value / top * (base - TOP) } else { base }
}

#[expect(clippy::cast_precision_loss, reason = "there are few bars")]
const fn as_number(index: usize) -> f64 {
    index as f64
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(series: &[Series]) -> Plot<'_> {
        Plot {
            id: "p",
            title: "Tokens",
            said: "2 calls".to_owned(),
            series,
            from: String::new(),
            to: String::new(),
            written: |value| value.to_string(),
        }
    }

    #[test]
    fn a_plot_keeps_inside_of_its_frame_and_says_what_it_shows() {
        let series = [
            Series { name: "read", points: vec![(0.0, 10.0), (0.5, 30.0), (1.0, 30.0)] },
            Series { name: "written", points: vec![(0.0, 1.0), (0.5, 2.0), (1.0, 90.0)] },
        ];
        let lines = plot(&series).lines().into_string();
        assert!(lines.contains("role=\"img\"") && lines.contains("<desc id=\"p-said\">2 calls</desc>"), "{lines}");
        assert!(lines.contains("aria-labelledby=\"p-title p-said\""), "{lines}");
        assert!(lines.contains("points=\"64.0,176.0 64.0,157.6"), "{lines}");
        let bars = plot(&series).bars().into_string();
        assert_eq!(bars.matches("<rect").count(), 6, "{bars}");
        for drawn in [lines, bars] {
            let numbers = drawn.split(['"', ',', ' ']).filter_map(|word| word.parse::<f64>().ok());
            assert!(numbers.into_iter().all(|number| (0.0..=WIDTH).contains(&number)), "{drawn}");
        }
    }

    #[test]
    fn nothing_is_plotted_of_nothing() {
        let none = [Series { name: "read", points: Vec::new() }];
        assert!(plot(&none).lines().into_string().contains("<svg"));
        assert!(!plot(&none).bars().into_string().contains("NaN"));
    }
}
