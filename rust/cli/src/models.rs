//! `omni models`.

use crate::args::{Common, Models};
use crate::exit::{DONE, Failure};
use crate::host::Composition;
use crate::output::{self, Output};
use omni_bridge::ModelInfo;
use omni_bridge::catalogue::Catalogue;
use serde_json::Value;

pub(crate) async fn run(models: Models, common: &Common, composition: &Composition) -> Result<i32, Failure> {
    let found = tokio::select! {
        found = find(&models, common, composition) => found?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
    };
    let mut found: Vec<(ModelInfo, Value)> = found
        .into_iter()
        .filter_map(|one| Some((serde_json::from_value(one.clone()).ok()?, one)))
        .collect();
    found.retain(|(model, _)| wanted(&models, model));
    found.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    if found.is_empty() && !models.local {
        output::note("no model is of this kind; `omni models` alone lists all");
    }
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

/// Documents of models from whom the options ask: a bridge service, a provider, this machine, or the catalogue.
async fn find(models: &Models, common: &Common, composition: &Composition) -> Result<Vec<Value>, Failure> {
    if models.live {
        let client = crate::client(common, composition)?;
        let live = client
            .live_models(models.provider.as_deref().unwrap_or_default())
            .await?;
        return Ok(live.iter().map(|model| model.document()).collect());
    }
    if !models.local && common.bridge_url.as_ref().is_some_and(|url| !url.is_empty()) {
        return match crate::client(common, composition)?.models().await? {
            Value::Array(all) => Ok(all),
            _ => Ok(Vec::new()),
        };
    }
    let catalogue = Catalogue::load()?;
    if let Some(name) = &models.provider
        && !catalogue.provider_names().contains(name)
    {
        return Err(Failure::Call(omni_bridge::catalogue::unknown(&catalogue, name)));
    }
    if models.local {
        let found = catalogue.discover(|name| std::env::var(name).ok()).await;
        if found.is_empty() {
            output::note("no server answers on this machine where one is usually found; is it running?");
        }
        for local in &found {
            output::note(&format!("{} at {}", local.provider.name, local.base_url));
        }
        let all = found.iter().flat_map(|local| &local.models);
        return Ok(all.map(|model| model.document()).collect());
    }
    Ok(catalogue
        .models()
        .iter()
        .map(omni_bridge::catalogue::Model::document)
        .collect())
}

fn wanted(models: &Models, model: &ModelInfo) -> bool {
    let cheap = |most: f64| {
        let within = |price: Option<f64>| price.is_some_and(|dollars| dollars * 1e6 <= most);
        within(model.input_cost_per_token) && within(model.output_cost_per_token)
    };
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
        && (!models.reasoning || model.supports_reasoning == Some(true))
        && models.max_price.is_none_or(cheap)
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
