//! How the next input is made of one that is there: half of the time libFuzzer's own way, half of the time by changing
//! one value in one of its JSON documents. Bytes alone rarely come past the JSON reader.

use crate::input::HEAD;
use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Map, Value, json};

/// Changes `data[..size]` in place and gives its new size.
pub fn run(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed) << 1 | 1);
    if dice.below(2) == 0
        && let Some(new) = structured(&data[..size], &mut dice)
        && new.len() <= max_size
    {
        data[..new.len()].copy_from_slice(&new);
        return new.len();
    }
    fuzzer_mutate(data, size, max_size)
}

/// Small and the same on every machine: libFuzzer's seed is all that decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).map_or(0, |number| number % sides.max(1))
    }
}

fn structured(data: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let (head, body) = data.split_at_checked(HEAD)?;
    let mut out = head.to_vec();
    if let Ok(mut document) = serde_json::from_slice::<Value>(body) {
        change(&mut document, dice);
        out.extend(serde_json::to_vec(&document).ok()?);
        return Some(out);
    }
    let mut lines: Vec<Vec<u8>> = body.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (at, other) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(8) {
        0 => lines.swap(at, other),
        1 => drop(lines.remove(at)),
        2 => lines.insert(other, lines[at].clone()),
        _ => {
            let near = (0..lines.len()).map(|step| (at + step) % lines.len());
            let at = near.into_iter().find(|&at| lines[at].starts_with(b"data: {"))?;
            let mut document: Value = serde_json::from_slice(lines[at].get(6..)?).ok()?;
            change(&mut document, dice);
            lines[at] = [b"data: ", serde_json::to_vec(&document).ok()?.as_slice()].concat();
        }
    }
    out.extend(lines.join(&b'\n'));
    Some(out)
}

/// Changes one value somewhere in `document`.
fn change(document: &mut Value, dice: &mut Dice) {
    let donor = pick(document, dice).clone();
    let place = pick(document, dice);
    match (dice.below(4), &mut *place) {
        (0, Value::Object(fields)) if !fields.is_empty() => change_field(fields, donor, dice),
        (0, Value::Array(list)) if !list.is_empty() => {
            let at = dice.below(list.len());
            match dice.below(4) {
                0 => drop(list.remove(at)),
                1 => list.insert(at, donor),
                2 => list.push(list[at].clone()),
                _ => list.reverse(),
            }
        }
        (0 | 1, Value::String(text)) => change_text(text, dice),
        (2, place) => *place = donor,
        (_, place) => *place = odd(dice),
    }
}

fn change_field(fields: &mut Map<String, Value>, donor: Value, dice: &mut Dice) {
    let at = dice.below(fields.len());
    let Some(key) = fields.keys().nth(at).cloned() else {
        return;
    };
    let value = fields.shift_remove(&key);
    match dice.below(3) {
        0 => {}
        1 => drop(fields.insert(key, donor)),
        _ => drop(fields.insert(format!("{key}_"), value.unwrap_or_default())),
    }
}

fn change_text(text: &mut String, dice: &mut Dice) {
    match dice.below(6) {
        0 => text.clear(),
        1 => text.push_str("é\u{1F9E8}\u{FFFD}\0\""),
        2 => text.insert(0, ' '),
        3 => *text = text.repeat(2),
        4 => text.truncate(text.char_indices().nth(dice.below(8)).map_or(0, |(at, _)| at)),
        _ => text.push_str("{\"a\": [1"),
    }
}

/// A value in the tree, the deep ones as likely as the shallow.
fn pick<'a>(value: &'a mut Value, dice: &mut Dice) -> &'a mut Value {
    fn count(value: &Value) -> usize {
        1 + match value {
            Value::Array(list) => list.iter().map(count).sum(),
            Value::Object(fields) => fields.values().map(count).sum(),
            _ => 0,
        }
    }
    fn walk(value: &mut Value, left: usize) -> &mut Value {
        if left == 0 {
            return value;
        }
        let mut left = left - 1;
        let children: Vec<&mut Value> = match value {
            Value::Array(list) => list.iter_mut().collect(),
            Value::Object(fields) => fields.values_mut().collect(),
            _ => Vec::new(),
        };
        for child in children {
            let size = count(child);
            if left < size {
                return walk(child, left);
            }
            left -= size;
        }
        unreachable!("the tree has as many values as were counted")
    }
    let at = dice.below(count(value));
    walk(value, at)
}

/// What stands where nobody thought of it.
fn odd(dice: &mut Dice) -> Value {
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1e308),
        json!(4_294_967_295_u32),
        json!(""),
        json!("x"),
        json!("stop"),
        json!([]),
        json!([null]),
        json!([{}]),
        json!({}),
        json!({"": ""}),
        json!({"type": "text", "text": "x"}),
    ];
    odd[dice.below(odd.len())].clone()
}
