//! The JSON Schemas of an agent's events, ops and configuration:
//!
//! ```text
//! cargo run -p omni-agent --example agent_schema             prints them
//! cargo run -p omni-agent --example agent_schema -- --write   writes rust/agent/schema/*.json anew
//! ```

use omni_agent::schema::{config_schema, event_schema};
use std::path::Path;

fn main() -> std::io::Result<()> {
    let write = std::env::args().any(|argument| argument == "--write");
    for (name, schema) in [("events.json", event_schema()), ("config.json", config_schema())] {
        let text = format!("{schema:#}\n");
        if write {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(name), text)?;
            println!("rust/agent/schema/{name}: written");
        } else {
            print!("{text}");
        }
    }
    Ok(())
}
