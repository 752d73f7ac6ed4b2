//! Words around the facts, in English and Chinese.

use model::{Localised, Unit, Value};

/// A number as people read it: at most two decimals, no trailing zeros.
pub(crate) fn number(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// `Car load 75 kg`, `Doors: closed`, `Mains present: no`.
pub(crate) fn reading(name: &Localised, value: &Value, unit: Option<Unit>) -> Localised {
    match value {
        Value::Number(x) => {
            let unit = unit.map_or("", Unit::display);
            let gap = if unit.is_empty() { "" } else { " " };
            let text = format!("{}{gap}{unit}", number(*x));
            Localised::new(format!("{} {text}", name.en), format!("{} {text}", name.zh))
        }
        Value::Bool(flag) => {
            let (en, zh) = if *flag { ("yes", "是") } else { ("no", "否") };
            Localised::new(format!("{}: {en}", name.en), format!("{}：{zh}", name.zh))
        }
        Value::Text(text) => Localised::new(format!("{}: {text}", name.en), format!("{}：{text}", name.zh)),
    }
}

/// A span of time in its one or two largest units.
pub(crate) fn span(us: i64) -> Localised {
    const UNITS: [(i64, &str, &str); 4] =
        [(86_400, "d", "天"), (3600, "h", "小时"), (60, "min", "分钟"), (1, "s", "秒")];
    let seconds = us / 1_000_000;
    let Some(first) = UNITS.iter().position(|(length, ..)| seconds >= *length) else {
        let ms = us / 1000;
        return Localised::new(format!("{ms} ms"), format!("{ms} 毫秒"));
    };
    let mut text = Localised::default();
    let mut rest = seconds;
    for (length, en, zh) in UNITS.iter().skip(first).take(2) {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            let gap = if text.en.is_empty() { "" } else { " " };
            text.en.push_str(&format!("{gap}{count} {en}"));
            text.zh.push_str(&format!("{gap}{count} {zh}"));
        }
    }
    text
}

/// `a, b and c`.
pub(crate) fn list(parts: &[Localised]) -> Localised {
    match parts {
        [] => Localised::default(),
        [only] => only.clone(),
        [first @ .., last] => {
            let en: Vec<_> = first.iter().map(|part| part.en.as_str()).collect();
            let zh: Vec<_> = parts.iter().map(|part| part.zh.as_str()).collect();
            Localised::new(format!("{} and {}", en.join(", "), last.en), zh.join("、"))
        }
    }
}

/// `a; b; c`.
pub(crate) fn facts(parts: &[Localised]) -> Localised {
    let en: Vec<_> = parts.iter().map(|part| part.en.as_str()).collect();
    let zh: Vec<_> = parts.iter().map(|part| part.zh.as_str()).collect();
    Localised::new(en.join("; "), zh.join("；"))
}

/// An expression on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_like_a_sentence() {
        let name = Localised::new("Motor temperature", "电机温度");
        assert_eq!(reading(&name, &Value::Number(121.504), Some(Unit::Celsius)).en, "Motor temperature 121.5 °C");
        assert_eq!(reading(&name, &Value::Bool(false), None).zh, "电机温度：否");
        assert_eq!(number(-0.001), "0");
        assert_eq!(span(5_400_000_000).en, "1 h 30 min");
        assert_eq!(span(259_200_000_000).zh, "3 天");
        assert_eq!(span(250_000).en, "250 ms");
        let parts = ["a", "b", "c"].map(|text| Localised::new(text, text));
        assert_eq!(list(&parts), Localised::new("a, b and c", "a、b、c"));
    }
}
