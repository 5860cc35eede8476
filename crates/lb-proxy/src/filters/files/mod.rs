//! A route that serves files of a directory.
//!
//! Looking for a file and reading it may wait for a disk, so both are done by the threads that the runtime keeps for that; the worker
//! goes on with its other connections.

mod beneath;
mod file_body;
mod listing;

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lb_config::{Action, Encoding, ServeFiles};
use rustix::fs::Stat;
use rustix::io::Errno;

use self::beneath::{Entry, Root};
use self::file_body::{FileBody, Part};
use super::{Filter, Flow, Resume, Scope};
use crate::exchange::{Body, Exchange, Response};
use crate::message::{Framing, Method, RequestHead, ResponseBuilder, ResponseHead, name};
use crate::rules::answer::Answer;
use crate::rules::cause::Cause;
use crate::rules::encoding;
use crate::rules::headers::HeaderError;
use crate::rules::path::MatchPath;
use crate::rules::range::{self, Ranges};
use crate::rules::reply::Reply;
use crate::rules::template::encode_uri;

pub(super) struct Files {
    options: Arc<ServeFiles>,
}

impl Filter for Files {
    fn new(scope: &Scope<'_>) -> Result<Option<Self>, HeaderError> {
        Ok(scope.route.and_then(|route| match &route.action {
            Action::Files(options) => Some(Self { options: Arc::new(options.clone()) }),
            _ => None,
        }))
    }

    fn on_request(&self, exchange: &mut Exchange) -> Flow {
        if !matches!(exchange.head.method(), Method::Get | Method::Head) {
            let answer = Answer::new(Cause::MethodNotAllowed).allow("GET, HEAD");
            return Flow::Answer(exchange.answer(answer, Cause::MethodNotAllowed, None));
        }
        // The router has read it before.
        let Ok(path) = MatchPath::new(exchange.head.path()).map(|path| path.path.into_owned()) else {
            return Flow::Answer(exchange.refusal(Cause::BadPath, None));
        };
        let (options, head) = (Arc::clone(&self.options), exchange.head.clone());
        let found = tokio::task::spawn_blocking(move || Search { options: &options, head: &head }.answer(&path));
        Flow::Wait(Box::pin(async move {
            let found = found.await;
            Box::new(move |exchange: &mut Exchange| {
                Flow::Answer(match found {
                    Ok(Ok(found)) => found.response(exchange),
                    Ok(Err(errno)) => failed(exchange, errno),
                    // A panic, or the end of the process.
                    Err(error) => exchange.refusal(Cause::Internal, Some(error.to_string())),
                })
            }) as Resume
        }))
    }
}

fn failed(exchange: &Exchange, errno: Errno) -> Box<Response> {
    let cause = match errno {
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => Cause::LocalResources,
        Errno::IO | Errno::STALE => Cause::Internal,
        // What leads out of the root or cannot be read is not there; the log says why.
        _ => Cause::NoFile,
    };
    let detail = (errno != Errno::NOENT && errno != Errno::NOTDIR).then(|| errno.to_string());
    exchange.refusal(cause, detail)
}

/// What is answered: a head, and a body if the status has one.
struct Found {
    head: ResponseHead,
    body: Body,
}

impl Found {
    fn response(self, exchange: &Exchange) -> Box<Response> {
        let Self { head, body } = self;
        let has_body = !exchange.has_no_body(&head);
        let framing = match head.content_length() {
            Some(length) if has_body => Framing::Length(length),
            _ => Framing::None,
        };
        let mut response = exchange.own(Ok(Reply { head, body: Bytes::new(), framing }));
        response.framing = framing;
        response.body = if has_body { body } else { Body::Empty };
        response
    }
}

/// One request for a file.
struct Search<'a> {
    options: &'a ServeFiles,
    head: &'a RequestHead,
}

/// A file that was found.
struct FoundFile {
    file: File,
    stat: Stat,
    /// Its name, without what a precompressed one has behind it.
    name: String,
    encoding: Option<Encoding>,
}

impl Search<'_> {
    /// `path` is decoded, begins with a slash, and has no `.` and no `..`.
    fn answer(&self, path: &str) -> Result<Found, Errno> {
        let root = Root::open(&self.options.root)?;
        let mut last = Errno::NOENT;
        for attempt in &self.options.attempts {
            let tried = match attempt.strip_prefix("{path}") {
                Some("") => path.to_owned(),
                // `/docs/` has no `/docs/.html`.
                Some(more) if path.ends_with('/') && !more.starts_with('/') => continue,
                Some(more) => {
                    format!("{}{more}", path.trim_end_matches(if more.starts_with('/') { '/' } else { '\0' }))
                }
                None => attempt.to_string(),
            };
            if !self.is_visible(&tried) {
                continue;
            }
            match self.attempt(&root, &tried, path) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => last = errno,
                // Too many open files, say, is no reason to send another file.
                Err(errno) => return Err(errno),
            }
        }
        Err(last)
    }

    /// Whether no name of a path is hidden.
    fn is_visible(&self, path: &str) -> bool {
        path.split('/').all(|name| {
            let is_hidden = name.starts_with('.') && name != ".well-known" && !self.options.hidden;
            !is_hidden && !self.options.hide.iter().any(|pattern| fits(pattern, name))
        })
    }

    /// What is at this path; `None` if there is nothing to serve. `asked` is the path of the request.
    fn attempt(&self, root: &Root, path: &str, asked: &str) -> Result<Option<Found>, Errno> {
        let below = path.trim_matches('/');
        let directory = match root.get(below)? {
            Entry::File(file, stat) if !path.ends_with('/') => {
                let name = below.rsplit('/').next().unwrap_or_default().to_owned();
                let file = FoundFile { file, stat, name, encoding: None };
                return self.send(root, below, file, asked).map(Some);
            }
            Entry::File(..) | Entry::Other => return Ok(None),
            Entry::Directory(directory) => directory,
        };
        for index in &self.options.index {
            let at = if below.is_empty() { index.to_string() } else { format!("{below}/{index}") };
            match root.get(&at) {
                Ok(Entry::File(file, stat)) if self.is_visible(&at) => {
                    if !path.ends_with('/') {
                        return Ok(Some(self.to_directory(path)));
                    }
                    let file = FoundFile { file, stat, name: index.to_string(), encoding: None };
                    return self.send(root, &at, file, asked).map(Some);
                }
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if !self.options.listing {
            return Ok(None);
        }
        if !path.ends_with('/') {
            return Ok(Some(self.to_directory(path)));
        }
        let names = beneath::list(&directory, listing::MAX)?.into_iter().filter(|(name, ..)| self.is_visible(name));
        let page = Bytes::from(listing::page(path, names));
        let head = self.cached(ResponseHead::build(200), asked).header(name::CONTENT_TYPE, "text/html; charset=utf-8");
        Ok(Some(Found { head: finish(head.length(page.len() as u64)), body: Body::Full(page) }))
    }

    /// The same directory with a slash, against which links in its index are resolved. The path begins with one slash, so that it names
    /// no other host.
    fn to_directory(&self, path: &str) -> Found {
        let mut location = Vec::with_capacity(path.len() + 16);
        for byte in path.bytes() {
            match byte {
                b'%' | b'?' | b'#' | b'\\' => location.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                _ => location.push(byte),
            }
        }
        let mut location = encode_uri(&location).into_owned();
        location.push(b'/');
        if let Some(query) = self.head.query() {
            location.push(b'?');
            location.extend_from_slice(&encode_uri(query));
        }
        let head = ResponseHead::build(301).header(name::LOCATION, location).length(0);
        Found { head: finish(head), body: Body::Empty }
    }

    /// The file, or one that is its compressed form, as far as conditions and ranges ask for it.
    fn send(&self, root: &Root, below: &str, plain: FoundFile, asked: &str) -> Result<Found, Errno> {
        let file = self.precompressed(root, below)?.map_or(plain, |(file, stat, encoding)| FoundFile {
            file,
            stat,
            encoding: Some(encoding),
            name: below.rsplit('/').next().unwrap_or_default().to_owned(),
        });
        let modified = modified(&file.stat);
        let length = u64::try_from(file.stat.st_size).unwrap_or(0);
        let tag = tag(&file.stat, file.encoding);
        let common = |status: u16| {
            let mut head = self.cached(ResponseHead::build(status), asked);
            head = head.header("ETag", &tag).header("Last-Modified", httpdate::fmt_http_date(modified));
            if !self.options.precompressed.is_empty() {
                head = head.header("Vary", "Accept-Encoding");
            }
            head
        };
        match self.condition(&tag, modified) {
            Condition::Failed => return Ok(Found { head: finish(common(412).length(0)), body: Body::Empty }),
            Condition::NotModified => return Ok(Found { head: finish(common(304)), body: Body::Empty }),
            Condition::Holds => {}
        }
        let content_type = content_type(&file.name);
        let described = |status: u16| {
            let head = common(status).header("Accept-Ranges", "bytes");
            match file.encoding {
                Some(encoding) => head.header(name::CONTENT_ENCODING, encoding::name(encoding)),
                None => head,
            }
        };
        match self.ranges(&tag, modified, length) {
            Ranges::All => {
                let head = described(200).header(name::CONTENT_TYPE, &content_type).length(length);
                let body = match file_body::read_small(&file.file, 0, length) {
                    Some(bytes) => Body::Full(bytes),
                    None => Body::Source(Box::new(FileBody::new(file.file, [Part::Octets(0, length)]))),
                };
                Ok(Found { head: finish(head), body })
            }
            Ranges::Unsatisfiable => {
                let head = common(416).header("Content-Range", format!("bytes */{length}")).length(0);
                Ok(Found { head: finish(head), body: Body::Empty })
            }
            Ranges::Some(ranges) => match ranges.as_slice() {
                &[(first, last)] => {
                    let range = format!("bytes {first}-{last}/{length}");
                    let head = described(206).header(name::CONTENT_TYPE, &content_type).header("Content-Range", range);
                    let octets = last - first + 1;
                    let body = FileBody::new(file.file, [Part::Octets(first, octets)]);
                    Ok(Found { head: finish(head.length(octets)), body: Body::Source(Box::new(body)) })
                }
                several => {
                    // Nobody can have put it into the file.
                    let boundary = format!("{:032x}", fastrand::u128(..));
                    let mut parts = Vec::new();
                    let mut total = 0;
                    for (first, last) in several {
                        let between = format!(
                            "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
                        );
                        total += between.len() as u64 + (last - first + 1);
                        parts.push(Part::Text(between.into()));
                        parts.push(Part::Octets(*first, last - first + 1));
                    }
                    let end = format!("\r\n--{boundary}--\r\n");
                    total += end.len() as u64;
                    parts.push(Part::Text(end.into()));
                    let kind = format!("multipart/byteranges; boundary={boundary}");
                    let head = described(206).header(name::CONTENT_TYPE, kind).length(total);
                    Ok(Found { head: finish(head), body: Body::Source(Box::new(FileBody::new(file.file, parts))) })
                }
            },
        }
    }

    /// The compressed form of a file that the client would rather have, if there is one.
    fn precompressed(&self, root: &Root, below: &str) -> Result<Option<(File, Stat, Encoding)>, Errno> {
        let mut offered = self.options.precompressed.clone();
        while let Some(encoding) = encoding::choose(self.head.headers(name::ACCEPT_ENCODING), &offered) {
            let extension = match encoding {
                Encoding::Zstd => "zst",
                Encoding::Brotli => "br",
                Encoding::Gzip => "gz",
            };
            match root.get(&format!("{below}.{extension}")) {
                Ok(Entry::File(file, stat)) => return Ok(Some((file, stat, encoding))),
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                Err(errno) => return Err(errno),
            }
            offered.retain(|other| *other != encoding);
        }
        Ok(None)
    }

    /// The conditions of a request in their order (RFC 9110 §13.2.2).
    fn condition(&self, tag: &str, modified: SystemTime) -> Condition {
        let date = |name: &'static str| self.head.header(name).and_then(parse_date);
        let mut tags = self.head.headers("If-Match").peekable();
        if tags.peek().is_some() {
            if !tags.any(|line| names(line, tag, true)) {
                return Condition::Failed;
            }
        } else if date("If-Unmodified-Since").is_some_and(|since| modified > since) {
            return Condition::Failed;
        }
        let mut tags = self.head.headers("If-None-Match").peekable();
        if tags.peek().is_some() {
            if tags.any(|line| names(line, tag, false)) {
                return Condition::NotModified;
            }
        } else if date("If-Modified-Since").is_some_and(|since| modified <= since) {
            return Condition::NotModified;
        }
        Condition::Holds
    }

    /// The ranges that are asked for, if they are of this version of the file.
    fn ranges(&self, tag: &str, modified: SystemTime, length: u64) -> Ranges {
        // For other methods there are none (RFC 9110 §14.2).
        let Some(asked) = self.head.header("Range").filter(|_| self.head.method() == Method::Get) else {
            return Ranges::All;
        };
        if let Some(condition) = self.head.header("If-Range") {
            let is_same = if condition.ends_with(b"\"") {
                condition == tag.as_bytes()
            } else {
                parse_date(condition) == Some(modified)
            };
            if !is_same {
                return Ranges::All;
            }
        }
        range::read(asked, length)
    }

    fn cached(&self, head: ResponseBuilder, path: &str) -> ResponseBuilder {
        let fitting = self.options.cache_control.iter().filter(|(beginning, _)| path.starts_with(&**beginning));
        match fitting.max_by_key(|(beginning, _)| beginning.len()) {
            Some((_, value)) => head.header("Cache-Control", value.as_bytes()),
            None => head,
        }
    }
}

enum Condition {
    Holds,
    NotModified,
    Failed,
}

/// Everything in it is ours and can be written; the configuration's values were checked.
fn finish(head: ResponseBuilder) -> ResponseHead {
    let bare = || ResponseHead::build(500).length(0).finish().expect("a head without headers has no invalid one");
    head.finish().unwrap_or_else(|_| bare())
}

/// In whole seconds, as `Last-Modified` has it.
fn modified(stat: &Stat) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0))
}

/// Changes with every write: time, to the nanosecond, and length.
fn tag(stat: &Stat, encoding: Option<Encoding>) -> String {
    let suffix = encoding.map_or(String::new(), |encoding| format!("-{}", encoding::name(encoding)));
    format!("\"{:x}.{:x}-{:x}{suffix}\"", stat.st_mtime, stat.st_mtime_nsec, stat.st_size)
}

fn parse_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

/// Whether a list of tags has this one, or is `*`. Compared strongly, a weak one is no other's equal.
fn names(list: &[u8], tag: &str, strongly: bool) -> bool {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|item| match item.strip_prefix(b"W/") {
        Some(weak) => !strongly && weak == tag.as_bytes(),
        None => item == b"*" || item == tag.as_bytes(),
    })
}

/// By the extension; text is UTF-8.
fn content_type(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    let is_text = guess.starts_with("text/") || matches!(guess, "application/javascript" | "application/xml");
    if is_text { format!("{guess}; charset=utf-8") } else { guess.to_owned() }
}

/// Whether a name fits a pattern with `*` and `?`. Linear in both but for a pattern of many stars, of which a configuration has few.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name, mut star) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, in_name) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names() {
        for (pattern, name, expected) in [
            ("*.map", "a.map", true),
            ("*.map", "map", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbx", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn tags_are_compared_as_the_condition_asks() {
        for (list, strongly, expected) in [
            ("\"a\"", true, true),
            ("W/\"a\"", true, false),
            ("W/\"a\"", false, true),
            ("\"b\", \"a\"", true, true),
            ("*", true, true),
            ("\"b\"", false, false),
        ] {
            assert_eq!(names(list.as_bytes(), "\"a\"", strongly), expected, "{list}");
        }
    }

    #[test]
    fn types_by_extension() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.JSON", "application/json"),
            ("a.svg", "image/svg+xml"),
            ("a.wasm", "application/wasm"),
            ("a", "application/octet-stream"),
            ("a.unknown", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), expected, "{name}");
        }
    }
}
