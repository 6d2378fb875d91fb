//! The store in a SQLite file.

use super::fault::{Inner, Place, lasting};
use super::lease::{self, Identity};
use super::row::{self, Prepared};
use super::watching::Watch;
use super::worker::{self, Append, Shared, Work};
use super::{
    Durability, NewEvent, PathQuery, SearchHit, SessionInfo, SessionStore, SessionWriter, StoredMessage, log,
    open, rebuild, search,
};
use crate::protocol::{AgentEvent, Payload};
use omni_core::{BoxFuture, Code, Error, Result};
use rusqlite::{Connection, Transaction};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Threads that read, so that one long search does not hold up the others.
const READERS: usize = 2;

/// How long a deletion waits for those who read what was before it.
const READERS_END: Duration = Duration::from_secs(2);

/// Sessions in a SQLite file that several processes may share, or in memory.
///
/// Clones are the same store. Its threads end with the last clone and the last writer.
///
/// ```
/// use omni_agent::{NewEvent, PathQuery, Payload, SessionStore, SqliteStore};
/// use omni_core::Message;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = SqliteStore::in_memory()?;
/// let mut writer = store.create(Some("notes".into()), Vec::new()).await?;
/// let saved = Payload::MessageSaved {
///     message_id: "m1".into(),
///     parent_id: None,
///     message: Message::user("Remember the milk."),
/// };
/// let event = NewEvent { timestamp_ms: 0, turn_id: None, call_id: None, parent: None, payload: saved };
/// assert_eq!(writer.append(vec![event]).await?[0].seq, Some(2)); // 1 is session.created
/// assert_eq!(store.path("notes", PathQuery::default()).await?[0].message.text(), "Remember the milk.");
/// assert_eq!(store.search("milk", 10).await?[0].excerpt, "Remember the [milk].");
/// # Ok::<(), omni_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Store>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SqliteStore({})", self.inner.shared.place.name())
    }
}

struct Store {
    shared: Arc<Shared>,
    write: Sender<Work>,
    read: Sender<Work>,
    watch: Arc<Watch>,
    writers: AtomicU64,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.watch.close();
    }
}

impl SqliteStore {
    /// Opens the store in `path`, or makes it; its folder must be there. Looks at the disk, so not on an asynchronous
    /// thread that is in a hurry. A file that cannot be written is opened for reading.
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self> {
        Self::open_with(path.as_ref(), durability, lease::LIFE)
    }

    /// As [`SqliteStore::open`], with another time after which a silent writer counts as gone.
    fn open_with(path: &Path, durability: Durability, life: Duration) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|_| {
            Error::invalid("the session store's path is empty: name a file, or take the store in memory")
        })?;
        let place = Place::file(&path);
        let opened = open::file(&path, &place, durability, READERS)?;
        let shared = shared(place, opened.read_only, life, &opened.writer)?;
        let (read, inbox) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        for connection in opened.readers {
            let inbox = inbox.clone();
            worker::spawn(&shared.place, "omni-store-read", move || {
                worker::read(connection, &inbox);
            })?;
        }
        let watch = Arc::new(Watch::default());
        let (watching, watcher, known) = (watch.clone(), opened.watcher, shared.clone());
        worker::spawn(&shared.place, "omni-store-watch", move || {
            watching.run(&watcher, &known);
        })?;
        Self::start(opened.writer, shared, Some(read), watch)
    }

    /// A store that ends with the process.
    pub fn in_memory() -> Result<Self> {
        let place = Place::memory();
        let connection = open::memory(&place)?;
        let shared = shared(place, false, lease::LIFE, &connection)?;
        Self::start(connection, shared, None, Arc::default())
    }

    fn start(
        connection: Connection,
        shared: Arc<Shared>,
        read: Option<Sender<Work>>,
        watch: Arc<Watch>,
    ) -> Result<Self> {
        let (write, inbox) = mpsc::channel();
        let writer = worker::Writer {
            connection,
            inbox,
            shared: shared.clone(),
        };
        worker::spawn(&shared.place, "omni-store-write", move || writer.run())?;
        Ok(Self {
            inner: Arc::new(Store {
                shared,
                // Memory has one connection: what it holds is nowhere else.
                read: read.unwrap_or_else(|| write.clone()),
                write,
                watch,
                writers: AtomicU64::new(0),
            }),
        })
    }

    /// Whether the file can only be read.
    pub fn read_only(&self) -> bool {
        self.inner.shared.read_only
    }

    /// Commits made by appends so far: fewer than appends when several wait at once.
    pub fn commits(&self) -> u64 {
        self.inner.shared.commits.load(Ordering::Relaxed)
    }

    /// Makes all caches anew from the log: what is listed, the trees, what is searched.
    pub async fn rebuild(&self) -> Result<()> {
        self.change("rebuilding the caches", |transaction| rebuild::all(transaction))
            .await
    }

    /// What SQLite finds wrong with the file: nothing, if it is whole. Reads all of it.
    pub async fn check(&self) -> Result<Vec<String>> {
        // Over a connection of its own: one that remembers the search table from before another connection's write
        // takes that for damage.
        let path = self.inner.shared.place.path().map(Path::to_owned);
        self.look("checking the file", move |connection| match path {
            Some(path) => open::check(&open::connect(&path, open::Way::Usual)?),
            None => open::check(connection),
        })
        .await
    }

    async fn look<T: Send + 'static>(
        &self,
        doing: &str,
        job: impl FnOnce(&Connection) -> Inner<T> + Send + 'static,
    ) -> Result<T> {
        let shared = &self.inner.shared;
        worker::ask(&self.inner.read, shared, move |connection| {
            // One transaction: all that is read belongs together.
            let transaction = connection.transaction()?;
            job(&transaction)
        })
        .await?
        .map_err(|trouble| shared.place.tell(doing, trouble))
    }

    async fn change<T: Send + 'static>(
        &self,
        doing: &str,
        job: impl FnOnce(&Transaction<'_>) -> Inner<T> + Send + 'static,
    ) -> Result<T> {
        let shared = &self.inner.shared;
        if shared.read_only {
            return Err(shared.place.read_only(doing));
        }
        let done = worker::ask(&self.inner.write, shared, move |connection| {
            worker::transact(connection, job)
        })
        .await?;
        shared.tell_news();
        done.map_err(|trouble| shared.place.tell(doing, trouble))
    }

    /// Takes the lease of the session that `find` gives.
    async fn lease(
        &self,
        doing: &str,
        find: impl FnOnce(&Transaction<'_>) -> Inner<SessionInfo> + Send + 'static,
    ) -> Result<Box<dyn SessionWriter>> {
        let store = self.inner.clone();
        let writer = self
            .change(doing, move |transaction| {
                let info = find(transaction)?;
                let shared = &store.shared;
                let number = store.writers.fetch_add(1, Ordering::Relaxed);
                let token = format!("{}.{number}", shared.owner);
                let session_id = info.session_id;
                lease::take(
                    transaction,
                    &session_id,
                    &shared.own,
                    &shared.owner,
                    &token,
                    shared.life,
                )?;
                shared.held.fetch_add(1, Ordering::SeqCst);
                // Made here: if nobody waits any more, its drop gives the lease back.
                Ok(SqliteWriter {
                    session_id,
                    token,
                    last_seq: Arc::new(AtomicU64::new(info.last_seq)),
                    store,
                })
            })
            .await?;
        Ok(Box::new(writer))
    }
}

fn shared(place: Place, read_only: bool, life: Duration, connection: &Connection) -> Result<Arc<Shared>> {
    let owner = connection
        .query_row("SELECT lower(hex(randomblob(12)))", [], |row| row.get(0))
        .map_err(|error| place.tell("opening it", error.into()))?;
    Ok(Arc::new(Shared {
        place,
        read_only,
        own: Identity::own(),
        owner,
        life,
        held: AtomicUsize::new(0),
        news: watch::Sender::new(0),
        commits: AtomicU64::new(0),
    }))
}

/// `first` with a `session.created` at its beginning.
fn begun(mut first: Vec<NewEvent>) -> Result<Vec<Prepared>> {
    if !matches!(
        first.first().map(|event| &event.payload),
        Some(Payload::SessionCreated { .. })
    ) {
        let timestamp_ms = first
            .first()
            .map_or_else(lease::now_ms, |event| event.timestamp_ms);
        let created = NewEvent {
            timestamp_ms,
            turn_id: None,
            call_id: None,
            parent: None,
            payload: Payload::SessionCreated {
                title: None,
                forked_from: None,
            },
        };
        first.insert(0, created);
    }
    first.into_iter().map(Prepared::new).collect()
}

impl SessionStore for SqliteStore {
    fn create(
        &self,
        session_id: Option<String>,
        first: Vec<NewEvent>,
    ) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        Box::pin(async move {
            if let Some(given) = &session_id {
                log::check_id(given)?;
            }
            let events = begun(first)?;
            self.lease("making a session", move |transaction| {
                Ok(log::create(transaction, session_id.as_deref(), &events)?.info)
            })
            .await
        })
    }

    fn write(&self, session_id: &str) -> BoxFuture<'_, Result<Box<dyn SessionWriter>>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            self.lease("taking the lease of a session", move |transaction| {
                Ok(row::need(transaction, &session_id)?.info)
            })
            .await
        })
    }

    fn info(&self, session_id: &str) -> BoxFuture<'_, Result<SessionInfo>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            self.look("reading a session", move |connection| {
                Ok(row::need(connection, &session_id)?.info)
            })
            .await
        })
    }

    fn list(&self, limit: usize, after: Option<String>) -> BoxFuture<'_, Result<Vec<SessionInfo>>> {
        Box::pin(async move {
            self.look("listing the sessions", move |connection| {
                log::list(connection, limit, after.as_deref())
            })
            .await
        })
    }

    fn events(&self, session_id: &str, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<AgentEvent>>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            self.look("reading events", move |connection| {
                log::events(connection, &session_id, after, limit)
            })
            .await
        })
    }

    fn landmarks<'a>(
        &'a self,
        session_id: &'a str,
        compactions: usize,
    ) -> BoxFuture<'a, Result<Vec<AgentEvent>>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            self.look("reading a session's landmarks", move |connection| {
                log::landmarks(connection, &session_id, compactions)
            })
            .await
        })
    }

    fn path(&self, session_id: &str, query: PathQuery) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            self.look("reading messages", move |connection| {
                log::path(connection, &session_id, &query)
            })
            .await
        })
    }

    fn tree(&self, session_id: &str) -> BoxFuture<'_, Result<Vec<StoredMessage>>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            self.look("reading messages", move |connection| {
                log::tree(connection, &session_id)
            })
            .await
        })
    }

    fn search(&self, words: &str, limit: usize) -> BoxFuture<'_, Result<Vec<SearchHit>>> {
        let words = words.to_owned();
        Box::pin(async move {
            self.look("searching", move |connection| {
                search::search(connection, &words, limit)
            })
            .await
        })
    }

    fn fork(&self, session_id: &str, message_id: Option<String>) -> BoxFuture<'_, Result<SessionInfo>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            self.change("forking a session", move |transaction| {
                Ok(log::fork(transaction, &session_id, message_id)?.info)
            })
            .await
        })
    }

    fn delete(&self, session_id: &str) -> BoxFuture<'_, Result<()>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            let own = self.inner.shared.own.clone();
            let gone = session_id.clone();
            self.change("deleting a session", move |transaction| {
                row::need(transaction, &session_id)?;
                lease::refuse_if_held(transaction, &session_id, &own, "deleted")?;
                log::delete(transaction, &session_id)
            })
            .await?;
            self.wipe(&gone).await
        })
    }

    fn changed(&self, session_id: &str, after: u64) -> BoxFuture<'_, Result<()>> {
        let session_id = session_id.to_owned();
        Box::pin(async move {
            let mut news = self.inner.shared.news.subscribe();
            let _waiter = self.inner.watch.enter();
            loop {
                news.borrow_and_update();
                if self.info(&session_id).await?.last_seq > after {
                    return Ok(());
                }
                news.changed().await.map_err(|_| self.inner.shared.gone())?;
            }
        })
    }
}

impl SqliteStore {
    /// Takes out of the file what a deletion leaves between its rows, and empties the write-ahead log.
    async fn wipe(&self, session_id: &str) -> Result<()> {
        let shared = &self.inner.shared;
        if shared.place.path().is_none() {
            return Ok(());
        }
        let wiped = worker::ask(&self.inner.write, shared, |connection| -> Inner<bool> {
            // `secure_delete` is not enough: when rows move between pages, copies of them stay behind in free space.
            connection.execute_batch("VACUUM")?;
            // A reader that does not end holds up this store's other writers meanwhile, so not for long.
            connection.busy_timeout(READERS_END)?;
            let busy =
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
            connection.busy_timeout(open::BUSY)?;
            Ok(!busy?)
        })
        .await?;
        let reason = match wiped {
            Ok(true) => return Ok(()),
            Ok(false) => "another process reads the store without a pause".to_owned(),
            Err(trouble) => shared.place.tell("wiping the file", trouble).message,
        };
        Err(lasting(
            Code::Internal,
            format!(
                "session \"{session_id}\" is deleted, but traces of its text may still stand in the file or its \
                 -wal: {reason}. They go with the next session that is deleted"
            ),
        ))
    }
}

/// The writer of one session.
struct SqliteWriter {
    session_id: String,
    token: String,
    last_seq: Arc<AtomicU64>,
    store: Arc<Store>,
}

impl SessionWriter for SqliteWriter {
    fn session_id(&self) -> &str {
        &self.session_id
    }

    fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::SeqCst)
    }

    fn append(&mut self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<AgentEvent>>> {
        Box::pin(async move {
            if events.is_empty() {
                return Ok(Vec::new());
            }
            let events = events.into_iter().map(Prepared::new).collect::<Result<_>>()?;
            let (done, answer) = oneshot::channel();
            let append = Append {
                session_id: self.session_id.clone(),
                token: self.token.clone(),
                events,
                last_seq: self.last_seq.clone(),
                done,
            };
            let gone = |()| self.store.shared.gone();
            self.store
                .write
                .send(Work::Append(append))
                .map_err(|_| gone(()))?;
            answer.await.map_err(|_| gone(()))?
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let (shared, token) = (self.store.shared.clone(), self.token.clone());
            worker::ask(&self.store.write, &shared, move |connection| {
                lease::release(connection, &token)
            })
            .await?
            .map_err(|trouble| shared.place.tell("giving a lease back", trouble))
        })
    }
}

impl Drop for SqliteWriter {
    fn drop(&mut self) {
        self.store.shared.held.fetch_sub(1, Ordering::SeqCst);
        let token = std::mem::take(&mut self.token);
        // If the thread has gone, the lease ends with the process or its time.
        let _ = self.store.write.send(Work::Do(Box::new(move |connection| {
            let _ = lease::release(connection, &token);
        })));
    }
}

#[cfg(test)]
mod tests;
