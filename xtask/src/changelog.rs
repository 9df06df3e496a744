//! The parts of CHANGELOG.md that a release needs.

use crate::{Result, folder};
use std::fs;

/// The section of a version, without its heading.
pub fn section(version: &str) -> Result<String> {
    let page = fs::read_to_string(folder::root().join("CHANGELOG.md"))?;
    Ok(part(&page, version).ok_or_else(|| {
        format!("CHANGELOG.md has no section `## {version}`; RELEASING.md says how it gets one")
    })?)
}

/// The text from the heading that begins with this word to the next heading.
fn part(page: &str, version: &str) -> Option<String> {
    let is_it = |line: &str| {
        let heading = line.strip_prefix("## ");
        let word = heading.and_then(|heading| heading.split(' ').next());
        word.is_some_and(|word| word.trim_matches(['[', ']']) == version)
    };
    let below = page.lines().skip_while(|line| !is_it(line)).skip(1);
    let text: Vec<&str> = below.take_while(|line| !line.starts_with("## ")).collect();
    let text = text.join("\n").trim().to_owned();
    (!text.is_empty()).then(|| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_the_text_between_its_heading_and_the_next() {
        let page = "# Changelog\n\n## Unreleased\n\nnew\n\n## 1.2.0 - 2026-01-02\n\n### Added\n\n\
                    - x\n\n## [1.1.0]\n\n- y\n";
        assert_eq!(part(page, "1.2.0").unwrap(), "### Added\n\n- x\n");
        assert_eq!(part(page, "1.1.0").unwrap(), "- y\n");
        assert_eq!(part(page, "Unreleased").unwrap(), "new\n");
        // A text that only begins a version's number does not name the version.
        assert_eq!(part(page, "1.2"), None);
        assert_eq!(part("## 1.0.0\n\n## 0.9.0\n\n- z\n", "1.0.0"), None);
    }
}
