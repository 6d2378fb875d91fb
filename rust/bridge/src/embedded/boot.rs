//! From nothing to the engine's table: opens an interpreter and starts it, or uses the one that is there.

use super::abi::{CAPSULE, EngineApi};
use super::interpreter::{Interpreter, unavailable};
use super::python::{Python, Status, c_string};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use omni_core::Result;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// glibc's and musl's `RTLD_NOLOAD`: only find what is loaded. (macOS keeps its libraries global, so that the first
/// look-up finds them.)
const RTLD_NOLOAD: c_int = 4;

/// The table of the engine in this process, or in the interpreter that `given` and the environment lead to.
pub(super) fn table(given: Option<&Path>) -> Result<&'static EngineApi> {
    if let Some((python, place)) = present() {
        return take(&python, &place, None);
    }
    let interpreter = Interpreter::find(given)?;
    let library = interpreter.library()?;
    let packages = interpreter.packages();
    interpreter.bridge(&packages)?;
    let place = interpreter.describe();
    // SAFETY: libpython's initialisers only set up its own data. Global, because extension modules of wheels look
    // its functions up in the global scope. It is never closed: `Library` has no way back for an interpreter.
    let opened = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| {
        unavailable(format!("{place} cannot be embedded: its library does not load ({error}); name another in OMNI_BRIDGE_PYTHON"))
    })?;
    let python = Python::of(opened, &place)?;
    if loaded_elsewhere(&python) {
        return Err(unavailable(format!(
            "this process has loaded another libpython already, beside that of {place}: two do not go together; initialise \
             that one before the first call, or name its interpreter in OMNI_BRIDGE_PYTHON"
        )));
    }
    let expected = format!(
        "{}.{}.{}",
        interpreter.version.0, interpreter.version.1, interpreter.version.2
    );
    if !python.version().starts_with(&expected) {
        return Err(unavailable(format!(
            "{place} is Python {expected}, but its library {} is Python {}: the interpreter was moved or replaced; install it \
             anew, or name another in OMNI_BRIDGE_PYTHON",
            library.display(),
            python.version()
        )));
    }
    start(&python, &interpreter, &place)?;
    // SAFETY: `start` left this thread attached.
    let added = packages
        .iter()
        .try_for_each(|folder| unsafe { python.add_path(folder.as_os_str().as_bytes()) });
    let table = match added {
        Ok(()) => take(&python, &place, Some(&interpreter)),
        Err(error) => Err(unavailable(format!("{place}: sys.path cannot be set: {error}"))),
    };
    // SAFETY: attached since `start`; from now on threads attach when they need to.
    unsafe { (python.save_thread)() };
    // Never closed: its threads go on until the process ends.
    std::mem::forget(python);
    table
}

/// The interpreter that this process has already, if it has one: as its executable, as a library of global scope, or
/// as one that somebody opened privately.
fn present() -> Option<(Python, String)> {
    let place = "the Python of this process";
    let running = |library: Library| {
        let python = Python::of(library, place).ok()?;
        // SAFETY: may be called at any time.
        (unsafe { (python.is_initialized)() } != 0).then(|| (python, place.to_owned()))
    };
    if let Some(found) = running(Library::this()) {
        return Some(found);
    }
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.starts_with("libpython3.") && name.contains(".so")
        })?;
    // SAFETY: it is loaded already, so nothing is initialised; made global, because the extension modules that we are
    // about to import look its functions up there.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD) }.ok()?;
    running(library)
}

/// Whether extension modules would find another library's functions first: one that the host was linked with.
fn loaded_elsewhere(python: &Python) -> bool {
    type Function = unsafe extern "C" fn() -> c_int;
    // SAFETY: only the address is looked at.
    let first = unsafe { Library::this().get::<Function>(c"Py_IsInitialized") }
        .ok()
        .map(|symbol| *symbol as usize);
    first.is_some_and(|first| first != python.is_initialized as usize)
}

/// Imports the module and takes its table. Attaches for that time, whether or not the thread is attached already.
fn take(python: &Python, place: &str, interpreter: Option<&Interpreter>) -> Result<&'static EngineApi> {
    // SAFETY: the interpreter is initialised.
    let gil = unsafe { (python.gil_ensure)() };
    let table = take_attached(python, place, interpreter);
    // SAFETY: the counterpart of the call above.
    unsafe { (python.gil_release)(gil) };
    let table = table?;
    super::check(table, place)?;
    Ok(table)
}

fn take_attached(
    python: &Python,
    place: &str,
    interpreter: Option<&Interpreter>,
) -> Result<&'static EngineApi> {
    let failed = |error: String| {
        let pip = interpreter.map_or_else(
            || "python -m pip".into(),
            |python| format!("{} -m pip", python.program.display()),
        );
        unavailable(format!(
            "{place}: omni_bridge cannot be imported: {error}. Mend it with: {pip} install --force-reinstall omni-bridge=={}",
            env!("CARGO_PKG_VERSION")
        ))
    };
    // SAFETY: attached; every object is checked and released; the capsule's pointer is that of a static table.
    unsafe {
        let module = (python.import)(c"omni_bridge._native".as_ptr());
        if module.is_null() {
            return Err(failed(python.take_error()));
        }
        let capsule = (python.get_attribute)(module, c"engine_api".as_ptr());
        (python.decref)(module);
        if capsule.is_null() {
            return Err(failed(python.take_error()));
        }
        let pointer = (python.capsule_pointer)(capsule, CAPSULE.as_ptr());
        (python.decref)(capsule);
        if pointer.is_null() {
            return Err(failed(python.take_error()));
        }
        Ok(&*pointer.cast::<EngineApi>())
    }
}

/// Starts the interpreter: isolated, without site, without signal handlers, in UTF-8. Leaves this thread attached.
fn start(python: &Python, interpreter: &Interpreter, place: &str) -> Result<()> {
    type SetText = unsafe extern "C" fn(*const u32);
    type Initialize = unsafe extern "C" fn(c_int);
    let failed = |error: String| {
        unavailable(format!(
            "{place} does not start: {error}; name another in OMNI_BRIDGE_PYTHON"
        ))
    };
    let home = if interpreter.prefix == interpreter.exec_prefix {
        interpreter.prefix.as_os_str().as_bytes().to_vec()
    } else {
        [
            interpreter.prefix.as_os_str().as_bytes(),
            interpreter.exec_prefix.as_os_str().as_bytes(),
        ]
        .join(&b':')
    };
    let program = interpreter.program.as_os_str().as_bytes();
    if interpreter.version >= (3, 14, 0) {
        return start_by_config(python, &home, program).map_err(failed);
    }
    // SAFETY: the functions are those of 3.10 to 3.13, where all of them exist with these types; nothing else uses the
    // interpreter before it is initialised, and the one thread that does holds the lock of `connect`.
    unsafe {
        prepare(python).map_err(failed)?;
        for flag in [
            c"Py_IsolatedFlag",
            c"Py_IgnoreEnvironmentFlag",
            c"Py_NoSiteFlag",
            c"Py_NoUserSiteDirectory",
            c"Py_UTF8Mode",
        ] {
            python.set_flag(flag, 1);
        }
        let missing = |name: &str| failed(format!("its library lacks {name}"));
        let set_program = python
            .optional::<SetText>(c"Py_SetProgramName")
            .ok_or_else(|| missing("Py_SetProgramName"))?;
        let set_home = python
            .optional::<SetText>(c"Py_SetPythonHome")
            .ok_or_else(|| missing("Py_SetPythonHome"))?;
        let initialize = python
            .optional::<Initialize>(c"Py_InitializeEx")
            .ok_or_else(|| missing("Py_InitializeEx"))?;
        // CPython keeps the pointers: the texts live as long as the process.
        set_program(wide(program).leak().as_ptr());
        set_home(wide(&home).leak().as_ptr());
        initialize(0);
        if (python.is_initialized)() == 0 {
            return Err(failed("it did not initialise".into()));
        }
    }
    Ok(())
}

/// Sets UTF-8 mode and keeps the host's locale as it is: both are decided before everything else.
///
/// # Safety
/// Before initialisation, on 3.10 to 3.13.
unsafe fn prepare(python: &Python) -> std::result::Result<(), String> {
    /// `PyPreConfig` is eleven `int`s in these versions (ten of them without Windows); room to spare costs nothing.
    type PreConfig = [c_int; 32];
    const UTF8_MODE: usize = 7;
    type Init = unsafe extern "C" fn(*mut PreConfig);
    type Initialize = unsafe extern "C" fn(*const PreConfig) -> Status;
    // SAFETY: the types are those of the headers.
    let functions = unsafe {
        python
            .optional::<Init>(c"PyPreConfig_InitIsolatedConfig")
            .zip(python.optional::<Initialize>(c"Py_PreInitialize"))
    };
    let Some((init, initialize)) = functions else {
        return Err("its library lacks Py_PreInitialize".into());
    };
    let mut config: PreConfig = [0; 32];
    // SAFETY: `config` is bigger than what is written to it.
    unsafe { init(&raw mut config) };
    config[UTF8_MODE] = 1;
    // SAFETY: `config` was initialised above.
    unsafe { initialize(&raw const config) }
        .failure()
        .map_or(Ok(()), Err)
}

/// The way of 3.14 and newer, where the older functions are on their way out.
fn start_by_config(python: &Python, home: &[u8], program: &[u8]) -> std::result::Result<(), String> {
    type Create = unsafe extern "C" fn() -> *mut c_void;
    type Free = unsafe extern "C" fn(*mut c_void);
    type SetInt = unsafe extern "C" fn(*mut c_void, *const c_char, i64) -> c_int;
    type SetText = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> c_int;
    type GetError = unsafe extern "C" fn(*mut c_void, *mut *const c_char) -> c_int;
    type Initialize = unsafe extern "C" fn(*mut c_void) -> c_int;
    let missing = || "its library lacks PyInitConfig".to_owned();
    let text = |bytes: &[u8]| c_string(bytes).map_err(|error| error.message);
    let (home, program) = (text(home)?, text(program)?);
    // SAFETY: the types are those of the headers of 3.14; the configuration is freed after its last use.
    unsafe {
        let create = python
            .optional::<Create>(c"PyInitConfig_Create")
            .ok_or_else(missing)?;
        let free = python
            .optional::<Free>(c"PyInitConfig_Free")
            .ok_or_else(missing)?;
        let set_int = python
            .optional::<SetInt>(c"PyInitConfig_SetInt")
            .ok_or_else(missing)?;
        let set_text = python
            .optional::<SetText>(c"PyInitConfig_SetStr")
            .ok_or_else(missing)?;
        let get_error = python
            .optional::<GetError>(c"PyInitConfig_GetError")
            .ok_or_else(missing)?;
        let initialize = python
            .optional::<Initialize>(c"Py_InitializeFromInitConfig")
            .ok_or_else(missing)?;
        let config = create();
        if config.is_null() {
            return Err("no memory".into());
        }
        // The configuration of `PyInitConfig_Create` is isolated and installs no signal handlers already.
        let set = [
            (c"isolated", 1),
            (c"site_import", 0),
            (c"install_signal_handlers", 0),
            (c"utf8_mode", 1),
        ]
        .iter()
        .all(|(name, value)| set_int(config, name.as_ptr(), *value) == 0)
            && [(c"home", &home), (c"program_name", &program)]
                .iter()
                .all(|(name, value)| set_text(config, name.as_ptr(), value.as_ptr()) == 0);
        let result = if set && initialize(config) == 0 {
            Ok(())
        } else {
            let mut message = std::ptr::null();
            get_error(config, &raw mut message);
            Err(if message.is_null() {
                "no reason given".into()
            } else {
                CStr::from_ptr(message).to_string_lossy().into_owned()
            })
        };
        free(config);
        result
    }
}

/// A path as `wchar_t`, NUL-terminated. Bytes that are not UTF-8 become the surrogates with which Python escapes them.
fn wide(path: &[u8]) -> Vec<u32> {
    let mut out = Vec::with_capacity(path.len() + 1);
    for chunk in path.utf8_chunks() {
        out.extend(chunk.valid().chars().map(u32::from));
        out.extend(chunk.invalid().iter().map(|byte| 0xDC00 + u32::from(*byte)));
    }
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::wide;

    #[test]
    fn paths_that_are_not_utf8_are_escaped_as_python_does() {
        assert_eq!(wide("/é".as_bytes()), [0x2F, 0xE9, 0]);
        assert_eq!(wide(b"/\xff"), [0x2F, 0xDCFF, 0]);
    }
}
