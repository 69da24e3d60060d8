//! Files like wrangler's `.dev.vars`: a `NAME=value` a line.

/// The value of a variable. A value in quotes is taken as it stands; another ends at a `#`.
pub(crate) fn value(file: &str, name: &str) -> Option<String> {
    // The last one counts, as in a shell.
    file.lines().rev().find_map(|line| {
        let line = line.trim();
        let (key, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        (key.trim() == name).then(|| unquoted(value.trim()).to_owned())
    })
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\'', '`'] {
        if let Some((quoted, _)) = value.strip_prefix(quote).and_then(|rest| rest.rsplit_once(quote)) {
            return quoted;
        }
    }
    value.split('#').next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_wrangler_reads_them() {
        let file = "# a comment\nA=one\nexport B = \"two # three\" # four\nC='it''s'\nD=five # six\nE=\nA=last\nno line";
        let read = |name| value(file, name);
        assert_eq!(read("A").as_deref(), Some("last"));
        assert_eq!(read("B").as_deref(), Some("two # three"));
        assert_eq!(read("C").as_deref(), Some("it''s"));
        assert_eq!(read("D").as_deref(), Some("five"));
        assert_eq!(read("E").as_deref(), Some(""));
        assert_eq!(read("no line"), None);
        assert_eq!(read("F"), None);
    }
}
