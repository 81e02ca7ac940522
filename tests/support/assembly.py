"""What LLVM makes of code for a processor that need not be the one that runs the tests: it is read, and never run."""

from collections.abc import Callable, Sequence

from llvmlite import binding, ir


def assembly(target: str, features: str, arguments: Sequence[ir.Type], body: Callable[..., None]) -> str:
    """Return the assembly of a function of such arguments; `body` is called with a builder and them."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = ir.Module()
    module.triple = target
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "function")
    builder = ir.IRBuilder(function.append_basic_block())
    body(builder, *function.args)
    builder.ret_void()
    machine = binding.Target.from_triple(target).create_target_machine(features=features, opt=3)
    return machine.emit_assembly(binding.parse_assembly(str(module)))
