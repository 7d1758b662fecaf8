//! What the test runners of others print, read as verdicts.

use std::time::Duration;

/// How one test ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub name: String,
    pub passed: bool,
    pub took: Duration,
    /// What was printed of a failure.
    pub why: String,
}

/// librdkafka's: `[NAME / 1.234s] ====== Test NAME PASSED ======`, and `### Test "NAME (…)" failed at …`.
pub fn librdkafka(output: &str) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut lines = output.lines().map(plain).peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("### Test \"") {
            let name: String = rest.chars().take_while(|c| !matches!(c, ' ' | '"')).collect();
            let why = format!("{line}\n{}", lines.peek().cloned().unwrap_or_default());
            verdicts.push(Verdict { name, passed: false, took: Duration::ZERO, why });
            continue;
        }
        let Some((head, rest)) = line.split_once("================= Test ") else { continue };
        let mut words = rest.split_whitespace();
        let (Some(name), Some(state)) = (words.next(), words.next()) else { continue };
        let took = head.rsplit('/').next().and_then(|time| seconds(time.trim().trim_end_matches(']')));
        let known = verdicts.iter().any(|verdict| verdict.name == name);
        if !known && ["PASSED", "FAILED", "SKIPPED"].contains(&state) {
            verdicts.push(Verdict {
                name: name.to_owned(),
                passed: state == "PASSED",
                took: took.unwrap_or_default(),
                why: format!("it says {state}"),
            });
        }
    }
    verdicts
}

/// Go's: `--- PASS: NAME (1.23s)`, indented where NAME is a part of a test.
pub fn go(output: &str) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for line in output.lines() {
        let Some(rest) = line.trim_start().strip_prefix("--- ") else { continue };
        let Some((state, rest)) = rest.split_once(": ") else { continue };
        let Some((name, time)) = rest.rsplit_once(" (") else { continue };
        let why = match state {
            "SKIP" => "it says SKIP".to_owned(),
            _ => said_of(output, name),
        };
        verdicts.push(Verdict {
            name: name.to_owned(),
            passed: state == "PASS",
            took: seconds(time.trim_end_matches(')')).unwrap_or_default(),
            why,
        });
    }
    verdicts
}

/// Rust's, with times: `test NAME ... ok <1.234s>`; each name gets the name of its binary in front.
pub fn rust(binary: &str, output: &str) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for line in output.lines() {
        // What a test prints itself stands between its name and its end now and then.
        let Some((name, _)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) else {
            continue;
        };
        let Some((rest, time)) = line.rsplit_once(" <") else { continue };
        let passed = rest.ends_with(" ok");
        let why = output
            .split_once(&format!("---- {name} stdout ----\n"))
            .map(|(_, said)| said.lines().take(8).collect::<Vec<_>>().join("\n"));
        verdicts.push(Verdict {
            name: format!("{binary}::{name}"),
            passed,
            took: seconds(time.trim_end_matches('>')).unwrap_or_default(),
            why: why.unwrap_or_else(|| line.to_owned()),
        });
    }
    verdicts
}

/// What a Go test and its parts have said, without the noise of their waiting.
fn said_of(output: &str, name: &str) -> String {
    let first = name.split('/').next().unwrap_or(name);
    let begin = output.find(&format!("=== RUN   {first}\n")).unwrap_or_default();
    let said = output[begin..].lines().take_while(|line| {
        !line.starts_with("=== RUN   Test") || { line.trim_start_matches("=== RUN   ").starts_with(first) }
    });
    let noise = |line: &&str| !line.contains("waitForTopic") && !line.contains("retrying after");
    let told: Vec<&str> = said.filter(noise).filter(|line| line.contains(".go:")).take(8).collect();
    told.join("\n")
}

/// `1.234s`.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A line without colours.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.find(|c| c.is_ascii_alphabetic());
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(verdicts: Vec<Verdict>) -> Vec<(String, bool, u128)> {
        verdicts.into_iter().map(|v| (v.name, v.passed, v.took.as_millis())).collect()
    }

    #[test]
    fn librdkafkas_words_are_understood() {
        let output = "\u{1b}[36m[0003_msgmaxsize             /  0.051s] \u{1b}[32m================= Test 0003_msgmaxsize PASSED =================\u{1b}[0m\n\
            \u{1b}[0m[0016_x /  0.005s] ================= Test 0016_x SKIPPED =================\n\
            \u{1b}[31m### Test \"0081_admin (part)\" failed at 0081-admin.c:1:do() at now: ###\n\
            do():1: expected 1\n\
            [0081_admin /  2.5s] ================= Test 0081_admin FAILED =================\n";
        let verdicts = librdkafka(output);
        assert!(verdicts[2].why.contains("expected 1"), "{verdicts:?}");
        let expected = [("0003_msgmaxsize", true, 51), ("0016_x", false, 5), ("0081_admin", false, 0)];
        assert_eq!(short(verdicts), expected.map(|(name, passed, ms)| (name.to_owned(), passed, ms)));
    }

    #[test]
    fn gos_words_are_understood() {
        let output = "=== RUN   TestA\n=== RUN   TestA/part\n    a_test.go:7: broken\n--- FAIL: TestA (1.50s)\n    \
            --- FAIL: TestA/part (0.02s)\n=== RUN   TestB\n    b_test.go:7: fine\n--- PASS: TestB (0.03s)\n--- SKIP: TestC (0.00s)\n";
        let verdicts = go(output);
        assert_eq!(verdicts[0].why, "    a_test.go:7: broken");
        let expected =
            [("TestA", false, 1500), ("TestA/part", false, 20), ("TestB", true, 30), ("TestC", false, 0)];
        assert_eq!(short(verdicts), expected.map(|(name, passed, ms)| (name.to_owned(), passed, ms)));
    }

    #[test]
    fn rusts_words_are_understood() {
        let output = "running 3 tests\ntest a ... ok <0.123s>\ntest m::b ... noise\nFAILED <1.000s>\n\
            test c ... FAILED <2.000s>\ntest d ... ignored\n---- c stdout ----\nit broke\n";
        let verdicts = rust("bin", output);
        assert!(verdicts[1].why.contains("it broke"));
        let expected = [("bin::a", true, 123), ("bin::c", false, 2000)];
        assert_eq!(short(verdicts), expected.map(|(name, passed, ms)| (name.to_owned(), passed, ms)));
    }
}
