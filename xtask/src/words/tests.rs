use super::*;

fn found(path: &str, text: &str) -> Vec<(usize, String)> {
    let list = List::parse(LIST).unwrap();
    let findings = look(&list, Path::new(path), text);
    findings.into_iter().map(|finding| (finding.line, finding.found)).collect()
}

#[test]
fn a_word_that_may_not_occur_is_found_in_every_kind_of_prose() {
    for (path, text) in [
        ("page.md", "# Page\n\nIt is for whoever asks.\n"),
        ("code.rs", "\n\n// It is for whoever asks.\n"),
        ("code.rs", "/// A function\n/// for people,\n/// whoever asks.\nfn ask() {}\n"),
        ("code.rs", "\n/*\n whoever */\n"),
        ("code.rs", "\n\nconst HELP: &str = \"it is for whoever asks\";\n"),
        ("code.rs", "#[test]\n#[ignore]\nfn it_is_for_whoever_asks() {}\n"),
    ] {
        assert_eq!(found(path, text), [(3, "whoever".to_owned())], "{text}");
    }
}

#[test]
fn code_is_not_prose() {
    for (path, text) in [
        ("page.md", "The setting `whoever` is one.\n"),
        ("page.md", "```text\nwhoever\n```\n\n    whoever asks\n\nEnd.\n"),
        ("code.rs", "fn whoever(told: u8) -> Told { whoever }\n"),
        ("code.rs", "fn a() { println!(\"{whoever} asks\") }\n"),
        ("code.rs", "/// The variable `whoever`.\nconst KEY: &str = \"whoever\";\n"),
        ("code.rs", "/// ```text\n/// whoever asks\n/// ```\n"),
        ("code.rs", "#[test]\nfn a() { whoever(); }\nfn whoever() {}\n"),
    ] {
        assert_eq!(found(path, text), [], "{text}");
    }
}

#[test]
fn a_form_of_several_words_is_found_over_the_end_of_a_line_and_not_of_a_sentence() {
    assert_eq!(found("page.md", "A thread of\nours.\n"), [(1, "of ours".to_owned())]);
    assert_eq!(found("code.rs", "// A thread of\n// ours.\n"), [(1, "of ours".to_owned())]);
    assert_eq!(found("page.md", "What it consists of. Ours is this.\n"), []);
    assert_eq!(found("page.md", "| consists of | ours |\n"), []);
}

#[test]
fn a_form_is_left_alone_where_the_list_says_that_it_is_plain() {
    assert_eq!(found("page.md", "Two gateways, told apart by their ids.\n"), []);
    assert_eq!(found("page.md", "A loss is told.\n"), [(1, "told".to_owned())]);
}

#[test]
fn a_name_that_stops_a_reader_is_found_in_code() {
    for text in ["struct AgentHeritage;\n", "let heritage = 1;\n", "fn heritage_of() {}\n"] {
        assert_eq!(found("code.rs", text).len(), 1, "{text}");
    }
    assert_eq!(found("code.rs", "let inherited = 1;\n"), []);
}
