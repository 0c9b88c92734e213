//! Output of Markdown tables.

/// Prints a heading, a remark and the header of a table.
pub(crate) fn begin(title: &str, remark: &str, columns: &[&str]) {
    println!("\n### {title}\n");
    if !remark.is_empty() {
        println!("{remark}\n");
    }
    println!("| {} |", columns.join(" | "));
    let rules: Vec<_> = (0..columns.len()).map(|column| if column == 0 { "---" } else { "---:" }).collect();
    println!("|{}|", rules.join("|"));
}

/// Prints a row of a table.
pub(crate) fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Formats a time in whole nanoseconds, or in microseconds from ten thousand nanoseconds up.
pub(crate) fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..10_000.0 => format!("{nanoseconds:.0} ns"),
        _ => format!("{:.1} µs", nanoseconds / 1000.0),
    }
}

/// Formats the allocations per call, without decimals if the number is whole.
pub(crate) fn allocations(count: f64) -> String {
    match (count - count.round()).abs() {
        ..0.05 => format!("{count:.0}"),
        _ => format!("{count:.1}"),
    }
}
