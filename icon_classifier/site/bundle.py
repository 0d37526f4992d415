"""Make one classic script of JavaScript modules, because browsers load no modules from a disk."""

import re

from ..errors import IconClassifierError

_WHAT = r"(?:\* as (?P<all>\w+)|(?P<default>\w+)|(?P<some>\{[^}]*\}))"
_IMPORT = re.compile(rf'^import {_WHAT} from "\./(?P<path>[\w.]+)";\n', re.MULTILINE)
_DECLARED = re.compile(r"^export ((?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
_LISTED = re.compile(r"^(.*?)\bexport ?\{([^}]*)\};?\s*\Z", re.MULTILINE | re.DOTALL)
_DEFAULT = re.compile(r"^export default (?=\{)", re.MULTILINE)


class BundleError(IconClassifierError, ValueError):
    """A module uses syntax that `bundle` does not know."""


def bundle(entry, sources):
    """Return the module `entry` and those that it imports as one classic script.

    sources: the text of each module by its name. Each module becomes a function that returns what it exports, so that
    their names do not meet. Known are the forms of `import` and `export` that the page uses: imports on lines of their
    own, exported declarations, `export default {...}`, and one list of exports at the end. Raises `BundleError`.
    """
    functions = [_function(name, sources[name]) for name in modules(entry, sources)]
    return '"use strict";\n' + "".join(functions)


def modules(entry, sources):
    """Return the names of the modules that `entry` imports, and last its own, each after those that it imports.

    Raises `BundleError` if a module imports itself by way of others.
    """
    order = []

    def visit(name, path=()):
        if name in path:
            raise BundleError(f"{name} imports itself by way of {', '.join(path)}")
        if name not in order:
            for match in _IMPORT.finditer(sources[name]):
                visit(match["path"], (*path, name))
            order.append(name)

    visit(entry)
    return order


def _function(name, source):
    """Return a module as a function that is called at once; its result has the name that `_variable` returns."""
    exports = {}
    code = _IMPORT.sub(_imported, source)
    if listed := _LISTED.match(code):
        for item in listed[2].split(","):
            inner, _, outer = item.strip().partition(" as ")
            exports[outer or inner] = inner
        code = listed[1]
    exports |= {declared[2]: declared[2] for declared in _DECLARED.finditer(code)}
    code = _DECLARED.sub(r"\1", code)
    if _DEFAULT.search(code):
        code = _DEFAULT.sub("const exported = ", code)
        exports["default"] = "exported"
    if left := re.search(r"^(import|export)\b.*", code, re.MULTILINE):
        raise BundleError(f"{name}: {left[0]}")
    returned = ", ".join(f"{outer}: {inner}" for outer, inner in exports.items())
    return f"const {_variable(name)} = (() => {{\n{code}\nreturn {{ {returned} }};\n}})();\n"


def _imported(match):
    """Return an import as a declaration."""
    module = _variable(match["path"])
    if match["all"]:
        return f"const {match['all']} = {module};\n"
    names = f"{{ default: {match['default']} }}" if match["default"] else match["some"].replace(" as ", ": ")
    return f"const {names} = {module};\n"


def _variable(name):
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
