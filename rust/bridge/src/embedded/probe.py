# Run once by the interpreter that a host is to embed, with -I -S: says where its things are, as JSON.
# No import beyond what every build has; nothing of the venv or of site is run.
import json
import os
import sys
import sysconfig

program = sys.executable
venv = None
for folder in (os.path.dirname(program), os.path.dirname(os.path.dirname(program))):
    if os.path.isfile(os.path.join(folder, "pyvenv.cfg")):
        venv = folder
        break

get = sysconfig.get_config_var
names = [name for name in (get("INSTSONAME"), get("LDLIBRARY")) if name and ".so" in name or name and ".dylib" in name]
folders = [get("LIBDIR"), os.path.join(sys.base_exec_prefix, "lib"), os.path.join(sys.base_prefix, "lib")]
if get("LIBDIR") and get("MULTIARCH"):
    folders.append(os.path.join(get("LIBDIR"), get("MULTIARCH")))
folders.append(os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(program))), "lib"))
framework = get("PYTHONFRAMEWORKPREFIX")
libraries = [os.path.join(folder, name) for name in names for folder in folders if folder]
if framework and get("LDLIBRARY"):
    libraries.append(os.path.join(framework, get("LDLIBRARY")))


def site(base=None):
    """The site-packages below `base`, or the interpreter's own."""
    values = {} if base is None else {"base": base, "platbase": base, "installed_base": base}
    schemes = ["venv"] if base else []
    schemes += [sysconfig.get_default_scheme() if hasattr(sysconfig, "get_default_scheme") else "posix_prefix"]
    schemes += ["posix_prefix"] if base else ["posix_prefix", "deb_system"]
    found = []
    for scheme in schemes:
        if scheme in sysconfig.get_scheme_names():
            for key in ("purelib", "platlib"):
                path = sysconfig.get_path(key, scheme, values)
                if path not in found:
                    found.append(path)
    return found


own = site()
packages = site(venv) if venv else own
if venv:
    with open(os.path.join(venv, "pyvenv.cfg"), encoding="utf-8") as file:
        lines = dict(line.lower().replace(" ", "").strip().split("=", 1) for line in file if "=" in line)
    if lines.get("include-system-site-packages") == "true":
        packages = packages + own

print(
    json.dumps(
        {
            "implementation": sys.implementation.name,
            "version": list(sys.version_info[:3]),
            "free_threaded": bool(get("Py_GIL_DISABLED")),
            "program": program,
            "prefix": sys.base_prefix,
            "exec_prefix": sys.base_exec_prefix,
            "shared": bool(get("Py_ENABLE_SHARED")),
            "libraries": list(dict.fromkeys(libraries)),
            "packages": packages,
            "bits": sys.maxsize.bit_length() + 1,
        }
    )
)
