//! Lines from many threads to one output, without any of them waiting for it.
//!
//! A stalled disk or a pipe without a reader blocks the writing thread; in a worker, that would block every connection it
//! serves. So a worker only appends to its own [`Lane`], a buffer behind a lock that other threads hold only to swap two
//! pointers, and one thread empties all lanes: every second, when a lane
//! has filled to its mark, and at the end. A lane that is full because the output does not keep up drops lines and
//! counts them. An output that fails loses what was being written, is counted and reported, and is tried again.
//!
//! This does not keep lines of different lanes in order, does not sync to disk, and does not survive a kill.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Where bytes go; `None` throws them away.
pub(crate) type Output = Option<Box<dyn Write + Send>>;

/// A file to append to, made if it is not there, for its owner to write and its group to read.
pub(crate) fn open_file(path: &Path) -> io::Result<Output> {
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    Ok(Some(Box::new(file)))
}

/// Standard output past the standard library's own line buffer.
pub(crate) fn stdout() -> io::Result<Output> {
    Ok(Some(Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))))
}

/// Standard error, unbuffered.
pub(crate) fn stderr() -> io::Result<Output> {
    Ok(Some(Box::new(File::from(io::stderr().as_fd().try_clone_to_owned()?))))
}

/// How a sink behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes in a lane that wake the writer before its time; 0 wakes it for every line.
    pub(crate) wake_at: usize,
    /// Bytes in a lane beyond which lines are dropped. One line more may lie above it.
    pub(crate) max: usize,
    /// Longest time a line waits for the writer.
    pub(crate) interval: Duration,
}

/// The writer thread and its lanes. `T` is what each lane keeps beside its bytes.
pub(crate) struct Sink<T: Send + 'static> {
    shared: Arc<Shared<T>>,
    writer: Option<JoinHandle<()>>,
}

/// One thread's way into a sink. What was written before the lane is dropped is still delivered.
pub(crate) struct Lane<T> {
    buffer: Arc<Mutex<Buffer<T>>>,
    waker: Arc<Waker>,
    dropped: Arc<AtomicU64>,
    limits: Limits,
}

struct Buffer<T> {
    bytes: Vec<u8>,
    /// The sink has ended: this buffer is not read again.
    closed: bool,
    keep: T,
}

/// Ends the writer's rest. The flag is there because whatever the writer calls, its output or the application log, may
/// park on its own account and swallow the wake-up.
#[derive(Default)]
struct Waker {
    is_due: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Waker {
    fn wake(&self) {
        self.is_due.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

struct Shared<T> {
    lanes: Mutex<Vec<Arc<Mutex<Buffer<T>>>>>,
    control: Mutex<Control<T>>,
    reached: Condvar,
    waker: Arc<Waker>,
    dropped: Arc<AtomicU64>,
    limits: Limits,
}

struct Control<T> {
    switch: Option<Switch<T>>,
    /// Passes asked for and made; a pass writes all that was in the lanes when it began.
    asked: u64,
    made: u64,
    closing: bool,
    ended: bool,
}

/// A change that takes place between two lines: earlier ones go to the old output.
struct Switch<T> {
    output: Output,
    each: Box<dyn Fn(&mut T) + Send>,
}

impl<T: Send + 'static> Sink<T> {
    /// Starts the writer thread. Lines lost, for whatever reason, are added to `dropped`; with `report` set the writer
    /// also logs losses under that name, at most once a second.
    pub(crate) fn start(
        name: &'static str,
        output: Output,
        limits: Limits,
        dropped: Arc<AtomicU64>,
        report: bool,
    ) -> io::Result<Self> {
        let control = Control { switch: None, asked: 0, made: 0, closing: false, ended: false };
        let shared = Arc::new(Shared {
            lanes: Mutex::default(),
            control: Mutex::new(control),
            reached: Condvar::new(),
            waker: Arc::default(),
            dropped,
            limits,
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            output,
            spare: Vec::new(),
            torn: false,
            report: report.then(|| Report::new(name)),
        };
        let writer = std::thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        shared.waker.thread.get_or_init(|| writer.thread().clone());
        Ok(Self { shared, writer: Some(writer) })
    }

    /// A lane of one's own, with what it keeps.
    pub(crate) fn lane(&self, keep: T) -> Lane<T> {
        let mut lanes = lock(&self.shared.lanes);
        // Asked under the list's lock: either the writer's last pass comes later and finds the lane, or it is over.
        let closed = lock(&self.shared.control).closing;
        let buffer = Arc::new(Mutex::new(Buffer { bytes: Vec::new(), closed, keep }));
        lanes.push(Arc::clone(&buffer));
        drop(lanes);
        Lane {
            buffer,
            waker: Arc::clone(&self.shared.waker),
            dropped: Arc::clone(&self.shared.dropped),
            limits: self.shared.limits,
        }
    }

    /// Changes the output, and with `each` what every lane keeps. Lines written so far go to the old output. Returns
    /// at once; the writer does it next. An earlier change not yet made is replaced.
    pub(crate) fn switch(&self, output: Output, each: impl Fn(&mut T) + Send + 'static) {
        lock(&self.shared.control).switch = Some(Switch { output, each: Box::new(each) });
        self.shared.waker.wake();
    }

    /// Has everything written that is in the lanes now; false if that took longer than `wait`.
    pub(crate) fn flush(&self, wait: Duration) -> bool {
        let pass = {
            let mut control = lock(&self.shared.control);
            control.asked += 1;
            control.asked
        };
        self.wait_for(wait, |control| control.ended || control.made >= pass)
    }

    /// Writes everything, then ends the writer; false if that took longer than `wait`, in which case the writer is left
    /// to itself. Lines that come later are dropped and counted.
    pub(crate) fn close(&self, wait: Duration) -> bool {
        lock(&self.shared.control).closing = true;
        self.wait_for(wait, |control| control.ended)
    }

    fn wait_for(&self, wait: Duration, done: impl Fn(&Control<T>) -> bool) -> bool {
        self.shared.waker.wake();
        let control = lock(&self.shared.control);
        let (control, _) = self
            .shared
            .reached
            .wait_timeout_while(control, wait, |control| !done(control))
            .unwrap_or_else(PoisonError::into_inner);
        done(&control)
    }
}

impl<T: Send + 'static> Drop for Sink<T> {
    fn drop(&mut self) {
        if self.close(LAST_WAIT)
            && let Some(writer) = self.writer.take()
        {
            // It has reported its end; a panic in it would only repeat that report.
            drop(writer.join());
        }
    }
}

impl<T> Lane<T> {
    /// Lets `line` append one whole line, its end included. If the lane is full, `line` is not called.
    pub(crate) fn write(&self, line: impl FnOnce(&mut T, &mut Vec<u8>)) {
        let mut buffer = lock(&self.buffer);
        let before = buffer.bytes.len();
        if buffer.closed || before >= self.limits.max {
            drop(buffer);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Buffer { bytes, keep, .. } = &mut *buffer;
        line(keep, bytes);
        let after = bytes.len();
        drop(buffer);
        // Only the line that crosses the mark wakes, so that a busy lane costs one system call a batch.
        if before <= self.limits.wake_at && after > self.limits.wake_at {
            self.waker.wake();
        }
    }
}

struct Writer<T> {
    shared: Arc<Shared<T>>,
    output: Output,
    /// The buffer that the next lane gets in exchange for its own.
    spare: Vec<u8>,
    /// The output ends in the middle of a line that failed half way.
    torn: bool,
    report: Option<Report>,
}

impl<T> Writer<T> {
    fn run(mut self) {
        loop {
            self.shared.waker.is_due.swap(false, Ordering::Acquire);
            let (asked, switch, closing) = {
                let mut control = lock(&self.shared.control);
                (control.asked, control.switch.take(), control.closing)
            };
            self.pass(switch.as_ref().map(|switch| &*switch.each), closing);
            if let Some(switch) = switch {
                self.output = switch.output;
                self.torn = false;
            }
            if let Some(report) = &mut self.report {
                report.tell(self.shared.dropped.load(Ordering::Relaxed), closing);
            }
            let mut control = lock(&self.shared.control);
            control.made = asked;
            control.ended = closing;
            drop(control);
            self.shared.reached.notify_all();
            if closing {
                return;
            }
            // A wake-up between this question and the rest is remembered by the rest and ends it at once.
            if !self.shared.waker.is_due.load(Ordering::Acquire) {
                std::thread::park_timeout(self.shared.limits.interval);
            }
        }
    }

    /// Writes out every lane, and drops those without other references.
    fn pass(&mut self, each: Option<&(dyn Fn(&mut T) + Send)>, closing: bool) {
        let lanes: Vec<_> = {
            let mut lanes = lock(&self.shared.lanes);
            lanes.retain(|lane| Arc::strong_count(lane) > 1 || !lock(lane).bytes.is_empty());
            lanes.clone()
        };
        for lane in lanes {
            let mut full = std::mem::take(&mut self.spare);
            {
                let mut buffer = lock(&lane);
                std::mem::swap(&mut buffer.bytes, &mut full);
                buffer.closed |= closing;
                if let Some(each) = each {
                    each(&mut buffer.keep);
                }
            }
            self.deliver(&full);
            full.clear();
            full.shrink_to(KEPT_BYTES);
            self.spare = full;
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let Some(output) = self.output.as_mut().filter(|_| !bytes.is_empty()) else { return };
        if self.torn {
            match write_out(output.as_mut(), b"\n") {
                Ok(()) => self.torn = false,
                Err((_, error)) => return self.lose(bytes, &error),
            }
        }
        if let Err((written, error)) = write_out(output.as_mut(), bytes) {
            self.torn = written > 0 && bytes[written - 1] != b'\n';
            self.lose(&bytes[written..], &error);
        }
    }

    fn lose(&mut self, rest: &[u8], error: &io::Error) {
        let lines = rest.iter().filter(|&&byte| byte == b'\n').count();
        self.shared.dropped.fetch_add(lines as u64, Ordering::Relaxed);
        if let Some(report) = &mut self.report {
            report.error = Some(error.to_string());
        }
    }
}

/// Writes everything, or returns how much was written and the error. An output in non-blocking mode (a terminal or a
/// pipe that another process set so) is retried for a while.
fn write_out(output: &mut (dyn Write + Send), bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    let mut patience = 200;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(n) => written = (written + n).min(bytes.len()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && patience > 0 => {
                patience -= 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// Logs how many lines were lost, at most once a second.
struct Report {
    name: &'static str,
    reported: u64,
    at: Option<Instant>,
    error: Option<String>,
}

impl Report {
    const fn new(name: &'static str) -> Self {
        Self { name, reported: 0, at: None, error: None }
    }

    fn tell(&mut self, dropped: u64, last: bool) {
        let due = self.at.is_none_or(|at| at.elapsed() >= Duration::from_secs(1));
        if dropped == self.reported || !(due || last) {
            return;
        }
        let lost = dropped.saturating_sub(self.reported);
        match self.error.take() {
            Some(error) => tracing::error!("{}: {lost} lines lost: {error}", self.name),
            None => tracing::warn!("{}: {lost} lines lost: its output is too slow", self.name),
        }
        self.reported = dropped;
        self.at = Some(Instant::now());
    }
}

/// A panic while a lock was held leaves at worst half a line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Capacity a buffer keeps for its next use.
const KEPT_BYTES: usize = 256 * 1024;

/// How long a sink that is simply dropped waits for its output.
const LAST_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc;

    use super::*;

    /// An output that records writes, and fails on request.
    #[derive(Clone, Default)]
    pub(crate) struct Memory(pub(crate) Arc<Mutex<(Vec<u8>, Vec<Answer>)>>);

    pub(crate) enum Answer {
        Take(usize),
        Fail,
    }

    impl Memory {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(lock(&self.0).0.clone()).unwrap()
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut inner = lock(&self.0);
            let take = match inner.1.pop() {
                Some(Answer::Fail) => return Err(io::Error::other("disk full")),
                Some(Answer::Take(max)) => max.min(bytes.len()),
                None => bytes.len(),
            };
            inner.0.extend_from_slice(&bytes[..take]);
            Ok(take)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output that says when it is written to and then waits for leave.
    struct Stuck {
        entered: mpsc::Sender<()>,
        leave: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.entered.send(()).ok();
            self.leave.recv().ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(30);
    const LIMITS: Limits = Limits { wake_at: 1 << 20, max: 1 << 20, interval: Duration::from_secs(3600) };

    fn sink(output: impl Write + Send + 'static, limits: Limits) -> (Sink<u8>, Arc<AtomicU64>) {
        let dropped = Arc::new(AtomicU64::new(0));
        let sink = Sink::start("test", Some(Box::new(output)), limits, Arc::clone(&dropped), true).unwrap();
        (sink, dropped)
    }

    fn line(lane: &Lane<u8>, text: &str) {
        lane.write(|_, out| out.extend_from_slice(text.as_bytes()));
    }

    #[test]
    fn everything_is_written_at_the_end_even_of_lanes_that_are_gone() {
        let memory = Memory::default();
        let (sink, dropped) = sink(memory.clone(), LIMITS);
        let (a, b) = (sink.lane(0), sink.lane(0));
        line(&a, "one\n");
        line(&b, "two\n");
        drop(b);
        line(&a, "three\n");
        assert!(sink.close(LONG));
        let mut lines: Vec<_> = memory.text().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["one", "three", "two"]);
        line(&a, "late\n");
        assert_eq!(dropped.load(Ordering::Relaxed), 1, "a line after the end is counted");
        assert!(!memory.text().contains("late"));
    }

    #[test]
    fn a_stuck_output_costs_lines_and_never_the_worker() {
        let (entered, has_entered) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel();
        let limits = Limits { wake_at: 0, max: 8, ..LIMITS };
        let (sink, dropped) = sink(Stuck { entered, leave: may_leave }, limits);
        let lane = sink.lane(0);
        line(&lane, "first\n");
        has_entered.recv_timeout(LONG).unwrap();
        // The writer now hangs in its output. Two lines of six bytes reach the limit of eight, the rest must go.
        for _ in 0..10 {
            line(&lane, "again\n");
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 8);
        assert!(!sink.flush(Duration::ZERO), "the flush times out");
        drop(leave);
        assert!(sink.close(LONG));
    }

    #[test]
    fn a_filled_lane_does_not_wait_for_the_interval() {
        let (entered, has_entered) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel();
        drop(leave);
        let (sink, _) = sink(Stuck { entered, leave: may_leave }, Limits { wake_at: 16, ..LIMITS });
        let lane = sink.lane(0);
        line(&lane, "0123456789\n");
        line(&lane, "0123456789\n");
        has_entered.recv_timeout(LONG).expect("woken by the second line, not after an hour");
    }

    #[test]
    fn a_failing_output_is_counted_and_tried_again() {
        let memory = Memory::default();
        let (sink, dropped) = sink(memory.clone(), LIMITS);
        let lane = sink.lane(0);
        // Popped from the end: two bytes pass, then the disk is full.
        lock(&memory.0).1 = vec![Answer::Fail, Answer::Take(2)];
        line(&lane, "one\ntwo\n");
        assert!(sink.flush(LONG));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        line(&lane, "three\n");
        assert!(sink.flush(LONG));
        assert_eq!(memory.text(), "on\nthree\n", "a torn line does not swallow the next");
    }

    #[test]
    fn a_switch_takes_place_between_two_lines() {
        let (old, new) = (Memory::default(), Memory::default());
        let (sink, _) = sink(old.clone(), LIMITS);
        let lane = sink.lane(b'a');
        let numbered = |lane: &Lane<u8>| lane.write(|keep, out| out.extend_from_slice(&[*keep, b'\n']));
        numbered(&lane);
        sink.switch(Some(Box::new(new.clone())), |keep| *keep = b'b');
        assert!(sink.flush(LONG));
        numbered(&lane);
        assert!(sink.flush(LONG));
        assert_eq!((old.text().as_str(), new.text().as_str()), ("a\n", "b\n"));
    }

    #[test]
    fn no_line_is_lost_or_torn_between_threads() {
        let memory = Memory::default();
        let (sink, dropped) = sink(memory.clone(), Limits { wake_at: 64, max: 1 << 24, ..LIMITS });
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let lane = sink.lane(0);
                scope.spawn(move || {
                    for n in 0..1_000 {
                        line(&lane, &format!("{worker} {n}\n"));
                    }
                });
            }
        });
        assert!(sink.close(LONG));
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        let text = memory.text();
        for worker in 0..4 {
            let own: Vec<_> = text.lines().filter_map(|l| l.strip_prefix(&format!("{worker} "))).collect();
            assert_eq!(own, (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>(), "in order within a lane");
        }
    }
}
