//! Links and headings of a Markdown text. Pure.

#[cfg(test)]
use std::collections::{BTreeMap, BTreeSet};

/// A link to somewhere: its place in the text, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    /// From `[`, of an image from `!`.
    pub(crate) start: usize,
    /// After `)`.
    pub(crate) end: usize,
    pub(crate) text: &'a str,
    /// The file; empty for the same one.
    pub(crate) path: &'a str,
    /// The heading, if one is named.
    pub(crate) anchor: Option<&'a str>,
}

/// The lines that are no code, with their places.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let mut place = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = place;
        place += line.len();
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((start, line))
    })
}

/// The links to files and headings of this repository. Those into the web are left out.
pub(crate) fn links(text: &str) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    for (place, line) in prose(text) {
        for (middle, _) in line.match_indices("](") {
            let Some(length) = line[middle..].find(')') else { continue };
            let target = &line[middle + 2..middle + length];
            // A link's text may begin a line before.
            let Some(open) = text[..place + middle].rfind('[') else { continue };
            if target.contains("://") || is_in_code(&line[..middle]) || target.contains(' ') {
                continue;
            }
            let (path, anchor) =
                target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            let is_image = text[..open].ends_with('!');
            links.push(Link {
                start: if is_image { open - 1 } else { open },
                end: place + middle + length + 1,
                text: &text[open + 1..place + middle],
                path,
                anchor,
            });
        }
    }
    links
}

/// Whether a part of a line ends amid `code`, outside of a link's text.
fn is_in_code(before: &str) -> bool {
    before.rfind('[').is_some_and(|open| before[..open].matches('`').count() % 2 == 1)
}

/// The names by which links can lead to the headings of a text, as GitHub and mdBook make them.
#[cfg(test)]
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let name = anchor(heading);
        let times = seen.entry(name.clone()).or_default();
        anchors.insert(if *times == 0 { name } else { format!("{name}-{times}") });
        *times += 1;
    }
    anchors
}

#[cfg(test)]
fn anchor(heading: &str) -> String {
    // A link in a heading counts by its text.
    let text = heading.trim().split("](").next().unwrap_or_default();
    let kept = text.chars().filter(|one| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_'));
    kept.map(|one| if one == ' ' { '-' } else { one.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<(&str, Option<&str>)> {
        links(text).into_iter().map(|link| (link.path, link.anchor)).collect()
    }

    #[test]
    fn a_link_leads_to_a_file_and_a_heading() {
        let text = "See [a](b.md#c), [the `d`](#e)\nand ![f](g.svg).\n```\n[no](h.md)\n```\n[web](https://i.dev) `[no](j.md)`";
        assert_eq!(paths(text), [("b.md", Some("c")), ("", Some("e")), ("g.svg", None)]);
        let shown: Vec<&str> = links(text).iter().map(|link| &text[link.start..link.end]).collect();
        assert_eq!(shown, ["[a](b.md#c)", "[the `d`](#e)", "![f](g.svg)"]);
    }

    #[test]
    fn a_heading_is_found_by_its_words() {
        let text = "# Why `put` keeps: a/b?\n## Twice\n## Twice\n```sh\n# no heading\n```\n#no\n";
        let expected = ["twice", "twice-1", "why-put-keeps-ab"].map(str::to_owned);
        assert_eq!(anchors(text), BTreeSet::from(expected));
    }
}
