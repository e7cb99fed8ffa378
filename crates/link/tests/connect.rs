//! Real sockets on loopback: who gets in, who does not, and what each end is told.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audera_link::{
    BindError, Cause, Connection, DialError, Endpoint, Failure, HandshakeError, Identity, Limits, Listener, Stage,
    Target, dial,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const ALPN: &[u8] = b"audera/1";
const LIMIT: Duration = Duration::from_secs(20);

fn endpoint_of(protocol: &[u8]) -> Endpoint {
    let dir = tempfile::tempdir().unwrap();
    Endpoint::new(&Identity::load_or_create(dir.path()).unwrap(), protocol).unwrap()
}

fn endpoint() -> Endpoint {
    endpoint_of(ALPN)
}

fn loopback(endpoint: &Endpoint, limits: Limits) -> Listener {
    Listener::bind(&["127.0.0.1:0".parse().unwrap()], endpoint, limits).unwrap()
}

/// Both ends of one connection: the dialled one, the accepted one.
async fn pair(listener: &mut Listener, dialler: &Endpoint) -> (Connection, Connection) {
    let target = listener.local_addr().into();
    let (dialled, accepted) = tokio::join!(dial(dialler, &target, LIMIT), listener.accept());
    (dialled.unwrap(), accepted.unwrap())
}

/// Keeps a paused clock from jumping while the kernel has work that tokio cannot see; given up on drop.
fn hold_clock() -> std::sync::mpsc::Sender<()> {
    let (held, release) = std::sync::mpsc::channel();
    // tokio's clock does not advance by itself while a blocking task runs.
    tokio::task::spawn_blocking(move || release.recv());
    held
}

fn handshake_failure(failure: Failure) -> HandshakeError {
    match failure.cause {
        Cause::Handshake(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn both_ends_know_each_other_and_can_speak() {
    let (ours, theirs) = (endpoint(), endpoint());
    let mut listener = loopback(&theirs, Limits::default());
    let (dialled, accepted) = pair(&mut listener, &ours).await;
    assert_eq!(dialled.peer(), theirs.id());
    assert_eq!(accepted.peer(), ours.id());
    assert_eq!(dialled.addr(), listener.local_addr());
    assert_eq!(accepted.addr().ip(), listener.local_addr().ip());

    let (mut reader, mut writer) = dialled.into_split();
    let (mut their_reader, mut their_writer) = accepted.into_split();
    // Far more than all buffers hold, both ways at once.
    let message: Arc<Vec<u8>> = Arc::new((0..4_000_000_u32).map(|i| (i % 251) as u8).collect());
    let (one, other) = (message.clone(), message.clone());
    let writing = tokio::spawn(async move {
        writer.write_all(&one).await.unwrap();
        writer.close(LIMIT).await.unwrap();
    });
    let their_writing = tokio::spawn(async move {
        their_writer.write_all(&other).await.unwrap();
        their_writer.close(LIMIT).await.unwrap();
    });
    let (mut got, mut they_got) = (Vec::new(), Vec::new());
    let (read, they_read) = tokio::join!(reader.read_to_end(&mut got), their_reader.read_to_end(&mut they_got));
    read.unwrap();
    they_read.unwrap();
    writing.await.unwrap();
    their_writing.await.unwrap();
    assert!(got == *message && they_got == *message, "what was written is what is read");
}

#[tokio::test]
async fn a_stream_cut_off_is_not_taken_for_its_end() {
    let ours = endpoint();
    let mut listener = loopback(&endpoint(), Limits::default());
    let (dialled, accepted) = pair(&mut listener, &ours).await;
    drop(accepted);
    let (mut reader, _writer) = dialled.into_split();
    let error = reader.read(&mut [0; 16]).await.unwrap_err();
    assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{error}");
}

#[tokio::test]
async fn another_protocol_is_refused_by_both_ends() {
    let mut listener = loopback(&endpoint(), Limits::default());
    let target = listener.local_addr().into();
    let stranger = endpoint_of(b"http/1.1");
    let (dialled, accepted) = tokio::join!(dial(&stranger, &target, LIMIT), listener.accept());
    let DialError::Handshake { cause: HandshakeError::Alpn { expected }, .. } = dialled.unwrap_err() else {
        panic!("the dialling end is told of the protocol");
    };
    assert_eq!(expected, b"http/1.1");
    let failure = accepted.unwrap_err();
    assert!(failure.to_string().contains("does not speak `audera/1`"), "{failure}");
    assert!(matches!(handshake_failure(failure), HandshakeError::Alpn { .. }));
}

/// TLS settings of a client that accepts any certificate of the listener and speaks as told.
mod stranger {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
    use std::sync::Arc;

    #[derive(Debug)]
    struct Trusting;

    impl ServerCertVerifier for Trusting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
        }
    }

    pub fn config(protocols: &[&[u8]], certificate: Option<(&rcgen::KeyPair, &rcgen::KeyPair)>) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting));
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some((named, signing)) => {
                let certificate = rcgen::CertificateParams::default().self_signed(named).unwrap();
                let key = PrivatePkcs8KeyDer::from(signing.serialize_der());
                let provider = rustls::crypto::ring::default_provider();
                let key = provider.key_provider.load_private_key(key.into()).unwrap();
                // Not `with_client_auth_cert`, which would notice that the two do not belong together.
                let certified = rustls::sign::CertifiedKey::new(vec![certificate.der().clone()], key);
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }

    pub async fn connect(config: ClientConfig, addr: std::net::SocketAddr) {
        let tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("stranger.invalid").unwrap();
        if let Ok(mut stream) = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
            // A TLS 1.3 client learns of a refusal by its first read.
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1]).await;
        }
    }
}

#[tokio::test]
async fn strangers_without_protocol_certificate_or_key_do_not_get_in() {
    let key = rcgen::KeyPair::generate().unwrap();
    let other_key = rcgen::KeyPair::generate().unwrap();
    let mut listener = loopback(&endpoint(), Limits::default());
    let addr = listener.local_addr();
    let mut refused = async |config| {
        tokio::spawn(stranger::connect(config, addr));
        listener.accept().await.map(drop)
    };

    let failure = refused(stranger::config(&[], Some((&key, &key)))).await.unwrap_err();
    assert!(matches!(handshake_failure(failure), HandshakeError::Alpn { .. }), "no protocol offered");
    let failure = refused(stranger::config(&[ALPN], None)).await.unwrap_err();
    assert!(matches!(handshake_failure(failure), HandshakeError::Certificate(_)), "no certificate");
    let failure = refused(stranger::config(&[ALPN], Some((&key, &other_key)))).await.unwrap_err();
    assert!(matches!(handshake_failure(failure), HandshakeError::Certificate(_)), "someone else's certificate");
    // The oracle can tell: with its own key the same stranger gets in, whatever the kind of key.
    refused(stranger::config(&[b"x", ALPN], Some((&key, &key)))).await.unwrap();
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    refused(stranger::config(&[ALPN], Some((&ed25519, &ed25519)))).await.unwrap();
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    // The hello of a client that offers TLS 1.2 at most: one suite, no extension.
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let mut listener = loopback(&endpoint(), Limits::default());
    let mut client = TcpStream::connect(listener.local_addr()).await.unwrap();
    client.write_all(&hello).await.unwrap();
    let failure = listener.accept().await.unwrap_err();
    assert!(failure.to_string().contains("TLS 1.3 handshake failed"), "{failure}");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&0x15), "the client is told by an alert");
}

#[tokio::test]
async fn garbage_is_one_failure_and_harms_nobody_else() {
    let ours = endpoint();
    let mut listener = loopback(&endpoint(), Limits::default());
    let addr = listener.local_addr();
    let garbage: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0; 300], &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3, 4, 5], &[0xff; 9]];
    for bytes in garbage {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let failure = listener.accept().await.unwrap_err();
        assert_eq!(failure.addr, Some(client.local_addr().unwrap()));
        assert!(matches!(handshake_failure(failure), HandshakeError::NotTls(_)), "{bytes:?}");
    }
    let silent = TcpStream::connect(addr).await.unwrap();
    drop(silent);
    assert!(matches!(handshake_failure(listener.accept().await.unwrap_err()), HandshakeError::Closed));
    // Exactly one value for each: the next is the next peer.
    pair(&mut listener, &ours).await;
}

#[tokio::test(start_paused = true)]
async fn a_half_open_handshake_ends_at_the_limit() {
    // The clock stands still while there is work, and jumps to the next timer when there is none: no wall clock is involved.
    let limits = Limits { handshake_time: Duration::from_secs(3), ..Limits::default() };
    let mut listener = loopback(&endpoint(), limits);
    let mut client = TcpStream::connect(listener.local_addr()).await.unwrap();
    client.write_all(&[0x16, 3, 1, 0, 200, 1]).await.unwrap();
    let failure = listener.accept().await.unwrap_err();
    assert_eq!(failure.addr, Some(client.local_addr().unwrap()));
    let HandshakeError::Timeout { limit } = handshake_failure(failure) else { panic!("the limit ends it") };
    assert_eq!(limit, Duration::from_secs(3));
    // Reset rather than closed, if the peer's bytes were not all read.
    let read = client.read(&mut [0; 1]).await;
    assert!(matches!(&read, Ok(0)) || read.is_err(), "{read:?}");
}

#[tokio::test]
async fn too_many_connections_are_refused_and_places_come_back() {
    for (limits, expected) in [
        (Limits { connections: 2, ..Limits::default() }, "there are 2 connections already"),
        (Limits { per_address: 2, ..Limits::default() }, "there are 2 connections from this address already"),
    ] {
        let ours = endpoint();
        let mut listener = loopback(&endpoint(), limits);
        let target = listener.local_addr().into();
        let first = pair(&mut listener, &ours).await;
        let (_dialled, accepted) = pair(&mut listener, &ours).await;
        // Halves of one connection hold its place together.
        let (reader, writer) = accepted.into_split();
        drop(reader);
        let (dialled, refused) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
        assert!(dialled.is_err());
        let failure = refused.unwrap_err();
        assert!(failure.to_string().contains(expected), "{failure}");
        drop(writer);
        let _third = pair(&mut listener, &ours).await;
        drop(first);
        pair(&mut listener, &ours).await;
    }
}

#[tokio::test(start_paused = true)]
async fn handshakes_beyond_the_bound_wait_for_their_turn() {
    let limits = Limits { handshakes: 1, ..Limits::default() };
    let ours = endpoint();
    let mut listener = loopback(&endpoint(), limits);
    let target = listener.local_addr().into();
    let _half_open = TcpStream::connect(listener.local_addr()).await.unwrap();
    let dialling = tokio::spawn(async move { dial(&ours, &target, Duration::from_secs(60)).await });
    assert!(matches!(handshake_failure(listener.accept().await.unwrap_err()), HandshakeError::Timeout { .. }));
    let _held = hold_clock();
    listener.accept().await.unwrap();
    dialling.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dual_stack_socket_takes_both_families() {
    let ours = endpoint();
    let mut listener = Listener::bind(&["[::]:0".parse().unwrap()], &endpoint(), Limits::default()).unwrap();
    let port = listener.local_addr().port();
    let mut addrs: Vec<SocketAddr> = vec![([127, 0, 0, 1], port).into()];
    if listener.local_addr().is_ipv6() && std::net::TcpListener::bind("[::1]:0").is_ok() {
        addrs.push(([0, 0, 0, 0, 0, 0, 0, 1], port).into());
    }
    for addr in addrs {
        let target = addr.into();
        let (dialled, accepted) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
        dialled.unwrap();
        assert_eq!(accepted.unwrap().addr().ip(), addr.ip(), "an IPv4 peer is shown as one");
    }
}

#[tokio::test]
async fn several_addresses_are_listened_on_at_once() {
    let ours = endpoint();
    let addrs = ["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()];
    let mut listener = Listener::bind(&addrs, &endpoint(), Limits::default()).unwrap();
    for addr in listener.local_addrs().to_vec() {
        let target = addr.into();
        let (dialled, accepted) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
        assert_eq!(dialled.unwrap().addr(), addr);
        accepted.unwrap();
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_had_are_named() {
    let taken = loopback(&endpoint(), Limits::default());
    let bind = |addrs: &[SocketAddr]| Listener::bind(addrs, &endpoint(), Limits::default()).map(drop).unwrap_err();
    assert!(matches!(bind(&[taken.local_addr()]), BindError::InUse { addr } if addr == taken.local_addr()));
    assert!(matches!(bind(&["192.0.2.1:0".parse().unwrap()]), BindError::NotLocal { .. }));
    assert!(matches!(bind(&[]), BindError::NoAddress));
}

/// An address on which nothing listens, kept from being given to anyone else.
fn closed_port() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

#[tokio::test]
async fn a_dialling_end_is_told_what_was_wrong() {
    let ours = endpoint();
    let (closed, _kept) = closed_port();
    let error = dial(&ours, &closed.into(), LIMIT).await.unwrap_err();
    assert!(matches!(error, DialError::Refused { addr } if addr == closed), "{error}");

    let error = dial(&ours, &Target::Addresses(Vec::new()), LIMIT).await.unwrap_err();
    assert!(matches!(error, DialError::NoAddress { .. }), "{error}");

    let name = Target::parse("no such host.invalid", 6528);
    assert!(name.unwrap_err().to_string().contains("HOST:PORT"));

    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = other.local_addr().unwrap().into();
    let answer = async {
        let (mut peer, _) = other.accept().await.unwrap();
        peer.write_all(b"220 mail.invalid ESMTP\r\n").await.unwrap();
        peer
    };
    let (error, _peer) = tokio::join!(dial(&ours, &target, LIMIT), answer);
    let error = error.unwrap_err();
    assert!(matches!(error, DialError::Handshake { cause: HandshakeError::NotTls(_), .. }), "{error}");

    let (error, _) = tokio::join!(dial(&ours, &target, LIMIT), async { drop(other.accept().await.unwrap()) });
    let error = error.unwrap_err();
    assert!(matches!(error, DialError::Handshake { cause: HandshakeError::Closed, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up_at_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = silent.local_addr().unwrap().into();
    let ours = endpoint();
    let held = hold_clock();
    let accepting = async {
        let peer = silent.accept().await;
        drop(held);
        peer
    };
    let (error, _peer) = tokio::join!(dial(&ours, &target, LIMIT), accepting);
    let error = error.unwrap_err();
    assert!(matches!(error, DialError::Handshake { cause: HandshakeError::Timeout { limit: LIMIT }, .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_swallows_everything_does_not_hold_up_the_others() {
    // A full backlog drops further SYNs, as a firewall would.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let swallowing = full.local_addr().unwrap();
    let mut fill = Vec::new();
    for _ in 0..4 {
        fill.push(tokio::spawn(TcpStream::connect(swallowing)));
    }
    tokio::task::yield_now().await;

    let ours = endpoint();
    let error = dial(&ours, &swallowing.into(), LIMIT).await.unwrap_err();
    assert!(matches!(error, DialError::Timeout { stage: Stage::Connect, limit: LIMIT, .. }), "{error}");

    // From here on the kernel has work to do, so the clock must be the real one; it costs one head start.
    tokio::time::resume();
    let mut listener = loopback(&endpoint(), Limits::default());
    let (closed, _kept) = closed_port();
    let target = vec![closed, swallowing, listener.local_addr()].into();
    let (dialled, accepted) = tokio::join!(dial(&ours, &target, LIMIT), listener.accept());
    assert_eq!(dialled.unwrap().addr(), listener.local_addr());
    accepted.unwrap();
    fill.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_peer_that_stops_reading_stops_the_writer_and_the_close() {
    let ours = endpoint();
    let mut listener = loopback(&endpoint(), Limits::default());
    let (dialled, _accepted) = pair(&mut listener, &ours).await;
    let (_reader, mut writer) = dialled.into_split();
    let mut taken = 0;
    let stuck = Duration::from_millis(300);
    while let Ok(wrote) = tokio::time::timeout(stuck, writer.write(&[0; 4096])).await {
        taken += wrote.unwrap();
        assert!(taken < 4 << 20, "{taken} bytes are on the way to a peer that does not read");
    }
    println!("{taken} bytes were taken");
    let error = writer.close(stuck).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
