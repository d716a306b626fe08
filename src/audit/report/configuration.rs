//! What an agent was set up with, as one digest of what stands in the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::projection::moment;
use crate::session::{Body, Digest, Recorded, Seq, Timestamp};

/// The first bytes that are digested.
const DOMAIN: &[u8] = b"rekindle/configuration/1\0";

/// The parts of the specification that count, in this order: what decides how a session acts, and nothing of what its task is or where
/// it works.
pub const CONFIGURATION: [&str; 11] =
    ["agent", "limits", "interaction", "security", "runtime", "mcp", "secrets", "memory", "plugins", "instructions", "deadlines"];

/// The parts of a fork that change it.
const FORKED: [&str; 3] = ["model", "iterations", "budget_micro_usd"];

/// SHA-256 over `rekindle/configuration/1`, a zero byte, and these parts, each as its length in bytes as eight bytes, the highest first,
/// and its bytes as they stand in the log; a part that is not there is of length zero:
///
/// 1. of the body of `session.created`, the JSON text of each of `spec`'s fields that [`CONFIGURATION`] names, in that order;
/// 2. of the newest `session.limits_changed`, the JSON text of `limits`;
/// 3. the whole body of the newest `model.briefed`: agent, model, the digests of prompt and tool catalogue, the tools;
/// 4. of the newest `session.forked`, the JSON text of each of `model`, `iterations` and `budget_micro_usd`, in that order.
///
/// Two sessions that are set up alike have the same one. Unset where one of these events was redacted or cannot be read.
pub type Fingerprint = Option<Digest>;

/// Something that sets an agent up, or changes that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigurationChange {
    /// The event.
    pub seq: Seq,
    /// When.
    #[serde(serialize_with = "moment")]
    pub at: Timestamp,
    /// Its kind.
    pub kind: String,
    /// What is in force from it on.
    pub fingerprint: Fingerprint,
}

/// Follows what is in force along a log.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    spec: Parts,
    limits: Parts,
    briefed: Parts,
    forked: Parts,
}

/// Texts as they stand in the log; `None` for what cannot be read.
#[derive(Debug, Clone)]
struct Parts(Option<Vec<String>>);

impl Default for Parts {
    fn default() -> Self {
        Self(Some(Vec::new()))
    }
}

impl Configuration {
    /// Takes the next event; whether it may have changed what is in force.
    pub(super) fn take(&mut self, event: &Recorded) -> bool {
        match event.kind.as_str() {
            "session.created" => self.spec = spec(&event.body),
            "session.limits_changed" => self.limits = fields(&event.body, &["limits"]),
            "model.briefed" => self.briefed = whole(&event.body),
            "session.forked" => self.forked = fields(&event.body, &FORKED),
            _ => return false,
        }
        true
    }

    /// The digest of what is in force.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Sha256::new();
        hasher.update(DOMAIN);
        let parts = [(&self.spec, CONFIGURATION.len()), (&self.limits, 1), (&self.briefed, 1), (&self.forked, FORKED.len())];
        for (part, count) in parts {
            let texts = part.0.as_ref()?;
            for index in 0..count {
                let text = texts.get(index).map(String::as_str).unwrap_or_default();
                hasher.update((text.len() as u64).to_be_bytes());
                hasher.update(text.as_bytes());
            }
        }
        Some(Digest(hasher.finalize().into()))
    }
}

fn whole(body: &Body) -> Parts {
    Parts(match body {
        Body::Json(text) => Some(vec![text.clone()]),
        Body::Redacted => None,
    })
}

fn spec(body: &Body) -> Parts {
    #[derive(Deserialize)]
    struct Created<'a> {
        #[serde(borrow)]
        spec: &'a RawValue,
    }
    let created: Option<Created<'_>> = json(body).and_then(|text| serde_json::from_str(text).ok());
    Parts(created.and_then(|created| named(created.spec.get(), &CONFIGURATION)))
}

fn fields(body: &Body, names: &[&str]) -> Parts {
    Parts(json(body).and_then(|text| named(text, names)))
}

const fn json(body: &Body) -> Option<&str> {
    match body {
        Body::Json(text) => Some(text.as_str()),
        Body::Redacted => None,
    }
}

/// The texts of these fields of an object, as they stand there.
fn named(object: &str, names: &[&str]) -> Option<Vec<String>> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(object).ok()?;
    Some(names.iter().map(|name| fields.get(*name).map_or_else(String::new, |text| text.get().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{EventId, Kind, SessionId, Source};

    fn event(kind: &str, body: &str) -> Recorded {
        let (session, id) = (SessionId::AUDIT_LOG, EventId::from_uuid(uuid::Uuid::nil()));
        let (kind, body) = (Kind::new(kind), Body::Json(body.to_owned()));
        Recorded {
            session,
            seq: Seq(1),
            id,
            kind,
            v: 1,
            at: Timestamp(0),
            source: Source::User,
            cause: None,
            must_understand: false,
            body,
        }
    }

    fn after(events: &[(&str, &str)]) -> Fingerprint {
        let mut configuration = Configuration::default();
        for (kind, body) in events {
            assert!(configuration.take(&event(kind, body)), "{kind}");
        }
        configuration.fingerprint()
    }

    const CREATED: (&str, &str) = (
        "session.created",
        r#"{"spec":{"origin":{"type":"fresh"},"workspace":"/a","agent":{"name": "coder"},"limits":{"iterations":3}}}"#,
    );

    #[test]
    fn a_fingerprint_is_made_of_the_bytes_that_are_written_down() {
        let limits = ("session.limits_changed", r#"{"limits":{"iterations":9},"reason":"asked for"}"#);
        let briefed = ("model.briefed", r#"{"agent":"coder"}"#);
        let forked = ("session.forked", r#"{"parent":"x","model":"other","iterations":4}"#);
        let mut bytes = b"rekindle/configuration/1\0".to_vec();
        let mut part = |text: &str| {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        };
        part(r#"{"name": "coder"}"#);
        part(r#"{"iterations":3}"#);
        (0..9).for_each(|_| part(""));
        part(r#"{"iterations":9}"#);
        part(r#"{"agent":"coder"}"#);
        ["\"other\"", "4", ""].into_iter().for_each(part);
        assert_eq!(after(&[CREATED, limits, briefed, forked]), Some(Digest::of(&bytes)));
    }

    #[test]
    fn the_task_is_no_part_of_it_and_each_setting_is() {
        let elsewhere = (
            CREATED.0,
            r#"{"spec":{"origin":{"type":"import"},"workspace":"/b","title":"t","agent":{"name": "coder"},"limits":{"iterations":3}}}"#,
        );
        assert_eq!(after(&[CREATED]), after(&[elsewhere]));
        for other in [
            r#"{"spec":{"agent":{"name":"coder"},"limits":{"iterations":3}}}"#,
            r#"{"spec":{"agent":{"name": "coder"},"limits":{"iterations":4}}}"#,
            r#"{"spec":{"agent":{"name": "coder"},"limits":{"iterations":3},"security":{}}}"#,
        ] {
            assert_ne!(after(&[CREATED]), after(&[(CREATED.0, other)]), "{other}");
        }
    }

    #[test]
    fn what_was_redacted_is_not_claimed_to_be_known() {
        let mut configuration = Configuration::default();
        let mut redacted = event(CREATED.0, CREATED.1);
        redacted.body = Body::Redacted;
        assert!(configuration.take(&redacted));
        assert_eq!(configuration.fingerprint(), None);
        assert!(!configuration.take(&event("turn.ended", "{}")));
    }
}
