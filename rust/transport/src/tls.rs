//! TLS: whom we trust, and what a refused certificate means for the user.

use omni_core::{Code, Error, Result};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig};
use rustls_platform_verifier::Verifier;
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

use crate::fault;
use crate::socket::Socket;

/// The certificates in a PEM text.
pub(crate) fn roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let bad = |why: String| {
        Error::invalid(format!(
            "the certificates {why}; give PEM text that begins with -----BEGIN CERTIFICATE-----"
        ))
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| bad(format!("cannot be read: {error}")))?;
    if found.is_empty() {
        return Err(bad("are none".to_owned()));
    }
    Ok(found)
}

/// The system's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` in their place, where set) and `extra`.
pub(crate) fn config(extra: &[CertificateDer<'static>], protocols: &[&[u8]]) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(default_provider());
    let verifier =
        Verifier::new_with_extra_roots(extra.iter().cloned(), Arc::clone(&provider)).map_err(|error| {
            let message = format!(
                "the trusted certificates cannot be read: {error}; install the system's (Debian: ca-certificates) or \
                 name a file in SSL_CERT_FILE"
            );
            Error::new(Code::Connection, message)
        })?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("the TLS library refuses its own defaults: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

/// Speaks TLS with `host` over `socket`.
pub(crate) async fn handshake(
    config: &Arc<ClientConfig>,
    socket: Socket,
    host: &str,
    to: &str,
) -> Result<Socket> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| fault::unconnected(to, "its name cannot stand in a certificate"))?;
    let connector = TlsConnector::from(Arc::clone(config));
    match connector.connect(name, socket).await {
        Ok(stream) => Ok(Socket::Tls(Box::new(stream))),
        Err(error) => Err(fault::unconnected(to, &refusal(&error))),
    }
}

fn refusal(error: &io::Error) -> String {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "nobody whom this machine trusts has signed its certificate; if the server is yours (or a proxy's that \
             opens TLS), name its authority's PEM file in SSL_CERT_FILE"
                .to_owned()
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => "its certificate has expired; if it has not, this machine's clock is wrong".to_owned(),
        Some(cause) => format!("TLS failed: {cause}"),
        None => format!("TLS failed: {}", fault::innermost(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_with_the_form_that_is_wanted() {
        for wrong in [
            "",
            "hunter2",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        ] {
            let error = roots(wrong.as_bytes()).unwrap_err();
            assert!(
                error.message.contains("BEGIN CERTIFICATE") && !error.message.contains("hunter2"),
                "{error}"
            );
        }
    }
}
