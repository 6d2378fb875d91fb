//! `omni catalogue`: the snapshot of providers and models, and `LiteLLM`'s own data.
//!
//! One program reads them, for us and for whoever installed us: `tools/catalogue.py`, which is compiled in and run by
//! the interpreter that has `LiteLLM`.

use crate::args::{CatalogueCommand, Common};
use crate::exit::{DONE, Failure};
use crate::host::{self, Composition};
use crate::output::Output;
use omni_bridge::Error;
use omni_bridge::catalogue::{Catalogue, VERSION, folder, is_newer};
use omni_core::Code;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXTRACTOR: &str = include_str!("../../../tools/catalogue.py");
/// The catalogue is not what `LiteLLM` gives.
const STALE: i32 = 1;

pub(crate) fn run(
    command: &CatalogueCommand,
    common: &Common,
    composition: &Composition,
) -> Result<i32, Failure> {
    match command {
        CatalogueCommand::Check => check(common, composition),
        CatalogueCommand::Update(options) => update(options.to.as_deref(), common, composition),
    }
}

fn check(common: &Common, composition: &Composition) -> Result<i32, Failure> {
    let place = Scratch::new()?;
    extract(&place.0, common, composition)?;
    let catalogue = Catalogue::load()?;
    let (models, providers) = catalogue.snapshot();
    let mut output = Output::stdout();
    let mut stale = false;
    for (what, have, name) in [
        ("models", models, "models.tsv"),
        ("providers", providers, "providers.json"),
    ] {
        let now = text(&place.0.join(name))?;
        let (have, now) = (lines(have), lines(&now));
        let new = now.keys().filter(|key| !have.contains_key(*key)).count();
        let gone = have.keys().filter(|key| !now.contains_key(*key)).count();
        let other = now
            .iter()
            .filter(|(key, line)| have.get(*key).is_some_and(|had| had != *line))
            .count();
        stale |= new + gone + other > 0;
        output.text(&format!(
            "{what}: {} known, {new} new, {gone} gone, {other} changed\n",
            have.len()
        ));
    }
    let version = text(&place.0.join("version.txt"))?;
    let version = version.trim();
    output.text(&match (stale, is_newer(version)) {
        (false, _) => format!("the catalogue is what LiteLLM {version} gives\n"),
        (true, true) => format!("LiteLLM {version} knows more; take it over with: omni catalogue update\n"),
        (true, false) => format!(
            "LiteLLM {version} is no newer than the {} that is compiled in; update LiteLLM: pip install --upgrade litellm\n",
            VERSION.trim()
        ),
    });
    output.flush()?;
    Ok(if stale { STALE } else { DONE })
}

fn update(to: Option<&Path>, common: &Common, composition: &Composition) -> Result<i32, Failure> {
    let usual = || folder(|name| std::env::var_os(name)).map(|folder| folder.join("catalogue"));
    let place = to.map(Path::to_owned).or_else(usual).ok_or_else(|| {
        Failure::Usage("there is no folder for configuration: name one with --to".to_owned())
    })?;
    extract(&place, common, composition)?;
    let version = text(&place.join("version.txt"))?;
    let version = version.trim();
    let mut output = Output::stdout();
    output.text(&format!(
        "{}: providers and models of LiteLLM {version}\n",
        place.display()
    ));
    if to.is_none() {
        output.text(&if is_newer(version) {
            "they count from now on, until a newer catalogue is compiled in; remove the folder to go back\n"
                .to_owned()
        } else {
            format!(
                "what is compiled in is of LiteLLM {} and goes on counting\n",
                VERSION.trim()
            )
        });
    }
    output.flush()?;
    Ok(DONE)
}

/// Has the interpreter read `LiteLLM`'s data into `place`.
fn extract(place: &Path, common: &Common, composition: &Composition) -> Result<(), Failure> {
    let (program, _) = host::interpreter(common, composition)?;
    let failed = |why: String| {
        let message = format!(
            "{} cannot read LiteLLM's data: {why}; it needs omni_bridge and litellm: pip install omni-bridge, or name \
             another interpreter with --python",
            program.display()
        );
        Failure::Call(Error::new(Code::EngineUnavailable, message))
    };
    let mut child = Command::new(&program)
        .args(["-W", "ignore", "-", "--write", "--to"])
        .arg(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends early says why itself.
        let _ = input.write_all(EXTRACTOR.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(failed(last.unwrap_or("it says nothing").to_owned()))
}

/// Lines by what they are about: a model's key before the first tab, a provider's name in quotes.
fn lines(text: &str) -> BTreeMap<&str, &str> {
    let whole = text.lines().filter(|line| line.len() > 1);
    // The last provider has no comma after it.
    let bare = whole.map(|line| line.strip_suffix(',').unwrap_or(line));
    let about = |line| match str::split_once(line, '\t') {
        Some((key, _)) => key,
        None => line.split_once("\":").map_or(line, |(name, _)| name),
    };
    bare.map(|line| (about(line), line)).collect()
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Io(format!("{} cannot be read: {error}", path.display())))
}

/// A folder for the time of a command.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("omni-catalogue-{}", std::process::id()));
        // Made, not found: nobody else has laid it out.
        std::fs::create_dir(&path)
            .map_err(|error| Failure::Io(format!("{} cannot be made: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
