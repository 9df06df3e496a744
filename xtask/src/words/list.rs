//! The list of forms that may not occur, and the search for them.

use super::Word;
use crate::Result;

/// What may not occur.
pub struct List {
    entries: Vec<Entry>,
}

/// One line of the list.
struct Entry {
    /// Forms that may not occur.
    forms: Vec<Form>,
    instead: String,
    /// Longer forms in which these are allowed.
    plain: Vec<Form>,
    /// Whether identifiers are searched as well.
    in_names: bool,
}

/// Words that follow each other.
struct Form(Vec<Part>);

/// A word of a form.
struct Part {
    text: String,
    /// Written with `*` at its end: only the beginning of the word.
    is_beginning: bool,
}

impl List {
    /// Reads the list. A line is `forms | what to say instead | where they are plain`; the last
    /// part may be missing. The forms on lines below `[names]` are searched in identifiers as well.
    pub fn parse(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        let mut in_names = false;
        for (number, line) in text.lines().enumerate() {
            match line.trim() {
                "" => continue,
                "[text]" => in_names = false,
                "[names]" => in_names = true,
                comment if comment.starts_with('#') => continue,
                line => {
                    let mut cells = line.split('|').map(str::trim);
                    let (Some(forms), Some(instead), plain) =
                        (cells.next(), cells.next().filter(|cell| !cell.is_empty()), cells.next())
                    else {
                        let number = number + 1;
                        return Err(format!(
                            "line {number} of the list of words has no `| what to say instead`"
                        )
                        .into());
                    };
                    entries.push(Entry {
                        forms: forms_of(forms),
                        instead: instead.to_owned(),
                        plain: plain.map(forms_of).unwrap_or_default(),
                        in_names,
                    });
                }
            }
        }
        Ok(Self { entries })
    }

    /// The forms in prose that may not occur, each with what to say instead.
    pub fn find<'a>(&'a self, words: &'a [Word]) -> impl Iterator<Item = (&'a [Word], &'a str)> {
        self.entries.iter().flat_map(move |entry| entry.find(words))
    }

    /// The same in the words of an identifier.
    pub fn find_in_name<'a>(
        &'a self,
        words: &'a [Word],
    ) -> impl Iterator<Item = (&'a [Word], &'a str)> {
        let entries = self.entries.iter().filter(|entry| entry.in_names);
        entries.flat_map(move |entry| entry.find(words))
    }
}

impl Entry {
    fn find<'a>(&'a self, words: &'a [Word]) -> impl Iterator<Item = (&'a [Word], &'a str)> {
        (0..words.len()).filter_map(move |at| {
            let form = self.forms.iter().find(|form| form.is_at(words, at))?;
            let end = at + form.0.len();
            let is_plain = self.plain.iter().any(|plain| {
                // The form is a part of the longer form that is allowed.
                let first = end.saturating_sub(plain.0.len());
                (first..=at).any(|start| plain.is_at(words, start))
            });
            (!is_plain).then(|| (&words[at..end], self.instead.as_str()))
        })
    }
}

/// Forms that are separated by commas.
fn forms_of(cell: &str) -> Vec<Form> {
    let part = |word: &str| Part {
        text: word.trim_end_matches('*').to_lowercase(),
        is_beginning: word.ends_with('*'),
    };
    let forms = cell.split(',').map(|form| Form(form.split_whitespace().map(part).collect()));
    forms.filter(|form| !form.0.is_empty()).collect()
}

impl Form {
    /// Whether the form begins at `at` in `words`.
    fn is_at(&self, words: &[Word], at: usize) -> bool {
        words.get(at..at + self.0.len()).is_some_and(|words| {
            self.0.iter().zip(words).all(|(part, word)| {
                let word = word.text.to_lowercase();
                if part.is_beginning { word.starts_with(&part.text) } else { word == part.text }
            })
        })
    }
}
