//! How fast it was: for a while, and all in all.

use std::time::{Duration, Instant};

use ottla_client::producer::Counters;

/// More latencies than these are not kept, but sampled.
const SAMPLES_MAX: u64 = 500_000;

/// See the module.
pub struct Statistics {
    /// Said behind the number of records.
    kind: &'static str,
    started: Instant,
    interval: Duration,
    every: u64,
    latencies_ms: Vec<u64>,
    total: Sum,
    window: Sum,
    window_started: Instant,
    silent: bool,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    count: u64,
    bytes: u64,
    latency_ms: u64,
    latency_ms_max: u64,
}

impl Sum {
    fn add(&mut self, latency_ms: u64, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
        self.latency_ms += latency_ms;
        self.latency_ms_max = self.latency_ms_max.max(latency_ms);
    }

    /// Records a second, MB a second, mean and greatest latency in ms.
    fn rates(&self, elapsed: Duration) -> [f64; 4] {
        let per_second = |amount: f64| 1000.0 * amount / elapsed.as_millis() as f64;
        [
            per_second(self.count as f64),
            per_second(self.bytes as f64) / (1024.0 * 1024.0),
            self.latency_ms as f64 / self.count as f64,
            self.latency_ms_max as f64,
        ]
    }
}

impl Statistics {
    /// Of so many records, told every so often.
    pub fn new(records: u64, interval: Duration, kind: &'static str) -> Self {
        let now = Instant::now();
        Self {
            kind,
            started: now,
            interval,
            every: records.div_euclid(records.clamp(1, SAMPLES_MAX)).max(1),
            latencies_ms: Vec::new(),
            total: Sum::default(),
            window: Sum::default(),
            window_started: now,
            silent: false,
        }
    }

    /// Tells nothing any more until the end.
    pub fn silence(&mut self) {
        self.silent = true;
    }

    /// Counts a record; what is to be said after it, if anything.
    pub fn record(&mut self, latency: Duration, bytes: usize, now: Instant) -> Option<String> {
        let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        if self.total.count.is_multiple_of(self.every) {
            self.latencies_ms.push(latency_ms);
        }
        self.total.add(latency_ms, bytes);
        self.window.add(latency_ms, bytes);
        let elapsed = now.saturating_duration_since(self.window_started);
        if elapsed < self.interval {
            return None;
        }
        let first = !self.kind.is_empty() && self.total.count == self.window.count;
        let window = std::mem::take(&mut self.window);
        self.window_started = now;
        let [records, mb, mean, most] = window.rates(elapsed);
        let line = format!(
            "{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency.\n",
            window.count,
            fixed(records, 1),
            fixed(mb, 2),
            fixed(mean, 1),
            fixed(most, 1)
        );
        let steady = if first { "In steady state.\n" } else { "" };
        (!self.silent).then(|| format!("{steady}{line}"))
    }

    /// The last line.
    pub fn total(&mut self) -> String {
        self.latencies_ms.sort_unstable();
        let [records, mb, mean, most] = self.total.rates(self.started.elapsed());
        let at = |part: f64| {
            let place = (part * self.latencies_ms.len() as f64) as usize;
            self.latencies_ms.get(place).or(self.latencies_ms.last()).copied().unwrap_or(0)
        };
        format!(
            "{}{} records sent, {} records/sec ({} MB/sec), {} ms avg latency, {} ms max latency, {} ms 50th, {} ms 95th, \
             {} ms 99th, {} ms 99.9th.\n",
            self.total.count,
            self.kind,
            fixed(records, 6),
            fixed(mb, 2),
            fixed(mean, 2),
            fixed(most, 2),
            at(0.5),
            at(0.95),
            at(0.99),
            at(0.999)
        )
    }
}

/// As Java's formatter writes it.
pub fn fixed(value: f64, digits: usize) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => "Infinity".to_owned(),
        value => format!("{value:.digits$}"),
    }
}

/// What the producer counted, under the names of Java's producer.
pub fn metrics(client_id: &str, counters: Counters) -> String {
    let named = [
        ("outgoing-byte-total", counters.bytes),
        ("record-error-total", counters.lost),
        ("record-retry-total", counters.retries),
        ("record-send-total", counters.records),
        ("request-total", counters.requests),
    ];
    metrics_table("producer-metrics", client_id, &named)
}

/// Metrics of one group as Kafka's tools print them; sorted already.
pub fn metrics_table(group: &str, client_id: &str, named: &[(&str, u64)]) -> String {
    let full = |name: &str| format!("{group}:{name}:{{client-id={client_id}}}");
    let width = named.iter().map(|(name, _)| full(name).len()).max().unwrap_or(0);
    let mut text = format!("\n{:<width$}   Value\n", "Metric Name");
    for (name, value) in named {
        text.push_str(&format!("{:<width$} : {}\n", full(name), fixed(*value as f64, 3)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_told_when_it_is_over_and_the_total_at_the_end() {
        let mut statistics = Statistics::new(3, Duration::from_secs(1), "");
        let start = statistics.started;
        let ms = Duration::from_millis;
        assert_eq!(statistics.record(ms(10), 1024, start + ms(500)), None);
        assert_eq!(
            statistics.record(ms(20), 1024, start + ms(1000)).unwrap(),
            "2 records sent, 2.0 records/sec (0.00 MB/sec), 15.0 ms avg latency, 20.0 ms max latency.\n"
        );
        assert_eq!(statistics.record(ms(60), 1024, start + ms(1500)), None);
        let total = statistics.total();
        assert!(total.starts_with("3 records sent, "), "{total}");
        assert!(
            total.ends_with(
                "30.00 ms avg latency, 60.00 ms max latency, 20 ms 50th, 60 ms 95th, 60 ms 99th, 60 ms 99.9th.\n"
            ),
            "{total}"
        );
    }

    #[test]
    fn the_steady_state_announces_itself_and_the_other_is_silent() {
        let ms = Duration::from_millis;
        let mut steady = Statistics::new(3, ms(1), " steady state");
        let later = steady.started + ms(2);
        assert!(steady.record(ms(1), 1, later).unwrap().starts_with("In steady state.\n1 records sent"));
        assert!(steady.total().starts_with("1 steady state records sent, "));
        let mut silent = Statistics::new(3, ms(1), "");
        silent.silence();
        assert_eq!(silent.record(ms(1), 1, silent.started + ms(2)), None);
    }

    #[test]
    fn metrics_are_a_table() {
        let counters = Counters { records: 7, ..Counters::default() };
        let text = metrics("c", counters);
        assert!(text.starts_with("\nMetric Name "), "{text}");
        assert!(text.contains("producer-metrics:record-send-total:{client-id=c}   : 7.000\n"), "{text}");
    }
}
