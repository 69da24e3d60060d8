//! A chart of lines, as SVG: both its axes are logarithmic, so that what grows in proportion is straight.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use plotters::prelude::*;

const SIZE: (u32, u32) = (800, 480);
const FONT: &str = "sans-serif";
const GRID: RGBColor = RGBColor(232, 232, 232);

/// Colours that the colour-blind too can tell apart (Okabe and Ito's), and that are seen well on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
];

pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

pub(crate) struct Axis {
    pub(crate) label: String,
    /// How a number on it is written.
    pub(crate) format: fn(f64) -> String,
}

/// One line.
pub(crate) struct Series {
    pub(crate) name: String,
    /// All of them positive, as only these have logarithms.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Chart {
    /// Writes it to a file, the same each time.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        fs::write(file, self.svg()?).with_context(|| format!("cannot write {}", file.display()))
    }

    pub(crate) fn svg(&self) -> Result<String> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Decades::around(points().map(|(x, _)| *x))?;
        let y = Decades::around(points().map(|(_, y)| *y))?;

        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), x, y)
            .with_context(|| format!("cannot draw “{}”", self.title))?;
        Ok(svg)
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        x: Decades,
        y: Decades,
    ) -> Result<()> {
        // Whatever the page is like that shows it, a dark one too.
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 20))
            .margin(16)
            .margin_right(32)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d((x.start..x.end).log_scale(), (y.start..y.end).log_scale())?;
        chart
            .configure_mesh()
            .label_style((FONT, 14))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_labels(x.number)
            .y_labels(y.number)
            .x_label_formatter(&|x| (self.x.format)(*x))
            .y_label_formatter(&|y| (self.y.format)(*y))
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS.into_iter().cycle()) {
            let style = ShapeStyle::from(colour).stroke_width(2);
            chart
                .draw_series(LineSeries::new(series.points.iter().copied(), style))?
                .label(&series.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
        // What grows leaves that corner free.
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .label_font((FONT, 14))
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// What an axis shows: whole powers of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Decades {
    /// Slightly below the first and beyond the last, so that rounding does not take their labels away.
    start: f64,
    end: f64,
    /// How many powers of ten there are.
    number: usize,
}

impl Decades {
    fn around(values: impl Iterator<Item = f64> + Clone) -> Result<Self> {
        const MARGIN: f64 = 1.01;
        ensure!(values.clone().next().is_some(), "a chart needs a point");
        ensure!(
            values.clone().all(|value| value.is_finite() && value > 0.0),
            "only positive numbers have logarithms"
        );
        let first = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let last = values.fold(0.0, f64::max).log10().ceil().max(first + 1.0);
        let number =
            std::iter::successors(Some(first), |power| Some(power + 1.0)).take_while(|power| *power <= last);
        Ok(Self {
            start: 10_f64.powf(first) / MARGIN,
            end: 10_f64.powf(last) * MARGIN,
            number: number.count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::numbers::{time, whole};

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        Chart {
            title: "How it <grows>".to_owned(),
            x: Axis { label: "migrations".to_owned(), format: whole },
            y: Axis { label: "time".to_owned(), format: time },
            series: vec![Series { name: "run, all applied".to_owned(), points }],
        }
    }

    #[test]
    fn a_chart_is_the_same_each_time_and_says_what_it_shows() {
        let chart = chart(vec![(10.0, 900.0), (10_000.0, 2_500_000.0)]);
        let svg = chart.svg().unwrap();
        assert_eq!(svg, chart.svg().unwrap());
        for text in ["How it &lt;grows&gt;", "migrations", "run, all applied", "10,000", "100 ns", "10 ms"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn an_axis_shows_whole_powers_of_ten() {
        let decades = |values: &[f64]| Decades::around(values.iter().copied()).unwrap();
        let wide = decades(&[12.0, 10_000.0]);
        assert!(wide.start < 10.0 && wide.start > 9.0 && wide.end > 10_000.0 && wide.end < 11_000.0);
        assert_eq!(wide.number, 4);
        assert_eq!(decades(&[5.0]).number, 2);
        assert_eq!(decades(&[100.0]).number, 2, "an axis has a length");
        assert_eq!(decades(&[0.02, 0.5]).number, 3);
    }

    #[test]
    fn what_has_no_logarithm_is_refused() {
        for points in [vec![], vec![(0.0, 1.0)], vec![(1.0, -1.0)], vec![(1.0, f64::NAN)]] {
            assert!(chart(points).svg().is_err());
        }
    }
}
