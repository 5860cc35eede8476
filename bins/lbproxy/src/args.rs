//! The arguments, and what `--help` teaches.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command as ClapCommand, Parser, Subcommand, ValueEnum};
use lb_config::{AccessFormat, PolicyKind};

/// A load balancer for HTTP services.
#[derive(Debug, Parser)]
#[command(name = "lbproxy", version, after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the proxy with a configuration file
    #[command(after_help = RUN)]
    Run(File),
    /// Validate a configuration file and report every error
    #[command(short_flag = 't', visible_aliases = ["test", "validate"], after_help = CHECK)]
    Check(File),
    /// Print the effective configuration with all defaults
    ///
    /// Includes, inherited keys and sites are expanded. Secrets are not printed.
    Print(Print),
    /// Write an initial configuration file; never overwrites one
    Init {
        /// Where to; `-` is standard output
        #[arg(value_name = "FILE", default_value = FIRST_FILE)]
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration language, for editors
    Schema,
    /// Run without a configuration file
    #[command(after_help = PROXY)]
    Proxy(Proxy),
    /// Run a self-contained demo: three endpoints, the proxy and a load generator
    #[command(after_help = DEMO)]
    Demo(Demo),
    /// Print a shell completion script
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The configuration file: a bare argument, or an option as other proxies have it.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct File {
    /// The configuration, in TOML; `-` is standard input. Without it, ./lbproxy.toml, else /etc/lbproxy/lbproxy.toml
    #[arg(value_name = "FILE")]
    bare: Option<PathBuf>,
    /// The same, written as an option
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    /// The file that was named.
    pub(crate) fn named(self) -> Option<PathBuf> {
        self.bare.or(self.config)
    }
}

/// What is printed.
#[derive(Debug, Args)]
pub(crate) struct Print {
    #[command(flatten)]
    pub(crate) file: File,
    /// Only what differs from the defaults
    #[arg(long)]
    pub(crate) changed: bool,
}

/// What `lbproxy init` writes, and where a file is looked for first.
pub(crate) const FIRST_FILE: &str = "lbproxy.toml";

/// A proxy without a file.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Where to listen; a port alone, `8080`, is for this machine only, `0.0.0.0:8080` for all IPv4 clients
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// An endpoint: `app:3000`, `10.0.0.1:80`, `[::1]:80`, `unix:/run/app.sock`; more with commas or further `--to`
    #[arg(long, value_name = "ADDRESS", required = true, value_delimiter = ',')]
    pub(crate) to: Vec<String>,
    /// How an endpoint is chosen
    #[arg(long, value_name = "NAME", default_value = "round_robin", value_parser = PolicyName)]
    pub(crate) policy: String,
    /// Ask every endpoint for this path every ten seconds, and leave out those that fail
    #[arg(long, value_name = "PATH")]
    pub(crate) health: Option<String>,
    /// Serve /status and /metrics here, for clients of this machine only; a port alone, `9900`, will do
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<String>,
    /// A line for each request on standard output
    #[arg(long, value_name = "FORMAT", default_value = "standard")]
    pub(crate) access_log: AccessLog,
}

/// The access log of a proxy without a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLog {
    /// One readable line, with endpoint, times, attempts and cause.
    Standard,
    /// As nginx and Apache write it.
    Combined,
    /// One object a line, with all that is known.
    Json,
    /// None.
    Off,
}

impl AccessLog {
    /// The format; `None` is off.
    pub(crate) fn format(self) -> Option<AccessFormat> {
        match self {
            Self::Standard => Some(AccessFormat::Standard),
            Self::Combined => Some(AccessFormat::Combined),
            Self::Json => Some(AccessFormat::Json),
            Self::Off => None,
        }
    }
}

/// The demonstration.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// How an endpoint is chosen
    #[arg(long, value_name = "NAME", default_value = "least_request", value_parser = PolicyName)]
    pub(crate) policy: String,
    /// Requests a second that the demo sends itself
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) rate: u32,
    /// End after this many seconds; without it, Ctrl-C does
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u32>,
}

/// The name of a policy that needs no more than its name. What other balancers call it is answered with ours, as in a file.
#[derive(Clone, Debug)]
struct PolicyName;

impl TypedValueParser for PolicyName {
    type Value = String;

    fn parse_ref(&self, command: &ClapCommand, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        let name = value.to_string_lossy();
        let known = PolicyKind::all().find(|kind| kind.name() == name);
        if known.is_some_and(|kind| !kind.needs_key()) {
            return Ok(name.into_owned());
        }
        let argument = arg.map(ToString::to_string).unwrap_or_default();
        let why = match (known, PolicyKind::meant_by(&name)) {
            (Some(_), _) => format!("`{name}` hashes a key, which only a file can give"),
            (None, Some(near)) => format!("`{name}` is not a policy; did you mean `{}`?", near.name()),
            (None, None) => format!("`{name}` is not a policy"),
        };
        let names: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        let message = format!("{argument}: {why}\n  expected one of {}", names.join(", "));
        Err(command.clone().error(ErrorKind::InvalidValue, message))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names().map(PossibleValue::new)))
    }
}

impl PolicyName {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        PolicyKind::all().filter(|kind| !kind.needs_key()).map(PolicyKind::name)
    }
}

const EXAMPLES: &str = "\
Examples:
  lbproxy demo                                    a self-contained demo
  lbproxy proxy --to app-1:3000 --to app-2:3000   in front of your own endpoints
  lbproxy init                                    write a first file
  lbproxy run lbproxy.toml                        with a configuration file

Exit codes: 0 fine, 1 the configuration is wrong, 2 wrong arguments,
3 could not start, 4 requests were cut. `lbproxy --help` has more.";

const LONG_EXAMPLES: &str = "\
Examples:
  lbproxy demo                                    a self-contained demo
  lbproxy proxy --to app-1:3000 --to app-2:3000   in front of your own endpoints
  lbproxy init                                    write a first file
  lbproxy check lbproxy.toml                      validate a file
  lbproxy run lbproxy.toml                        with a configuration file

Exit codes:
  0    fine
  1    the configuration is wrong: every error is on standard error, and
       nothing was bound
  2    wrong arguments, or no file was named and none is where files usually are
  3    could not start: an address is in use, a log cannot be written; or
       `init` could not write
  4    requests were cut at the end of the grace period, or by a second signal
  101  a thread panicked; the log has the message";

const RUN: &str = "\
A small file:
  [[listener]]
  address = \"0.0.0.0:8080\"

  [[route]]
  cluster = \"app\"

  [cluster.app]
  endpoints = [\"app-1:3000\", \"app-2:3000\"]
  health.active = { path = \"/healthz\" }

Signals:
  TERM, INT  stop accepting, let requests finish for `grace` (30s by
             default), exit; a second one exits at once
  HUP        read the file again: what did not change keeps its connections,
             health and limits; an invalid file changes nothing, and the
             log has the reason
  USR1       open the log files again, after they were moved away
  USR2       ignored, with a line in the log

The log goes to standard error. It begins with the addresses:
  listening on 0.0.0.0:8080 listener=0.0.0.0:8080
  ready generation=1

Exit codes: 0 fine, 1 the configuration is wrong, 2 wrong arguments or no
file, 3 could not start, 4 requests were cut.";

const CHECK: &str = "\
Example:
  $ lbproxy check lbproxy.toml
  lbproxy.toml:5:1: error: unknown key `clutser` in [[route]]
    |
  5 | clutser = \"***\"
    | ^^^^^^^
    = help: did you mean `cluster`?

`lbproxy -t` is the same. Names are not resolved, addresses not bound, logs
not opened.
Exit codes: 0 valid (there may be warnings), 1 not, 2 wrong arguments or no
file.";

const PROXY: &str = "\
Examples:
  lbproxy proxy --to 127.0.0.1:3000,127.0.0.1:3001
  lbproxy proxy --listen 0.0.0.0:8080 --to app-1:3000,app-2:3000 --health /up
  lbproxy proxy --to app:3000 --policy least_request
  lbproxy proxy --to app:3000 --admin 9900
  curl 127.0.0.1:9900/status

A name that resolves to several addresses is that many endpoints.
TERM and INT end it when requests have finished, a second one at once.

Exit codes: 0 fine, 2 wrong arguments, 3 could not start, 4 requests were cut.";

const DEMO: &str = "\
Three endpoints run in this process: `fast`, `slow`, and `flaky`, which turns
bad now and then. The table shows where requests go and why. Everything is on
loopback and ends with Ctrl-C.

Examples:
  lbproxy demo
  lbproxy demo --policy round_robin     # a third of the clients wait for `slow`
  lbproxy demo --rate 500";

const COMPLETIONS: &str = "\
Examples:
  lbproxy completions bash > ~/.local/share/bash-completion/completions/lbproxy
  lbproxy completions zsh > \"${fpath[1]}/_lbproxy\"
  lbproxy completions fish > ~/.config/fish/completions/lbproxy.fish";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command).map_err(|error| error.kind())
    }

    #[test]
    fn the_arguments_do_not_contradict_themselves() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn endpoints_come_with_commas_or_one_by_one() {
        let Ok(Command::Proxy(proxy)) = parse("lbproxy proxy --to a:1,b:2 --to c:3 --listen 80 --health /h") else {
            panic!("not taken");
        };
        assert_eq!(
            (proxy.to, &*proxy.listen, proxy.health.as_deref()),
            (vec!["a:1".to_owned(), "b:2".to_owned(), "c:3".to_owned()], "80", Some("/h"))
        );
        assert_eq!((&*proxy.policy, proxy.access_log, proxy.admin), ("round_robin", AccessLog::Standard, None));
    }

    #[test]
    fn the_file_is_named_alone_or_as_an_option() {
        for line in ["lbproxy run a.toml", "lbproxy run --config a.toml", "lbproxy run -c a.toml"] {
            let Ok(Command::Run(file)) = parse(line) else { panic!("{line}: not taken") };
            assert_eq!(file.named().unwrap().to_str(), Some("a.toml"), "{line}");
        }
        // Habits of nginx, HAProxy and Caddy.
        for line in ["lbproxy check a.toml", "lbproxy -t -c a.toml", "lbproxy validate a.toml", "lbproxy test a.toml"] {
            let Ok(Command::Check(file)) = parse(line) else { panic!("{line}: not taken") };
            assert_eq!(file.named().unwrap().to_str(), Some("a.toml"), "{line}");
        }
        let Ok(Command::Run(file)) = parse("lbproxy run") else { panic!("not taken") };
        assert_eq!(file.named(), None);
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for (line, kind) in [
            ("lbproxy proxy", ErrorKind::MissingRequiredArgument),
            ("lbproxy run a b", ErrorKind::UnknownArgument),
            ("lbproxy run a --config b", ErrorKind::ArgumentConflict),
            ("lbproxy proxy --to a:1 --policy fastest", ErrorKind::InvalidValue),
            ("lbproxy proxy --to a:1 --policy ring_hash", ErrorKind::InvalidValue),
            ("lbproxy demo --rate 1001", ErrorKind::ValueValidation),
            ("lbproxy demo --seconds -1", ErrorKind::UnknownArgument),
            ("lbproxy completions tcsh", ErrorKind::InvalidValue),
            ("lbproxy serve", ErrorKind::InvalidSubcommand),
        ] {
            assert_eq!(parse(line).err(), Some(kind), "{line}");
        }
    }

    #[test]
    fn the_policy_of_another_balancer_is_answered_with_ours() {
        let why = |name: &str| {
            let line = ["lbproxy", "proxy", "--to", "a:1", "--policy", name];
            Arguments::try_parse_from(line).map(drop).unwrap_err().to_string()
        };
        assert!(why("leastconn").contains("did you mean `least_request`?"), "{}", why("leastconn"));
        assert!(why("round-robin").contains("did you mean `round_robin`?"));
        assert!(why("maglev").contains("which only a file can give"));
    }

    #[test]
    fn every_policy_offered_needs_nothing_but_its_name() {
        for policy in PolicyName.possible_values().into_iter().flatten() {
            let made = lb_config::Config::for_proxy("0", &["a:1", "b:1"], Some(policy.get_name()), None, None);
            assert!(made.is_ok(), "{}: {made:?}", policy.get_name());
        }
    }

    #[test]
    fn what_the_help_teaches_fits_a_narrow_terminal() {
        for text in [EXAMPLES, LONG_EXAMPLES, RUN, CHECK, PROXY, DEMO] {
            let long: Vec<_> = text.lines().filter(|line| line.chars().count() > 80).collect();
            assert!(long.is_empty(), "{long:?}");
        }
    }

    #[test]
    fn the_file_that_the_help_shows_is_valid() {
        let file = RUN.split("\n\nSignals").next().and_then(|text| text.split_once('\n')).expect("it begins with it").1;
        let loaded = lb_config::Config::parse(file, &|_| None);
        assert!(loaded.is_ok_and(|loaded| loaded.warnings.is_empty()), "{file}");
    }
}
