//! `ottla-fuzz TARGET RUNS SEED`: mutations of the corpus for as long as one likes. A run that breaks a promise leaves
//! its input in `found/`, and is repeated by `ottla-fuzz TARGET FILE`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use ottla_fuzz::{Dice, TARGETS, Target, corpus, mutate, target};

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [name, file] => {
            let bytes = std::fs::read(file).with_context(|| format!("reading {file}"))?;
            (named(name)?.run)(&bytes);
        }
        [name, runs, seed] => {
            let runs = runs.parse().context("RUNS is a number")?;
            let seed = seed.parse().context("SEED is a number")?;
            return go_on(named(name)?, runs, seed);
        }
        _ => {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            bail!(
                "ottla-fuzz TARGET RUNS SEED, or ottla-fuzz TARGET FILE; the targets are {}",
                names.join(", ")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn named(name: &str) -> anyhow::Result<&'static Target> {
    target(name).with_context(|| format!("there is no target {name}"))
}

fn go_on(target: &Target, runs: u64, seed: u64) -> anyhow::Result<ExitCode> {
    let committed = corpus(target.name).unwrap_or_default().into_iter().map(|(_, bytes)| bytes);
    let inputs: Vec<Vec<u8>> = committed.chain((target.seeds)()).collect();
    let mut found = 0;
    for run in 0..runs {
        let mut dice = Dice(seed.wrapping_add(run.wrapping_mul(0x9e37_79b9)));
        let mut bytes = inputs[dice.below(inputs.len())].clone();
        let other = dice.below(inputs.len());
        mutate(&mut dice, &mut bytes, &inputs[other]);
        if std::panic::catch_unwind(|| (target.run)(&bytes)).is_err() {
            found += 1;
            std::fs::create_dir_all("found")?;
            let path = format!("found/{}-{seed}-{run}", target.name);
            std::fs::write(&path, &bytes)?;
            println!("{path}");
        }
    }
    println!("{}: {runs} runs, {found} found", target.name);
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
