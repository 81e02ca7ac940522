"""A compiled function and all that it calls as one program, optimised once and translated once.

Numba gives every function that it compiles a library of its own. It optimises the function, links in what that calls, optimises
the sum, translates it to machine code, and does most of this again for every caller that links it in.

Here the functions that are called are lowered, to LLVM's text, and no more; nor do they get the wrappers by which Python would
call them. At the end the texts are linked, each once, into a module of which nothing but the entry can be seen from outside.
So LLVM inlines what is small or called once, leaves the rest as functions, and all of it is optimised and translated once.

The network of `fast`, 79 functions, takes 5.0 s, where Numba's own way took 16.0 (two quiet cores of an Intel Xeon with
AVX-512), and is as fast, within 1 %. Numba's Python bounds it now: type inference and lowering are two thirds, LLVM a quarter.
So a second process for half of LLVM's part could save half a second at most. Tried and rejected, in seconds of optimisation,
of translation, and kilobytes of code (before the matrix products were compiled once for all):

    this: Numba's full pipeline               1.06   0.45   104
    its cheap one first, as Numba does        1.36   0.57   125
    its passes on each function first         1.59   0.49   107
    O2 instead of O3                          0.93   0.45   104    too little to measure the network anew
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import binding
from numba.core import cgutils, codegen
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys


def linked(dispatcher: Any, signature: tuple[Any, ...]) -> tuple[str, Any]:
    """Lower what numba.njit returned, for arguments of these Numba types. Return its symbol, and a module with all it calls."""
    with global_compiler_lock, _uncollected():
        entry, library = _lower(dispatcher, signature)
        return entry, library.linked()


class Lowered(codegen.JITCodeLibrary):
    """What Numba makes of one function, not optimised and not translated: LLVM's text and the libraries that it calls."""

    def __init__(self, generator: Any, name: str) -> None:
        codegen.CodeLibrary.__init__(self, generator, name)
        self._texts: list[str] = []
        self._called: list[Any] = []
        self._to_link: Any = None

    def add_ir_module(self, ir_module: Any) -> None:
        self._texts.append(cgutils.normalize_ir_text(str(ir_module)))

    def add_linking_library(self, library: Any) -> None:
        if library is not rtsys.library:
            self._called.append(library)

    def finalize(self) -> None:
        self._finalized = True

    def linked(self) -> Any:
        """Return a new module of this function and all that it calls."""
        found: dict[Any, None] = {}
        waiting: list[Any] = [self]
        while waiting:
            library = waiting.pop()
            if library not in found:
                found[library] = None
                waiting += library._called if isinstance(library, Lowered) else ()
        whole = binding.parse_assembly(str(self._codegen._create_empty_module(self.name)))
        for library in found:
            if isinstance(library, Lowered):
                for text in library._texts:
                    whole.link_in(binding.parse_assembly(text))
            else:  # compiled before, in Numba's way
                whole.link_in(library._get_module_for_linking(), preserve=True)
        whole.verify()
        return whole

    def _get_module_for_linking(self) -> Any:
        """What Numba asks for where a function that it compiles in its own way calls this one."""
        if self._to_link is None:
            self._to_link = self.linked()
            for function in self._to_link.functions:
                if not function.is_declaration and function.linkage == binding.Linkage.external:
                    function.linkage = "linkonce_odr"
        return self._to_link


def _lower(dispatcher: Any, signature: tuple[Any, ...]) -> tuple[str, Lowered]:
    """Return a function's symbol and library. TypeError where Numba chooses libraries in a way that is not expected."""
    context = cpu_target.target_context
    cpu_target.typing_context.refresh()
    context.refresh()  # makes known what was imported since: before anything is replaced
    own = {"cached_internal_func": {}, "create_cpython_wrapper": _no_wrapper, "create_cfunc_wrapper": _no_wrapper}
    with _replaced(context.codegen(), _library_class=Lowered), _replaced(context, get_executable=_unexecutable, **own):
        compiled = dispatcher._compiler.compile(signature, None)
    if not isinstance(compiled.library, Lowered):
        raise TypeError("this Numba chooses its libraries in another way")
    return compiled.fndesc.llvm_func_name, compiled.library


def _no_wrapper(*arguments: Any, **named: Any) -> None:
    """Make nothing by which Python could call a function."""


def _unexecutable(library: Any, description: Any, environment: Any) -> Any:
    """What Python would call. It must be a builtin, and another for each function: Numba knows them by it.

    Nobody may call it. Who does gets a TypeError, of the tuple of arguments that a dispatcher hands over.
    """
    return object().__reduce_ex__


@contextlib.contextmanager
def _meanwhile(change: Callable[[], None], undo: Callable[[], None]) -> Iterator[None]:
    """Change something for a while, and undo it whatever comes: Ctrl-C at any moment too. To undo it twice does no harm."""
    came: BaseException | None = None
    try:
        change()
        yield
    finally:
        while True:  # nothing is called outside of `try`: between calls, the next Ctrl-C may come
            try:
                undo()
                break
            except BaseException as error:
                came = came or error
        if came is not None:
            raise came


def _replaced(owner: Any, **attributes: Any) -> contextlib.AbstractContextManager[None]:
    """Give an object other attributes for a while."""
    own = vars(owner)
    before = {name: value for name, value in own.items() if name in attributes}

    def undo() -> None:
        for name in attributes.keys() - before.keys():
            own.pop(name, None)
        own.update(before)

    return _meanwhile(lambda: own.update(attributes), undo)


def _uncollected() -> contextlib.AbstractContextManager[None]:
    """Collect no garbage: what lowering makes is in use, and looking through it for cycles takes a fifth of the time."""
    return _meanwhile(gc.disable, gc.enable) if gc.isenabled() else contextlib.nullcontext()


def optimize(module: Any) -> None:
    """Run LLVM's optimisation with Numba's settings, as Numba does at the end of each function."""
    with global_compiler_lock:
        passes = cpu_target.target_context.codegen()._module_pass_manager()
        if isinstance(passes, tuple):  # since Numba 0.62, with what it was built by
            manager, builder = passes
            manager.run(module, builder)
        else:
            passes.run(module)
