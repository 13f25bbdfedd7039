"""What pyproject.toml cannot say: one C extension whose source files have their own ISA flags."""

import os
import platform
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "native"))
import build_native  # noqa: E402  # needs the path above

PACKAGE_DIRS = {
    "ueagent_native": "native/ueagent_native",
    "ueagent_hw": "hw/ueagent_hw",
    "ueagent_firmware": "firmware_bindings/ueagent_firmware",
    "ueagent_bench": "bench/ueagent_bench",
}
# UEAGENT_WITHOUT_LAB=1 leaves the lab network out of the wheel.
LEFT_OUT = ("ueagent.lab",) if os.environ.get("UEAGENT_WITHOUT_LAB") == "1" else ()


def packages() -> list[str]:
    roots = {"ueagent": "ueagent", **PACKAGE_DIRS}
    found = []
    for name, folder in roots.items():
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            package = ".".join((name, *init.parent.relative_to(ROOT / folder).parts))
            if not any(package == out or package.startswith(out + ".") for out in LEFT_OUT):
                found.append(package)
    return found


class BuildExt(build_ext):
    """Adds each source file's own flags (build_native.ISA_FLAGS) to the flags of the extension."""

    def build_extension(self, ext: object) -> None:
        if platform.machine() != build_native.MACHINE:
            ext.include_dirs.append(self.headers_for_another_machine())  # type: ignore[attr-defined]
        plain = self.compiler._compile

        def with_isa_flags(obj, src, suffix, cc_args, extra, pp_opts):  # type: ignore[no-untyped-def]
            flags = build_native.ISA_FLAGS.get(Path(src).name, [])
            plain(obj, src, suffix, cc_args, [*extra, *flags], pp_opts)

        self.compiler._compile = with_isa_flags
        try:
            super().build_extension(ext)
        finally:
            self.compiler._compile = plain

    def headers_for_another_machine(self) -> str:
        """Debian's pyconfig.h includes TARGET/pythonX.Y/pyconfig.h. The limited API hides what differs between machines
        of one word size, so this machine's file serves the target too."""
        headers = Path(sysconfig.get_path("include"))
        ours = headers.parent / str(sysconfig.get_config_var("MULTIARCH")) / headers.name / "pyconfig.h"
        folder = Path(self.build_temp) / "headers"
        if ours.exists():
            theirs = folder / f"{build_native.MACHINE}-linux-gnu" / headers.name / "pyconfig.h"
            theirs.parent.mkdir(parents=True, exist_ok=True)
            theirs.write_text(f'#include "{ours}"\n')
        return str(folder)


class BuildPy(build_py):
    """Files of a package that was left out stay out, also where an older build folder still has them."""

    def find_package_modules(self, package, package_dir):  # type: ignore[no-untyped-def]
        return [] if package in LEFT_OUT else super().find_package_modules(package, package_dir)


setup(
    packages=packages(),
    package_dir=PACKAGE_DIRS,
    package_data={"ueagent": ["py.typed"], "ueagent.lab": ["*.wav"], "ueagent_native": ["py.typed", "*.pyi"]},
    cffi_modules=["native/build_native.py:ffi"],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
