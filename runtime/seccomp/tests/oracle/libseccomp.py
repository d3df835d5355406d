"""Answers the tests' questions with libseccomp: one JSON object a line in, one a line out.

LIBSECCOMP in the environment names another library than the system's.
"""

import ctypes
import json
import os
import sys

NATIVE = 0xC000003E
UNKNOWN = -1
OPTIMIZE = 8


class Compare(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


lib = ctypes.CDLL(os.environ.get("LIBSECCOMP", "libseccomp.so.2"))
lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
for name, types in {
    "seccomp_release": [ctypes.c_void_p],
    "seccomp_arch_add": [ctypes.c_void_p, ctypes.c_uint32],
    "seccomp_arch_remove": [ctypes.c_void_p, ctypes.c_uint32],
    "seccomp_attr_set": [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32],
    "seccomp_export_bpf": [ctypes.c_void_p, ctypes.c_int],
    "seccomp_rule_add_array": [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(Compare),
    ],
    "seccomp_syscall_resolve_name_arch": [ctypes.c_uint32, ctypes.c_char_p],
    "seccomp_syscall_resolve_num_arch": [ctypes.c_uint32, ctypes.c_int],
}.items():
    getattr(lib, name).argtypes = types
lib.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p


def number(arch, name):
    return lib.seccomp_syscall_resolve_name_arch(arch, name.encode())


def by_number(arch):
    """Names of an architecture's numbers, also of calls that a multiplexer hides by name."""
    names = {}
    for number in range(7000):
        name = lib.seccomp_syscall_resolve_num_arch(arch, number)
        if name:
            names[ctypes.string_at(name).decode()] = number
    return names


def build(ask):
    """What runc asks of libseccomp for a profile: default action, architectures, rules."""
    filter = lib.seccomp_init(ask["default"])
    if not filter:
        return {"error": "seccomp_init"}
    try:
        archs = ask["architectures"]
        if NATIVE not in archs:
            lib.seccomp_arch_remove(filter, NATIVE)
        for arch in archs:
            code = lib.seccomp_arch_add(filter, arch)
            if code not in (0, -17):
                return {"error": f"seccomp_arch_add {arch:#x}: {code}"}
        if ask["tree"]:
            lib.seccomp_attr_set(filter, OPTIMIZE, 2)
        for index, rule in enumerate(ask["rules"]):
            compares = (Compare * len(rule["args"]))(*[Compare(*a) for a in rule["args"]])
            for name in rule["names"]:
                code = lib.seccomp_rule_add_array(
                    filter, rule["action"], number(NATIVE, name), len(compares), compares
                )
                if code != 0:
                    return {"error": f"rule {index}, {name}: {code}"}
        fd = os.memfd_create("bpf")
        try:
            code = lib.seccomp_export_bpf(filter, fd)
            if code != 0:
                return {"error": f"seccomp_export_bpf: {code}"}
            os.lseek(fd, 0, os.SEEK_SET)
            with os.fdopen(os.dup(fd), "rb") as file:
                return {"program": list(file.read())}
        finally:
            os.close(fd)
    finally:
        lib.seccomp_release(filter)


def main():
    lib.seccomp_api_set(6)
    for line in sys.stdin:
        ask = json.loads(line)
        if "build" in ask:
            answer = build(ask["build"])
        elif "by_number" in ask:
            answer = by_number(ask["by_number"])
        else:
            answer = {name: number(ask["arch"], name) for name in ask["names"]}
        print(json.dumps(answer), flush=True)


main()
