//! `docs/development.md` against the code: the glossary, the map, and names with one meaning.
//!
//! It reads the files as text, as [`architecture`](crate::architecture) does, and knows nothing of
//! what the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::architecture::{files, root};

const DEVELOPMENT: &str = include_str!("../../docs/development.md");

/// Longest line of code, in characters: what fits twice on a screen.
const MAX_COLUMNS: usize = 100;

/// Places of a word in the code, below which it needs no entry in the glossary.
const MIN_USES: usize = 3;

/// The text below a heading of the second level.
fn section(heading: &str) -> &'static str {
    let (_, rest) = DEVELOPMENT
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("a section {heading}"));

    rest.split("\n## ").next().unwrap()
}

/// The cells of each row of the tables in a section, without their heads.
fn rows(section: &'static str) -> Vec<Vec<&'static str>> {
    section
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| file"))
        .filter(|line| !line.starts_with("| word"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// All files below a folder of the repository whose names end in one of these.
fn files_below(folder: &str, extensions: &[&str]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join(folder)];

    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|extension| extension.to_str());

            if path.is_dir() {
                folders.push(path);
            } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
                found.insert(path);
            }
        }
    }
    found
}

/// The names of files between backquotes, in the order of the text.
fn named_files(text: &str) -> impl Iterator<Item = &str> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.ends_with(".rs") || name.ends_with('/'))
}

/// Fails unless `listed` names each of the files once, and no other.
fn assert_complete(what: &str, listed: &[PathBuf], files: &BTreeSet<PathBuf>) {
    let mut once = BTreeSet::new();
    for path in listed {
        assert!(once.insert(path.clone()), "{what} has {} twice", path.display());
    }

    let missing: Vec<&PathBuf> = files.difference(&once).collect();
    let too_many: Vec<&PathBuf> = once.difference(files).collect();
    assert!(missing.is_empty(), "{what} lacks {missing:#?}");
    assert!(too_many.is_empty(), "{what} names what is not there: {too_many:#?}");
}

#[test]
fn the_map_names_each_file_of_the_program_once() {
    let root = root();
    let src = root.join("src");
    let mut listed = Vec::new();

    for row in rows(section("The map")) {
        let text = row.join(" | ");
        let names: Vec<&str> = named_files(&text).filter(|name| name.ends_with(".rs")).collect();
        let Some(first) = names.first() else { continue };
        let first = root.join(first);
        let folders = first
            .ancestors()
            .skip(1)
            .take(2)
            .chain([src.as_path(), root.as_path()]);

        for name in names {
            // `src/server/http.rs`, then `routes.rs` beside it, or `server/routes.rs`.
            let mut candidates = folders.clone().map(|folder| folder.join(name));
            let found = candidates.find(|path| path.is_file());
            listed
                .push(found.unwrap_or_else(|| panic!("the map names {name}, which is not there")));
        }
    }
    listed.retain(|path| path.starts_with(&src));

    let is_test = |path: &PathBuf| {
        path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests")
    };
    let below_src = |path: &Path| path.strip_prefix(&root).unwrap().to_path_buf();
    let mut files = files_below("src", &["rs"]);
    files.retain(|path| !is_test(&below_src(path)));

    assert_complete("the map", &listed, &files);
}

#[test]
fn the_table_of_tests_names_each_of_them_once() {
    let tests = root().join("tests/it");
    let listed: Vec<PathBuf> = rows(section("Tests"))
        .iter()
        .filter(|row| !row[0].starts_with("`tests/"))
        .flat_map(|row| named_files(row[0]).map(|name| tests.join(name.trim_end_matches('/'))))
        .collect();

    let entries = fs::read_dir(&tests).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| !path.ends_with("main.rs")).collect();

    assert_complete("the table of tests", &listed, &files);
}

#[test]
fn each_word_of_the_glossary_is_defined_once_and_used() {
    let glossary = rows(section("Glossary"));
    let words: Vec<&str> = glossary.iter().map(|row| row[0]).collect();
    assert!((15..=35).contains(&words.len()), "about thirty words, not {}", words.len());
    assert!(words.is_sorted(), "in the order of the alphabet: {words:?}");
    assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len(), "twice: {words:?}");

    let code: String = files_below("src", &["rs"])
        .iter()
        .map(|path| fs::read_to_string(path).unwrap().to_lowercase().replace('_', " "))
        .collect();
    for row in &glossary {
        let uses = code.matches(row[0]).count();
        assert!(uses >= MIN_USES, "{} is in the glossary, and in the code {uses} times", row[0]);
        assert!(row[1].ends_with('.'), "{}: a sentence, not {:?}", row[0], row[1]);
    }
}

#[test]
fn no_two_types_of_the_program_have_one_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();

    for file in files() {
        for line in file.code.lines() {
            // An indented `type` is one of a trait.
            let words: Vec<&str> = line
                .split(|character: char| !character.is_alphanumeric() && !"_()".contains(character))
                .filter(|word| !word.is_empty() && !word.starts_with("pub"))
                .collect();
            let is_type = match words.first() {
                Some(&("struct" | "enum" | "trait")) => true,
                Some(&"type") => !line.starts_with(' '),
                _ => false,
            };

            if let (true, Some(name)) = (is_type, words.get(1)) {
                let name = name.split('(').next().unwrap().to_owned();
                places.entry(name).or_default().push(file.module.clone());
            }
        }
    }

    assert!(places.len() > 100, "there are more types than that: {places:?}");
    places.retain(|_, modules| modules.len() > 1);
    assert!(places.is_empty(), "a name for each type: {places:#?}");
}

#[test]
fn lines_of_code_fit_twice_on_a_screen() {
    let mut files = files_below("src", &["rs", "js", "css", "html"]);
    files.extend(files_below("tests", &["rs", "mjs"]));
    files.extend(files_below("benches", &["rs"]));

    // A line of data cannot be broken: JSON, shell, or an expected text.
    let is_data = |path: &Path, line: &str| {
        path.starts_with(root().join("tests"))
            && (line.contains(['"', '\'']) || line.starts_with('{'))
    };
    let mut too_long = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > MAX_COLUMNS && !is_data(&path, line) {
                too_long.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(too_long.is_empty(), "longer than {MAX_COLUMNS} columns: {too_long:#?}");
}
