//! Giving a session a title.

use super::{NewEvent, SessionInfo, SessionStore};
use crate::protocol::Payload;
use omni_core::{Error, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gives a session a title, which stays: none is made for it any more.
///
/// # Errors
/// `invalid_request` for a title without a letter; `not_found`, and what the store says, for instance that somebody
/// else writes the session just now.
pub async fn rename(store: &dyn SessionStore, session_id: &str, title: String) -> Result<SessionInfo> {
    if title.trim().is_empty() {
        return Err(Error::invalid("the title is empty: give some words"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let renamed = NewEvent {
        timestamp_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        turn_id: None,
        call_id: None,
        parent: None,
        payload: Payload::SessionRenamed { title },
    };
    let mut writer = store.write(session_id).await?;
    writer.append(vec![renamed]).await?;
    drop(writer);
    store.info(session_id).await
}
