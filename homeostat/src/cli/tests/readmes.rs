//! Every command in every README is one that the program takes, and every sample of a file is one that it reads.

use crate::cli::Cli;
use clap::{Parser, error::ErrorKind};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Words that stand for a value, and a value that may stand there.
const PLACEHOLDERS: [(&str, &str); 3] = [
    ("ID", "0192d3a4-0000-7000-8000-000000000000"),
    ("COMMAND", "status"),
    ("EDGE", "edge:shop/cart->stock"),
];

/// All READMEs of the repository, without what was built or installed.
fn readmes() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "venv" {
                folders.push(path);
            } else if name == "README.md" {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// The words of a shell's line: quotes hold together, settings before the program and whatever follows it are left out.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => (quote, word) = (Some(letter), Some(word.unwrap_or_default())),
            (None, ' ') => words.extend(word.take()),
            (None, '#' | '>' | ';' | '&' | '<') if word.is_none() => break,
            (None, ';') => break,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let end = words.iter().position(|word| word == "|").unwrap_or(words.len());
    words.truncate(end);
    words.into_iter().skip_while(|word| word.contains('=')).collect()
}

/// Code on lines of its own, and code in sentences.
fn code(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut lines, mut spans, mut fenced) = (Vec::new(), Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            lines.push(line.trim());
        } else {
            spans.extend(line.split('`').skip(1).step_by(2));
        }
    }
    (lines, spans)
}

fn is_ours(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "homeostat") && words.len() > 1
}

/// `list|show` names two commands at once.
fn each(words: Vec<String>) -> Vec<Vec<String>> {
    let Some(at) = words.iter().position(|word| word.contains('|')) else { return vec![words] };
    let with = |one: &str| [&words[..at], &[one.to_owned()], &words[at + 1..]].concat();
    words[at].split('|').flat_map(|one| each(with(one))).collect()
}

fn refusal(words: &[String]) -> Option<clap::Error> {
    let value = |word: &String| {
        let standing = PLACEHOLDERS.iter().find(|(name, _)| name == word);
        standing.map_or_else(|| word.clone(), |(_, value)| (*value).to_owned())
    };
    Cli::try_parse_from(words.iter().map(value)).err().filter(|error| error.use_stderr())
}

#[test]
fn every_command_on_a_line_of_its_own_is_taken_as_it_stands() {
    let mut checked = 0;
    for (path, text) in readmes() {
        for line in code(&text).0 {
            let words = words(line);
            if is_ours(&words) {
                checked += 1;
                let refusal = refusal(&words).map(|error| error.to_string());
                assert_eq!(refusal, None, "{}: {line}", path.display());
            }
        }
    }
    assert!(checked > 25, "only {checked} were found");
}

#[test]
fn every_command_in_a_sentence_exists_though_it_may_leave_out_arguments() {
    let mut checked = 0;
    for (path, text) in readmes() {
        for span in code(&text).1 {
            let words: Vec<_> = words(span).into_iter().filter(|word| word != "…" && word != "...").collect();
            if !is_ours(&words) {
                continue;
            }
            for words in each(words) {
                checked += 1;
                let may_lack = [
                    ErrorKind::MissingRequiredArgument,
                    ErrorKind::MissingSubcommand,
                    ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                ];
                let refusal = refusal(&words).filter(|error| !may_lack.contains(&error.kind()));
                assert!(refusal.is_none(), "{}: {words:?}: {}", path.display(), refusal.unwrap());
            }
        }
    }
    assert!(checked > 40, "only {checked} were found");
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    for (path, text) in readmes() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("http") && !link.starts_with('#') {
                assert!(path.parent().unwrap().join(link).exists(), "{}: {link}", path.display());
            }
        }
    }
}

#[test]
fn every_sample_of_a_file_is_read_by_what_reads_the_file() {
    let mut checked = 0;
    for (path, text) in readmes() {
        for block in text.split("\n```").skip(1).step_by(2) {
            let (kind, sample) = block.split_once('\n').unwrap();
            match kind {
                "sh" | "text" => {}
                // Doc tests of their crates.
                kind if kind.starts_with("rust") => {}
                "json" => {
                    checked += 1;
                    let faults = serde_json::from_str::<staging::faults::Faults>(sample);
                    assert!(faults.is_ok(), "{}: {faults:?}", path.display());
                }
                other => panic!("{}: nothing reads samples of {other:?} here yet", path.display()),
            }
        }
    }
    assert!(checked > 0);
}
