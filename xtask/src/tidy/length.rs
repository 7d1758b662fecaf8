//! Files of at most 800 lines without tests, functions of at most 70.
//!
//! Clippy counts functions too; here they are counted where clippy is not run.

use super::Finding;
use super::tree::{File, Tree};

const RULE: &str = "length";

const MOST_LINES: usize = 800;
const MOST_LINES_OF_A_FUNCTION: usize = 70;

/// Tables: long because the matter is long, and cut by category where that is possible.
const TABLES: [(&str, &str); 1] =
    [("crates/metadata/src/config/", "the configuration table has a row for every key of Kafka's")];

/// Reports long files and long functions; generated files, tables and tests may be as long as they are.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.rust().filter(|file| !file.is_generated() && !file.is_test()) {
        let mut report = |line, message| {
            findings.push(Finding { path: file.path.clone(), line, rule: RULE, message });
        };
        let is_table = TABLES.iter().any(|(path, _)| file.path.starts_with(path));
        let lines = file.code_without_tests().count();
        if lines > MOST_LINES && !is_table {
            report(0, format!("{lines} lines without tests; at most {MOST_LINES}"));
        }
        for (line, name, length) in functions(file) {
            if length > MOST_LINES_OF_A_FUNCTION && !is_table {
                report(line, format!("fn {name} has {length} lines; at most {MOST_LINES_OF_A_FUNCTION}"));
            }
        }
    }
}

/// Each function outside the tests: its line, name and the lines of code in its body.
fn functions(file: &File) -> Vec<(usize, String, usize)> {
    let mut functions = Vec::new();
    let mut depth = 0;
    // Functions whose body is open: where, name, depth outside, lines so far.
    let mut open: Vec<(usize, String, usize, usize)> = Vec::new();
    let mut announced: Option<(usize, String)> = None;
    for (number, line) in file.code_without_tests() {
        if !line.trim().is_empty() {
            open.iter_mut().for_each(|function| function.3 += 1);
        }
        if let Some(name) = function_name(line) {
            announced = Some((number, name));
        }
        for byte in line.bytes() {
            match byte {
                b'{' => {
                    if let Some((at, name)) = announced.take() {
                        open.push((at, name, depth, 0));
                    }
                    depth += 1;
                }
                b'}' => {
                    depth = depth.saturating_sub(1);
                    if let Some((at, name, _, lines)) = open.pop_if(|function| function.2 == depth) {
                        // The line of the closing brace is no line of the body.
                        functions.push((at, name, lines.saturating_sub(1)));
                    }
                }
                // A declaration without a body, unless the semicolon stands in an array type.
                b';' if line.trim_end().ends_with(';') && !line.contains('[') => announced = None,
                _ => {}
            }
        }
    }
    functions
}

fn function_name(line: &str) -> Option<String> {
    let (before, rest) = line.trim_start().split_once("fn ")?;
    let words = ["", "pub", "const", "async", "unsafe", "extern", "pub(crate)", "pub(super)"];
    let declared = before.split_whitespace().all(|word| words.contains(&word) || word.starts_with("pub("));
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (declared && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::{assert_found, findings};

    #[test]
    fn a_long_file_is_found() {
        let text = format!("//! Ids.\n{}", "pub struct Id;\n".repeat(800));
        assert_found("length", "crates/protocol/src/ids.rs", &[("crates/protocol/src/ids.rs", &text)]);
    }

    #[test]
    fn a_long_function_is_found() {
        let text = format!("//! Ids.\nfn long() {{\n{}}}\n", "    let x = [0; 1];\n".repeat(71));
        assert_found("length", "crates/protocol/src/ids.rs", &[("crates/protocol/src/ids.rs", &text)]);
    }

    #[test]
    fn tests_comments_and_seventy_lines_are_no_length() {
        let body = "    let x = 1; // }\n".repeat(70);
        let tests = "    #[test]\n    fn t() {}\n".repeat(500);
        let text = format!(
            "//! Ids.\nfn long() {{\n    // Why.\n\n{body}}}\n\n#[cfg(test)]\nmod tests {{\n{tests}}}\n"
        );
        assert_eq!(findings(&[("crates/protocol/src/ids.rs", &text)]), []);
    }
}
