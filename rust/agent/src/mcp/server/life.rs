//! The life of a server: its starts, its restarts, its authorization, and its list that changes.

use super::super::connection::{Connection, Start, Trouble};
use super::super::{http, oauth};
use super::{Shared, Status};
use crate::protocol::LogLevel;
use crate::tool::Notice;
use omni_core::{Code, Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause before the first restart; each one after doubles it, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A server that ran so long has recovered: the pauses begin anew.
const RECOVERED: Duration = Duration::from_secs(30);
/// Starts that fail one after another before it is left alone until somebody wants it.
const ATTEMPTS: u32 = 5;
/// Authorizations in a row: a person is not asked for ever.
const AUTHORIZATIONS: u32 = 3;
/// The pause after a list of tools was read again because the server said so: a server that says it all the time
/// does not keep us busy.
const SETTLING: Duration = Duration::from_millis(100);

/// How an HTTP server is reached.
#[derive(Default)]
struct Access {
    client: Option<http::Client>,
    /// What a call has shown to be wanted before the next connection.
    wanted: Option<String>,
    /// Authorizations since one was followed by a connection that lasted.
    asked: u32,
}

impl Access {
    async fn get(&mut self, server: &Shared, challenge: &str) -> Result<()> {
        self.asked += 1;
        if self.asked > AUTHORIZATIONS {
            *self = Self::default();
            return Err(Error::new(
                Code::Authentication,
                format!(
                    "the MCP server \"{}\" asks for authorization again and again; look at its \"oauth\"",
                    server.name
                ),
            ));
        }
        let (name, notices) = (&server.name, &server.notices);
        let client = oauth::authorize(name, &server.config, &server.options, notices, challenge).await?;
        self.client = Some(client);
        Ok(())
    }
}

impl Shared {
    pub(super) async fn supervise(self: Arc<Self>) {
        let done = self.done.clone().drop_guard();
        let mut pause = FIRST_PAUSE;
        let mut failures = 0_u32;
        let mut access = Access::default();
        while !self.closed.is_cancelled() {
            let started = tokio::select! {
                () = self.closed.cancelled() => break,
                started = self.start(&mut access) => started,
            };
            match started {
                Ok(connection) => {
                    failures = 0;
                    let since = Instant::now();
                    self.status.send_replace(Status::Up(Arc::clone(&connection)));
                    self.notices.tell(Notice::Connected(self.own_names()));
                    self.attend(&connection).await;
                    if self.closed.is_cancelled() {
                        connection.close().await;
                        break;
                    }
                    self.status.send_replace(Status::Starting);
                    self.forget_list();
                    access.wanted = connection.challenge().map(str::to_owned);
                    let why = connection.last_words().await;
                    connection.close().await;
                    let error = Trouble::Gone(why).of_server(&self.name);
                    self.failed(error, true);
                    if since.elapsed() > RECOVERED {
                        pause = FIRST_PAUSE;
                        access.asked = 0;
                    }
                }
                Err(error) => {
                    failures += 1;
                    // Another try makes no other configuration.
                    let again = failures < ATTEMPTS
                        && !matches!(
                            error.code,
                            Code::InvalidRequest | Code::Unsupported | Code::Authentication
                        );
                    self.status.send_replace(Status::Down {
                        error: error.clone(),
                        since: Instant::now(),
                        again,
                    });
                    self.failed(error, again);
                    if !again {
                        failures = 0;
                        pause = FIRST_PAUSE;
                        tokio::select! {
                            () = self.closed.cancelled() => break,
                            () = self.wanted.notified() => continue,
                        }
                    }
                }
            }
            tokio::select! {
                () = self.closed.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.forget_list();
        self.status.send_replace(Status::Closed);
        // A start that was given up has left its program to be ended.
        self.programs.close();
        self.programs.wait().await;
        drop(done);
    }

    fn failed(&self, mut error: Error, will_retry: bool) {
        error.message = self.notices.hide(&error.message);
        self.notices.tell(Notice::Failed { error, will_retry });
    }

    /// A connection with its tools read, within the time that a start may take.
    async fn start(self: &Arc<Self>, access: &mut Access) -> Result<Arc<Connection>> {
        if let Some(challenge) = access.wanted.take() {
            access.get(self, &challenge).await?;
        }
        loop {
            let attempt = async {
                if self.config.is_http() && access.client.is_none() {
                    access.client = Some(http::client(&self.name, &self.config, &self.options).await?);
                }
                let client = access.client.as_ref();
                let connection =
                    Connection::open(&self.name, &self.config, client, &self.notices, &self.programs).await?;
                let connection = Arc::new(connection);
                match self.read_list(&connection).await {
                    Ok(_) => Ok(connection),
                    Err(error) => {
                        connection.close().await;
                        let challenge = connection.challenge();
                        Err(challenge.map_or(Start::Failed(error), |one| Start::Unauthorized(one.to_owned())))
                    }
                }
            };
            match tokio::time::timeout(self.startup(), attempt).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(Start::Failed(error))) => return Err(error),
                Ok(Err(Start::Refused(error))) => return Err(Trouble::Refused(error).of_server(&self.name)),
                // Outside of the limit: a person takes longer than a start may.
                Ok(Err(Start::Unauthorized(challenge))) => access.get(self, &challenge).await?,
                Err(_) => {
                    return Err(Error::new(
                        Code::Timeout,
                        format!(
                            "the MCP server \"{}\" did not start within {} s; give it more with \"startup_timeout\"",
                            self.name,
                            self.startup().as_secs_f64()
                        ),
                    ));
                }
            }
        }
    }

    /// Until the connection ends or nobody wants it: reads the list again when the server says that it changed.
    async fn attend(&self, connection: &Arc<Connection>) {
        loop {
            tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                () = connection.tap.ended.cancelled() => return,
                () = connection.tap.changed.notified() => {}
            }
            let before = self.own_names();
            if let Some(list) = self.list().as_mut() {
                list.stale = true;
            }
            let limit = tokio::time::timeout(self.startup(), self.read_list(connection));
            let read = tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                () = connection.tap.ended.cancelled() => return,
                read = limit => read,
            };
            match read {
                Ok(Ok(_)) => {
                    let now = self.own_names();
                    if now != before {
                        self.notices.tell(Notice::ToolsChanged(now));
                    }
                }
                Ok(Err(error)) => self.notices.log(
                    LogLevel::Warning,
                    &format!("its tools changed, and could not be read: {}", error.message),
                ),
                Err(_) => self
                    .notices
                    .log(LogLevel::Warning, "its tools changed, and it does not list them"),
            }
            tokio::select! {
                () = self.closed.cancelled() => return,
                () = connection.tap.ended.cancelled() => return,
                () = tokio::time::sleep(SETTLING) => {}
            }
        }
    }
}
