//! The report as one page that needs nothing else, to be printed or sent to somebody.

use std::io::{self, Write};

use maud::{Markup, html};

use super::words;
use crate::audit::report::{ActionReport, Report, SessionReport};
use crate::cli::describe;
use crate::cli::page::Page;
use crate::cli::text::count;

/// The sections, by their anchors.
const SECTIONS: [(&str, &str); 6] = [
    ("sessions", "Sessions"),
    ("actions", "Actions"),
    ("gaps", "No gaps"),
    ("erasures", "Taken out"),
    ("kept", "Kept"),
    ("access", "Access to the log"),
];

/// Texts of any length fit into their columns, and our own words and times are not broken; headings of tables are on each sheet.
const RULES: &str =
    "td{overflow-wrap:anywhere}td.what{width:40%}td.at,td.bad{overflow-wrap:normal}thead{display:table-header-group}";

/// Writes it.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write<W: Write>(out: W, report: &Report) -> io::Result<W> {
    let title = words::title(report);
    let mut page = Page::begin(out, &format!("Audit report · {title}"), RULES)?;
    page.push(&html! {
        header {
            h1 { "Audit report" }
            p { (title) }
            p.dim { "Made at " (report.made_at) " by " (report.made_by) " with " (report.program) ", form " (report.format) }
            @if report.damaged { p.bad role="alert" { strong { "Something is not what was written" } ": see what is damaged below." } }
            nav aria-label="Sections" { @for (id, name) in SECTIONS { a href={ "#" (id) } { (name) } } }
        }
    })?;
    page.open("<main>\n")?;
    page.push(&overview(report))?;
    page.open("<section aria-labelledby=\"actions\">\n")?;
    page.push(&html! { h2 #actions { "Actions" } })?;
    for session in &report.sessions {
        page.push(&self::session(session))?;
    }
    page.open("</section>\n")?;
    page.push(&section("gaps", "No gaps", &html! { (fields(&words::seals(&report.proof))) (seals(report)) }))?;
    page.push(&section("erasures", "Taken out", &erasures(report)))?;
    page.push(&section("kept", "Kept", &kept(report)))?;
    page.push(&section("access", "Access to the log", &access(report)))?;
    page.open("</main>\n")?;
    page.end()
}

fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! { section aria-labelledby=(id) { h2 id=(id) { (title) } (content) } }
}

fn fields(fields: &[(&str, String)]) -> Markup {
    html! { dl { @for (name, value) in fields { dt { (name) } dd { (value) } } } }
}

fn overview(report: &Report) -> Markup {
    let content = html! {
        @if report.sessions.is_empty() { p { "No session has events in the period." } }
        @else {
            table {
                thead {
                    tr {
                        @for title in ["Session", "Name", "User", "Agent", "Models", "Events", "Actions", "Flagged", "Integrity", "Sealed"] {
                            th scope="col" { (title) }
                        }
                    }
                }
                tbody {
                    @for session in &report.sessions {
                        tr {
                            th scope="row" { a href={ "#s-" (session.session) } { code { (session.session) } } }
                            td { (words::name(session)) }
                            td { (words::or_dash(session.user.as_deref())) }
                            td { (words::or_dash(session.agent.as_deref())) }
                            td { (session.models.join(", ")) }
                            td.num { (session.events) }
                            td.num { (session.actions.len()) }
                            td.num { (session.flagged) }
                            td {
                                @if session.damage.is_some() { strong.bad { "damaged" } }
                                @else { (session.verdicts.integrity.as_str()) }
                            }
                            td.at { (words::sealed(session)) }
                        }
                    }
                }
            }
        }
    };
    section("sessions", "Sessions", &content)
}

fn session(session: &SessionReport) -> Markup {
    html! {
        h3 id={ "s-" (session.session) } { code { (session.session) } " " (words::name(session)) }
        @if let Some(damage) = &session.damage { p.bad role="alert" { "Damaged: " (damage.what) } }
        (fields(&words::about(session)))
        @if session.actions.is_empty() { p.dim { "No action of it lies in the period." } }
        @else {
            table {
                caption {
                    (count(session.actions.len() as u64, "action")) ": "
                    (session.outcomes.iter().map(|(state, number)| format!("{number} {state}")).collect::<Vec<_>>().join(", "))
                }
                thead {
                    tr {
                        @for title in ["Event", "Wanted", "Action", "Risk", "Consent", "Handed out", "Outcome", "Flags"] {
                            th scope="col" { (title) }
                        }
                    }
                }
                tbody { @for action in &session.actions { (self::action(action)) } }
            }
        }
    }
}

fn action(action: &ActionReport) -> Markup {
    let judged = words::judged(action);
    html! {
        tr {
            th.num scope="row" { (action.seq) }
            td.at { (action.at) " by " (action.source.as_str()) }
            td.what {
                code { (action.kind) } " "
                @match &action.what { Some(what) => { (what) } None => { em { "(redacted)" } } }
            }
            td { (words::risk(action)) @if !judged.is_empty() { br; span.dim { (judged) } } }
            td { (words::consent(action.consent.as_ref(), words::had_to(action))) }
            td.at { (words::dispatched(action)) }
            td.at { (words::outcome(action)) }
            td.bad { (words::flags(action)) }
        }
    }
}

fn seals(report: &Report) -> Markup {
    html! {
        @if !report.proof.seals.is_empty() {
            table {
                caption { "The seals in the period" }
                thead { tr { @for title in ["Event", "At", "Leaves", "Root", "Key", "Published to"] { th scope="col" { (title) } } } }
                tbody {
                    @for seal in &report.proof.seals {
                        tr {
                            th.num scope="row" { (seal.seq) } td.at { (seal.at) } td.num { (seal.size) }
                            td { code { (seal.root) } } td { code { (seal.key) } } td { (seal.to.join(", ")) }
                        }
                    }
                }
            }
        }
        p.dim {
            "Whether the whole store was put back or written anew is proven by a checkpoint that was kept outside of it: "
            code { "rekindle verify --against FILE" } "."
        }
    }
}

fn erasures(report: &Report) -> Markup {
    html! {
        @if report.erasures.is_empty() { p { "Nothing in the period." } }
        @else {
            table {
                thead { tr { @for title in ["At", "How", "What", "By", "Why", "Outcome"] { th scope="col" { (title) } } } }
                tbody {
                    @for erasure in &report.erasures {
                        @let (how, what) = words::erasure(&erasure.erasure);
                        tr {
                            td.at { (erasure.at) } td { (how) } td { code { (what) } } td { (erasure.by) } td { (erasure.reason) }
                            td { (words::erased(&erasure.outcome)) }
                        }
                    }
                }
            }
        }
    }
}

fn kept(report: &Report) -> Markup {
    html! {
        (fields(&words::retention(&report.retention)))
        @if report.legal_holds.is_empty() { p { "No session is held." } }
        @else {
            table {
                thead { tr { th scope="col" { "Held session" } th scope="col" { "Why" } } }
                tbody {
                    @for hold in &report.legal_holds { tr { th scope="row" { code { (hold.session) } } td { (hold.reason) } } }
                }
            }
        }
    }
}

fn access(report: &Report) -> Markup {
    let access = &report.access;
    html! {
        (fields(&words::recording(access)))
        @if !access.reads.is_empty() {
            table {
                thead { tr { @for title in ["At", "Who", "Command", "What"] { th scope="col" { (title) } } } }
                tbody {
                    @for read in &access.reads {
                        tr { td.at { (read.at) } td { (read.by) } td { (read.how) } td { (describe::access(&read.access)) } }
                    }
                }
            }
        }
    }
}
