//! Which interpreter is taken, and what is said about those that cannot be.
//!
//! Those that a machine may lack (too old, static, of another kind, moved) are played by small shell programs that
//! answer the probe as such an interpreter would.

use crate::Case;
use crate::support::{Folder, LONG, finish, host, told};
use omni_bridge_py::embedded::Interpreter;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const CASES: &[Case] = &[
    (
        "every interpreter of this machine from 3.10 on works, by one and the same module",
        every_interpreter,
    ),
    (
        "the choice: OMNI_BRIDGE_PYTHON, VIRTUAL_ENV, python3 on the PATH",
        choice,
    ),
    (
        "the host's Python variables do not reach the embedded interpreter",
        isolated,
    ),
    (
        ".pth files: plain lines are followed, code is not run; nor is sitecustomize",
        pth,
    ),
    (
        "an interpreter that the process has already is used as it is",
        present,
    ),
    ("an interpreter that is missing or moved", missing),
    (
        "an interpreter that is too old, static, free-threaded or not CPython",
        unsuitable,
    ),
    ("an interpreter that does not answer", silent),
    (
        "an interpreter whose library is of another version",
        swapped_library,
    ),
    (
        "an environment without the package, or with half of it",
        without_package,
    ),
    (
        "a package of another crossing, contract or version",
        other_package,
    ),
    ("an environment without LiteLLM", without_litellm),
];

/// What a host says that connects with `environment` instead of this process's own choice.
fn connect(arguments: &[&str], environment: &[(&str, &Path)]) -> String {
    let mut command = host("connect");
    command.args(arguments);
    for name in ["OMNI_BRIDGE_PYTHON", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH"] {
        command.env_remove(name);
    }
    for (name, value) in environment {
        command.env(name, value);
    }
    let (output, _) = finish(command.spawn().unwrap(), LONG);
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn with(python: &Path) -> String {
    connect(&["echo"], &[("OMNI_BRIDGE_PYTHON", python)])
}

/// Asserts that `said` is `engine_unavailable` and names every part.
fn refused(said: &str, parts: &[&str]) {
    assert!(said.starts_with("engine_unavailable: "), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

/// The interpreter that this test itself was given.
fn own() -> Interpreter {
    Interpreter::find(None).expect("an interpreter")
}

/// The folder above the package.
fn package_root() -> PathBuf {
    let own = own();
    let found = own.bridge(&own.packages()).expect("the package");
    found.parent().unwrap().to_owned()
}

fn version_of(python: &Path) -> Option<(u32, u32)> {
    let output = Command::new(python)
        .args([
            "-I",
            "-S",
            "-c",
            "import sys; print(sys.implementation.name, *sys.version_info[:2])",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace();
    (words.next()? == "cpython").then_some(())?;
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// One interpreter of each version that is on the PATH, beside our own, or kept by pyenv or uv.
fn all_interpreters() -> BTreeMap<(u32, u32), PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    for (program, argument) in [("pyenv", "root"), ("uv", "python dir")] {
        let Ok(output) = Command::new(program).args(argument.split(' ')).output() else {
            continue;
        };
        let root = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        for root in [root.join("versions"), root] {
            folders.extend(
                std::fs::read_dir(root)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path().join("bin")),
            );
        }
    }
    let mut found = BTreeMap::new();
    found.extend(version_of(&own().program).map(|version| (version, own().program)));
    for folder in folders {
        for name in
            std::iter::once("python3".to_owned()).chain((8..16).map(|minor| format!("python3.{minor}")))
        {
            let path = folder.join(name);
            // Shims choose by the working directory: not the interpreter that they seem to be.
            if !path.is_file() || path.to_string_lossy().contains("shims") {
                continue;
            }
            let Some(version) = version_of(&path) else {
                continue;
            };
            found.entry(version).or_insert(path);
        }
    }
    found
}

/// A venv of `python`, made without running it, whose one `.pth` file leads to the package.
fn venv(folder: &Folder, python: &Path, name: &str) -> PathBuf {
    let real = std::fs::canonicalize(python).unwrap();
    let (major, minor) = version_of(python).unwrap();
    let home = real.parent().unwrap();
    folder.write(
        &format!("{name}/pyvenv.cfg"),
        &format!(
            "home = {}\ninclude-system-site-packages = false\n",
            home.display()
        ),
    );
    let pth = format!("{}\n", package_root().display());
    folder.write(
        &format!("{name}/lib/python{major}.{minor}/site-packages/omni.pth"),
        &pth,
    );
    std::fs::create_dir_all(folder.join(name).join("bin")).unwrap();
    symlink(&real, folder.join(name).join("bin/python3")).unwrap();
    folder.join(name)
}

fn site_packages(venv: &Path) -> PathBuf {
    let lib = std::fs::read_dir(venv.join("lib"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    lib.join("site-packages")
}

fn every_interpreter() {
    let folder = Folder::new();
    let all = all_interpreters();
    let mut worked = 0;
    for (version, python) in &all {
        let name = format!("{}.{}", version.0, version.1);
        let said = with(&venv(&folder, python, &name));
        if *version < (3, 10) {
            refused(&said, &["too old", &name, "3.10"]);
        } else if said.contains("cannot be embedded") {
            refused(&said, &["shared library", "libpython"]);
        } else {
            assert_eq!(said, "ok", "{}", python.display());
            worked += 1;
        }
        println!("    {name}: {said:.60}");
    }
    assert!(worked > 0, "{all:?}");
}

fn choice() {
    let folder = Folder::new();
    let python = own().program;
    let (one, two) = (venv(&folder, &python, "one"), folder.join("two"));
    let empty = folder.join("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let path = folder.join("path");
    std::fs::create_dir_all(&path).unwrap();
    symlink(one.join("bin/python3"), path.join("python3")).unwrap();

    assert_eq!(
        connect(&["echo"], &[("OMNI_BRIDGE_PYTHON", &one), ("VIRTUAL_ENV", &two)]),
        "ok"
    );
    assert_eq!(
        connect(&["echo"], &[("OMNI_BRIDGE_PYTHON", &one.join("bin/python3"))]),
        "ok"
    );
    assert_eq!(
        connect(&["echo"], &[("VIRTUAL_ENV", &one), ("PATH", &empty)]),
        "ok"
    );
    // A name alone is looked up on the path. (A link to a venv's interpreter is not in the venv.)
    let by_name = connect(
        &["echo"],
        &[
            ("OMNI_BRIDGE_PYTHON", Path::new("python3")),
            ("PATH", &one.join("bin")),
        ],
    );
    assert_eq!(by_name, "ok");
    assert_eq!(connect(&["echo"], &[("PATH", &one.join("bin"))]), "ok");
    assert_eq!(
        connect(
            &["echo", &one.display().to_string()],
            &[("OMNI_BRIDGE_PYTHON", &two)]
        ),
        "ok",
        "the configuration"
    );
    // What is named is what counts: no falling back to something that nobody asked for.
    refused(
        &connect(&["echo"], &[("OMNI_BRIDGE_PYTHON", &two), ("VIRTUAL_ENV", &one)]),
        &["two", "OMNI_BRIDGE_PYTHON"],
    );
    refused(
        &connect(&["echo"], &[("VIRTUAL_ENV", &two)]),
        &["two", "VIRTUAL_ENV"],
    );
    refused(
        &connect(&["echo"], &[("PATH", &empty)]),
        &["no Python was found", "PATH", "bridge_url"],
    );
}

fn isolated() {
    let folder = Folder::new();
    let python = venv(&folder, &own().program, "venv");
    let elsewhere = folder.join("elsewhere");
    folder.write(
        "elsewhere/json/__init__.py",
        "raise SystemExit('PYTHONPATH was followed')",
    );
    folder.write(
        "elsewhere/omni_bridge/__init__.py",
        "raise SystemExit('PYTHONPATH was followed')",
    );
    let said = connect(
        &["echo"],
        &[
            ("OMNI_BRIDGE_PYTHON", &python),
            ("PYTHONHOME", &elsewhere),
            ("PYTHONPATH", &elsewhere),
        ],
    );
    assert_eq!(said, "ok");
}

fn pth() {
    let folder = Folder::new();
    let venv = venv(&folder, &own().program, "venv");
    let packages = site_packages(&venv);
    let flag = folder.join("ran");
    let code = format!("open({:?}, 'w').close()", flag.display().to_string());
    for (name, text) in [
        ("a.pth", format!("import sys; {code}\n")),
        (
            "b.pth",
            format!(
                "import\tsys; {code}\n# a comment\n\n{}\n",
                folder.join("more").display()
            ),
        ),
        ("c.pth", "not/there\n".to_owned()),
        ("sitecustomize.py", code.clone()),
        ("usercustomize.py", code),
    ] {
        std::fs::write(packages.join(name), text).unwrap();
    }
    folder.write("more/found_by_pth.py", "");
    assert_eq!(with(&venv), "ok");
    assert!(!flag.exists(), "code of a .pth file was run");
    let found = Interpreter::find(Some(&venv)).unwrap().packages();
    assert!(found.contains(&folder.join("more")), "{found:?}");
    assert!(!found.iter().any(|path| path.ends_with("not/there")), "{found:?}");
}

fn present() {
    for how in ["detached", "attached"] {
        let mut command = host("present");
        command
            .arg(how)
            .env("OMNI_BRIDGE_PYTHON", own().program)
            .env("PYTHONPATH", package_root());
        let (output, _) = finish(command.spawn().unwrap(), LONG);
        assert!(output.status.success(), "{how}: {}", told(&output));
    }
}

fn missing() {
    let folder = Folder::new();
    refused(
        &with(&folder.join("nothing")),
        &["nothing", "does not exist", "OMNI_BRIDGE_PYTHON"],
    );
    refused(&with(&folder.0), &["without bin/python", "venv"]);
    // A venv whose interpreter was removed is a link to nothing.
    let venv = folder.join("moved");
    std::fs::create_dir_all(venv.join("bin")).unwrap();
    symlink(folder.join("gone"), venv.join("bin/python3")).unwrap();
    refused(&with(&venv), &["moved", "python3 -m venv"]);
    refused(&with(&venv.join("bin/python3")), &["link to nothing"]);
    refused(&with(&folder.write("text", "hello")), &["text", "does not start"]);
}

/// A program that answers the probe with our own interpreter's answer, changed by `change`.
fn pretend(folder: &Folder, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let own = own();
    let mut answer = json!({
        "implementation": "cpython",
        "version": [own.version.0, own.version.1, own.version.2],
        "free_threaded": false,
        "program": folder.join(name),
        "prefix": own.prefix,
        "exec_prefix": own.exec_prefix,
        "shared": true,
        "libraries": [own.library().unwrap()],
        "packages": [package_root()],
        "bits": usize::BITS,
    });
    change(&mut answer);
    folder.program(name, &format!("#!/bin/sh\ncat <<'END'\n{answer}\nEND\n"))
}

fn unsuitable() {
    let folder = Folder::new();
    assert_eq!(
        with(&pretend(&folder, "good", |_| {})),
        "ok",
        "the pretence itself"
    );
    let old = pretend(&folder, "old", |answer| answer["version"] = json!([3, 9, 18]));
    refused(&with(&old), &["old", "3.9", "too old", "3.10 or newer"]);
    let other = pretend(&folder, "other", |answer| {
        answer["implementation"] = json!("pypy");
    });
    refused(&with(&other), &["pypy", "CPython"]);
    let threads = pretend(&folder, "threads", |answer| answer["free_threaded"] = json!(true));
    refused(&with(&threads), &["free-threaded"]);
    let narrow = pretend(&folder, "narrow", |answer| answer["bits"] = json!(32));
    refused(&with(&narrow), &["32-bit"]);
    let still = pretend(&folder, "static", |answer| {
        answer["shared"] = json!(false);
        answer["libraries"] = json!([]);
    });
    refused(
        &with(&still),
        &[
            "without a shared library",
            "apt-get install libpython3",
            "--enable-shared",
            "bridge_url",
        ],
    );
    let gone = pretend(&folder, "gone", |answer| {
        answer["libraries"] = json!([folder.join("libpython3.so.1.0")]);
    });
    refused(&with(&gone), &["missing or was moved", "libpython3.so.1.0"]);
    let wrong = folder.write("libpython3.so.1.0", "not a library");
    let wrong = pretend(&folder, "wrong", |answer| answer["libraries"] = json!([wrong]));
    refused(&with(&wrong), &["does not load"]);
}

fn silent() {
    let folder = Folder::new();
    refused(
        &with(&folder.program("mute", "#!/bin/sh\nexit 0\n")),
        &["mute", "could not say"],
    );
    let babble = folder.program(
        "babble",
        "#!/bin/sh\necho 'hello'; echo 'no such module' >&2; exit 1\n",
    );
    refused(&with(&babble), &["babble", "no such module"]);
    // `exec`, so that the one process is all there is to end.
    refused(
        &with(&folder.program("slow", "#!/bin/sh\nexec sleep 1000\n")),
        &["slow", "did not answer"],
    );
}

fn swapped_library() {
    let folder = Folder::new();
    let swapped = pretend(&folder, "swapped", |answer| {
        answer["version"] = json!([3, 10, 99]);
    });
    refused(&with(&swapped), &["3.10.99", "moved or replaced"]);
    // A library that is none of CPython's: that of this very machine's C.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    if let Some(libc) = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| path.contains("libc.so"))
    {
        let foreign = pretend(&folder, "foreign", |answer| answer["libraries"] = json!([libc]));
        refused(&with(&foreign), &["not a CPython"]);
    }
}

fn without_package() {
    let folder = Folder::new();
    let venv = venv(&folder, &own().program, "venv");
    std::fs::remove_file(site_packages(&venv).join("omni.pth")).unwrap();
    refused(
        &with(&venv),
        &["no package omni_bridge", "pip install omni-bridge=="],
    );
    let half = site_packages(&venv).join("omni_bridge");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("__init__.py"), "").unwrap();
    refused(&with(&venv), &["without its extension module", "pip install"]);
    std::fs::write(half.join("_native.abi3.so"), "not a library").unwrap();
    refused(&with(&venv), &["cannot be imported", "--force-reinstall"]);
}

/// A package whose table says `abi`, `contract` and `version`.
fn package(packages: &Path, abi: u32, contract: u32, version: &str) {
    let folder = packages.join("omni_bridge");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("__init__.py"), "").unwrap();
    // Only so that it counts as complete: the import finds the file below.
    std::fs::write(folder.join("_native.foreign.so"), "").unwrap();
    let module = format!(
        "import ctypes\n\
         class Table(ctypes.Structure):\n    _fields_ = [('abi', ctypes.c_uint32), ('contract', ctypes.c_uint32), \
         ('size', ctypes.c_size_t), ('version', ctypes.c_char_p), ('rest', ctypes.c_void_p * 5)]\n\
         table = Table({abi}, {contract}, ctypes.sizeof(Table), b'{version}')\n\
         new = ctypes.pythonapi.PyCapsule_New\n\
         new.restype = ctypes.py_object\n\
         new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]\n\
         name = b'omni_bridge._native.engine_api'\n\
         engine_api = new(ctypes.addressof(table), name, None)\n"
    );
    std::fs::write(folder.join("_native.py"), module).unwrap();
    // Compiled files are told apart by second and size, and these are written within one.
    let _ = std::fs::remove_dir_all(folder.join("__pycache__"));
}

fn other_package() {
    use omni_bridge_py::embedded::abi::ABI;
    let folder = Folder::new();
    let ours = env!("CARGO_PKG_VERSION");
    let venv = venv(&folder, &own().program, "venv");
    std::fs::remove_file(site_packages(&venv).join("omni.pth")).unwrap();
    package(&site_packages(&venv), ABI + 1, omni_core::CONTRACT, ours);
    refused(
        &with(&venv),
        &[
            &format!("version {} of the crossing", ABI + 1),
            "pip install omni-bridge==",
        ],
    );
    package(&site_packages(&venv), ABI, omni_core::CONTRACT + 1, ours);
    refused(&with(&venv), &["contract 2", "contract 1"]);
    package(&site_packages(&venv), ABI, omni_core::CONTRACT, "99.0.1");
    refused(&with(&venv), &["99.0.1", ours]);
    std::fs::write(
        site_packages(&venv).join("omni_bridge/_native.py"),
        "engine_api = 1",
    )
    .unwrap(); // of another size
    refused(&with(&venv), &["cannot be imported"]);
}

fn without_litellm() {
    let folder = Folder::new();
    let venv = venv(&folder, &own().program, "venv");
    refused(
        &connect(&["warm_up"], &[("OMNI_BRIDGE_PYTHON", &venv)]),
        &["pip install"],
    );
}
