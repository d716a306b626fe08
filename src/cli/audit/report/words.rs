//! What a report says in words, the same in a table and on a page.

use crate::audit::report::{
    AccessReport, ActionReport, Consent, ErasureOutcome, Fingerprint, Proof, Report, RetentionReport, SessionReport, Span,
};
use crate::cli::text::{count, duration};
use crate::session::audit::Erasure;

/// What a session is called.
pub(super) fn name(session: &SessionReport) -> String {
    let name = session.name.clone().or_else(|| session.title.clone()).unwrap_or_default();
    if session.purged { format!("{name} (purged)").trim().to_owned() } else { name }
}

/// Where there is nothing to be said.
pub(super) fn or_dash(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("–")
}

pub(super) fn fingerprint(fingerprint: &Fingerprint) -> String {
    fingerprint.map_or_else(|| "unknown: a part of it cannot be read".to_owned(), |digest| digest.to_string())
}

/// Who did what in a session, with what, and who watches over it.
pub(super) fn about(session: &SessionReport) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let sources = session.sources;
    lines.push(("user", or_dash(session.user.as_deref()).to_owned()));
    lines.push((
        "events",
        match (session.first, session.last) {
            (Some(first), Some(last)) => format!(
                "{} in the period, {first} to {last}: {} by users, {} by the agent, {} by the environment",
                session.events, sources.user, sources.agent, sources.environment
            ),
            _ => "none can be read".to_owned(),
        },
    ));
    if session.imported {
        lines.push(("imported", "it holds another system's recording: its actions were executed elsewhere".to_owned()));
    }
    if let Some(parent) = session.parent {
        lines.push(("parent", parent.to_string()));
    }
    for owner in &session.owners {
        lines.push(("owner", format!("{} from event {} on, {}: {}", owner.node, owner.seq, owner.at, owner.reason)));
    }
    lines.push(("agent", or_dash(session.agent.as_deref()).to_owned()));
    lines.push(("models", or_dash(Some(&session.models.join(", "))).to_owned()));
    lines.push(("judged by", or_dash(Some(&session.judges.join(", "))).to_owned()));
    if let Some(confirmation) = &session.confirmation {
        lines.push(("agreed to", confirmation.to_string().replace('"', "")));
    }
    lines.push(("in force", fingerprint(&session.configuration)));
    for change in &session.configuration_changes {
        let digest = fingerprint(&change.fingerprint);
        lines.push(("changed", format!("by event {} ({}) at {}: {digest}", change.seq, change.kind, change.at)));
    }
    for (name, verdict) in session.verdicts.each() {
        lines.push((name, verdict.to_string()));
    }
    lines.push(("sealed", sealed(session)));
    if let Some(damage) = &session.damage {
        lines.push(("damaged", damage.what.clone()));
    }
    lines
}

pub(super) fn sealed(session: &SessionReport) -> String {
    let sealed = &session.sealed;
    match (sealed.seal, sealed.at, sealed.upto) {
        (Some(seal), Some(at), _) => format!("yes, by event {seal} of the audit log at {at}"),
        (_, _, Some(upto)) => format!("no: only up to event {upto}"),
        (_, _, None) => "no".to_owned(),
    }
}

pub(super) fn risk(action: &ActionReport) -> String {
    match &action.judged {
        None => "–".to_owned(),
        Some(judged) => judged.risk.map_or_else(|| "redacted".to_owned(), |risk| risk.to_string()),
    }
}

pub(super) fn judged(action: &ActionReport) -> String {
    action
        .judged
        .as_ref()
        .map_or_else(String::new, |judged| format!("event {}, {}: {}", judged.seq, judged.at, judged.reasons.join("; ")))
}

pub(super) fn consent(consent: Option<&Consent>, had_to: bool) -> String {
    match consent {
        None if had_to => "nobody yet".to_owned(),
        None => "–".to_owned(),
        Some(Consent { approved, by, at, reason, .. }) => {
            let by = by.as_deref().unwrap_or("redacted");
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            format!("{} by {by} at {at}{reason}", if *approved { "approved" } else { "rejected" })
        }
    }
}

pub(super) fn had_to(action: &ActionReport) -> bool {
    action.judged.as_ref().is_some_and(|judged| judged.confirm == Some(true))
}

pub(super) fn dispatched(action: &ActionReport) -> String {
    let each = action.dispatched.iter().map(|dispatch| dispatch.at.to_string());
    or_dash(Some(&each.collect::<Vec<_>>().join(", "))).to_owned()
}

pub(super) fn outcome(action: &ActionReport) -> String {
    let outcome = &action.outcome;
    let exit = outcome.exit_code.filter(|code| *code != 0).map_or_else(String::new, |code| format!(", exit {code}"));
    let at = outcome.at.map_or_else(String::new, |at| format!(" at {at}"));
    format!("{}{exit}{at}", outcome.state.as_str())
}

pub(super) fn flags(action: &ActionReport) -> String {
    action.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(", ")
}

/// How long it is in words.
pub(super) fn long(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => duration(seconds.saturating_mul(1_000_000)),
        (0, hours) => format!("{hours} h {minutes} min"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

pub(super) fn gap(span: &Span) -> String {
    format!("{}, from {} to {}", long(span.seconds), span.from, span.to)
}

/// What the seals prove.
pub(super) fn seals(proof: &Proof) -> Vec<(&'static str, String)> {
    let mut lines = vec![("audit log", proof.audit_log.to_string())];
    let before = proof.before.as_ref().map_or_else(|| "none before".to_owned(), |seal| format!("the last before at {}", seal.at));
    let after = proof.after.as_ref().map_or_else(|| "none after".to_owned(), |seal| format!("the first after at {}", seal.at));
    lines.push(("seals", format!("{} in the period, {before}, {after}", proof.seals.len())));
    lines.push(("longest time without", proof.longest.as_ref().map_or_else(|| "none".to_owned(), gap)));
    if let (Some(cadence), Some(kept)) = (proof.cadence_seconds, proof.kept) {
        let said = if kept { "kept".to_owned() } else { format!("not kept, {}", count(proof.gaps.len() as u64, "gap")) };
        lines.push(("cadence", format!("{}: {said}", long(cadence))));
    }
    lines.extend(proof.gaps.iter().map(|span| ("gap", gap(span))));
    for unsealed in &proof.unsealed {
        let sealed = unsealed.sealed.map_or_else(|| "nothing of it is".to_owned(), |seq| format!("it is up to event {seq}"));
        lines.push(("not sealed", format!("session {} with event {}; {sealed}", unsealed.session, unsealed.last)));
    }
    lines
}

pub(super) fn erasure(erasure: &Erasure) -> (&'static str, String) {
    match erasure {
        Erasure::Body { session, seq, .. } => ("redacted", format!("{session}:{seq}")),
        Erasure::Session { session, seq, .. } => ("purged", format!("{session}, {}", count(seq.0, "event"))),
    }
}

pub(super) fn erased(outcome: &ErasureOutcome) -> String {
    match outcome {
        ErasureOutcome::Erased { at } => format!("gone at {at}"),
        ErasureOutcome::Refused { error, .. } => format!("refused: {error}"),
        ErasureOutcome::Open => "nobody has said yet that it is gone".to_owned(),
    }
}

/// For how long sessions are kept, and what was said of it.
pub(super) fn retention(retention: &RetentionReport) -> Vec<(&'static str, String)> {
    let days = |days: u64| if days == 0 { "no time in particular".to_owned() } else { count(days, "day") };
    let mut lines = vec![("kept for", days(retention.days))];
    lines.extend(retention.changes.iter().map(|change| {
        ("said", format!("{} by {} at {}, event {} of the audit log", days(change.days), change.by, change.at, change.seq))
    }));
    lines
}

/// Whether it was written down who reads.
pub(super) fn recording(access: &AccessReport) -> Vec<(&'static str, String)> {
    let said = match (access.throughout, access.at_begin || access.changes.iter().any(|change| change.recorded)) {
        (true, _) => "written down throughout",
        (false, true) => "written down for a part of the period only",
        (false, false) => "not written down",
    };
    let mut lines = vec![("who reads", said.to_owned())];
    lines.extend(access.changes.iter().map(|change| {
        let said = if change.recorded { "on" } else { "off" };
        ("switched", format!("{said} by {} at {}, event {} of the audit log", change.by, change.at, change.seq))
    }));
    lines
}

/// What the report is of.
pub(super) fn title(report: &Report) -> String {
    let of = report.session.map_or_else(|| "all sessions".to_owned(), |session| format!("session {session}"));
    format!("{of}, from {} to {}", report.period.from, report.period.to)
}
