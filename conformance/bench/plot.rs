//! The medians of the single commands as bars, one group a figure.

use std::fmt::Write;

use crate::Failure;
use crate::runtime::Outcome;

const BAR: usize = 14;
const GAP: usize = 12;
const LABELS: usize = 190;
const WIDTH: usize = 620;
const COLOURS: &[&str] = &["#9aa0a6", "#1a73e8", "#e8710a", "#188038", "#a142f4", "#12b5cb"];

/// An SVG image.
pub fn draw(outcomes: &[Outcome]) -> Result<String, Failure> {
    let mut body = String::new();
    let mut top = GAP;
    for outcome in outcomes {
        let names: Vec<&str> = outcome.versions.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(
            body,
            r#"<text x="4" y="{}" font-weight="bold">{} view, medians in ms</text>"#,
            top + 12,
            outcome.view.name()
        )?;
        top += 22;
        for (name, colour) in names.iter().zip(COLOURS) {
            writeln!(
                body,
                r#"<rect x="{LABELS}" y="{top}" width="10" height="10" fill="{colour}"/>"#
            )?;
            writeln!(body, r#"<text x="{}" y="{}">{name}</text>"#, LABELS + 16, top + 10)?;
            top += BAR;
        }
        top += GAP;
        let figures = || outcome.figures.0.iter().filter(|figure| figure.unit == "ms");
        for figure in figures() {
            let bars: Vec<(f64, &str)> = names
                .iter()
                .zip(COLOURS)
                .filter_map(|(name, colour)| Some((figure.quartiles(name)?[1], *colour)))
                .collect();
            let longest = bars.iter().map(|(value, _)| *value).fold(0.0, f64::max);
            writeln!(body, r#"<text x="4" y="{}">{}</text>"#, top + 11, figure.name)?;
            for (value, colour) in bars {
                let length = value / longest * WIDTH as f64;
                writeln!(
                    body,
                    r#"<rect x="{LABELS}" y="{top}" width="{length:.0}" height="{}" fill="{colour}"/>"#,
                    BAR - 2
                )?;
                writeln!(
                    body,
                    r#"<text x="{:.0}" y="{}">{value:.2}</text>"#,
                    LABELS as f64 + length + 4.0,
                    top + 10
                )?;
                top += BAR;
            }
            top += GAP;
        }
    }
    let width = LABELS + WIDTH + 60;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{top}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    ))
}
