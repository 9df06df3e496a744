//! The words of a file that are written for a reader.

use std::iter;

/// A word, or the end of a phrase, which has no text and matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub line: usize,
}

/// The prose of a file.
#[derive(Debug, Default)]
pub struct Prose {
    /// In order. A sentence, a table's cell and similar parts end with an empty word.
    pub words: Vec<Word>,
    /// The words of each identifier in Rust's code.
    pub names: Vec<Vec<Word>>,
}

impl Prose {
    /// Markdown's text, without its code.
    pub fn of_markdown(text: &str) -> Self {
        let mut prose = Self::default();
        prose.add_lines(text.lines().enumerate().map(|(index, line)| (index + 1, line)), true);
        prose
    }

    /// Rust's comments, its strings that contain a space, and the names of its tests.
    pub fn of_rust(text: &str) -> Self {
        let mut prose = Self::default();
        let mut comment: Vec<(usize, &str)> = Vec::new();
        let mut is_test = false;
        let mut before = "";
        for (line, token) in tokens(text) {
            if let Some(rest) = token.strip_prefix("//") {
                comment.push((line, rest.trim_start_matches(['/', '!'])));
                continue;
            }
            if token.trim().is_empty() {
                continue;
            }
            prose.add_lines(comment.drain(..), false);
            if let Some(block) = token.strip_prefix("/*") {
                let lines = block.trim_end_matches("*/").lines().enumerate();
                prose.add_lines(lines.map(|(index, text)| (line + index, text)), false);
            } else if token.ends_with(['"', '#']) && token.contains('"') {
                if token.contains(' ') {
                    prose.add_string(line, token);
                }
            } else if token.starts_with(is_of_word) {
                let name = name_words(token, line);
                if is_test && before == "fn" {
                    prose.words.extend(name.iter().cloned());
                    prose.end_phrase(line);
                    is_test = false;
                }
                is_test |= token == "test" && before == "[";
                prose.names.push(name);
            }
            before = token;
        }
        prose.add_lines(comment.into_iter(), false);
        prose
    }

    /// The text of these lines, without code in backticks and in blocks. Only Markdown has indented
    /// blocks.
    fn add_lines<'a>(
        &mut self,
        lines: impl Iterator<Item = (usize, &'a str)>,
        has_indented_blocks: bool,
    ) {
        let (mut is_fenced, mut is_code, mut after_empty) = (false, false, true);
        let mut last = 0;
        for (line, text) in lines {
            last = line;
            let is_fence = text.trim_start().starts_with("```");
            is_fenced ^= is_fence;
            let is_indented = text.starts_with("    ") && (after_empty || is_code);
            is_code = has_indented_blocks && is_indented;
            after_empty = text.trim().is_empty();
            if is_fence || is_fenced || is_code || after_empty {
                self.end_phrase(line);
                continue;
            }
            self.add_text(line, text);
        }
        self.end_phrase(last);
    }

    fn add_string(&mut self, line: usize, token: &str) {
        // A backslash in a string begins an escape, whose letters are not part of a word. A brace
        // begins a variable, which is code.
        let text = [("\\n", " "), ("\\t", " "), ("\\r", " "), ("\\", " "), ("{", "`"), ("}", "`")]
            .iter()
            .fold(token.to_owned(), |text, (escape, plain)| text.replace(escape, plain));
        for (index, part) in text.lines().enumerate() {
            self.add_text(line + index, part);
        }
        self.end_phrase(line);
    }

    fn add_text(&mut self, line: usize, text: &str) {
        for (index, part) in text.split('`').enumerate() {
            if index % 2 == 1 {
                // Code stands for a word that no form contains.
                self.end_phrase(line);
                continue;
            }
            let mut rest = part;
            while let Some(start) = rest.find(is_of_word) {
                if rest[..start].contains(is_of_phrase_end) {
                    self.end_phrase(line);
                }
                let word = &rest[start..];
                let end = word.find(|letter| !is_of_word(letter)).unwrap_or(word.len());
                self.words.push(Word { text: word[..end].to_owned(), line });
                rest = &word[end..];
            }
            if rest.contains(is_of_phrase_end) {
                self.end_phrase(line);
            }
        }
    }

    fn end_phrase(&mut self, line: usize) {
        self.words.push(Word { text: String::new(), line });
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '\'' | '’')
}

/// Whether a character ends a phrase. An emphasis or a link does not.
fn is_of_phrase_end(letter: char) -> bool {
    !letter.is_whitespace() && !matches!(letter, '*' | '[' | ']' | '"' | '(')
}

/// `a_name` and `AName` in words.
fn name_words(name: &str, line: usize) -> Vec<Word> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && after_small) {
            words.push(String::new());
        }
        after_small = letter.is_lowercase();
        if letter != '_'
            && let Some(word) = words.last_mut()
        {
            word.push(letter);
        }
    }
    words.retain(|word| !word.is_empty());
    words.into_iter().map(|text| Word { text, line }).collect()
}

/// Rust's code in pieces, each with the line that it begins on. The pieces are comments, strings,
/// words, white space, and single other characters. The search needs no more of the grammar.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut rest, mut line) = (text, 1);
    iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = token_length(rest, first);
        let (token, after) = rest.split_at(length);
        let begins_on = line;
        line += token.matches('\n').count();
        rest = after;
        Some((begins_on, token))
    })
}

fn token_length(text: &str, first: char) -> usize {
    let until = |end: &str, from: usize| {
        text[from..].find(end).map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until("*/", 2);
    }
    let after_letters = text.trim_start_matches(['b', 'c']);
    if let Some(raw) = after_letters.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            return until(&end, text.len() - raw.len() + hashes + 1);
        }
    }
    if after_letters.starts_with('"') && text.len() - after_letters.len() <= 1 {
        let mut is_escaped = false;
        let from = text.len() - after_letters.len() + 1;
        let end = text[from..].find(|letter| {
            let is_end = letter == '"' && !is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            is_end
        });
        return end.map_or(text.len(), |at| from + at + 1);
    }
    if first == '\'' {
        // The tick begins a character or a lifetime.
        let mut letters = text[1..].chars();
        return match (letters.next(), letters.next()) {
            (Some('\\'), Some(escaped)) => until("'", 2 + escaped.len_utf8()),
            (Some(letter), Some('\'')) => 2 + letter.len_utf8(),
            _ => 1,
        };
    }
    if first.is_alphanumeric() || first == '_' {
        let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        return end.unwrap_or(text.len());
    }
    if first.is_whitespace() {
        return text.find(|letter: char| !letter.is_whitespace()).unwrap_or(text.len());
    }
    first.len_utf8()
}
