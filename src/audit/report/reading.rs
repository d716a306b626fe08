//! A session of a report while its events stream by.

use std::collections::{BTreeMap, HashMap};

use super::Period;
use super::action::{ActionReport, Following, Outcome, Setting};
use super::configuration::{Configuration, ConfigurationChange, Fingerprint};
use super::record::{SealedHead, Taken};
use super::session::{Damage, Owner, Sealing, SessionReport, Sources};
use crate::audit::Verdicts;
use crate::session::event::{Briefed, Created, OwnerAcquired};
use crate::session::model::CallReport;
use crate::session::{Body, Content, Digest, Event, Origin, Recorded, Seq, SessionId, Source, Timestamp};
use crate::store::{PURGED, Row, SessionRow};

/// A session while its events stream by.
pub(super) struct Reading<'a> {
    period: Period,
    /// Its own events come behind this one; what it shares was done by another session.
    base: Seq,
    setting: Setting,
    /// When it was imported, which is when all of it counts.
    imported_at: Option<Timestamp>,
    /// The hashes that were sealed, by event.
    sealed: HashMap<Seq, Digest>,
    /// What the audit log says was taken out of sessions.
    taken: Option<&'a Taken>,
    pub(super) upto: Seq,
    /// The first event that is later than the period.
    pub(super) behind: Option<Seq>,
    pub(super) events: u64,
    first: Option<Seq>,
    last: Option<Seq>,
    user: Option<String>,
    parent: Option<SessionId>,
    sources: Sources,
    owners: Vec<Owner>,
    agent: Option<String>,
    asked: Option<String>,
    models: Vec<String>,
    judges: Vec<String>,
    confirmation: Option<serde_json::Value>,
    configuration: Configuration,
    at_begin: Option<Fingerprint>,
    changes: Vec<ConfigurationChange>,
    open: BTreeMap<Seq, Following>,
    /// Where the actions of an imported recording stand, by the ids that the recording gave them.
    imported: HashMap<i64, Seq>,
    actions: Vec<ActionReport>,
    pub(super) damage: Option<Damage>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(row: &SessionRow, period: Period, heads: &[SealedHead], taken: Option<&'a Taken>) -> Self {
        Self {
            period,
            base: row.base.map_or(Seq::ZERO, |base| base.seq),
            setting: Setting::default(),
            imported_at: None,
            sealed: heads.iter().map(|head| (head.seq, head.hash)).collect(),
            taken,
            upto: Seq::ZERO,
            behind: None,
            events: 0,
            first: None,
            last: None,
            user: None,
            parent: row.base.map(|base| base.session),
            sources: Sources::default(),
            owners: Vec::new(),
            agent: None,
            asked: None,
            models: Vec::new(),
            judges: Vec::new(),
            confirmation: None,
            configuration: Configuration::default(),
            at_begin: None,
            changes: Vec::new(),
            open: BTreeMap::new(),
            imported: HashMap::new(),
            actions: Vec::new(),
            damage: None,
        }
    }

    pub(super) fn row(&mut self, row: &Row) {
        match row {
            Row::Damaged { seq, what } => self.bad(*seq, what.clone()),
            Row::Event { event, hash, .. } => {
                if self.sealed.get(&event.seq).is_some_and(|sealed| sealed != hash) {
                    self.bad(event.seq, format!("event {} has another hash than was sealed: it was written anew", event.seq));
                }
                if event.body == Body::Redacted && self.taken.is_some_and(|taken| !taken.has(event.session, Some(event.seq))) {
                    self.bad(
                        event.seq,
                        format!("event {} is blank, and the audit log does not say that anybody redacted it", event.seq),
                    );
                }
                self.event(event);
            }
        }
    }

    pub(super) fn bad(&mut self, seq: Seq, what: String) {
        self.damage.get_or_insert(Damage { seq: Some(seq), what });
    }

    fn event(&mut self, event: &Recorded) {
        if event.kind.as_str() == "session.created" {
            self.created(event);
        }
        let at = self.imported_at.unwrap_or(event.at);
        if at >= self.period.to {
            self.behind.get_or_insert(event.seq);
            return;
        }
        self.upto = event.seq;
        let counts = self.period.holds(at) && event.seq > self.base;
        if counts {
            // What was in force before is what the period begins with.
            self.at_begin.get_or_insert_with(|| self.configuration.fingerprint());
            self.events += 1;
            self.first.get_or_insert(event.seq);
            self.last = Some(event.seq);
            match event.source {
                Source::User => self.sources.user += 1,
                Source::Agent => self.sources.agent += 1,
                Source::Environment => self.sources.environment += 1,
            }
        }
        if self.configuration.take(event) {
            self.configured(event, counts);
        }
        self.about(event, counts);
        self.follow(event, counts);
    }

    fn created(&mut self, event: &Recorded) {
        let Event::Created(Created { spec }) = Event::read(event) else { return };
        self.setting.is_import = matches!(spec.origin, Origin::Import { .. });
        self.setting.is_replay = matches!(spec.origin, Origin::Replay { .. });
        self.setting.has_judges = !spec.security.analyzers.is_empty();
        self.imported_at = self.setting.is_import.then_some(event.at);
        self.user.clone_from(&spec.user);
        self.parent = self.parent.or_else(|| spec.parent.as_ref().map(|parent| parent.session));
        let word = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.judges = spec.security.analyzers.iter().filter_map(|judge| serde_json::to_value(judge).ok()).map(word).collect();
        if let Some(agent) = &spec.agent {
            self.agent = Some(agent.name.clone());
            self.asked = Some(agent.config.model.name.clone());
            self.confirmation = serde_json::to_value(spec.security.confirmation).ok();
        }
    }

    /// The first one of a session is what it begins with.
    fn configured(&mut self, event: &Recorded, counts: bool) {
        let fingerprint = self.configuration.fingerprint();
        if !counts {
            return;
        }
        if event.kind.as_str() == "session.created" {
            self.at_begin = Some(fingerprint);
        } else {
            self.changes.push(ConfigurationChange { seq: event.seq, at: event.at, kind: event.kind.to_string(), fingerprint });
        }
    }

    fn about(&mut self, event: &Recorded, counts: bool) {
        match event.kind.as_str() {
            "session.owner_acquired" if counts => {
                if let Event::OwnerAcquired(OwnerAcquired { epoch, node, reason }) = Event::read(event) {
                    self.owners.push(Owner { seq: event.seq, at: event.at, node, epoch, reason });
                }
            }
            "session.forked" => {
                if let Event::Forked(forked) = Event::read(event)
                    && let Some(model) = forked.model
                {
                    self.asked = Some(model);
                }
            }
            "model.briefed" => {
                if let Event::Briefed(Briefed { agent, model, .. }) = Event::read(event) {
                    (self.agent, self.asked) = (Some(agent), Some(model));
                }
            }
            "model.responded" if counts => {
                if let Event::ModelResponded(CallReport { model, .. }) = Event::read(event)
                    && !self.models.contains(&model)
                {
                    self.models.push(model);
                }
            }
            _ => {}
        }
    }

    fn follow(&mut self, event: &Recorded, counts: bool) {
        if let Some(mut following) = Following::begin(event) {
            following.counts = counts;
            if let Some(id) = following.imported {
                self.imported.insert(id, event.seq);
            }
            self.open.insert(event.seq, following);
            return;
        }
        let Some(seq) = self.answered(event) else { return };
        let setting = self.setting;
        let Some(following) = self.open.get_mut(&seq) else { return };
        following.take(event, setting);
        following.counts |= counts;
    }

    /// The action that an event is about; an imported outcome names it by the ids of the recording.
    fn answered(&self, event: &Recorded) -> Option<Seq> {
        if event.cause.is_some() || !self.setting.is_import || event.kind.family() != "observation" {
            return event.cause;
        }
        let Event::Item(entry) = Event::read(event) else { return None };
        match entry.item.content {
            Content::Observation(_) => self.imported.get(&entry.item.cause?).copied(),
            Content::Action(_) => None,
        }
    }

    pub(super) fn report(mut self, row: &SessionRow, verdicts: Verdicts, heads: &[SealedHead]) -> SessionReport {
        let setting = self.setting;
        let open = std::mem::take(&mut self.open);
        self.actions.extend(open.into_values().filter(|following| following.counts).map(|following| following.end(setting)));
        let mut outcomes = BTreeMap::new();
        for action in &self.actions {
            *outcomes.entry(Outcome::as_str(action.outcome.state)).or_default() += 1;
        }
        if self.models.is_empty() {
            self.models.extend(self.asked.take());
        }
        let last = self.last.or_else(|| (row.directory.phase == PURGED).then_some(row.head));
        let covers = last.and_then(|last| heads.iter().filter(|head| head.seq >= last).min_by_key(|head| head.seal));
        let sealed = Sealing {
            upto: heads.iter().map(|head| head.seq).max(),
            seal: covers.map(|head| head.seal),
            at: covers.map(|head| head.at),
        };
        if let Some(sealed) = sealed.upto.filter(|sealed| *sealed > row.head) {
            let what = format!("it ends at event {}, and event {sealed} was sealed: it was cut off, or put back", row.head);
            self.bad(row.head.next(), what);
        }
        SessionReport {
            session: row.id,
            name: row.name.as_ref().map(ToString::to_string),
            title: row.directory.title.clone(),
            purged: row.directory.phase == PURGED,
            imported: setting.is_import,
            parent: self.parent,
            events: self.events,
            first: self.first,
            last: self.last,
            upto: self.upto,
            user: self.user,
            sources: self.sources,
            owners: self.owners,
            agent: self.agent,
            models: self.models,
            judges: self.judges,
            confirmation: self.confirmation,
            configuration: self.at_begin.flatten(),
            configuration_changes: self.changes,
            flagged: self.actions.iter().filter(|action| !action.flags.is_empty()).count() as u64,
            actions: self.actions,
            outcomes,
            verdicts,
            sealed,
            damage: self.damage,
        }
    }
}
