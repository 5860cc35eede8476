//! What claims of a token say.

use serde_json::Value;

/// Whether a claim is this text, or contains it: as one of a list, or as one of several words.
pub(crate) fn contains(claim: &Value, wanted: &str) -> bool {
    match claim {
        Value::String(text) => text == wanted || text.split(' ').any(|word| word == wanted),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(wanted)),
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(truth) => truth.to_string() == wanted,
        Value::Null | Value::Object(_) => false,
    }
}

/// A claim as the value of a header; `None` for what is no text, number or list of texts.
pub(crate) fn as_text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            // A comma within one would make two of it.
            texts.filter(|texts| texts.iter().all(|text| !text.contains(','))).map(|texts| texts.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_contains_a_word_or_an_item_and_becomes_a_header() {
        for (claim, does, text) in [
            (json!("a"), true, Some("a")),
            (json!("b a c"), true, Some("b a c")),
            (json!("ab"), false, Some("ab")),
            (json!(["b", "a"]), true, Some("b,a")),
            (json!(["b a"]), false, Some("b a")),
            (json!(["a,b"]), false, None),
            (json!([1, "a"]), true, None),
            (json!(null), false, None),
            (json!({ "a": 1 }), false, None),
        ] {
            assert_eq!((contains(&claim, "a"), as_text(&claim).as_deref()), (does, text), "{claim}");
        }
        assert!(contains(&json!(true), "true") && contains(&json!(7), "7"));
    }
}
