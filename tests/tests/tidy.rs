//! The house's rules as tests: which crate may name which, which files stay pure, how long a file may grow.

#![expect(clippy::unwrap_used, reason = "a broken checkout is the only way these unwraps fail")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const SERVICES: [&str; 5] = ["monitor", "analyze", "plan", "execute", "knowledge"];
/// Folders of a service that speak to the outside, beside the shell files that every service has.
const ADAPTERS: [(&str, &str); 6] = [
    // The kill switch is a local file first, whatever else is gone.
    ("execute", "pause"),
    ("monitor", "sensors"),
    ("knowledge", "store"),
    ("knowledge", "embedded"),
    ("knowledge", "hub"),
    ("knowledge", "writer"),
];
/// `testing` holds the fakes that tests of other crates use, over real sockets.
const SHELL: [&str; 7] = ["lib", "config", "service", "grpc", "metrics", "tests", "testing"];
/// Past this a file holds more than one idea.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn members() -> Vec<PathBuf> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| root().join(m.as_str().unwrap()))
        .collect()
}

/// Package name → names of what it builds on, in production and in its build script, not in tests.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let read = |folder: PathBuf| {
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let names = ["dependencies", "build-dependencies"]
            .iter()
            .filter_map(|table| manifest.get(*table)?.as_table())
            .flat_map(|table| table.keys().cloned())
            .collect();
        (manifest["package"]["name"].as_str().unwrap().to_owned(), names)
    };
    members().into_iter().map(read).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            if path.file_name().unwrap() != "target" {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn no_arrow_runs_among_the_five_services() {
    let arrows = arrows();
    for service in SERVICES {
        for other in SERVICES.iter().filter(|other| **other != service) {
            assert!(!arrows[service].contains(*other), "{service} must not name {other}");
        }
        for outer in ["homeostat", "staging", "actuators", "system-tests"] {
            assert!(!arrows[service].contains(outer), "{service} must not name {outer}");
        }
    }
}

#[test]
fn inner_crates_name_no_outer_ones() {
    let arrows = arrows();
    let ours: BTreeSet<&String> = arrows.keys().collect();
    let may = BTreeMap::from([
        ("proto", vec![]),
        ("breaker", vec![]),
        ("chassis", vec!["proto"]),
        ("actuators", vec!["proto", "chassis", "breaker"]),
        ("staging", vec!["proto", "chassis", "breaker", "actuators"]),
    ]);
    for (name, allowed) in may {
        for named in arrows[name].iter().filter(|named| ours.contains(named)) {
            assert!(allowed.contains(&named.as_str()), "{name} must not name {named}");
        }
    }
}

#[test]
fn only_knowledge_names_the_database() {
    for (name, named) in arrows() {
        assert!(
            name == "knowledge" || !named.contains("sqlx"),
            "{name} must reach Postgres through Knowledge"
        );
    }
}

/// The first path part below src, without its extension: `slo/budget.rs` is `slo`.
fn first_part(service: &str, file: &Path) -> String {
    let below = file.strip_prefix(root().join(service).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn is_shell(service: &str, file: &Path) -> bool {
    let part = first_part(service, file);
    SHELL.contains(&part.as_str()) || ADAPTERS.contains(&(service, part.as_str()))
}

#[test]
fn cores_are_pure() {
    let forbidden = [
        "tokio::",
        "tonic::",
        "sqlx::",
        "rand::",
        "SystemClock",
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "std::fs",
        "std::net",
    ];
    let mut cores = 0;
    for service in SERVICES {
        for file in
            sources(&root().join(service).join("src")).into_iter().filter(|file| !is_shell(service, file))
        {
            // Tests of a core may read data that lies beside the repository.
            if file.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            cores += 1;
            let text = fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (number, line) in code.enumerate() {
                for word in forbidden {
                    assert!(
                        !line.contains(word),
                        "{} line {number}: a core names {word}: {line}",
                        file.display()
                    );
                }
            }
        }
    }
    assert!(cores > 30, "only {cores} core files were looked at; the rule would hold nothing");
}

#[test]
fn every_file_says_what_it_is_and_holds_one_idea() {
    for folder in members() {
        for file in
            ["src", "tests", "examples", "benches"].iter().flat_map(|part| sources(&folder.join(part)))
        {
            let text = fs::read_to_string(&file).unwrap();
            let first = text.lines().next().unwrap_or_default();
            let says = first.starts_with("//!") || first.contains("include_str!");
            assert!(says, "{} must open with //!", file.display());
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines; split it by idea", file.display());
        }
    }
}

#[test]
fn nothing_is_left_undone_or_allowed_silently() {
    let words = [
        concat!("#[", "allow("),
        concat!("#[", "ignore"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
    ];
    for file in members().iter().flat_map(|folder| sources(folder)) {
        let text = fs::read_to_string(&file).unwrap();
        for word in words {
            assert!(!text.contains(word), "{} has {word}", file.display());
        }
    }
}

#[test]
fn every_crate_has_a_page() {
    for folder in members().into_iter().filter(|folder| !folder.ends_with("tests")) {
        assert!(folder.join("README.md").exists(), "{} has no README.md", folder.display());
    }
}

#[test]
fn every_dependency_version_stands_in_the_workspace() {
    for folder in members() {
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
                let inherits = value.get("workspace").is_some();
                assert!(inherits, "{}: {name} must be `workspace = true`", folder.display());
            }
        }
    }
}
