//! The few functions of CPython's C interface that the embedding needs, taken from an open library by name.

use super::interpreter::unavailable;
use libloading::os::unix::Library;
use omni_core::Result;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

/// Any Python object; only ever handled by pointer.
pub(super) type Object = *mut c_void;

/// `PyStatus`, returned by value; its layout has been the same since 3.8.
#[repr(C)]
pub(super) struct Status {
    kind: c_int,
    func: *const c_char,
    message: *const c_char,
    exit_code: c_int,
}

impl Status {
    /// What went wrong, if anything did.
    pub(super) fn failure(&self) -> Option<String> {
        if self.kind == 0 {
            return None;
        }
        if self.message.is_null() {
            return Some(format!("it asked to exit with code {}", self.exit_code));
        }
        // SAFETY: CPython gives static, NUL-terminated messages.
        Some(
            unsafe { CStr::from_ptr(self.message) }
                .to_string_lossy()
                .into_owned(),
        )
    }
}

macro_rules! functions {
    ($($(#[$doc:meta])* $field:ident = $name:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// CPython's functions. All of them are in the stable interface of 3.10 and newer.
        pub(super) struct Python {
            library: Library,
            $($(#[$doc])* pub(super) $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Python {
            /// Takes the functions from `library`, which `place` names in messages.
            pub(super) fn of(library: Library, place: &str) -> Result<Self> {
                // SAFETY: the names and types are those of CPython's headers.
                $(let $field = *unsafe { library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>($name) }
                    .map_err(|error| unavailable(format!("{place} is not a CPython that can be embedded: {error}")))?;)*
                Ok(Self { library, $($field),* })
            }
        }
    };
}

functions! {
    is_initialized = c"Py_IsInitialized": fn() -> c_int;
    get_version = c"Py_GetVersion": fn() -> *const c_char;
    gil_ensure = c"PyGILState_Ensure": fn() -> c_int;
    gil_release = c"PyGILState_Release": fn(c_int);
    save_thread = c"PyEval_SaveThread": fn() -> *mut c_void;
    import = c"PyImport_ImportModule": fn(*const c_char) -> Object;
    get_attribute = c"PyObject_GetAttrString": fn(Object, *const c_char) -> Object;
    capsule_pointer = c"PyCapsule_GetPointer": fn(Object, *const c_char) -> *mut c_void;
    /// Borrowed.
    sys_object = c"PySys_GetObject": fn(*const c_char) -> Object;
    list_append = c"PyList_Append": fn(Object, Object) -> c_int;
    decode_path = c"PyUnicode_DecodeFSDefaultAndSize": fn(*const c_char, isize) -> Object;
    error_fetch = c"PyErr_Fetch": fn(*mut Object, *mut Object, *mut Object);
    error_normalize = c"PyErr_NormalizeException": fn(*mut Object, *mut Object, *mut Object);
    to_text = c"PyObject_Str": fn(Object) -> Object;
    utf8 = c"PyUnicode_AsUTF8AndSize": fn(Object, *mut isize) -> *const c_char;
    error_clear = c"PyErr_Clear": fn();
    decref = c"Py_DecRef": fn(Object);
}

impl Python {
    /// A function that not every version has.
    ///
    /// # Safety
    /// `F` is the function's type, as in the headers of every version that has it.
    pub(super) unsafe fn optional<F: Copy>(&self, name: &CStr) -> Option<F> {
        // SAFETY: the caller vouches for the type.
        unsafe { self.library.get::<F>(name) }.ok().map(|symbol| *symbol)
    }

    /// Sets a global flag of the interpreter, if this version has it.
    ///
    /// # Safety
    /// Only before the interpreter is initialised; `name` is an `int`.
    pub(super) unsafe fn set_flag(&self, name: &CStr, value: c_int) {
        // SAFETY: the caller vouches for the type; nothing reads the flag at the same time before initialisation.
        if let Some(flag) = unsafe { self.optional::<*mut c_int>(name) } {
            // SAFETY: as above.
            unsafe { *flag = value };
        }
    }

    /// The version as in `sys.version`, e.g. "3.11.7".
    pub(super) fn version(&self) -> String {
        // SAFETY: works before initialisation and gives a static string.
        let text = unsafe { CStr::from_ptr((self.get_version)()) }
            .to_string_lossy()
            .into_owned();
        text.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// The current exception as text; it is cleared.
    ///
    /// # Safety
    /// Attached, with an exception set.
    pub(super) unsafe fn take_error(&self) -> String {
        let (mut kind, mut value, mut trace) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: three places to write to; what comes back is ours to release, and may be null.
        unsafe {
            (self.error_fetch)(&raw mut kind, &raw mut value, &raw mut trace);
            (self.error_normalize)(&raw mut kind, &raw mut value, &raw mut trace);
        }
        // SAFETY: `value` is null or an object of ours.
        let text = unsafe { self.text(value) };
        for object in [kind, value, trace] {
            if !object.is_null() {
                // SAFETY: a reference that was given to us.
                unsafe { (self.decref)(object) };
            }
        }
        text.unwrap_or_else(|| "an exception without a text".into())
    }

    /// `str(object)`.
    ///
    /// # Safety
    /// Attached; `object` is null or alive.
    pub(super) unsafe fn text(&self, object: Object) -> Option<String> {
        if object.is_null() {
            return None;
        }
        // SAFETY: alive, and attached.
        let text = unsafe { (self.to_text)(object) };
        if text.is_null() {
            // SAFETY: attached.
            unsafe { (self.error_clear)() };
            return None;
        }
        let mut len = 0;
        // SAFETY: a string object of ours; the bytes live as long as it does.
        let result = unsafe {
            let bytes = (self.utf8)(text, &raw mut len);
            if bytes.is_null() {
                (self.error_clear)();
                None
            } else {
                let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), usize::try_from(len).unwrap_or(0));
                Some(String::from_utf8_lossy(bytes).into_owned())
            }
        };
        // SAFETY: the reference that `to_text` gave.
        unsafe { (self.decref)(text) };
        result
    }

    /// Appends a folder to `sys.path`, unless it is there.
    ///
    /// # Safety
    /// Attached.
    pub(super) unsafe fn add_path(&self, folder: &[u8]) -> std::result::Result<(), String> {
        // SAFETY: attached; `sys.path` is borrowed for the time of this function; the string is ours.
        unsafe {
            let path = (self.sys_object)(c"path".as_ptr());
            let folder =
                (self.decode_path)(folder.as_ptr().cast(), isize::try_from(folder.len()).unwrap_or(0));
            if path.is_null() || folder.is_null() || (self.list_append)(path, folder) != 0 {
                return Err(self.take_error());
            }
            (self.decref)(folder);
        }
        Ok(())
    }
}

/// A C string of a path; one with a NUL inside does not exist.
pub(super) fn c_string(text: &[u8]) -> Result<CString> {
    CString::new(text).map_err(|_| unavailable("a path of the interpreter has a NUL in it"))
}
