//! A line of the local API.

use firmware_protocols::Value;
use linli::control::wire::Request;

use crate::light::disguise::disguised;

/// A request comes out of its own line as it went in. No pickup code is printed or repeated in a
/// refusal.
pub fn control(line: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let written = serde_json::to_vec(&request).expect("a request can be written");
        let back: Request = serde_json::from_slice(&written).expect("our own request is read");
        assert_eq!(back, request);
    }
    if let Ok(tree) = Value::from_json(line)
        && let Some(other) = disguised(&tree, &["code"])
    {
        assert_eq!(printed(&tree), printed(&other), "a code is told");
    }
}

fn printed(tree: &Value) -> String {
    match serde_json::from_str::<Request>(&tree.to_json()) {
        Ok(request) => format!("{request:?}"),
        Err(error) => error.to_string(),
    }
}
