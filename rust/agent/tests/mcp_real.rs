//! Real servers over stdio: npm's `server-everything` and `server-filesystem`, Python's `mcp-server-time`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it does not expect"
)]

mod mcp_common;

use mcp_common::{call, config, installed, invocation_with, progress, server, text_of, watched};
use omni_agent::mcp::ResourceBody;
use omni_agent::{McpServer, Notice, ToolSource};
use omni_core::{Content, Part, Role};
use serde_json::{Value, json};

fn node(program: &str, arguments: &[&str]) -> McpServer {
    let mut args = vec![installed(&format!("node_modules/.bin/{program}"))];
    args.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    server(config(json!({"command": installed("bin/node"), "args": args})))
}

fn everything() -> McpServer {
    node("mcp-server-everything", &[])
}

#[tokio::test]
async fn mcp_server_time_tells_the_time() {
    let server = server(config(json!({
        "command": installed("venv/bin/mcp-server-time"), "args": ["--local-timezone", "Europe/Berlin"],
    })));
    let mut seen = watched(&server);
    let names: Vec<String> = server
        .tools()
        .await
        .unwrap()
        .into_iter()
        .map(|tool| tool.name)
        .collect();
    assert_eq!(names, ["s__get_current_time", "s__convert_time"]);
    let told = seen.find(|notice| match notice {
        Notice::Connected(names) => Some(names.clone()),
        _ => None,
    });
    assert_eq!(told.await, ["get_current_time", "convert_time"]);
    let asked = json!({"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Tokyo"});
    let answer: Value = serde_json::from_str(&text_of(&server, "convert_time", asked).await).unwrap();
    assert!(
        answer["time_difference"] == "+7.0h" || answer["time_difference"] == "+8.0h",
        "{answer}"
    );
    // Its own failure is a result, not a failed call.
    let wrong = call(&server, "get_current_time", json!({"timezone": "Mars/Olympus"}))
        .await
        .unwrap();
    assert!(wrong.is_error, "{wrong:?}");
    server.close().await;
}

#[tokio::test]
async fn server_filesystem_reads_and_writes_within_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let server = node("mcp-server-filesystem", &[folder.to_str().unwrap()]);
    let file = folder.join("a.txt");
    let written = json!({"path": file, "content": "one\ntwo ☃\n"});
    assert!(!call(&server, "write_file", written).await.unwrap().is_error);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo ☃\n");
    assert_eq!(
        text_of(&server, "read_text_file", json!({"path": file})).await,
        "one\ntwo ☃\n"
    );
    let outside = call(&server, "read_text_file", json!({"path": "/etc/hostname"}))
        .await
        .unwrap();
    assert!(outside.is_error);
    let tools = server.tools().await.unwrap();
    let reads = |name: &str| tools.iter().find(|tool| tool.own_name == name).unwrap().read_only;
    assert!(reads("read_text_file") && !reads("write_file"));
    server.close().await;
}

#[tokio::test]
async fn server_everything_shows_every_kind_of_content() {
    let server = everything();
    assert_eq!(
        text_of(&server, "echo", json!({"message": "hé"})).await,
        "Echo: hé"
    );

    let image = call(&server, "get-tiny-image", json!({})).await.unwrap();
    let Content::Parts(parts) = &image.content else {
        panic!("{image:?}")
    };
    assert_eq!(
        parts.iter().map(Part::kind).collect::<Vec<_>>(),
        ["text", "image_url", "text"]
    );
    let shown = serde_json::to_value(&parts[1]).unwrap();
    assert!(
        shown["image_url"]["url"]
            .as_str()
            .unwrap()
            .starts_with("data:image/png;base64,iVBOR")
    );

    let city = call(&server, "get-structured-content", json!({"location": "Chicago"}))
        .await
        .unwrap();
    let structured = city.structured.unwrap();
    assert_eq!(structured["humidity"], 82);
    assert_eq!(
        serde_json::from_str::<Value>(&city.content.text()).unwrap(),
        structured
    );

    let links = call(&server, "get-resource-links", json!({"count": 2}))
        .await
        .unwrap();
    assert_eq!(links.content.text().matches("[resource demo://").count(), 2);

    let inside = json!({"resourceType": "Blob", "resourceId": 1});
    let embedded = call(&server, "get-resource-reference", inside).await.unwrap();
    let Content::Parts(parts) = &embedded.content else {
        panic!("{embedded:?}")
    };
    assert!(parts.iter().any(|part| part.kind() == "file"), "{embedded:?}");
    server.close().await;
}

#[tokio::test]
async fn server_everything_tells_its_progress() {
    let server = everything();
    let (sink, steps) = progress();
    let asked = json!({"duration": 0.3, "steps": 3});
    let call = server.call(invocation_with("trigger-long-running-operation", asked, sink));
    call.await.unwrap();
    let steps = steps.lock().unwrap().clone();
    assert_eq!(
        steps.iter().map(|step| step.progress).collect::<Vec<_>>(),
        [1.0, 2.0, 3.0]
    );
    assert_eq!(steps[0].total, Some(3.0));
    server.close().await;
}

#[tokio::test]
async fn server_everything_shows_its_resources_and_prompts() {
    let server = everything();
    assert!(
        server
            .instructions()
            .await
            .unwrap()
            .unwrap()
            .contains("Everything Server")
    );
    let resources = server.resources().await.unwrap();
    let guide = resources
        .iter()
        .find(|one| one.name == "architecture.md")
        .unwrap();
    assert_eq!(guide.mime_type.as_deref(), Some("text/markdown"));
    let content = server.read_resource(&guide.uri).await.unwrap();
    let ResourceBody::Text(text) = &content[0].body else {
        panic!("no text")
    };
    assert!(text.starts_with('#'), "{}", &text[..80]);
    let templates = server.resource_templates().await.unwrap();
    assert!(
        templates
            .iter()
            .any(|one| one.uri == "demo://resource/dynamic/blob/{resourceId}")
    );
    let blob = server
        .read_resource("demo://resource/dynamic/blob/1")
        .await
        .unwrap();
    assert!(matches!(blob[0].body, ResourceBody::Base64(_)));
    assert!(server.read_resource("demo://no/such").await.is_err());

    let prompts = server.prompts().await.unwrap();
    let prompt = prompts.iter().find(|one| one.name == "args-prompt").unwrap();
    assert!(prompt.arguments[0].name == "city" && prompt.arguments[0].required);
    let arguments = serde_json::from_value(json!({"city": "Oslo"})).unwrap();
    let messages = server.get_prompt("args-prompt", arguments).await.unwrap();
    assert_eq!(messages[0].role, Role::User);
    assert!(messages[0].content.as_ref().unwrap().text().contains("Oslo"));
    assert!(
        server
            .get_prompt("no-such", omni_core::Object::new())
            .await
            .is_err()
    );
    server.ping().await.unwrap();
    server.close().await;
}
