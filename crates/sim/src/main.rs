//! Runs seeds: `sim [--groups | --transactions] [--from N] [--seeds N] [--seconds N] [--voters N] [--observers N] [--trace]`. A seed that fails is printed, and ends the run.

use std::process::ExitCode;

use ottla_sim::coordinated::faults::Figures as CoordinatedFigures;
use ottla_sim::{Figures, GroupsWorld, Shape, Trace, TransactionsWorld, Violation, World};

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Quorum,
    Groups,
    Transactions,
}

/// What was asked for.
struct Options {
    from: u64,
    seeds: u64,
    bad_ms: u64,
    trace: bool,
    kind: Kind,
    shape: Shape,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(what) => {
            eprintln!(
                "{what}\nusage: sim [--groups | --transactions] [--from SEED] [--seeds COUNT] [--seconds BAD_TIME] [--voters COUNT] [--observers COUNT] [--trace]"
            );
            return ExitCode::from(2);
        }
    };
    match options.kind {
        Kind::Quorum => {}
        Kind::Groups => return run_coordinated(&options, groups),
        Kind::Transactions => return run_coordinated(&options, transactions),
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

/// One run of a world with a coordinator.
type Run = fn(u64, u64, Trace) -> (Result<(), Violation>, CoordinatedFigures, Trace);

fn groups(seed: u64, bad_ms: u64, trace: Trace) -> (Result<(), Violation>, CoordinatedFigures, Trace) {
    let mut world = GroupsWorld::new(seed, None, trace);
    (world.run(bad_ms), world.figures, world.trace)
}

fn transactions(seed: u64, bad_ms: u64, trace: Trace) -> (Result<(), Violation>, CoordinatedFigures, Trace) {
    let mut world = TransactionsWorld::new(seed, None, trace);
    (world.run(bad_ms), world.figures, world.trace)
}

/// The same for worlds with a coordinator.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "how fast it is, is for people to know"
)]
fn run_coordinated(options: &Options, run: Run) -> ExitCode {
    let began = std::time::Instant::now();
    let mut figures = CoordinatedFigures::default();
    for seed in options.from..options.from.saturating_add(options.seeds) {
        let trace = if options.trace { Trace::with_text() } else { Trace::new() };
        let (outcome, of_seed, trace) = run(seed, options.bad_ms, trace);
        figures.add(&of_seed);
        if let Some(text) = trace.text() {
            print!("{text}");
        }
        if let Err(violation) = outcome {
            println!("seed {seed}: {violation}\nagain: with --from {seed} --seeds 1 --trace");
            return ExitCode::FAILURE;
        }
    }
    let seeds = u32::try_from(options.seeds).unwrap_or(u32::MAX);
    let per_second = f64::from(seeds) / began.elapsed().as_secs_f64();
    println!("{seeds} seeds held, {per_second:.1} per second: {figures:?}");
    ExitCode::SUCCESS
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        from: 1,
        seeds: 100,
        bad_ms: 20_000,
        trace: false,
        kind: Kind::Quorum,
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
            "--groups" => options.kind = Kind::Groups,
            "--transactions" => options.kind = Kind::Transactions,
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(options)
}
