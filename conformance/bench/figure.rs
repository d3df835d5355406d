//! Samples by figure and contender, what is missing and why, and their statistics.

use serde_json::{Value, json};

use crate::Failure;

/// One thing that is measured.
pub struct Figure {
    /// What it is called in the results.
    pub name: String,
    /// Of its samples.
    pub unit: String,
    /// Samples, contender by contender.
    pub samples: Vec<(String, Vec<f64>)>,
    /// Why a contender has none.
    pub missing: Vec<(String, String)>,
}

/// All figures of one view, in the order in which they came.
#[derive(Default)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    fn at(&mut self, name: &str, unit: &str) -> &mut Figure {
        let index = self.0.iter().position(|figure| figure.name == name).unwrap_or_else(|| {
            self.0.push(Figure {
                name: name.to_owned(),
                unit: unit.to_owned(),
                samples: Vec::new(),
                missing: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// Add a sample, unless the contender has dropped out of the figure.
    pub fn add(&mut self, name: &str, unit: &str, contender: &str, value: f64) {
        let figure = self.at(name, unit);
        if figure.is_missed_by(contender) {
            return;
        }
        let samples = &mut figure.samples;
        match samples.iter_mut().find(|(who, _)| who == contender) {
            Some((_, values)) => values.push(value),
            None => samples.push((contender.to_owned(), vec![value])),
        }
    }

    /// Say why `contender` has no sample; what it has already is no longer counted.
    pub fn miss(&mut self, name: &str, unit: &str, contender: &str, why: &str) {
        let figure = self.at(name, unit);
        if figure.is_missed_by(contender) {
            return;
        }
        figure.samples.retain(|(who, _)| who != contender);
        figure.missing.push((contender.to_owned(), why.to_owned()));
    }

    /// A figure by its name.
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.name == name)
    }

    /// The median of a contender in a figure.
    pub fn median(&self, name: &str, contender: &str) -> Option<f64> {
        self.get(name)?.quartiles(contender).map(|[_, middle, _]| middle)
    }

    /// For the process outside.
    pub fn to_json(&self) -> Value {
        let pairs = |pairs: &[(String, String)]| -> Value {
            pairs.iter().map(|(a, b)| json!([a, b])).collect()
        };
        self.0
            .iter()
            .map(|f| {
                let samples: Value = f.samples.iter().map(|(who, v)| json!([who, v])).collect();
                json!({"name": f.name, "unit": f.unit, "samples": samples, "missing": pairs(&f.missing)})
            })
            .collect()
    }

    /// From the process inside.
    pub fn from_json(value: &Value) -> Result<Self, Failure> {
        let list = |value: &Value| value.as_array().cloned().ok_or("the figures are not a list");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut figures = Self::default();
        for figure in list(value)? {
            let samples = list(&figure["samples"])?
                .iter()
                .map(|pair| {
                    let values = list(&pair[1])?.iter().filter_map(Value::as_f64).collect();
                    Ok((text(&pair[0]), values))
                })
                .collect::<Result<_, Failure>>()?;
            let missing = list(&figure["missing"])?;
            figures.0.push(Figure {
                name: text(&figure["name"]),
                unit: text(&figure["unit"]),
                samples,
                missing: missing.iter().map(|p| (text(&p[0]), text(&p[1]))).collect(),
            });
        }
        Ok(figures)
    }
}

impl Figure {
    /// Has this contender dropped out?
    pub fn is_missed_by(&self, contender: &str) -> bool {
        self.missing.iter().any(|(who, _)| who == contender)
    }

    /// First quartile, median and third quartile of a contender's samples.
    pub fn quartiles(&self, contender: &str) -> Option<[f64; 3]> {
        let (_, values) = self.samples.iter().find(|(who, _)| who == contender)?;
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        Some([0.25, 0.5, 0.75].map(|share| at_share(&sorted, share)))
    }
}

/// The value below which that share of `sorted` lies, between two samples where none is there.
fn at_share(sorted: &[f64], share: f64) -> f64 {
    let position = share * (sorted.len() - 1) as f64;
    let below = position.floor();
    let (low, high) = (sorted[below as usize], sorted[position.ceil() as usize]);
    low + (high - low) * (position - below)
}
