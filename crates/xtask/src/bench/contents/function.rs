//! Which crate a function of a WebAssembly file is of, by its name, as wasm-bindgen leaves it: demangled.

/// What a function is of whose name has no crate: one that is exported under a name of its own.
pub(crate) const UNKNOWN: &str = "functions without a crate";

/// What contains something else is of these.
const STANDARD: [&str; 3] = ["alloc", "core", "std"];

/// The crate whose type the function is of; of a type that has none, the crate of the trait. To drop something is
/// of the crate of what is dropped, in whichever container.
pub(crate) fn crate_of(name: &str) -> &str {
    if let Some(dropped) = dropped(name) {
        return of_dropped(dropped);
    }
    of_path(name).or_else(|| of_symbol(name)).unwrap_or(UNKNOWN)
}

/// Names that are no paths: of tools that the compiler or wasm-bindgen brings.
fn of_symbol(name: &str) -> Option<&'static str> {
    let is_shim = || name.ends_with(" externref shim") || name.ends_with(" multivalue shim");
    match name {
        "memcmp" | "memcpy" | "memmove" | "memset" => Some("compiler_builtins"),
        _ if name.starts_with("__wb") || name.starts_with("__externref") || is_shim() => Some("wasm_bindgen"),
        // A method without a path: of `str`, and the like.
        _ if name.starts_with('<') => Some("core"),
        _ => None,
    }
}

/// The crate of `a::b`, of `<a::B as c::D>::e`, and of the type in a type like `&mut [a::B]`.
fn of_path(path: &str) -> Option<&str> {
    let path = without_modifiers(path);
    if let Some(qualified) = path.strip_prefix('<') {
        let (first, implemented) = split_qualified(qualified);
        return of_path(first).or_else(|| of_path(implemented?));
    }
    let (name, rest) = split_name(path);
    (!name.is_empty() && rest.starts_with("::")).then_some(name)
}

/// What stands before a path in a type.
fn without_modifiers(mut path: &str) -> &str {
    const MODIFIERS: [&str; 7] = ["&", "(", "[", "*const ", "*mut ", "mut ", "dyn "];
    while let Some(rest) = MODIFIERS.iter().find_map(|modifier| path.strip_prefix(modifier)) {
        path = rest;
    }
    path
}

/// The type and the trait, if there is one, of what follows a `<`.
fn split_qualified(text: &str) -> (&str, Option<&str>) {
    let (mut depth, mut implemented) = (1, None);
    for (index, character) in text.char_indices() {
        match character {
            '<' => depth += 1,
            // Of an arrow, it closes nothing.
            '>' if !text.get(..index).is_some_and(|before| before.ends_with('-')) => depth -= 1,
            ' ' if depth == 1 && implemented.is_none() => {
                implemented =
                    text.get(index..).and_then(|rest| rest.strip_prefix(" as ")).map(|rest| (index, rest));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    match implemented {
        Some((index, rest)) => (text.get(..index).unwrap_or_default(), Some(rest)),
        None => (text, None),
    }
}

/// The identifier at the start, and what follows it. The number of a crate (`core[c5930c85a12de822]`), which newer
/// names have, is left out.
fn split_name(path: &str) -> (&str, &str) {
    let end = path.find(|character: char| !is_of_name(character)).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let number = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match number {
        Some((number, rest)) if number.len() == 16 => (name, rest),
        _ => (name, rest),
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The type that is dropped, if that is what the function does.
fn dropped(name: &str) -> Option<&str> {
    let ("core", path) = split_name(name) else { return None };
    let path = path.strip_prefix("::ptr::drop_in_place")?;
    path.strip_prefix("::").unwrap_or(path).strip_prefix('<')
}

/// The first crate that the type names and that is no standard one; `core` if none is named.
fn of_dropped(dropped: &str) -> &str {
    let crates = || {
        let starts = dropped.char_indices().filter(|(index, _)| {
            let before = dropped.get(..*index).and_then(|before| before.chars().next_back());
            !before.is_some_and(|before| is_of_name(before) || before == ':')
        });
        starts.filter_map(|(index, _)| {
            let (name, rest) = split_name(dropped.get(index..)?);
            (!name.is_empty() && rest.starts_with("::")).then_some(name)
        })
    };
    crates().find(|name| !STANDARD.contains(name)).or_else(|| crates().next()).unwrap_or("core")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_of_the_crate_of_its_path() {
        for (name, expected) in [
            ("kv_migrations::ledger::Ledger::read::{{closure}}::hb992c56fc460b635", "kv_migrations"),
            ("alloc::sync::Arc<[T]>::allocate_for_slice::hdab0f84a7a367944", "alloc"),
            ("core[c5930c85a12de822]::str::slice_error_fail", "core"),
            ("core::str::<impl str>::trim_matches::h160ac7817bb7f01a", "core"),
            ("my::problem::<impl core::convert::From<your::Error> for my::problem::Problem>::from", "my"),
            ("js_sys::_::<impl wasm_bindgen::cast::JsCast for js_sys::Error>::instanceof", "js_sys"),
            ("__rustc[b7974e8690430dd9]::__rdl_realloc", "__rustc"),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }

    #[test]
    fn a_method_is_of_the_crate_of_its_type() {
        for (name, expected) in [
            ("<kv_migrations::x::Y as core::Z>::f", "kv_migrations"),
            ("<kv_migrations::x::Y<T> as core::convert::From<http::Error>>::from::h5c", "kv_migrations"),
            ("<&mut serde_json::ser::Serializer<W,F> as serde_core::ser::Serializer>::f", "serde_json"),
            ("<worker::send::SendFuture<F> as core::future::future::Future>::poll::h2f", "worker"),
            (
                "<dlmalloc[e24a27700634d609]::dlmalloc::Dlmalloc<dlmalloc[e24a27700634d609]::sys::System>>::free",
                "dlmalloc",
            ),
            ("<alloc::boxed::Box<dyn core::ops::Fn(a::B) -> c::D> as core::fmt::Debug>::fmt", "alloc"),
            ("<core::iter::Map<I,fn(a::B) -> c::D> as x::Y>::next", "core"),
            ("<[my::X; 3] as core::fmt::Debug>::fmt", "my"),
            ("<(my::X,your::Y) as core::fmt::Debug>::fmt", "my"),
            ("<*const my::X as core::fmt::Debug>::fmt", "my"),
            ("<dyn my::Any as core::fmt::Debug>::fmt", "my"),
            ("<<my::X as your::Y>::Z as core::error::Error>::source", "my"),
            (
                "<<alloc[3ca501edff3f0c7c]::boxed::Box<dyn core[c5930c85a12de822]::error::Error> as x::Y>::Z as v::W>::f",
                "alloc",
            ),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }

    #[test]
    fn a_method_of_a_type_of_no_crate_is_of_the_crate_of_the_trait() {
        for (name, expected) in [
            ("<F as kv_migrations::change::Change<C>>::run::{{closure}}::h1db93b613df36dd1", "kv_migrations"),
            ("<&T as core::fmt::Debug>::fmt::h59aaebe5bdaaebad", "core"),
            ("<T as http::extensions::AnyClone>::clone_box", "http"),
            ("<str as core[c5930c85a12de822]::fmt::Debug>::fmt", "core"),
            ("<&usize as core[c5930c85a12de822]::fmt::Debug>::fmt", "core"),
            ("<(A,B) as my::Pair>::f", "my"),
            ("<fn(A) -> B as my::Call>::f", "my"),
            ("<<S as A>::B as tower_service::Service<R>>::call", "tower_service"),
            ("<<S as axum::Handler>::B as tower_service::Service<R>>::call", "axum"),
            ("<char>::escape_debug_ext", "core"),
            ("<[u8]>::trim_ascii", "core"),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }

    #[test]
    fn to_drop_is_of_the_crate_of_what_is_dropped() {
        for (name, expected) in [
            ("core::ptr::drop_in_place<kv_migrations::kv::handle::Kv>::hf84949ad60505b38", "kv_migrations"),
            ("core::ptr::drop_in_place<core::option::Option<alloc::vec::Vec<http::uri::Uri>>>::h12", "http"),
            ("core::ptr::drop_in_place<my::Run::f<your::X>::{{closure}}>::hf1ba", "my"),
            ("core::ptr::drop_in_place<alloc::raw_vec::RawVec<(alloc::string::String,my::Marker)>>", "my"),
            ("core::ptr::drop_in_place<alloc::raw_vec::RawVec<&mut [my::Marker]>>", "my"),
            ("core[c5930c85a12de822]::ptr::drop_in_place::<my[0123456789abcdef]::X>", "my"),
            ("core::ptr::drop_in_place<alloc::string::String>::h8fc9", "alloc"),
            ("core::ptr::drop_in_place<[T]>", "core"),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }

    #[test]
    fn what_has_no_path_is_known_by_its_name_or_not_at_all() {
        for (name, expected) in [
            ("__wbindgen_malloc", "wasm_bindgen"),
            ("__wbg_set_minifyconfig_js", "wasm_bindgen"),
            ("__externref_table_alloc", "wasm_bindgen"),
            ("intounderlyingsource_pull externref shim", "wasm_bindgen"),
            ("Ref(String) -> Externref externref shim", "wasm_bindgen"),
            ("memcpy", "compiler_builtins"),
            ("fetch", UNKNOWN),
            ("", UNKNOWN),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }
}
