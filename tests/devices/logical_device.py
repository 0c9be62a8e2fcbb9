# ruff: noqa: E402, E501 - torch is told of the device before it loads
"""A logical CUDA device for machines without one: values on the processor, rules of `cuda:0`.

    from logical_device import logical_cuda
    with logical_cuda() as log:            # before the code under test builds tensors on "cuda"
        x = torch.randn(4, 3, device="cuda") @ torch.eye(3, device="cuda")
        x + torch.ones(3)                  # RuntimeError, as on CUDA: two devices
        x.numpy()                          # TypeError, as on CUDA
        float(x.sum())                     # works, and is counted
    print(log.summary())                   # syncs and copies by kind, operation and file:line

How. `LogicalTensor` is a wrapper subclass whose device is `cuda:0` and which holds a plain CPU
tensor. Every ATen operation reaches `_run` (through a dispatch mode for factories, through the
subclass elsewhere, hence in the backward pass too), which applies CUDA's rules about mixed
devices, runs the operation on the CPU tensors and tags what comes out. `is_cpu`, `device.type` and
so on answer as for CUDA, so code that branches on the device takes its CUDA branch. `torch.cuda`,
`torch.Generator(device="cuda")` and autocast are patched for as long as the context lasts.

What is counted (`log.events`, a Counter of (kind, operation, file:line)):
    sync   the host waits: item, tolist, bool, .cpu(), nonzero, boolean indexing, unique, ...
    h2d    a copy from the host made after the context began: .to("cuda"), torch.tensor(.., "cuda")
`log.ops` counts all operations run on the device (one is at least one kernel launch, views apart),
`log.double` those of them that computed in float64.

What it cannot show. Numerics, speed and memory of real kernels; kernels CUDA does not have (only
integer matrix products are refused; read `log.ops`); order of floating-point addition in
atomics (`log.nondeterministic()` lists the operations concerned); streams and pinned memory; fused
attention, `foreach` optimisers (torch takes the plain branch for subclasses), `torch.compile`, DDP;
`.to("cuda")` without an index of a tensor already there copies here and does not on CUDA.
Code that keeps NumPy views of tensors, C extensions and `data_ptr` cannot see through the wrapper.
"""

from __future__ import annotations

import copy
import ctypes
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from unittest import mock

_NATIVE = """
#include <ATen/DeviceAccelerator.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
using c10::DeviceType;
static const c10::Device gpu(DeviceType::CUDA, 0);  // the only one, and always current
static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, gpu); }
struct Guard final : c10::impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  c10::Device getDevice() const override { return gpu; }
  c10::Device exchangeDevice(c10::Device) const override { return gpu; }
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
struct CUDAHooks final : at::CUDAHooksInterface {
  CUDAHooks(at::CUDAHooksArgs) {}
  void init() const override {}
  std::string showConfig() const override { return "logical"; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};
using at::CUDAHooksRegistry;
using at::RegistererCUDAHooksRegistry;
REGISTER_CUDA_HOOKS(CUDAHooks)
namespace at::accelerator {  // takes the place of torch's own, which a CPU build answers with none
std::optional<DeviceType> getAccelerator(bool) { return DeviceType::CUDA; }
}
"""


def _native() -> None:
    """Tell torch's C++ side (device guards, autograd) of one CUDA device; before torch loads."""
    if "torch" in sys.modules:
        raise ImportError("logical_device: import it before torch")
    spec = find_spec("torch")
    assert spec is not None and spec.origin is not None, "logical_device: torch is not installed"
    root, folder = os.path.dirname(spec.origin), tempfile.mkdtemp()
    source, library = os.path.join(folder, "native.cpp"), os.path.join(folder, "native.so")
    with open(source, "w") as file:
        file.write(_NATIVE)
    flags = ["-O0", "-shared", "-fPIC", "-std=c++20", f"-I{root}/include", f"-L{root}/lib",
             f"-I{root}/include/torch/csrc/api/include", f"-Wl,-rpath,{root}/lib"]  # fmt: skip
    subprocess.run(["g++", source, "-o", library, *flags, "-lc10", "-ltorch_cpu"], check=True)
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)


_native()

import torch
import torch._dynamo  # imported lazily by torch otherwise, and then it would see our stubs
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map_only

CUDA = torch.device("cuda", 0)
_SKIP = (os.path.dirname(torch.__file__), __file__, "<frozen", os.path.dirname(copy.__file__) + "/")
_SYNC = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_consecutive",
         "unique_dim", "unique_dim_consecutive", "bincount", "equal", "multinomial", "is_nonzero",
         "linalg_eigh", "_linalg_eigh", "_linalg_svd", "linalg_eig", "_linalg_solve_ex_checked",
         "_linalg_check_errors", "linalg_lstsq", "_assert_async_sync"}  # fmt: skip
_MIXED = {"copy_", "_foreach_copy_", "set_data"}  # may name two devices
_ZERO_DIM = {"where", "fill_", "fill", "masked_fill_", "masked_fill", "clamp", "clamp_", "lerp",
             "lerp_", "index_put_", "index_put", "_index_put_impl_", "linalg_vector_norm"}
_ATOMIC = {"index_add", "index_add_", "scatter_add", "scatter_add_", "scatter_reduce", "cumsum",
           "scatter_reduce_", "embedding_dense_backward", "index_reduce", "histc", "put_"}
_INT_REFUSED = {"mm", "bmm", "addmm", "baddbmm", "dot", "mv", "addmv"}


class Log:
    """What happened on the logical device."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.events: Counter[tuple[str, str, str]] = Counter()
        self.ops: Counter[str] = Counter()
        self.double: Counter[str] = Counter()

    def add(self, kind: str, what: str) -> None:
        self.events[kind, what, _place()] += 1

    def total(self, kind: str) -> int:
        return sum(n for (k, _, _), n in self.events.items() if k == kind)

    def nondeterministic(self) -> dict[str, int]:
        return {op: n for op, n in self.ops.items() if op in _ATOMIC}

    def summary(self, most: int = 20) -> str:
        head = f"ops {sum(self.ops.values())} (float64 {sum(self.double.values())}), sync " \
               f"{self.total('sync')}, h2d {self.total('h2d')}"
        return "\n".join([head, *(f"{n:6d} {' '.join(k)}" for k, n in self.events.most_common(most))])


LOG = Log()


def _place() -> str:
    """The nearest line of code that is neither torch's, the standard library's nor ours."""
    frame = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith(_SKIP):
        frame = frame.f_back
    return "/".join(frame.f_code.co_filename.split("/")[-3:]) + f":{frame.f_lineno}" if frame else "backward"


class LogicalTensor(torch.Tensor):
    """A CPU tensor that says it lives on `cuda:0`."""

    value: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, value: torch.Tensor) -> LogicalTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls, value.size(), strides=value.stride(), storage_offset=value.storage_offset(),
            dtype=value.dtype, layout=value.layout, device=CUDA)  # fmt: skip
        self.value = value
        return self

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:  # torch refuses subclasses
        LOG.add("sync", "tolist")
        return self.value.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to "
                        "copy the tensor to host memory first.")

    __array__ = numpy

    def __repr__(self, **_: Any) -> str:
        return f"cuda:{self.value!r}"

    def __deepcopy__(self, memo: dict[int, Any]) -> LogicalTensor:
        made = LogicalTensor(copy.deepcopy(self.value, memo)).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, self.requires_grad)
        memo[id(self)] = made
        return made

    def __reduce_ex__(self, proto: Any) -> Any:  # saved as what map_location="cpu" would load
        return self.detach().value.__reduce_ex__(proto)


_ON_CUDA: set[int] = set()  # addresses of generators; operations see another Python object


class _Generator(torch._C.Generator):
    """A generator that says it lives on the device it was asked for."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        self = super().__new__(cls)
        self._on = CUDA if torch.device(device).type == "cuda" else torch.device("cpu")
        _ON_CUDA.discard(self._cdata) if self._on.type == "cpu" else _ON_CUDA.add(self._cdata)
        return self

    def __init__(self, device: Any = "cpu") -> None:
        pass

    @property
    def device(self) -> torch.device:
        return self._on


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One ATen operation under the rules of CUDA."""
    name = func._schema.name.split("::")[1]
    tensors: list[torch.Tensor] = []
    tree_map_only(torch.Tensor, tensors.append, (args, kwargs))
    tagged = [t for t in tensors if isinstance(t, LogicalTensor)]
    asked = kwargs.get("device")
    target = torch.device(asked) if asked is not None else None
    cuda = target.type == "cuda" if target is not None else bool(tagged)
    generator = kwargs.get("generator")
    if isinstance(generator, torch._C.Generator):
        if (generator._cdata in _ON_CUDA) != cuda:
            raise RuntimeError(f"Expected a '{'cuda' if cuda else 'cpu'}' device type for "
                               f"generator but found the other [{name}]")
    if not tagged and not cuda:
        return func(*args, **kwargs)
    plain = [t for t in tensors if not isinstance(t, LogicalTensor)]
    if name == "_to_copy" and cuda != bool(tagged):
        LOG.add("h2d" if cuda else "sync", "to")
    elif name == "copy_" and plain:
        LOG.add("h2d" if isinstance(args[0], LogicalTensor) else "sync", "copy_")
    elif tagged:
        _check(func, name, args, tagged, plain)
        if name in _SYNC:
            LOG.add("sync", name)
    values_in = tree_map_only(LogicalTensor, lambda t: t.value, (args, kwargs))
    inner_args, inner_kwargs = values_in
    if target is not None:
        inner_kwargs = {**inner_kwargs, "device": torch.device("cpu")}
    if inner_kwargs.get("pin_memory"):
        inner_kwargs["pin_memory"] = False
    out = func(*inner_args, **inner_kwargs)
    if name == "copy_" and not isinstance(args[0], LogicalTensor):
        return args[0]
    if cuda:
        LOG.ops[name] += 1
        if any(t.dtype == torch.float64 for t in tagged[:1]):
            LOG.double[name] += 1
        out = tree_map_only(torch.Tensor, LogicalTensor, out)
    for t in tagged:
        if t.value.shape != t.shape:
            raise NotImplementedError(f"logical device: {name} changes the shape of its argument")
    if not tagged or not cuda:
        return out
    return return_and_correct_aliasing(func, args, kwargs, out)


def _check(func: Any, name: str, args: Any, tagged: list[Any], plain: list[torch.Tensor]) -> None:
    if name in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"):
        indices = [i for i in args[1] if i is not None]
        if not isinstance(args[0], LogicalTensor):
            raise RuntimeError("indices should be either on cpu or on the same device as the "
                               "indexed tensor (cpu)")
        masks = [i for i in indices if i.dtype in (torch.bool, torch.uint8)]
        fill = name != "index" and len(indices) == 1 and args[2].numel() == 1
        if any(isinstance(m, LogicalTensor) for m in masks) and not fill:
            LOG.add("sync", f"{name}[mask]")
        if any(not isinstance(i, LogicalTensor) for i in indices):
            LOG.add("h2d", f"{name}[cpu index]")
        plain = [p for p in plain if not any(p is i for i in indices)]
    if name == "repeat_interleave" and _unknown_length(args):
        LOG.add("sync", name)
    if name in _INT_REFUSED and not (tagged[0].is_floating_point() or tagged[0].is_complex()):
        raise RuntimeError(f'"{name}_cuda" not implemented for {tagged[0].dtype}')
    if plain and name not in _MIXED:
        scalars = torch.Tag.pointwise in func.tags or name in _ZERO_DIM or name.startswith("_foreach")
        if not scalars or any(p.ndim for p in plain):
            raise RuntimeError("Expected all tensors to be on the same device, but found at least "
                               f"two devices, cuda:0 and cpu! [{name}]")


def _unknown_length(args: Any) -> bool:
    return len(args) == 1 or isinstance(args[-1], LogicalTensor)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _nothing(*_: Any, **__: Any) -> None:
    return None


@contextmanager
def logical_cuda() -> Iterator[Log]:
    """Make `cuda:0` exist. Import and build what is under test inside, or move it with `.to`."""
    stubs = {
        "_lazy_init": _nothing, "is_available": lambda: True, "device_count": lambda: 1,
        "current_device": lambda: 0, "set_device": _nothing, "empty_cache": _nothing,
        "synchronize": lambda *_: LOG.add("sync", "synchronize"), "manual_seed_all": _nothing,
        "get_rng_state": lambda *_: torch.get_rng_state(), "set_rng_state": _nothing,
        "is_bf16_supported": lambda *_, **__: True, "reset_peak_memory_stats": _nothing,
        "mem_get_info": lambda *_: (64 << 30, 80 << 30), "max_memory_allocated": lambda *_: 0,
        "get_device_name": lambda *_: "logical", "get_device_capability": lambda *_: (9, 0),
        "get_device_properties": lambda *_: SimpleNamespace(name="logical", total_memory=80 << 30),
    }  # fmt: skip
    swap = torch.__future__.get_swap_module_params_on_conversion()
    with ExitStack() as stack:
        for name, stub in stubs.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stub))
        stack.enter_context(mock.patch.object(torch, "Generator", _Generator))
        # On CUDA, Module.to keeps the identity of parameters: so it must here.
        torch.__future__.set_swap_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swap)
        # torch.tensor(.., device="cuda") then is a CPU tensor and a `.to` that the mode sees.
        stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        stack.enter_context(_Mode())
        LOG.clear()
        yield LOG
