//! The TLS settings of one identity: TLS 1.3 only, mutual authentication, one application protocol, no resumption.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::verifier::AnyIdentity;
use crate::{Identity, PeerId};

/// What [`dial`](crate::dial) and [`Listener`](crate::Listener) need to speak for an identity. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoint {
    id: PeerId,
    protocol: Arc<[u8]>,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// The identity's key is of a kind that TLS 1.3 cannot use.
#[derive(Debug, thiserror::Error)]
#[error("the key of identity {id} cannot be used for TLS: {source}; an ECDSA P-256 key is what `Identity` makes")]
pub struct EndpointError {
    id: PeerId,
    source: rustls::Error,
}

impl Endpoint {
    /// An endpoint that speaks `protocol` (the ALPN name, 1 to 255 bytes) and nothing else.
    ///
    /// Resumption is off: a resumed session would skip the proof that the peer still holds its key, and connections last for
    /// hours, so nothing is gained by it.
    ///
    /// # Errors
    /// When the key cannot sign TLS 1.3 handshakes; that can happen only to a key the user brought along.
    pub fn new(identity: &Identity, protocol: &[u8]) -> Result<Self, EndpointError> {
        let failed = |source| EndpointError { id: identity.id(), source };
        let provider = Arc::new(default_provider());
        let verifier = AnyIdentity::new(&provider);

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_auth_cert(identity.certificate_chain(), identity.private_key())
            .map_err(failed)?;
        client.alpn_protocols = vec![protocol.to_vec()];
        client.resumption = Resumption::disabled();
        // There are no names to ask for: a host is who its key says.
        client.enable_sni = false;

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.certificate_chain(), identity.private_key())
            .map_err(failed)?;
        server.alpn_protocols = vec![protocol.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        Ok(Self { id: identity.id(), protocol: protocol.into(), client: Arc::new(client), server: Arc::new(server) })
    }

    /// The id that peers will see.
    pub const fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) fn protocol(&self) -> &[u8] {
        &self.protocol
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}
