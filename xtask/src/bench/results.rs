//! The comparison as a page: medians of both servers and their ratio, cell by cell.

use std::process::Command;

use super::cell::Measured;
use super::machine;

/// The page.
pub fn text(measured: &[Measured], runs: usize) -> String {
    let mut names: Vec<&str> = Vec::new();
    for one in measured {
        if !names.contains(&one.cell.as_str()) {
            names.push(&one.cell);
        }
    }
    let mut text = format!(
        "# Ottla beside Apache Kafka 4.4.0\n\n\
         Made by `cargo xtask bench` on {}; {}; medians of {runs} runs of each server in turn, in one run of the program. \
         The clients share the cores and are often the ceiling: then the CPU time of the server's process is what counts. \
         MB are before compression. A ratio above 1 in what is done in a second (MB/s, commits/s, transactions/s), and \
         below 1 elsewhere, is in Ottla's favour. \
         Where an aim is missed, [PROFILES.md](PROFILES.md) says why.\n\n\
         | cell | figure | Apache Kafka | Ottla | ratio |\n|---|---|---:|---:|---:|\n",
        today(),
        machine::described()
    );
    for name in names {
        let mut figures: Vec<&str> = Vec::new();
        for one in measured.iter().filter(|one| one.cell == name) {
            if !figures.contains(&one.figure) {
                figures.push(one.figure);
            }
        }
        for figure in figures {
            let of = |is_ottla: bool| {
                let same =
                    |one: &&Measured| one.cell == name && one.figure == figure && one.is_ottla == is_ottla;
                median(measured.iter().filter(same).map(|one| one.value).collect())
            };
            let (theirs, ours) = (of(false), of(true));
            let ratio = if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "–".to_owned() };
            text.push_str(&format!(
                "| {name} | {figure} | {} | {} | {ratio} |\n",
                number(theirs),
                number(ours)
            ));
        }
    }
    text
}

/// The middle value; the mean of both in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn today() -> String {
    let output = Command::new("date").arg("+%Y-%m-%d").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
