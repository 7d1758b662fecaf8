//! What the threads run: a core and control, or in tests something that answers more simply.

use ottla_broker::core::{Input, Output, SessionId};
use ottla_broker::{Control, Core, control};
use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

/// Something that takes inputs and gives outputs, and knows when it wants to be woken.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it does to the world.
    type Output;

    /// Takes one input to its end.
    fn step(&mut self, now: Now, input: Self::Input, out: &mut Vec<Self::Output>);

    /// When it wants to be told that time has passed.
    fn deadline(&self) -> Option<Deadline>;
}

/// A machine that serves connections.
pub trait Serves: Machine<Input = Input, Output = Output> {
    /// How many frames of a session wait for those before them.
    fn waiting(&self, session: SessionId) -> usize;
}

impl Machine for Core {
    type Input = Input;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        self.step(now, input, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.deadline()
    }
}

impl Serves for Core {
    fn waiting(&self, session: SessionId) -> usize {
        self.waiting(session)
    }
}

impl Machine for Control {
    type Input = control::Input;
    type Output = control::Output;

    fn step(&mut self, now: Now, input: control::Input, out: &mut Vec<control::Output>) {
        self.step(now, input, out);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.deadline()
    }
}
