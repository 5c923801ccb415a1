//! The worked set in `deploy/slo`: it is read, every reference leads somewhere, nothing in it is impossible, and promtool takes its
//! rules where promtool is installed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use analyze::slo::lint::{Weight, lint};
use analyze::slo::objective::{ObjectiveSpec, resolve};
use analyze::slo::rules::rules;
use proto::model::openslo::{Document, Kind, read, write};

fn documents() -> Vec<Document> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/slo");
    ["base", "indicators", "alerts", "objectives", "throughput", "staging"]
        .iter()
        .flat_map(|file| {
            read(
                &std::fs::read_to_string(folder.join(format!("{file}.yaml")))
                    .expect("the worked set can be read"),
            )
            .expect("the worked set can be read")
        })
        .collect()
}

fn objectives() -> Vec<ObjectiveSpec> {
    resolve(&documents()).expect("the worked set can be read")
}

#[test]
fn fifteen_indicators_and_nine_objectives_with_their_policies_are_there() {
    let documents = documents();
    let count = |kind| documents.iter().filter(|document| document.kind() == kind).count();
    assert_eq!(count(Kind::Sli), 15);
    let objectives = objectives();
    assert_eq!(objectives.len(), 9 + 1 + 3, "nine, one of throughput, and three of the staging cluster");
    assert!(objectives.iter().all(|objective| objective.policy.is_some() && !objective.rules.is_empty()));
}

#[test]
fn every_indicator_is_used_by_an_objective() {
    let documents = documents();
    let used: Vec<_> =
        documents.iter().flat_map(Document::references).filter(|(kind, _)| *kind == Kind::Sli).collect();
    for sli in documents.iter().filter(|document| document.kind() == Kind::Sli) {
        let name = sli.metadata.name.as_str();
        assert!(used.contains(&(Kind::Sli, name)), "nothing promises {name}");
    }
}

#[test]
fn written_and_read_again_it_is_the_same() {
    let documents = documents();
    assert_eq!(read(&write(&documents).unwrap()).unwrap(), documents);
}

#[test]
fn nothing_in_it_is_impossible() {
    let found = lint(&objectives(), Duration::from_secs(15));
    let errors: Vec<_> = found.iter().filter(|finding| finding.weight == Weight::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn promtool_takes_its_rules() {
    let (file, _) = rules(&objectives());
    assert!(!file.groups.is_empty());
    let path = std::env::temp_dir().join(format!("homeostat-worked-{}.yaml", std::process::id()));
    std::fs::write(&path, serde_json::to_string(&file).unwrap()).unwrap();
    match Command::new("promtool").args(["check", "rules"]).arg(&path).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("skipped: promtool cannot be run ({error}); `apt-get install prometheus`"),
    }
    std::fs::remove_file(&path).unwrap();
}
