//! Runs seeds: `sim [--groups] [--from N] [--seeds N] [--seconds N] [--voters N] [--observers N] [--trace]`. A seed that fails is printed, and ends the run.

use std::process::ExitCode;

use ottla_sim::{Figures, GroupsWorld, Shape, Trace, World};

/// What was asked for.
struct Options {
    from: u64,
    seeds: u64,
    bad_ms: u64,
    trace: bool,
    groups: bool,
    shape: Shape,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(what) => {
            eprintln!(
                "{what}\nusage: sim [--groups] [--from SEED] [--seeds COUNT] [--seconds BAD_TIME] [--voters COUNT] [--observers COUNT] [--trace]"
            );
            return ExitCode::from(2);
        }
    };
    if options.groups {
        return run_groups(&options);
    }
    let mut figures = Figures::default();
    for seed in options.from..options.from.saturating_add(options.seeds) {
        let trace = if options.trace { Trace::with_text() } else { Trace::new() };
        let mut world = World::new(seed, options.shape, None, trace);
        let outcome = world.run(options.bad_ms);
        figures.add(&world.figures);
        if let Some(text) = world.trace.text() {
            print!("{text}");
        }
        if let Err(violation) = outcome {
            println!(
                "seed {seed}: {violation}\nfaults: {:?}\nagain: sim --from {seed} --seeds 1 --trace",
                world.faults
            );
            return ExitCode::FAILURE;
        }
    }
    println!("{} seeds held: {figures:?}", options.seeds);
    ExitCode::SUCCESS
}

/// The same for the world of groups.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how fast it is, is for people to know"
)]
fn run_groups(options: &Options) -> ExitCode {
    let began = std::time::Instant::now();
    let mut figures = ottla_sim::coordinated::faults::Figures::default();
    for seed in options.from..options.from.saturating_add(options.seeds) {
        let trace = if options.trace { Trace::with_text() } else { Trace::new() };
        let mut world = GroupsWorld::new(seed, trace);
        let outcome = world.run(options.bad_ms);
        figures.add(&world.figures);
        if let Some(text) = world.trace.text() {
            print!("{text}");
        }
        if let Err(violation) = outcome {
            println!("seed {seed}: {violation}\nagain: sim --groups --from {seed} --seeds 1 --trace");
            return ExitCode::FAILURE;
        }
    }
    let seeds = u32::try_from(options.seeds).unwrap_or(u32::MAX);
    println!(
        "{seeds} seeds held, {:.1} per second: {figures:?}",
        f64::from(seeds) / began.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        from: 1,
        seeds: 100,
        bad_ms: 20_000,
        trace: false,
        groups: false,
        shape: Shape { voters: 3, observers: 1 },
    };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64, String> {
            let value = arguments.next().ok_or_else(|| format!("{argument} wants a number"))?;
            value.parse().map_err(|_| format!("{argument} wants a number, not {value}"))
        };
        match argument.as_str() {
            "--from" => options.from = number()?,
            "--seeds" => options.seeds = number()?,
            "--seconds" => options.bad_ms = number()?.saturating_mul(1_000),
            "--voters" => options.shape.voters = i32::try_from(number()?.clamp(1, 9)).unwrap_or(3),
            "--observers" => options.shape.observers = i32::try_from(number()?.min(9)).unwrap_or(1),
            "--trace" => options.trace = true,
            "--groups" => options.groups = true,
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(options)
}
