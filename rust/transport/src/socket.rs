//! A connected socket: TCP, or TLS over one (and over another TLS, where a proxy itself is spoken to in TLS).

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<Socket>>),
}

impl Socket {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Socket::Tcp(tcp) => tcp,
            Socket::Tls(tls) => tls.get_ref().0.tcp(),
        }
    }

    /// Whether the server has agreed to speak HTTP/2.
    pub(crate) fn is_h2(&self) -> bool {
        match self {
            Socket::Tcp(_) => false,
            Socket::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Whether an idle connection can take a request: the server has neither closed it nor sent what nobody asked for.
    ///
    /// The kernel is asked. What the runtime knows of the socket may be old, above all where it is not driven between
    /// calls, and a request into a closed connection is a failed call.
    pub(crate) async fn is_alive(&mut self) -> bool {
        // TLS may hold what nobody asked for where the kernel does not see it, and may have records of its own to
        // read (session tickets): it is read first, and after each record the kernel is asked again.
        for _ in 0..4 {
            let plain = matches!(self, Socket::Tcp(_));
            if !plain {
                let quiet = std::future::poll_fn(|context| {
                    let read = Pin::new(&mut *self).poll_read(context, &mut ReadBuf::new(&mut [0]));
                    Poll::Ready(read.is_pending())
                });
                if !quiet.await {
                    return false;
                }
            }
            match socket2::SockRef::from(self.tcp()).peek(&mut [MaybeUninit::uninit()]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            }
            if plain || self.tcp().ready(Interest::READABLE).await.is_err() {
                return false;
            }
        }
        false
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(tcp) => Pin::new(tcp).poll_read(context, into),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Socket::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}
