//! What the names of variables say: which provider's they are, and whether they hold a credential.

/// The provider that this one is another name of.
pub(super) fn family(provider: &str) -> &str {
    match provider {
        "ai21_chat" => "ai21",
        "anthropic_text" => "anthropic",
        "bedrock_converse" | "bedrock_mantle" => "bedrock",
        "cohere_chat" => "cohere",
        "sagemaker_chat" | "sagemaker_nova" => "sagemaker",
        "vertex_ai_beta" => "vertex_ai",
        "watsonx_text" => "watsonx",
        "ollama_chat" => "ollama",
        "azure_ai" | "azure_text" => "azure",
        other => other,
    }
}

/// Beginnings of names that do not follow from the provider's own.
fn more_prefixes(provider: &str) -> &'static [&'static str] {
    match provider {
        "azure" => &["AZURE"],
        "huggingface" => &["HF", "HUGGINGFACE"],
        "sap" => &["AICORE"],
        "ollama" => &["OLLAMA"],
        "sagemaker" => &["AWS", "SAGEMAKER"],
        "bedrock" => &["AWS", "BEDROCK"],
        "vertex_ai" => &["VERTEX", "VERTEXAI"],
        "watsonx" => &["WATSONX", "WX", "WML"],
        "text-completion-openai" | "custom_openai" | "aiohttp_openai" => &["OPENAI"],
        "lambda_ai" => &["LAMBDA"],
        "meta_llama" => &["LLAMA"],
        "github_copilot" => &["GITHUB_COPILOT"],
        "text-completion-codestral" => &["CODESTRAL"],
        _ => &[],
    }
}

/// How the names of a provider's variables begin, each with its `_`.
pub(super) fn prefixes(provider: &str) -> Vec<String> {
    let family = family(provider);
    let names = if family == provider {
        vec![provider]
    } else {
        vec![provider, family]
    };
    let plain: Vec<String> = names.iter().map(|name| upper(name)).collect();
    let more = names.iter().flat_map(|name| more_prefixes(name));
    let joined = plain.iter().map(|name| name.replace('_', ""));
    let mut all: Vec<String> = Vec::new();
    for prefix in more
        .map(|&prefix| prefix.to_owned())
        .chain(plain.iter().cloned())
        .chain(joined)
    {
        let prefix = prefix + "_";
        if !all.contains(&prefix) {
            all.push(prefix);
        }
    }
    all
}

/// A provider's name as the environment spells it.
pub(super) fn upper(name: &str) -> String {
    name.to_uppercase()
        .chars()
        .map(|letter| {
            if letter.is_ascii_uppercase() || letter.is_ascii_digit() {
                letter
            } else {
                '_'
            }
        })
        .collect()
}

/// Whether a variable of this name holds a credential.
pub(super) fn is_credential(name: &str) -> bool {
    const INSIDE: [&str; 7] = ["KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL", "_AUTH", "CERT"];
    let name = name.to_ascii_uppercase();
    INSIDE.iter().any(|word| name.contains(word)) || name.ends_with("_PAT")
}

/// Whether a variable is the system's or ours: its value means nothing to a provider.
pub(super) fn is_of_the_system(name: &str) -> bool {
    const WHOLE: [&str; 18] = [
        "PATH",
        "HOME",
        "PWD",
        "OLDPWD",
        "SHELL",
        "USER",
        "LOGNAME",
        "LANG",
        "HOSTNAME",
        "TMP",
        "TEMP",
        "TMPDIR",
        "EDITOR",
        "PAGER",
        "DISPLAY",
        "LITELLM_MODE",
        "LITELLM_RUST",
        "SHLVL",
    ];
    const BEGINNINGS: [&str; 14] = [
        "LC_",
        "TERM",
        "PYTHON",
        "VIRTUAL_ENV",
        "CARGO",
        "RUST",
        "MAKE",
        "LITELLM_LOCAL",
        "HF_HUB_",
        "TRANSFORMERS_",
        "AIOHTTP_",
        "XDG_",
        "SSH_",
        "LESS",
    ];
    name == "_"
        || name.starts_with("OMNI_")
        || WHOLE.contains(&name)
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// Whether a variable of this name may hold a base URL.
pub(super) fn is_base(name: &str) -> bool {
    let bytes = name.as_bytes();
    // A version may follow: OPENAI_API_BASE_V1.
    let name = match bytes {
        [.., b'_', b'V', digit] if digit.is_ascii_digit() => &name[..name.len() - 3],
        _ => name,
    };
    ["_BASE", "_URL", "_ENDPOINT", "_HOST"]
        .iter()
        .any(|end| name.ends_with(end))
}
