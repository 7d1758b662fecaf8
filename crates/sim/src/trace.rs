//! What happened, as one number: two runs are the same if their hashes are.

use std::fmt::{self, Write};

/// A running hash over everything that is written into it, and the text itself on demand.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: u64,
    text: Option<String>,
}

impl Trace {
    /// An empty trace that keeps only the hash.
    #[must_use]
    pub fn new() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, text: None }
    }

    /// An empty trace that keeps its text, to be read by people.
    #[must_use]
    pub fn with_text() -> Self {
        Self { text: Some(String::new()), ..Self::new() }
    }

    /// Writes a line.
    pub fn line(&mut self, line: fmt::Arguments<'_>) {
        self.lines += 1;
        // A hash cannot fail to be written to.
        let _ = self.write_fmt(line);
        let _ = self.write_char('\n');
    }

    /// Writes a line that is for people only: nobody reads it in a run that keeps no text.
    pub fn remark(&mut self, line: fmt::Arguments<'_>) {
        if self.text.is_some() {
            self.line(line);
        }
    }

    /// The hash of all lines so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there are.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The text, if it was kept.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Trace {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for byte in piece.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(text) = &mut self.text {
            text.push_str(piece);
        }
        Ok(())
    }
}
