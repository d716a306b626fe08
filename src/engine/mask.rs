//! What must not be shown of a session, as far as this process knows it: more and more, never less.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Shared;
use super::errand::Errand;
use super::error::EngineError;
use super::ports::{SecretError, SecretValue};
use crate::session::mask::{HIDDEN, Masker, Place, TooMuch, operative};
use crate::session::{Digest, Event, Seq, SessionId, SessionSpec};
use crate::store::{Read, Row};

/// Name and value, in an order of their own.
type Known = BTreeSet<(String, String)>;

/// What one session hides. Shared by what appends to it and what is done for it.
#[derive(Debug, Default)]
pub(super) struct Mask(Mutex<(KnownHidden, Option<Arc<Masker>>)>);

/// Values, which nobody prints.
#[derive(Default)]
struct KnownHidden(Known);

impl std::fmt::Debug for KnownHidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The maskers of this process: sessions that hide the same share one, since it takes some room and time to be made.
#[derive(Debug, Default)]
pub(super) struct Maskers(Mutex<HashMap<Digest, Weak<Masker>>>);

impl Maskers {
    fn of(&self, known: &Known) -> Result<Option<Arc<Masker>>, TooMuch> {
        let parts = known.iter().flat_map(|(name, value)| [name, value]);
        let text = parts.fold(String::new(), |text, part| format!("{text}{} {part}", part.len()));
        let key = Digest::of(text.as_bytes());
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(masker) = made.get(&key).and_then(Weak::upgrade) {
            return Ok(Some(masker));
        }
        let masker = Arc::new(Masker::new(known.iter().map(|(name, value)| (name.as_str(), value.as_str())))?);
        if masker.is_empty() {
            return Ok(None);
        }
        made.retain(|_, masker| masker.strong_count() > 0);
        made.insert(key, Arc::downgrade(&masker));
        Ok(Some(masker))
    }
}

impl Mask {
    /// Hides these too.
    ///
    /// # Errors
    /// [`SecretError::Unavailable`] when there is too much to be hidden.
    pub(super) fn learn(&self, maskers: &Maskers, values: &[SecretValue]) -> Result<(), SecretError> {
        let mut mask = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = |secret: &SecretValue| (secret.name.clone(), secret.value.clone());
        let mut known = mask.0.0.clone();
        known.extend(values.iter().map(pair));
        if known.len() > mask.0.0.len() {
            // Known is only what is hidden, so that what could not be is asked for again.
            let masker = maskers.of(&known).map_err(|error| SecretError::Unavailable(error.to_string()))?;
            *mask = (KnownHidden(known), masker);
        }
        Ok(())
    }

    /// Hides what is known by now; `None` when there is nothing to hide.
    pub(super) fn masker(&self) -> Option<Arc<Masker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The text without values.
    pub(super) fn text(&self, text: String) -> String {
        match self.masker() {
            Some(masker) => masker.text(&text).into_owned(),
            None => text,
        }
    }

    /// The JSON text without values.
    pub(super) fn json(&self, json: String) -> String {
        let all = |text: &str| Some(text.matches(HIDDEN).count());
        self.masker().and_then(|masker| masker.json(&json, Place::default(), all)).unwrap_or(json)
    }

    /// A command on its way to another node, without values and still one.
    pub(super) fn errand(&self, json: String) -> String {
        let read = |text: &str| {
            let errand: Errand = serde_json::from_str(text).ok()?;
            let again = serde_json::to_string(&errand).ok()?;
            errand.command().is_ok().then(|| again.matches(HIDDEN).count())
        };
        self.masker().and_then(|masker| masker.json(&json, Place::default(), read)).unwrap_or(json)
    }
}

impl Shared {
    /// What a session of this spec hides.
    pub(super) async fn mask(&self, id: SessionId, spec: Option<&SessionSpec>) -> Result<Arc<Mask>, EngineError> {
        let secrets = spec.map(|spec| spec.secrets.as_slice()).unwrap_or_default();
        let mask = Mask::default();
        mask.learn(&self.maskers, &self.ports.secrets.hidden(id, secrets).await?)?;
        Ok(Arc::new(mask))
    }

    /// What a session hides that another node runs.
    pub(super) async fn mask_of(&self, id: SessionId) -> Result<Arc<Mask>, EngineError> {
        let first = Read::one(id, Seq(1));
        let page = self.store.read(first).await?;
        let spec = match page.rows.first() {
            Some(Row::Event { event, .. }) => match Event::read(event) {
                Event::Created(created) => Some(created.spec),
                _ => None,
            },
            _ => None,
        };
        self.mask(id, spec.as_deref()).await
    }

    /// A spec whose secrets are told apart by fingerprints, and what a session of it hides.
    pub(super) async fn hide_in(&self, id: SessionId, mut spec: SessionSpec) -> Result<(SessionSpec, Arc<Mask>), EngineError> {
        let hidden = self.ports.secrets.hidden(id, &spec.secrets).await?;
        let mask = Mask::default();
        mask.learn(&self.maskers, &hidden)?;
        if let Some(masker) = mask.masker() {
            for (part, json) in operative(&spec) {
                if let Some((_, found)) = masker.find_in_json(&json).into_iter().find(|(_, found)| !found.by_chance) {
                    return Err(EngineError::SecretInSpec { part, secret: found.secret });
                }
            }
        }
        for secret in &mut spec.secrets {
            let value =
                self.ports.secrets.values(id, std::slice::from_ref(secret)).await.ok().and_then(|mut values| values.pop());
            secret.fingerprint = value.and_then(|value| self.ports.secrets.fingerprint(&value));
        }
        Ok((spec, Arc::new(mask)))
    }
}
