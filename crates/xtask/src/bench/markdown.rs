//! Tables.

/// One whose first column is text, and the others numbers.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut lines = vec![line(&head), line(&align::<N>())];
    lines.extend(rows.into_iter().map(|row| line(&row)));
    lines.join("\n")
}

fn align<const N: usize>() -> [&'static str; N] {
    let mut columns = ["---:"; N];
    if let Some(first) = columns.first_mut() {
        *first = "---";
    }
    columns
}

fn line(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<_> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let rows = [["a".to_owned(), "1".to_owned()]];
        assert_eq!(table(["what", "n"], rows), "| what | n |\n| --- | ---: |\n| a | 1 |");
    }
}
