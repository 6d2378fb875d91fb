//! `omni doctor`: what is there, what is missing, how to mend it. Keys by name, never by value.

use crate::args::{Common, Doctor};
use crate::auth;
use crate::exit::{DONE, Failure, exit_code};
use crate::host::{self, Composition};
use crate::keys;
use crate::output::Output;
use omni_bridge::Error;
use omni_bridge::catalogue::Catalogue;
use omni_bridge::credentials::{LocalKeys, Source};
use omni_core::{CONTRACT, Code};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the keychain is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    omni_bridge: &'static str,
    contract: u32,
    /// Where calls go: the interpreter, or a bridge service.
    engine: Value,
    /// Names of credentials that are set.
    keys: Vec<String>,
    /// Providers whose key is known and whom the native engine asks, with or without Python.
    native: Vec<String>,
    /// Providers whose key stands in the keychain or the key file, and where.
    kept: Vec<Kept>,
    /// Why the keychain or the key file could not be read; empty if nothing is wrong.
    notes: Vec<String>,
    /// What `omni chat` asks when no model is named.
    default_model: Option<String>,
    /// What is missing and how to mend it; empty if a call can be made.
    problems: Vec<Problem>,
    /// The first problem's kind, as the exit code tells it.
    #[serde(skip)]
    code: Option<Code>,
}

#[derive(Debug, Serialize)]
struct Kept {
    provider: String,
    source: &'static str,
}

#[derive(Debug, Serialize)]
struct Problem {
    what: String,
    mend: String,
}

pub(crate) async fn run(doctor: &Doctor, common: &Common, composition: &Composition) -> Result<i32, Failure> {
    let report = tokio::select! {
        report = examine(common, composition) => report,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
    };
    let mut output = Output::stdout();
    if doctor.json {
        output.json(&report, false);
    } else {
        output.text(&page(&report));
    }
    output.flush()?;
    Ok(report.code.map_or(DONE, exit_code))
}

async fn examine(common: &Common, composition: &Composition) -> Report {
    let mut report = Report {
        omni_bridge: env!("CARGO_PKG_VERSION"),
        contract: CONTRACT,
        ..Report::default()
    };
    let client = match crate::client(common, composition) {
        Ok(client) => client,
        Err(Failure::Call(error)) => {
            report.fail(&error);
            return report;
        }
        Err(_) => return report,
    };
    let remote = common.bridge_url.as_deref().filter(|url| !url.is_empty());
    if let Some(url) = remote {
        report.engine = json!({"bridge_url": url});
        match client.connect().await {
            // Which keys the service has is its own business.
            Ok(()) => report.engine["reached"] = true.into(),
            Err(error) => report.fail(&error),
        }
    } else {
        report.examine_keys().await;
        report.examine_interpreter(common, composition);
        if report.problems.is_empty() {
            match client.op("doctor", json!({})).await {
                Ok(Value::Object(mut found)) => {
                    if let Some(keys) = found.shift_remove("keys") {
                        report.keys = serde_json::from_value(keys).unwrap_or_default();
                        // Paths of certificates and of our own key file have names like those of keys.
                        report
                            .keys
                            .retain(|name| !name.contains("CERT") && name != "OMNI_CREDENTIALS");
                    }
                    if let Value::Object(engine) = &mut report.engine {
                        engine.extend(found);
                    }
                }
                Ok(_) => report.fail(&Error::internal("the engine's own report cannot be read")),
                Err(error) => report.fail(&error),
            }
        }
    }
    report.default_model = std::env::var("OMNI_MODEL")
        .ok()
        .filter(|model| !model.is_empty())
        .or_else(|| keys::default_model(keys::in_environment).map(|(model, _)| model.to_owned()));
    report
}

impl Report {
    /// What `omni auth set` has kept, and what the environment has. The engine, where it is, knows more names of the
    /// environment's.
    async fn examine_keys(&mut self) {
        // The keychain may take its time: Ctrl-C is heard meanwhile.
        let looking = tokio::task::spawn_blocking(|| auth::stored(&LocalKeys::default(), LIMIT));
        let Ok((found, notes)) = looking.await else {
            return;
        };
        // A broken configuration is told of elsewhere.
        let catalogue = Catalogue::load().unwrap_or_default();
        for row in found {
            if catalogue.provider(&row.provider).is_some() && !self.native.contains(&row.provider) {
                self.native.push(row.provider.clone());
            }
            match row.source {
                Source::Environment(name) => self.keys.push(name),
                source => self.kept.push(Kept {
                    source: source.name(),
                    provider: row.provider,
                }),
            }
        }
        self.keys.sort_unstable();
        self.notes = notes;
    }

    fn examine_interpreter(&mut self, common: &Common, composition: &Composition) {
        match host::interpreter(common, composition) {
            Ok((program, None)) => {
                self.engine =
                    json!({"interpreter": program, "chosen_by": "the process that runs this command"});
            }
            Ok((program, Some(found))) => {
                let (major, minor, micro) = found.version;
                let version = format!("{major}.{minor}.{micro}");
                self.engine =
                    json!({"interpreter": program, "chosen_by": found.chosen_by, "python": version});
                match found.library() {
                    Ok(library) => self.engine["libpython"] = json!(library),
                    Err(error) => self.fail(&error),
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &Error) {
        self.code.get_or_insert(error.code);
        // Our messages say what is wrong and, after the colon or semicolon, what to do.
        let (what, mend) = error
            .message
            .rsplit_once("; ")
            .or_else(|| error.message.rsplit_once(": "))
            .unwrap_or((error.message.as_str(), "see docs/concepts/engine.md"));
        self.problems.push(Problem {
            what: what.to_owned(),
            mend: mend.to_owned(),
        });
    }
}

/// The report for people.
fn page(report: &Report) -> String {
    let mut lines = vec![format!(
        "omni_bridge  {} (contract {})",
        report.omni_bridge, report.contract
    )];
    if let Value::Object(engine) = &report.engine {
        for (name, value) in engine {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            lines.push(format!("{name:<12} {value}"));
        }
    }
    let keys = if report.keys.is_empty() {
        "none".to_owned()
    } else {
        report.keys.join(", ")
    };
    lines.push(format!("keys set     {keys}"));
    if !report.native.is_empty() {
        lines.push(format!("native       {}", report.native.join(", ")));
    }
    if !report.kept.is_empty() {
        let kept: Vec<String> = report
            .kept
            .iter()
            .map(|kept| format!("{} ({})", kept.provider, kept.source))
            .collect();
        lines.push(format!("keys kept    {}", kept.join(", ")));
    }
    for line in &report.notes {
        lines.push(format!("note         {line}"));
    }
    let model = report
        .default_model
        .as_deref()
        .unwrap_or("none: name one with -m or in OMNI_MODEL");
    lines.push(format!("model        {model}"));
    for problem in &report.problems {
        lines.push(format!(
            "\nmissing      {}\nmend it      {}",
            problem.what, problem.mend
        ));
    }
    if !report.problems.is_empty() && !report.native.is_empty() {
        lines.push(format!(
            "\nWithout it the native engine still asks {}.",
            report.native.join(", ")
        ));
    }
    if report.problems.is_empty() {
        lines.push(if report.default_model.is_some() {
            "\nAll is there: omni chat \"Say hello.\"".to_owned()
        } else {
            "\nThe engine is there, a key is not: set one, for example OPENAI_API_KEY, or try `omni demo-server`.".to_owned()
        });
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_and_how_to_mend_it() {
        let mut report = Report::default();
        report.fail(&Error::new(
            Code::EngineUnavailable,
            "python3 has no omni_bridge: pip install omni-bridge",
        ));
        assert_eq!(report.problems[0].what, "python3 has no omni_bridge");
        assert_eq!(report.problems[0].mend, "pip install omni-bridge");
        let page = page(&report);
        assert!(
            page.contains("missing      python3 has no omni_bridge\nmend it      pip install omni-bridge"),
            "{page}"
        );
    }
}
