//! TLS. The files are for this test alone; their CA's key is gone.

use crate::coordinators::{Coordinator, LONG, decision};
use crate::server::RedisServer;
use std::net::TcpListener;
use std::path::Path;
use yak_coordinator::redis::Target;

#[tokio::test]
async fn tls_with_a_ca_of_ones_own() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redis/tls");
    let file = |name: &str| files.join(name).to_str().unwrap().to_owned();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port_text, certificate, key, ca) =
        (port.to_string(), file("server.pem"), file("server.key"), file("ca.pem"));
    let settings = [
        ("--tls-port", port_text.as_str()),
        ("--tls-cert-file", &certificate),
        ("--tls-key-file", &key),
        ("--tls-ca-cert-file", &ca),
        ("--tls-auth-clients", "no"),
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|(name, value)| [*name, *value]).collect();
    let Some(_server) = RedisServer::start_with(&settings).await else { return };

    let url = format!("rediss://localhost:{port}?ca={ca}");
    let mut first = Coordinator::new("first", Target::parse(&url).unwrap(), LONG);
    first.campaign().await;
    first.append(&[decision(1)]).await;

    let stranger = Target::parse(&format!("rediss://localhost:{port}")).unwrap();
    let trouble = Coordinator::new("second", stranger, LONG).trouble("cannot be reached").await;
    assert!(trouble.contains("certificate") || trouble.contains("UnknownIssuer"), "{trouble}");
    let missing = Target::parse(&format!("rediss://localhost:{port}?ca=/no/such/file")).unwrap();
    Coordinator::new("third", missing, LONG).trouble("/no/such/file").await;
}
