use serde_json::Value;

use crate::testing::jar::{Exchange, Origin};

/// What the server has said about a session.
pub(super) struct Instructions {
    pub(super) id: String,
    /// The path of the device service.
    pub(super) refresh: String,
    /// The bound cookies, as `Set-Cookie` lines without their values.
    pub(super) cookies: Vec<String>,
    rules: Vec<Rule>,
    initiators: Vec<String>,
    /// `false` if the server ends the session.
    pub(super) goes_on: bool,
}

struct Rule {
    includes: bool,
    domain: String,
    path: String,
}

impl Instructions {
    /// Reads the instructions of a server at `origin`; `None` if a browser would make no session of them.
    pub(super) fn parse(body: &[u8], origin: &Origin) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        let text = |json: &Value, name: &str| json[name].as_str().map(str::to_owned);
        let list = |json: &Value| json.as_array().cloned().unwrap_or_default();
        let scope = &json["scope"];
        if text(scope, "origin").is_some_and(|scope| Origin::parse(&scope).as_ref() != Some(origin)) {
            return None;
        }
        let url = text(&json, "refresh_url")?;
        let refresh = url.strip_prefix(&origin.text()).unwrap_or(&url).to_owned();
        let cookies: Option<Vec<_>> = list(&json["credentials"])
            .iter()
            .map(|credential| {
                let attributes = text(credential, "attributes").unwrap_or_default();
                Some(format!("{}=bound; {attributes}", text(credential, "name")?))
            })
            .collect();
        let rules = list(&scope["scope_specification"]).into_iter().map(|rule| Rule {
            includes: rule["type"] == "include",
            domain: text(&rule, "domain").unwrap_or_else(|| "*".to_owned()),
            path: text(&rule, "path").unwrap_or_else(|| "/".to_owned()),
        });
        let initiators = list(&json["allowed_refresh_initiators"]).into_iter();
        Some(Self {
            id: text(&json, "session_identifier")?,
            refresh: Some(refresh).filter(|path| path.starts_with('/'))?,
            cookies: cookies.filter(|cookies| !cookies.is_empty())?,
            rules: rules.collect(),
            initiators: initiators.filter_map(|host| host.as_str().map(str::to_owned)).collect(),
            goes_on: json["continue"] != false,
        })
    }

    /// Returns `true` if requests to this path are held back. The service itself never is.
    pub(super) fn includes(&self, exchange: &Exchange) -> bool {
        let applies = |rule: &&Rule| {
            let below = exchange.path.strip_prefix(rule.path.trim_end_matches('/'));
            (rule.domain == "*" || rule.domain == exchange.origin.host())
                && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        exchange.path != self.refresh && self.rules.iter().rfind(applies).is_none_or(|rule| rule.includes)
    }

    /// Returns `true` if requests by a page of this host are held back, too.
    pub(super) fn allows(&self, initiator: &str) -> bool {
        self.initiators.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(rest) => initiator.ends_with(rest),
            None => initiator == pattern,
        })
    }
}
