//! Evaluates how a cost grows, and whether it grows faster than linearly.

use crate::table;

/// The cost at one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) size: f64,
    pub(crate) nanoseconds: f64,
    pub(crate) allocations: f64,
}

/// Prints the table of one series.
pub(crate) fn print(title: &str, remark: &str, unit: &str, points: &[Point]) {
    let columns = [unit, "time", "allocations", "size ×", "time ×", "cost of one more", ""];
    table::begin(title, remark, &columns);
    let first = points[0];
    for (index, point) in points.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| points[index]);
        table::row(&[
            format!("{}", point.size),
            table::time(point.nanoseconds),
            table::allocations(point.allocations),
            format!("{:.1}", point.size / first.size),
            format!("{:.2}", point.nanoseconds / first.nanoseconds),
            before.map(|before| format!("{:.1} ns", slope(before, *point))).unwrap_or_default(),
            verdict(&points[..=index]).to_owned(),
        ]);
    }
}

fn slope(one: Point, other: Point) -> f64 {
    (other.nanoseconds - one.nanoseconds) / (other.size - one.size)
}

/// Returns a warning if the cost grows worse than linearly: the marginal cost is clearly higher than among the
/// smallest sizes, and the excess is a considerable part of the total.
fn verdict(points: &[Point]) -> &'static str {
    let [first, second, .., before, last] = points else {
        return "";
    };
    let linear = slope(*first, *second).max(0.0) * (last.size - before.size);
    let grown = last.nanoseconds - before.nanoseconds;
    if grown > 2.0 * linear && grown - linear > 0.25 * last.nanoseconds {
        "**worse than linear**"
    } else {
        ""
    }
}
