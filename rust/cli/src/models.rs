//! `omni models`.

use crate::args::{Common, Models};
use crate::exit::{DONE, Failure};
use crate::host::Composition;
use crate::output::Output;
use omni_bridge::ModelInfo;
use serde_json::Value;

pub(crate) async fn run(models: Models, common: &Common, composition: &Composition) -> Result<i32, Failure> {
    let client = crate::client(common, composition)?;
    let all = tokio::select! {
        all = client.models() => all?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
    };
    let mut found: Vec<(ModelInfo, Value)> = match all {
        Value::Array(all) => all
            .into_iter()
            .filter_map(|one| Some((serde_json::from_value(one.clone()).ok()?, one)))
            .collect(),
        _ => Vec::new(),
    };
    found.retain(|(model, _)| wanted(&models, model));
    found.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let mut output = Output::stdout();
    if models.json {
        output.json(&found.into_iter().map(|(_, one)| one).collect::<Vec<_>>(), false);
    } else {
        for line in table(&found.into_iter().map(|(model, _)| model).collect::<Vec<_>>()) {
            output.text(&line);
            output.text("\n");
        }
    }
    output.flush()?;
    Ok(DONE)
}

fn wanted(models: &Models, model: &ModelInfo) -> bool {
    models
        .search
        .as_ref()
        .is_none_or(|text| model.id.contains(text.as_str()))
        && models
            .provider
            .as_ref()
            .is_none_or(|name| model.provider.as_ref() == Some(name))
        && (!models.tools || model.supports_tools == Some(true))
        && (!models.vision || model.supports_vision == Some(true))
}

/// One line a model; what is not known is a dash.
fn table(models: &[ModelInfo]) -> Vec<String> {
    let price = |dollars: Option<f64>| dollars.map_or_else(|| "-".into(), |one| format!("{:.2}", one * 1e6));
    let tokens = |count: Option<u64>| count.map_or_else(|| "-".into(), |count| count.to_string());
    let width = models
        .iter()
        .map(|model| model.id.chars().count())
        .max()
        .unwrap_or(0)
        .max(5);
    let line = |id: &str, context: &str, output: &str, cost_in: &str, cost_out: &str, can: &str| {
        format!("{id:width$}  {context:>9}  {output:>8}  {cost_in:>8}  {cost_out:>8}  {can}")
            .trim_end()
            .to_owned()
    };
    let head = line("MODEL", "TOKENS IN", "OUT", "$/M IN", "$/M OUT", "TAKES");
    let rows = models.iter().map(|model| {
        let abilities = [
            (model.supports_tools, "tools"),
            (model.supports_vision, "images"),
            (model.supports_reasoning, "reasoning"),
        ];
        let can: Vec<&str> = abilities
            .iter()
            .filter(|(able, _)| *able == Some(true))
            .map(|(_, name)| *name)
            .collect();
        line(
            &model.id,
            &tokens(model.max_input_tokens),
            &tokens(model.max_output_tokens),
            &price(model.input_cost_per_token),
            &price(model.output_cost_per_token),
            &can.join(", "),
        )
    });
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_a_dash_and_prices_are_for_a_million_tokens() {
        let known = ModelInfo {
            id: "openai/gpt-5-mini".into(),
            max_input_tokens: Some(272_000),
            input_cost_per_token: Some(2.5e-7),
            supports_tools: Some(true),
            supports_vision: Some(true),
            ..ModelInfo::default()
        };
        let unknown = ModelInfo {
            id: "a/b".into(),
            ..ModelInfo::default()
        };
        let table = table(&[known, unknown]);
        assert_eq!(
            table[1],
            "openai/gpt-5-mini     272000         -      0.25         -  tools, images"
        );
        assert_eq!(
            table[2],
            "a/b                        -         -         -         -"
        );
    }
}
