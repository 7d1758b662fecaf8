//! `install-tools`: links to this program under every name it answers to.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;

use crate::tools::TOOLS;

/// Makes the links, replacing links that are there; a file of the same name stays, and is an error.
pub fn run(folder: &Path) -> ExitCode {
    match std::env::current_exe().and_then(|program| link_all(&program, folder)) {
        Ok(count) => {
            println!("{count} links in {}", folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn link_all(program: &Path, folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let mut count = 0;
    for tool in TOOLS {
        for name in [tool.name.to_owned(), format!("{}.sh", tool.name)] {
            let link = folder.join(&name);
            if link.is_symlink() {
                fs::remove_file(&link)?;
            }
            symlink(program, &link)
                .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_gets_both_of_its_names_and_a_second_time_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("ottla-install-{}", std::process::id()));
        let program = Path::new("/usr/bin/ottla");
        for _ in 0..2 {
            assert_eq!(link_all(program, &folder).unwrap(), TOOLS.len() * 2);
        }
        assert_eq!(fs::read_link(folder.join("kafka-topics.sh")).unwrap(), program);
        fs::remove_file(folder.join("kafka-topics")).unwrap();
        fs::write(folder.join("kafka-topics"), "mine").unwrap();
        assert!(link_all(program, &folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
