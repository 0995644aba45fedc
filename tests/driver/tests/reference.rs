// SPDX-License-Identifier: GPL-2.0

//! Checks that `docs/reference.md` lists exactly the parameters, nodes, files, columns, tracepoints
//! and threads that the sources define.

mod common;

use std::{
    collections::BTreeMap,
    fs, //
};

use common::{
    code,
    project,
    rust_files_below, //
};

const PAGE: &str = "docs/reference.md";

/// What a table says, by the name in its first column.
type Table = BTreeMap<String, Vec<String>>;

fn read(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the code of a source without comments of whole lines and without white space, so that
/// it does not depend on how a call is broken into lines.
fn condensed(source: &str) -> String {
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect()
}

/// Returns the text behind each `start` up to the next `end`.
fn between<'a>(text: &'a str, start: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    let rests = text.split(start).skip(1);
    rests.map(move |rest| rest.split(end).next().unwrap_or(rest))
}

/// Returns the cells of the rows of all tables whose first heading begins with `heading`.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let heading = format!("| {heading}");
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in page.lines() {
        let Some(row) = line.strip_prefix('|') else {
            in_table = false;
            continue;
        };
        let cells = row.trim_end_matches('|').split('|');
        let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
        if line.starts_with(&heading) {
            in_table = true;
        } else if in_table && !cells[0].starts_with("---") {
            rows.push(cells);
        }
    }
    assert!(
        !rows.is_empty(),
        "{PAGE} has no table with the heading {heading:?}"
    );
    rows
}

/// Returns a table by the name in its first column, with the cells of `columns`, without the marks
/// of code.
fn table(page: &str, heading: &str, columns: &[usize]) -> Table {
    let plain = |cell: &String| cell.replace('`', "");
    let entry = |row: Vec<String>| {
        let cells = columns.iter().map(|column| row.get(*column).map(plain));
        (
            plain(&row[0]),
            cells.map(Option::unwrap_or_default).collect(),
        )
    };
    let rows = rows(page, heading);
    let count = rows.len();
    let table: Table = rows.into_iter().map(entry).collect();
    assert_eq!(table.len(), count, "{PAGE} has a row of {heading:?} twice");
    table
}

/// Returns how the page differs from the sources, in words.
fn differences(defined: &Table, listed: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for (name, facts) in defined {
        match listed.get(name) {
            None => found.push(format!("{name} is missing: {}", facts.join(", "))),
            Some(said) if said != facts => found.push(format!(
                "{name}: the page says {said:?}, the sources {facts:?}"
            )),
            Some(_) => {}
        }
    }
    let unknown = listed.keys().filter(|name| !defined.contains_key(*name));
    found.extend(unknown.map(|name| format!("{name} is not in the sources")));
    found
}

/// Checks a table of the page against `defined`, in which more than `least` names were found.
#[track_caller]
fn check(what: &str, defined: &Table, least: usize, heading: &str, columns: &[usize]) {
    assert!(defined.len() > least, "{defined:?}");
    assert_same(what, defined, &table(&read(PAGE), heading, columns));
}

#[track_caller]
fn assert_same(what: &str, defined: &Table, listed: &Table) {
    let found = differences(defined, listed);
    assert!(found.is_empty(), "{PAGE}, {what}:\n{}", found.join("\n"));
}

/// The files of `/proc`, sysfs and debugfs, with their modes.
fn files() -> Table {
    let procfs = condensed(&read("procfs/mod.rs"));
    let mut files = Table::new();
    let mut calls = 0;
    for declaration in between(&procfs, "letmut", ")?;") {
        let Some((variable, folder)) = declaration.split_once("=Directory::new(c\"") else {
            continue;
        };
        let folder = folder.trim_end_matches('"');
        for call in between(&procfs, &format!("{variable}.add"), ")") {
            // A name that is no literal is that of an area: `area.name()`.
            let (name, mode) = match call.split_once("(c\"") {
                Some((_, rest)) => rest.split_once("\",").unwrap(),
                None => ("AREA", between(&procfs, call, ",bitmap").next().unwrap()),
            };
            let mode = mode.split("0o").nth(1).unwrap();
            let mode: String = mode.chars().take_while(char::is_ascii_digit).collect();
            files.insert(format!("/proc/{folder}/{name}"), vec![format!("0{mode}")]);
            calls += 1;
        }
    }
    assert_eq!(
        calls,
        procfs.matches(".add").count(),
        "calls that were not understood"
    );
    assert_eq!(calls, files.len());

    let module = condensed(&read("src/rk_dma_heap.rs"));
    assert!(condensed(&read("src/abstractions/sysfs.rs")).contains("mode:0o444,"));
    for call in between(&module, "NumberFile::new(c\"", ")") {
        let (folder, rest) = call.split_once("\",c\"").unwrap();
        let name = rest.split('"').next().unwrap();
        files.insert(
            format!("/sys/kernel/{folder}/{name}"),
            vec!["0444".to_owned()],
        );
    }
    for names in between(&procfs, "Link::new(c\"", "\",c\"/") {
        let path = format!("/sys/kernel/debug/{}", names.replace("\",c\"", "/"));
        files.insert(path, vec!["link".to_owned()]);
    }
    files
}

/// The unit and the values that `Parameters::read()` permits.
fn values(parameters: &str, name: &str) -> [String; 2] {
    if parameters.contains(&format!("switch(\"{name}\",")) {
        return ["switch", "0, 1"].map(str::to_owned);
    }
    match between(parameters, &format!("percent(\"{name}\","), ",").next() {
        Some(min) => ["% of RAM".to_owned(), format!("{min} to 100")],
        None => {
            assert!(name.ends_with("_mib"), "{name}: a parameter without a unit");
            ["MiB", "from 0"].map(str::to_owned)
        }
    }
}

/// The module parameters: unit, values, default, and the file in which they can be changed.
fn parameters() -> Table {
    let module = condensed(&read("src/rk_dma_heap.rs"));
    let checks = condensed(&read("src/parameters.rs"));
    let files = files();
    let changed_in = |name: &str| {
        let end = format!("/{name}");
        let mut writable = files.iter().filter(|(_, mode)| mode[0] == "0644");
        let file = writable.find(|(path, _)| path.ends_with(&end));
        file.map_or("no".to_owned(), |(path, _)| path.clone())
    };
    let list = between(&module, "params:{", "},},}").next().unwrap();
    let mut parameters = Table::new();
    for declaration in list.split(":u").collect::<Vec<_>>().windows(2) {
        let name = declaration[0].rsplit(['{', '}', ',']).next().unwrap();
        let default = between(declaration[1], "{default:", ",").next().unwrap();
        let [unit, values] = values(&checks, name);
        let facts = vec![unit, values, default.to_owned(), changed_in(name)];
        parameters.insert(name.to_owned(), facts);
    }
    assert_eq!(parameters.len(), list.matches("default:").count());
    parameters
}

/// The tracepoints, with the fields of each.
fn tracepoints() -> Table {
    let header = condensed(&read("src/rk_dma_heap_trace.h"));
    let fields = |class: &str| {
        let mut fields = Vec::new();
        let entry = between(class, "TP_STRUCT__entry(", "TP_fast_assign").next();
        for field in entry.unwrap().split("__").skip(1) {
            let (kind, arguments) = field.split_once('(').unwrap();
            let arguments: Vec<&str> = arguments.trim_end_matches([')', ',']).split(',').collect();
            fields.push(match kind {
                "string" => arguments[0],
                "field" => arguments[1],
                _ => panic!("a field of another type: {field}"),
            });
        }
        vec![fields.join(", ")]
    };
    let mut classes = Table::new();
    let mut events = Table::new();
    for class in header.split("DECLARE_EVENT_CLASS(").skip(1) {
        classes.insert(class.split(',').next().unwrap().to_owned(), fields(class));
    }
    for event in header.split("TRACE_EVENT(").skip(1) {
        events.insert(event.split(',').next().unwrap().to_owned(), fields(event));
    }
    for event in between(&header, "DEFINE_EVENT(", ",TP_PROTO") {
        let (class, name) = event.split_once(',').unwrap();
        events.insert(name.to_owned(), classes[class].clone());
    }
    events
}

/// The kernel threads.
fn threads() -> Table {
    let mut threads = Table::new();
    for (_, source) in rust_files_below("src") {
        let source = condensed(&source);
        for start in ["Thread::start(c\"", "KillableCalls::new(c\""] {
            threads.extend(between(&source, start, "\"").map(|name| (name.to_owned(), vec![])));
        }
    }
    threads
}

#[test]
fn load_parameters_are_those_of_the_module() {
    let what = "load parameters (unit, values, default, change later)";
    check(what, &parameters(), 10, "parameter |", &[1, 2, 3, 4]);
}

#[test]
fn files_are_those_of_the_module() {
    check("files (mode)", &files(), 16, "file | mode", &[1]);
    // Those that may be written say what, and no others.
    for (path, said) in table(&read(PAGE), "file | mode", &[1, 3]) {
        assert_eq!(
            said[0] == "0644",
            !said[1].is_empty(),
            "{PAGE}: {path}, what may be written"
        );
    }
}

#[test]
fn nodes_are_in_the_folders_of_the_module() {
    let devices = condensed(&read("src/heap_devices.rs"));
    let names = between(&devices, "constNAMES:[&CStr;2]=[", "]")
        .next()
        .unwrap();
    let node = |name: &str| (format!("/dev/{name}/NAME"), vec![]);
    let defined: Table = between(names, "c\"", "\"").map(node).collect();
    assert_eq!(defined.len(), 2);
    assert_same("device nodes", &defined, &table(&read(PAGE), "node |", &[]));
}

#[test]
fn columns_are_those_that_the_files_print() {
    let page = read(PAGE);
    let listed = |file: &str| -> Vec<String> {
        let rows = rows(&page, &format!("column of `{file}` |"));
        rows.iter().flat_map(|row| code(&row[0])).collect()
    };
    let heaps = condensed(&read("procfs/heaps.rs"));
    let heading = between(&heaps, "\\n\",", ");").next().unwrap();
    let defined: Vec<&str> = heading
        .split(',')
        .map(|name| name.trim_matches('"'))
        .collect();
    assert_eq!(
        listed("/proc/rk_dma_heap/heaps"),
        defined,
        "{PAGE}, columns of heaps"
    );

    let buffers = read("procfs/buffers.rs");
    let heading = between(&buffers, "\"inode ", "{}").next().unwrap();
    let defined: Vec<&str> = "inode "
        .split(' ')
        .take(1)
        .chain(heading.split(' '))
        .collect();
    assert_eq!(
        listed("/proc/rk_dmabuf/buffers"),
        defined,
        "{PAGE}, columns of buffers"
    );
}

#[test]
fn tracepoints_are_those_of_the_header() {
    check("tracepoints (fields)", &tracepoints(), 5, "event |", &[1]);
}

#[test]
fn threads_are_those_that_the_module_starts() {
    check("kernel threads", &threads(), 5, "thread |", &[]);
}

#[test]
fn what_differs_is_named() {
    let page = "| name | value |\n| --- | --- |\n| `a` | 1 |\n| `b` | 2 |\n| `d` | 4 |\n";
    let fact = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    let defined = Table::from([fact("a", "1"), fact("b", "3"), fact("c", "5")]);
    assert_eq!(
        differences(&defined, &table(page, "name |", &[1])),
        [
            "b: the page says [\"2\"], the sources [\"3\"]",
            "c is missing: 5",
            "d is not in the sources"
        ]
    );
}
