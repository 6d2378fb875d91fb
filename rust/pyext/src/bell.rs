//! How a reader that waits in Python's event loop is woken: through a file descriptor, never through the GIL.
//!
//! One wake serves as many calls as have something by the time that the loop comes round to look.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A pair of sockets and the numbers of the waits that are over.
pub(crate) struct Bell {
    /// The loop has been woken and has not looked yet.
    rung: AtomicBool,
    over: Mutex<Vec<u64>>,
    near: UnixStream,
    far: UnixStream,
}

impl Bell {
    pub(crate) fn new() -> std::io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self {
            rung: AtomicBool::new(false),
            over: Mutex::default(),
            near,
            far,
        })
    }

    /// What the loop watches: readable when there is something to [`answer`](Self::answer).
    pub(crate) fn fd(&self) -> RawFd {
        self.near.as_raw_fd()
    }

    /// Wait number `wait` is over. From any thread.
    pub(crate) fn ring(&self, wait: u64) {
        self.over
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wait);
        if !self.rung.swap(true, Ordering::AcqRel) {
            // A full socket is readable already, and a closed loop needs no waking: nothing to do about an error.
            let _ = (&self.far).write(&[0]);
        }
    }

    /// The waits that are over, on the loop's thread.
    pub(crate) fn answer(&self) -> Vec<u64> {
        let mut waste = [0; 16];
        while matches!((&self.near).read(&mut waste), Ok(read) if read == waste.len()) {}
        // In this order: who pushes after the take rings again, who pushed before it is taken.
        self.rung.store(false, Ordering::Release);
        std::mem::take(&mut *self.over.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
