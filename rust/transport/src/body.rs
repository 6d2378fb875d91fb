//! The body of an answer, from either version of HTTP, inflated if it came compressed.

use crate::fault;
use crate::h1::Talk;
use crate::inflate::Inflate;
use crate::pool::{Lease, Origin};
use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use omni_core::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub(crate) struct Body {
    source: Source,
    pub(crate) inflate: Option<Box<Inflate>>,
}

enum Source {
    Line(Box<Talk>, Arc<Origin>),
    Stream(
        Incoming,
        #[expect(dead_code, reason = "counts its stream as long as it lives")] Lease,
    ),
    Ended,
}

impl Body {
    pub(crate) fn of_line(talk: Talk, origin: Arc<Origin>) -> Self {
        let mut body = Self {
            source: Source::Line(Box::new(talk), origin),
            inflate: None,
        };
        body.settle();
        body
    }

    pub(crate) fn of_stream(incoming: Incoming, lease: Lease) -> Self {
        Self {
            source: Source::Stream(incoming, lease),
            inflate: None,
        }
    }

    /// Gives the connection back once the last byte has been seen: before the reader gets it, so that whoever calls
    /// next finds the connection.
    fn settle(&mut self) {
        if let Source::Line(talk, _) = &self.source
            && talk.ended()
            && let Source::Line(talk, origin) = std::mem::replace(&mut self.source, Source::Ended)
            && let Some(line) = talk.into_line()
        {
            origin.keep(line);
        }
    }

    /// The next piece, `None` after the last; never an empty one.
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if let Some(inflate) = &mut self.inflate
                && let Some(data) = inflate.next()?
            {
                return Poll::Ready(Ok(Some(data)));
            }
            let data = ready!(self.poll_raw(context))?;
            match (&mut self.inflate, data) {
                (None, data) => return Poll::Ready(Ok(data)),
                (Some(inflate), Some(data)) => inflate.push(data),
                (Some(inflate), None) => return Poll::Ready(inflate.finish().map(|()| None)),
            }
        }
    }

    fn poll_raw(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match &mut self.source {
            Source::Ended => Poll::Ready(Ok(None)),
            Source::Line(talk, _) => {
                let data = ready!(talk.poll_data(context));
                self.settle();
                Poll::Ready(data)
            }
            Source::Stream(incoming, _) => loop {
                match ready!(Pin::new(&mut *incoming).poll_frame(context)) {
                    // Trailers are no data.
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                        Ok(_) | Err(_) => {}
                    },
                    Some(Err(error)) => {
                        return Poll::Ready(Err(fault::cut_off(&fault::innermost(&error))));
                    }
                    None => {
                        self.source = Source::Ended;
                        return Poll::Ready(Ok(None));
                    }
                }
            },
        }
    }
}
