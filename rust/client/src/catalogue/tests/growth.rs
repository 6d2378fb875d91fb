//! A call does not wait longer because more models are known.

use super::*;
use crate::catalogue::lines::bisect;
use serde_json::json;
use std::borrow::Cow;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How much larger the larger catalogue is.
const TIMES: usize = 10;
/// What the larger one may cost, against the usual one.
const RATIO: f64 = 1.2;
const ROUNDS: usize = 200;
/// Where they take longer, one round shows it as well as two hundred.
const LONG: Duration = Duration::from_secs(10);

/// The lines of the snapshot, each `times` over under keys of its own, sorted as the snapshot is.
fn lines_times(times: usize) -> String {
    let snapshot = Snapshot::builtin();
    let (models, _) = snapshot.texts();
    let mut lines: Vec<String> = models
        .lines()
        .flat_map(|line| {
            let (key, rest) = line.split_once('\t').unwrap();
            (0..times).map(move |copy| match copy {
                0 => line.to_owned(),
                copy => format!("{key}~{copy}\t{rest}"),
            })
        })
        .collect();
    // As `tools/catalogue.py` sorts them: by key.
    lines.sort_by(|a, b| a.split('\t').next().cmp(&b.split('\t').next()));
    lines.join("\n") + "\n"
}

/// A catalogue whose snapshot has `times` the models, and the user's own as many again.
fn catalogue_times(times: usize) -> Catalogue {
    let providers = Snapshot::builtin().texts().1.to_owned();
    let catalogue = Catalogue {
        shared: Arc::new(Shared {
            snapshot: Snapshot::new(Cow::Owned(lines_times(times)), Cow::Owned(providers)),
            own: RwLock::default(),
            known: RwLock::default(),
        }),
    };
    let count = catalogue.shared.snapshot.model_keys().count();
    let mut acme = Definition::new("acme", Protocol::OpenaiChat, "http://127.0.0.1:9/v1");
    for at in 0..count {
        acme = acme.model(
            format!("model-{at}"),
            json!({"context": 1000, "price": {"input": 1}}),
        );
    }
    catalogue.register_provider(acme).unwrap();
    assert!(catalogue.models().len() > count);
    catalogue
}

/// The best time of `work` in each, taken in turn so that both meet the same machine.
fn best_of_both(mut small: impl FnMut(), mut large: impl FnMut()) -> (Duration, Duration) {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let (mut least, mut least_large) = (Duration::MAX, Duration::MAX);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        if began.elapsed() > LONG {
            break;
        }
        least = least.min(time(&mut small));
        least_large = least_large.min(time(&mut large));
    }
    (least, least_large)
}

#[test]
fn a_call_resolves_its_model_as_fast_among_ten_times_as_many() {
    let (usual, large) = (catalogue_times(1), catalogue_times(TIMES));
    let ids = [
        "openai/gpt-5",
        "gpt-5",
        "anthropic/claude-sonnet-4-5",
        "acme/model-7",
        "openai/new",
    ];
    let calls = |catalogue: &Catalogue| {
        for _ in 0..100 {
            for id in ids {
                let found = black_box(catalogue).resolve(black_box(id));
                assert!(found.is_ok());
                black_box(catalogue.model(black_box(id)));
            }
        }
    };
    calls(&usual);
    calls(&large);
    let (one, ten) = best_of_both(|| calls(&usual), || calls(&large));
    let ratio = ten.as_secs_f64() / one.as_secs_f64();
    assert!(ratio <= RATIO, "{ratio:.2} times as long: {one:?} and {ten:?}");
}

#[test]
fn an_id_that_is_met_for_the_first_time_looks_at_hardly_more_lines() {
    let (usual, large) = (lines_times(1), lines_times(TIMES));
    let looked_at = |text: &str, key: &str| {
        let mut count = 0_u32;
        let found = bisect(text, |line| {
            count += 1;
            line.split('\t').next().unwrap_or_default().cmp(key)
        });
        assert!(found.is_some(), "{key}");
        f64::from(count)
    };
    let keys = || usual.lines().filter_map(|line| line.split('\t').next());
    let of_all = |text: &str| keys().map(|key| looked_at(text, key)).sum::<f64>();
    let (one, ten) = (of_all(&usual), of_all(&large));
    // Ten times the lines are three to four halvings more, of about eleven.
    let more = (ten - one) / f64::from(u32::try_from(keys().count()).unwrap());
    assert!(more <= 4.0, "{more:.2} lines more for each id");
}
