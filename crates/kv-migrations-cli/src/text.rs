//! Texts of a service on a terminal.

/// The text without characters that could change what a terminal shows: ids and errors may come from visitors.
pub(crate) fn plain(text: &str) -> String {
    let is_hidden = |character: char| {
        let is_direction =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_direction || (character.is_control() && character != '\n')
    };
    text.chars().map(|character| if is_hidden(character) { '\u{fffd}' } else { character }).collect()
}

/// Rows whose cells stand below each other.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| row.len() > column + 1).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < row.len() {
                let padding = width(column).saturating_sub(cell.chars().count()) + 2;
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_no_text_of_a_service() {
        assert_eq!(plain("\u{1b}[2Jred\r\u{202e}\nü"), "\u{fffd}[2Jred\u{fffd}\u{fffd}\nü");
    }

    #[test]
    fn cells_stand_below_each_other() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [row(&["001", "applied", "x"]), row(&["0002", "", ""]), row(&["a longer note by itself"])];
        assert_eq!(table(&rows), "001   applied  x\n0002\na longer note by itself\n");
    }
}
