//! The answer of an agent beside the endpoint, in HAProxy's words (`agent-check`).
//!
//! One line of words, separated by spaces, tabs or commas, in any order: `ready` or `drain` or `maint` (what an operator
//! orders there), `up` or `down` or `stopped` or `fail` (what the agent observes), a percentage of the weight as `75%`, and
//! a limit of requests in flight as `maxconn:30`. After `#` comes a text for people. What is not known is ignored, as
//! HAProxy does, so that an agent can say more than this version understands.

/// What an agent orders or observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// Observed: it serves (`up`).
    Up,
    /// Observed: it does not (`down`, `stopped`, `fail`).
    Down,
    /// Ordered: no longer draining or in maintenance (`ready`).
    Ready,
    /// Ordered: finish old work, take no new (`drain`).
    Drain,
    /// Ordered: take nothing (`maint`).
    Maintenance,
}

/// What an agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentAnswer {
    /// What it observes: [`AgentState::Up`] or [`AgentState::Down`].
    pub observed: Option<AgentState>,
    /// What is ordered there: one of the other three.
    pub ordered: Option<AgentState>,
    /// Per cent of the configured weight, 0 to 256.
    pub weight_percent: Option<u16>,
    /// Limit of requests in flight, at least one.
    pub max_in_flight: Option<u32>,
    /// The text for people.
    pub reason: Option<String>,
}

impl AgentAnswer {
    /// Reads the first line; of words that contradict each other the last counts.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let line = text.split(['\r', '\n']).next().unwrap_or_default();
        let (words, reason) = line.split_once('#').map_or((line, None), |(words, reason)| (words, Some(reason.trim())));
        let mut answer = Self::default();
        for word in words.split([' ', '\t', ',']) {
            match word.to_ascii_lowercase().as_str() {
                "up" => answer.observed = Some(AgentState::Up),
                "down" | "stopped" | "fail" => answer.observed = Some(AgentState::Down),
                "ready" => answer.ordered = Some(AgentState::Ready),
                "drain" => answer.ordered = Some(AgentState::Drain),
                "maint" => answer.ordered = Some(AgentState::Maintenance),
                other => answer.number(other),
            }
        }
        answer.reason = reason.filter(|reason| !reason.is_empty()).map(str::to_owned);
        answer
    }

    fn number(&mut self, word: &str) {
        if let Some(percent) = word.strip_suffix('%') {
            self.weight_percent = percent.parse().ok().filter(|percent| *percent <= 256).or(self.weight_percent);
        } else if let Some(limit) = word.strip_prefix("maxconn:") {
            self.max_in_flight = limit.parse().ok().filter(|limit| *limit > 0).or(self.max_in_flight);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_order_and_separated_as_haproxy_allows() {
        let answer = AgentAnswer::parse("up, ready\t75% maxconn:30 # after the night run\nignored");
        let expected = AgentAnswer {
            observed: Some(AgentState::Up),
            ordered: Some(AgentState::Ready),
            weight_percent: Some(75),
            max_in_flight: Some(30),
            reason: Some("after the night run".into()),
        };
        assert_eq!(answer, expected);
        assert_eq!(AgentAnswer::parse("75% READY up maxconn:30 #after the night run\r\n"), expected);
    }

    #[test]
    fn every_word_has_its_meaning() {
        let read = |word| {
            let answer = AgentAnswer::parse(word);
            answer.observed.or(answer.ordered)
        };
        for word in ["down", "stopped", "fail", "fail#disk full"] {
            assert_eq!(read(word), Some(AgentState::Down), "{word}");
        }
        assert_eq!([read("drain"), read("maint")], [Some(AgentState::Drain), Some(AgentState::Maintenance)]);
    }

    #[test]
    fn what_is_not_known_or_no_number_is_ignored() {
        for text in ["", "\n", "hello", "%", "-1%", "257%", "99999999999%", "maxconn:", "maxconn:0", "#", "75 %"] {
            assert_eq!(AgentAnswer::parse(text), AgentAnswer::default(), "{text:?}");
        }
        assert_eq!(AgentAnswer::parse("0%").weight_percent, Some(0));
        assert_eq!(AgentAnswer::parse("up down").observed, Some(AgentState::Down), "the last counts");
    }
}
