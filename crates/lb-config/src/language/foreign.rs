//! A file that is not TOML: which language it probably is.
//!
//! A parser of TOML has a complaint about nearly every line of a YAML file, and none of them helps. So when a text is
//! not TOML, its lines are counted: where few could be TOML, one message names the language, and nothing of the text is
//! shown, since it may be a file that was never meant to be read.

/// What a text seems to be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Nginx,
    Haproxy,
    Caddy,
    Yaml,
    Json,
    /// Anything else that is not TOML.
    Unknown,
}

impl Language {
    /// After "this looks like".
    pub(crate) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Nginx => Some("a configuration of nginx"),
            Self::Haproxy => Some("a configuration of HAProxy"),
            Self::Caddy => Some("a Caddyfile"),
            Self::Yaml => Some("YAML"),
            Self::Json => Some("JSON"),
            Self::Unknown => None,
        }
    }
}

/// The language of a text that the parser of TOML has refused, and the line (from 0) of the file by which it was
/// recognised; `None` if it is rather TOML with a slip in it.
pub(crate) fn language(text: &str) -> Option<(Language, usize)> {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with(['#', ';']) && !line.starts_with("//")
        })
        .collect();
    let first = lines.first()?.0;
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        return Some((Language::Json, first));
    }
    let toml = lines.iter().filter(|(_, line)| is_toml(line)).count();
    if toml * 2 >= lines.len() {
        return None;
    }
    let by = |is: fn(&str) -> bool| lines.iter().find(|(_, line)| is(line)).map(|(at, _)| *at);
    let found = by(is_nginx)
        .map(|at| (Language::Nginx, at))
        .or_else(|| by(is_haproxy).map(|at| (Language::Haproxy, at)))
        .or_else(|| by(is_caddy).map(|at| (Language::Caddy, at)))
        .or_else(|| {
            let yaml = lines.iter().filter(|(_, line)| is_yaml(line)).count();
            (yaml * 2 > lines.len()).then_some((Language::Yaml, first))
        });
    Some(found.unwrap_or((Language::Unknown, first)))
}

/// `[table]`, `key = …`, or what a list or a table over several lines is made of.
fn is_toml(line: &str) -> bool {
    let line = line.trim();
    if line.starts_with(['"', '\'', ']', '}', '[']) {
        return true;
    }
    let Some((key, value)) = line.split_once('=') else { return false };
    let key = key.trim_end();
    let is_key = |char: char| char.is_alphanumeric() || "_-.\"'*{ ".contains(char);
    !value.trim().is_empty() && !key.is_empty() && key.chars().all(is_key) && !line.ends_with(';')
}

fn is_nginx(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim();
    let block = line.strip_suffix('{').map(str::trim_end);
    let blocks = ["server", "http", "events", "stream"];
    let is_block = block.is_some_and(|block| {
        blocks.contains(&block) || block.starts_with("location ") || block.starts_with("upstream ")
    });
    let directives = ["proxy_pass ", "listen ", "server_name ", "worker_processes ", "upstream ", "server "];
    is_block || (line.ends_with(';') && directives.iter().any(|word| line.starts_with(word)))
}

fn is_haproxy(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (first, second) = (words.next(), words.next());
    !line.starts_with([' ', '\t'])
        && !line.contains(['{', '='])
        && match first {
            Some("global" | "defaults") => second.is_none(),
            Some("frontend" | "backend" | "listen") => second.is_some_and(|name| !name.ends_with(';')),
            _ => false,
        }
}

fn is_caddy(line: &str) -> bool {
    let opens = line.trim_end().strip_suffix('{').is_some_and(|site| {
        let site = site.trim();
        !line.starts_with([' ', '\t']) && (site.is_empty() || site.contains(['.', ':', '(']))
    });
    opens
        || ["reverse_proxy ", "file_server", "handle_path ", "encode "].iter().any(|word| line.trim().starts_with(word))
}

fn is_yaml(line: &str) -> bool {
    let line = line.trim();
    let line = line.strip_prefix("- ").unwrap_or(line);
    line == "---"
        || line.starts_with('-')
        || line.split_once(':').is_some_and(|(key, rest)| {
            (rest.is_empty() || rest.starts_with(' '))
                && key.chars().all(|char| char.is_alphanumeric() || "_-./ \"'".contains(char))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Language> {
        language(text).map(|(language, _)| language)
    }

    #[test]
    fn languages_are_recognised() {
        for (text, expected) in [
            (
                "# x\nserver {\n  listen 80;\n  server_name a;\n  location / {\n    proxy_pass http://a;\n  }\n}\n",
                Language::Nginx,
            ),
            ("proxy_pass http://a;\n", Language::Nginx),
            ("global\n    daemon\ndefaults\n    mode http\nfrontend web\n    bind :80\n", Language::Haproxy),
            ("example.com {\n  reverse_proxy app:80\n}\n", Language::Caddy),
            (":80 {\n\treverse_proxy a:1 b:2\n}\n", Language::Caddy),
            ("http:\n  routers:\n    a:\n      rule: Host(`x`)\n", Language::Yaml),
            ("listeners:\n  - address: 0.0.0.0:80\n", Language::Yaml),
            ("{\n  \"listener\": []\n}\n", Language::Json),
            ("root:$6$salt$hash:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n", Language::Unknown),
            ("hello", Language::Unknown),
        ] {
            assert_eq!(found(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn toml_with_a_slip_is_toml() {
        for text in [
            "[[listener]]\naddress = 0.0.0.0:80\n",
            "address = “x”\n",
            "[[route]\ncluster = \"a\"\n",
            "endpoints = [\n  \"a:1\"\n  \"b:1\"\n]\n",
            "policy = least_request\n",
            "",
            "# only a comment\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
