//! The modules of a crate, and the paths that each uses. What is compiled only for tests is left out.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, ImplItemFn, ItemFn, ItemImpl, ItemMacro, ItemMod, ItemUse, Macro, UseTree};

/// The text of a file, by its path below `src`.
type Source<'a> = &'a dyn Fn(&str) -> Option<String>;
pub(super) type Modules = BTreeMap<Vec<String>, Module>;

#[derive(Default)]
pub(super) struct Module {
    pub(super) file: String,
    /// A name that is not here is an item of the module, or a name of another crate.
    pub(super) names: HashMap<String, Name>,
    pub(super) used: Vec<Vec<String>>,
}

pub(super) enum Name {
    Module,
    /// A `use` of this path.
    Import(Vec<String>),
}

/// The modules of the crate whose root is this file, by their paths.
pub(super) fn read(root: &str, source: Source<'_>) -> Result<Modules> {
    let mut reader = Reader { source, modules: Modules::new(), at: vec![], unread: vec![] };
    reader.read_file(&[root.to_owned()]);
    ensure!(reader.unread.is_empty(), "cannot read or parse {}", reader.unread.join(", "));
    Ok(reader.modules)
}

struct Reader<'a> {
    source: Source<'a>,
    modules: Modules,
    /// The path of the module that is being read.
    at: Vec<String>,
    unread: Vec<String>,
}

impl Reader<'_> {
    /// Reads the module from the first of these files that exists.
    fn read_file(&mut self, candidates: &[String]) {
        let found = candidates.iter().find_map(|file| Some((file, (self.source)(file)?)));
        match found.and_then(|(file, text)| Some((file, syn::parse_file(&text).ok()?))) {
            Some((file, syntax)) => {
                self.module().file.clone_from(file);
                self.visit_file(&syntax);
            }
            None => self.unread.push(candidates.join(" or ")),
        }
    }

    fn module(&mut self) -> &mut Module {
        self.modules.entry(self.at.clone()).or_default()
    }

    /// Notes a path. A single name needs no note: it is of the same file, or a `use` names its path.
    fn path(&mut self, path: Vec<String>) {
        if path.len() > 1 {
            self.module().used.push(path);
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &Ident| match ident.to_string() {
            module if module == "self" && !before.is_empty() => before.to_vec(),
            name => [before, &[name]].concat(),
        };
        let (path, renamed) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => return self.module().used.push(before.to_vec()),
            UseTree::Rename(leaf) => (with(&leaf.ident), Some(leaf.rename.to_string())),
            UseTree::Name(leaf) => (with(&leaf.ident), None),
        };
        if let Some(name) = renamed.or_else(|| path.last().cloned()) {
            self.module().names.insert(name, Name::Import(path.clone()));
        }
        self.module().used.push(path);
    }

    /// Notes paths in the arguments of a macro, which can be anything: only those that begin with a keyword.
    fn tokens(&mut self, tokens: TokenStream) {
        let texts = texts(tokens);
        for (index, text) in texts.iter().enumerate() {
            let is_after_dollar = index > 0 && texts.get(index - 1).is_some_and(|text| text == "$");
            if matches!(text.as_str(), "crate" | "super" | "self") && !is_after_dollar {
                let names =
                    texts.get(index + 1..).unwrap_or_default().chunks_exact(3).map_while(
                        |chunk| match chunk {
                            [a, b, name] if a == ":" && b == ":" => Some(name),
                            _ => None,
                        },
                    );
                self.path([text].into_iter().chain(names).cloned().collect());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        let file = self.module().file.clone();
        self.module().names.insert(item.ident.to_string(), Name::Module);
        self.at.push(item.ident.to_string());
        if let Some((_, items)) = &item.content {
            self.module().file = file;
            for item in items {
                self.visit_item(item);
            }
        } else {
            let path = self.at.join("/");
            self.read_file(&[format!("{path}.rs"), format!("{path}/mod.rs")]);
        }
        self.at.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_for_tests(&item.attrs) && item.leading_colon.is_none() {
            self.import(&item.tree, &[]);
        }
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        if let Some(name) = item.ident.as_ref().map(Ident::to_string)
            && item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"))
        {
            let path = [&["crate".to_owned()], &*self.at, std::slice::from_ref(&name)].concat();
            // A module may have the same name.
            self.modules.entry(vec![]).or_default().names.entry(name).or_insert(Name::Import(path));
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    /// `pub(in path)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// The tokens one by one, those in brackets too.
fn texts(tokens: TokenStream) -> Vec<String> {
    let texts = tokens.into_iter().flat_map(|token| match token {
        TokenTree::Group(group) => {
            [vec!["(".to_owned()], texts(group.stream()), vec![")".to_owned()]].concat()
        }
        token => vec![token.to_string()],
    });
    texts.collect()
}

/// Whether there is a `#[cfg(test)]` or `#[cfg(all(test, …))]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    conditions.filter_map(|attribute| attribute.meta.require_list().ok()).any(|list| {
        let condition = texts(list.tokens.clone()).concat();
        condition == "test" || condition.starts_with("all(test,")
    })
}
