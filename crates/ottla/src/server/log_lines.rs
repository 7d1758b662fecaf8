//! The node's log: lines on stdout in the layout of Kafka's, `[date] LEVEL text (component)`.
//!
//! A thread of its own writes them, so a terminal or a pipe that nobody reads never holds up the node; lines that find
//! the queue full are counted and left out.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// Lines that may wait to be written.
const LINES_MAX: usize = 4096;

/// The log; when it is dropped, everything that was logged has been written.
pub struct Log {
    lines: Lines,
    thread: Option<JoinHandle<()>>,
}

/// Starts the log. Levels are taken from `OTTLA_LOG` (`info,ottla_raft=debug`), or from the official image's
/// `KAFKA_LOG4J_ROOT_LOGLEVEL` and `KAFKA_LOG4J_LOGGERS`.
pub fn start(variables: &BTreeMap<String, String>) -> Log {
    let (sender, receiver) = sync_channel(LINES_MAX);
    let lines = Lines { sender, left_out: Arc::default() };
    let left_out = Arc::clone(&lines.left_out);
    let thread =
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, &left_out)).ok();
    let filter = EnvFilter::builder().parse_lossy(levels(variables));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .event_format(Layout)
        .with_writer(lines.clone())
        .finish();
    // Only a second node in one process would find one there already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Log { lines, thread }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The subscriber keeps a sender for ever, so the end has to be said.
        if self.lines.sender.send(Vec::new()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn write(lines: &Receiver<Vec<u8>>, left_out: &AtomicU64) {
    let stdout = io::stdout();
    while let Ok(line) = lines.recv() {
        if line.is_empty() {
            return;
        }
        let mut stdout = stdout.lock();
        let missing = left_out.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let _ =
                writeln!(stdout, "[{}] WARN {missing} lines were left out here (ottla.log)", Moment::now());
        }
        // When nobody reads any more, the node goes on without a log.
        let _ = stdout.write_all(&line);
        let _ = stdout.flush();
    }
}

fn levels(variables: &BTreeMap<String, String>) -> String {
    if let Some(levels) = variables.get("OTTLA_LOG") {
        return levels.clone();
    }
    let root = variables.get("KAFKA_LOG4J_ROOT_LOGLEVEL").map_or("info", |level| level_name(level));
    let mut levels = root.to_owned();
    let loggers = variables.get("KAFKA_LOG4J_LOGGERS").map_or("", String::as_str);
    for (component, level) in loggers.split(',').filter_map(|entry| entry.split_once('=')) {
        let component = component.trim();
        if !component.is_empty() && component != "rootLogger" {
            levels.push_str(&format!(",{component}={}", level_name(level)));
        }
    }
    levels
}

/// Our name of a level of log4j.
fn level_name(level: &str) -> &'static str {
    match level.trim().to_ascii_uppercase().as_str() {
        "OFF" => "off",
        "FATAL" | "ERROR" => "error",
        "WARN" => "warn",
        "DEBUG" => "debug",
        "TRACE" | "ALL" => "trace",
        _ => "info",
    }
}

#[derive(Clone)]
struct Lines {
    sender: SyncSender<Vec<u8>>,
    left_out: Arc<AtomicU64>,
}

/// One line on its way.
struct Line<'a> {
    lines: &'a Lines,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty()
            && let Err(TrySendError::Full(_)) = self.lines.sender.try_send(bytes)
        {
            self.lines.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The layout of a line: Kafka's, of its server and of its tools.
pub struct Layout;

impl<S, N> FormatEvent<S, N> for Layout
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        write!(to, "[{}] {} ", Moment::now(), metadata.level())?;
        context.field_format().format_fields(to.by_ref(), event)?;
        writeln!(to, " ({})", metadata.target())
    }
}

/// A moment as log4j writes it, in UTC: `2026-11-21 12:34:56,789`.
struct Moment {
    seconds: u64,
    millis: u32,
}

impl Moment {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs(), millis: since.subsec_millis() }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds / 86_400);
        let (hour, minute, second) = (self.seconds / 3600 % 24, self.seconds / 60 % 60, self.seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{:03}", self.millis)
    }
}

/// The Gregorian date that is `days` after 1970-01-01. Years begin in March here, so that the leap day is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_778, (2026, 11, 21)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
        let moment = Moment { seconds: 20_778 * 86_400 + 45_296, millis: 7 };
        assert_eq!(moment.to_string(), "2026-11-21 12:34:56,007");
    }

    #[test]
    fn levels_of_the_official_image() {
        let of = |pairs: &[(&str, &str)]| {
            levels(&pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        assert_eq!(of(&[]), "info");
        assert_eq!(of(&[("KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN")]), "warn");
        let loggers = [("KAFKA_LOG4J_LOGGERS", "kafka.controller=DEBUG,org.apache.kafka=OFF")];
        assert_eq!(of(&loggers), "info,kafka.controller=debug,org.apache.kafka=off");
        assert_eq!(of(&[("KAFKA_LOG4J_ROOT_LOGLEVEL", "WARN"), ("OTTLA_LOG", "trace")]), "trace");
    }
}
