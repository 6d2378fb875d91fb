//! Proxies of the environment. The variables are set in a child process: this one's tests run side by side.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed unwrap in a helper of a test is a failed test"
)]

mod support;

use omni_transport::Transport;
use std::process::Stdio;
use support::{Certificates, OK, answer, closed, listen, post, read_request, text};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// Run by the other tests in a process of its own.
#[tokio::test]
#[ignore = "a part of the tests below"]
async fn child_calls() {
    let url = std::env::var("OMNI_TEST_URL").unwrap();
    let mut builder = Transport::builder();
    if let Ok(ca) = std::env::var("OMNI_TEST_CA") {
        builder = builder.root_certificates(ca.as_bytes()).unwrap();
    }
    let got = text(&builder.build(), post(url)).await;
    assert_eq!(
        got.as_deref().map_err(|error| error.message.as_str()),
        Ok("hello")
    );
}

/// A call of `url` with only these variables about proxies.
fn call(url: &str, variables: &[(&str, &str)]) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_calls", "--ignored"]);
    for name in [
        "ALL_PROXY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "REQUEST_METHOD",
    ] {
        child.env_remove(name).env_remove(name.to_lowercase());
    }
    child.env("OMNI_TEST_URL", url).envs(variables.iter().copied());
    child.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

/// The child's end: whether its call succeeded, and what it printed.
async fn end(child: Child) -> (bool, String) {
    let output = child.wait_with_output().await.unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[tokio::test]
async fn a_plain_call_goes_to_the_proxy_with_its_whole_address() {
    let (listener, proxy) = listen().await;
    let proxy = proxy.replace("http://", "http://user:word@");
    let child = call("http://target.test/path?q=1", &[("HTTP_PROXY", &proxy)]);
    let mut socket = listener.accept().await.unwrap().0;
    let request = answer(&mut socket, OK).await;
    assert!(request.starts_with("POST http://target.test/path?q=1 HTTP/1.1\r\nhost: target.test\r\n"));
    assert!(
        request.contains("\r\nproxy-authorization: Basic dXNlcjp3b3Jk\r\n"),
        "{request}"
    );
    let (succeeded, output) = end(child).await;
    assert!(succeeded, "{output}");
}

#[tokio::test]
async fn a_call_in_tls_goes_through_a_tunnel_that_sees_neither_path_nor_key() {
    let certificates = Certificates::new();
    let acceptor = certificates.acceptor("http/1.1");
    let (listener, proxy) = listen().await;
    let variables = [
        ("https_proxy", proxy.as_str()),
        ("OMNI_TEST_CA", &certificates.ca),
    ];
    let child = call("https://target.test/secret", &variables);
    let mut socket = listener.accept().await.unwrap().0;
    let request = read_request(&mut socket).await.unwrap();
    assert_eq!(
        request,
        "CONNECT target.test:443 HTTP/1.1\r\nhost: target.test:443\r\n\r\n"
    );
    socket.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
    // From here the proxy plays the target.
    let mut inside = acceptor.accept(socket).await.unwrap();
    let request = read_request(&mut inside).await.unwrap();
    assert!(
        request.starts_with("POST /secret HTTP/1.1\r\nhost: target.test\r\n"),
        "{request}"
    );
    inside.write_all(OK).await.unwrap();
    let (succeeded, output) = end(child).await;
    assert!(succeeded, "{output}");
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_says_so_without_showing_the_address() {
    let (listener, proxy) = listen().await;
    let child = call("https://target.test/?key=hunter2", &[("ALL_PROXY", &proxy)]);
    let mut socket = listener.accept().await.unwrap().0;
    answer(&mut socket, b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n").await;
    closed(&mut socket).await;
    let (succeeded, output) = end(child).await;
    assert!(
        !succeeded && output.contains("asks for a user and a password"),
        "{output}"
    );
    assert!(!output.contains("hunter2"), "{output}");
}

#[tokio::test]
async fn neither_this_machine_nor_what_no_proxy_names_is_behind_a_proxy() {
    let (proxy_listener, proxy) = listen().await;
    let (listener, url) = listen().await;
    let child = call(&url, &[("ALL_PROXY", &proxy)]);
    tokio::select! {
        accepted = listener.accept() => { answer(&mut accepted.unwrap().0, OK).await; }
        _ = proxy_listener.accept() => panic!("the proxy was asked"),
    }
    let (succeeded, output) = end(child).await;
    assert!(succeeded, "{output}");
    // Nobody has that name: the call fails, but not at the proxy.
    let child = call(
        "http://target.invalid/",
        &[("ALL_PROXY", &proxy), ("NO_PROXY", "x, .invalid")],
    );
    tokio::select! {
        (succeeded, output) = end(child) => assert!(!succeeded && output.contains("no connection to target.invalid"), "{output}"),
        _ = proxy_listener.accept() => panic!("the proxy was asked"),
    }
}

#[tokio::test]
async fn a_socks_proxy_is_asked_for_the_name() {
    use tokio::io::AsyncReadExt;
    let (listener, proxy) = listen().await;
    let child = call(
        "http://target.test/",
        &[("ALL_PROXY", &proxy.replace("http:", "socks5h:"))],
    );
    let mut socket = listener.accept().await.unwrap().0;
    let mut greeting = [0; 3];
    socket.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, [5, 1, 0]);
    socket.write_all(&[5, 0]).await.unwrap();
    let mut wanted = [0; 5 + 11 + 2];
    socket.read_exact(&mut wanted).await.unwrap();
    assert_eq!(&wanted[5..], b"target.test\x00\x50");
    socket
        .write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80])
        .await
        .unwrap();
    let request = answer(&mut socket, OK).await;
    assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
    let (succeeded, output) = end(child).await;
    assert!(succeeded, "{output}");
}
