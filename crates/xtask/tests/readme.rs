//! The README shows the quickstart: to the letter, so that what it shows is what is built and tested.

#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::Path;

#[test]
fn the_code_in_the_readme_is_the_quickstarts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).expect("there is a README");
    // `rs` is what cannot be compiled on its own.
    let blocks = readme.split("```r").skip(1).filter_map(|rest| rest.split("```").next());
    let mut shown = 0;
    for block in blocks {
        let mut lines = block.splitn(3, '\n').skip(1);
        // One that names no file stands for itself, and is compiled with the documentation.
        let Some(path) = lines.next().and_then(|line| line.strip_prefix("// ")) else { continue };
        let source =
            fs::read_to_string(root.join("examples/quickstart").join(path)).expect("the file is there");
        assert_eq!(lines.next(), Some(source.as_str()), "{path} differs from what the README shows");
        shown += 1;
    }
    assert_eq!(shown, 4, "the two migrations, their list, and the mount");
}
