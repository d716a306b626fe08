//! Sessions that belong together: delegates, and those above them.

use super::Engine;
use super::error::EngineError;
use crate::session::delegation::DelegateWait;
use crate::session::{Session, SessionId};

impl Engine {
    /// The session that waits for a person's consent when this one does: itself, or a delegate below it.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub async fn consenting(&self, id: SessionId) -> Result<SessionId, EngineError> {
        let session = self.restore(id).await?.session;
        let below = session.delegation.as_ref().and_then(|delegation| match delegation.wait {
            Some(DelegateWait::Consent { session }) => Some(session),
            _ => None,
        });
        Ok(below.filter(|_| session.unconfirmed().next().is_none()).unwrap_or(id))
    }

    /// The session above all others that `session` works for; itself when it is nobody's delegate.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub async fn root(&self, id: SessionId, session: &Session) -> Result<SessionId, EngineError> {
        let parent = |session: &Session| session.spec.as_ref().and_then(|spec| spec.parent).map(|parent| parent.session);
        let (mut root, mut above) = (id, parent(session));
        while let Some(id) = above {
            root = id;
            above = parent(&self.restore(id).await?.session);
        }
        Ok(root)
    }
}
