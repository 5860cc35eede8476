//! The arguments, and what `--help` teaches.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
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
    /// Serve as a configuration file says
    #[command(after_help = RUN)]
    Run(File),
    /// Say everything that is wrong with a configuration file, and start nothing
    #[command(after_help = CHECK)]
    Check(File),
    /// Print the configuration in effect, every default filled in
    ///
    /// Included files are in place, inherited keys too. Secrets are not printed.
    Print(File),
    /// Print the JSON Schema of the configuration language, for editors
    Schema,
    /// Forward to some endpoints without a file
    #[command(after_help = PROXY)]
    Proxy(Proxy),
    /// Show it at work: three endpoints, a proxy before them, a gentle load
    #[command(after_help = DEMO)]
    Demo(Demo),
    /// Print a script that lets a shell complete our arguments
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which file; as the only argument, or as those who come from another proxy write it.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct File {
    /// The configuration, in TOML
    #[arg(value_name = "FILE")]
    bare: Option<PathBuf>,
    /// The same, written as an option
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    /// The file's path.
    pub(crate) fn path(self) -> PathBuf {
        self.bare.or(self.config).unwrap_or_default()
    }
}

/// A proxy without a file.
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// Where to listen; a port alone, `8080`, listens on every IPv4 address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// An endpoint: `app:3000`, `10.0.0.1:80`, `[::1]:80`, `unix:/run/app.sock`; more with commas or further `--to`
    #[arg(long, value_name = "ADDRESS", required = true, value_delimiter = ',')]
    pub(crate) to: Vec<String>,
    /// How an endpoint is chosen
    #[arg(long, value_name = "NAME", default_value = "round_robin", value_parser = policies())]
    pub(crate) policy: String,
    /// Ask every endpoint for this path every ten seconds, and leave out those that fail
    #[arg(long, value_name = "PATH")]
    pub(crate) health: Option<String>,
    /// Serve /status and /metrics here, for clients of this machine
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
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
    #[arg(long, value_name = "NAME", default_value = "least_request", value_parser = policies())]
    pub(crate) policy: String,
    /// Requests a second that the demo sends itself
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) rate: u32,
    /// End after this many seconds; without it, Ctrl-C does
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u32>,
}

/// The policies that need no more than their name.
fn policies() -> PossibleValuesParser {
    PossibleValuesParser::new(PolicyKind::all().filter(|kind| !kind.needs_key()).map(PolicyKind::name))
}

const EXAMPLES: &str = "\
Examples:
  lbproxy demo                                    see it at work
  lbproxy proxy --to app-1:3000 --to app-2:3000   before your own endpoints
  lbproxy run lbproxy.toml                        as a file says

Exit codes: 0 fine, 1 the configuration is wrong, 2 wrong arguments,
3 could not start, 4 requests were cut. `lbproxy --help` says more.";

const LONG_EXAMPLES: &str = "\
Examples:
  lbproxy demo                                    see it at work
  lbproxy proxy --to app-1:3000 --to app-2:3000   before your own endpoints
  lbproxy check lbproxy.toml                      what is wrong with a file
  lbproxy run lbproxy.toml                        as a file says

Exit codes:
  0    fine
  1    the configuration is wrong: all of it is said on standard error, and
       nothing was bound
  2    wrong arguments
  3    could not start: an address is in use, a log cannot be written
  4    requests were cut at the end of the grace period, or by a second signal
  101  a thread died of a bug; the log has its panic";

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
  TERM, INT  stop accepting, let requests finish for `grace` (30s unless the
             file says otherwise), end; a second one ends at once
  HUP        read the file again: what did not change keeps its connections,
             health and limits; a file that is wrong changes nothing, and the
             log says why
  USR1       open the log files again, after they were moved away

The log goes to standard error. It begins with the addresses:
  listening on 0.0.0.0:8080 listener=0.0.0.0:8080
  ready generation=1

Exit codes: 0 fine, 1 the configuration is wrong, 3 could not start,
4 requests were cut.";

const CHECK: &str = "\
Example:
  $ lbproxy check lbproxy.toml
  lbproxy.toml:5:1: error: unknown key `clutser` in [[route]]
    |
  5 | clutser = \"***\"
    | ^^^^^^^
    = help: did you mean `cluster`?

Names are not resolved, addresses not bound, logs not opened.
Exit codes: 0 valid (there may be warnings), 1 not.";

const PROXY: &str = "\
Examples:
  lbproxy proxy --to 127.0.0.1:3000,127.0.0.1:3001
  lbproxy proxy --listen 8080 --to app-1:3000 --to app-2:3000 --health /healthz
  lbproxy proxy --to app:3000 --policy least_request
  lbproxy proxy --to app:3000 --admin 127.0.0.1:9900
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
    use clap::builder::TypedValueParser;
    use clap::error::ErrorKind;

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
            assert_eq!(file.path().to_str(), Some("a.toml"), "{line}");
        }
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for (line, kind) in [
            ("lbproxy proxy", ErrorKind::MissingRequiredArgument),
            ("lbproxy run", ErrorKind::MissingRequiredArgument),
            ("lbproxy run a b", ErrorKind::UnknownArgument),
            ("lbproxy run a --config b", ErrorKind::ArgumentConflict),
            ("lbproxy proxy --to a:1 --policy fastest", ErrorKind::InvalidValue),
            ("lbproxy proxy --to a:1 --admin everywhere", ErrorKind::ValueValidation),
            ("lbproxy demo --rate 1001", ErrorKind::ValueValidation),
            ("lbproxy demo --seconds -1", ErrorKind::UnknownArgument),
            ("lbproxy completions tcsh", ErrorKind::InvalidValue),
            ("lbproxy serve", ErrorKind::InvalidSubcommand),
        ] {
            assert_eq!(parse(line).err(), Some(kind), "{line}");
        }
    }

    #[test]
    fn every_policy_offered_needs_nothing_but_its_name() {
        for policy in policies().possible_values().into_iter().flatten() {
            let made = lb_config::Config::for_proxy("0", &["a:1", "b:1"], Some(policy.get_name()), None);
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
