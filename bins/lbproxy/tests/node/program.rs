//! Child processes that are spoken to in lines: instances, clients and the proxy itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long a wait may last before the test has failed. The machine may be busy with other things.
const DEADLINE: Duration = Duration::from_secs(180);

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Everything it said and we have read.
    said: Vec<String>,
    /// Those of them that no wait has taken, by position: they may come before the line that is waited for first.
    untaken: Vec<usize>,
}

/// What a wait makes of a line.
#[allow(dead_code, reason = "not every test target has waits that take several lines")]
pub(crate) enum Look<T> {
    /// It is for another wait.
    Leave,
    /// It belongs to this wait, which goes on.
    Take,
    /// It ends this wait.
    Done(T),
}

impl Program {
    /// Starts it, to read what it writes to stdout and stderr.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take().expect("it was asked for"), sender.clone());
        forward(child.stderr.take().expect("it was asked for"), sender);
        let input = child.stdin.take();
        Self { child, input, lines, said: Vec::new(), untaken: Vec::new() }
    }

    /// Gives it a line.
    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open until it is waited for");
        writeln!(input, "{line}").expect("it reads what it is told");
    }

    /// The first line with `part` in it that no wait has taken yet, and takes it.
    #[track_caller]
    pub(crate) fn wait_line(&mut self, part: &str) -> String {
        self.wait_for(part, |line| line.contains(part).then(|| line.to_owned()))
    }

    /// Waits for a line in which `look` sees something, and takes it. Other lines are left for other waits, since what a
    /// program does at once it may say in any order.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        self.take_until(what, |line| look(line).map_or(Look::Leave, Look::Done))
    }

    /// Shows every line that was not taken yet to `look`, the oldest first, until one ends the wait.
    #[track_caller]
    pub(crate) fn take_until<T>(&mut self, what: &str, mut look: impl FnMut(&str) -> Look<T>) -> T {
        let mut at = 0;
        while let Some(&line) = self.untaken.get(at) {
            match look(&self.said[line]) {
                Look::Leave => at += 1,
                Look::Take => drop(self.untaken.remove(at)),
                Look::Done(seen) => {
                    self.untaken.remove(at);
                    return seen;
                }
            }
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let seen = look(&line);
                    self.said.push(line);
                    match seen {
                        Look::Leave => self.untaken.push(self.said.len() - 1),
                        Look::Take => {}
                        Look::Done(seen) => return seen,
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("waited in vain for {what:?} after: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {what:?}: {:#?}", self.said),
            }
        }
    }

    /// Lets it run to its end; all that it said and how it ended.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Vec<String>, ExitStatus) {
        self.input = None;
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().expect("it is our child");
        (std::mem::take(&mut self.said), status)
    }
}

impl Drop for Program {
    #[expect(clippy::print_stderr, reason = "whoever reads of the failure wants to know what the programs said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.said.extend(self.lines.try_iter());
            eprintln!("program {} said: {:#?}", self.child.id(), self.said);
        }
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(stream: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}
