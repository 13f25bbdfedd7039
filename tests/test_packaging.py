"""What an installation holds, and that it builds with every compiler and for every machine of the build's table.

Wheels are made of a copy of the working tree, without build isolation: nothing is downloaded here.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from support.peers import require

ROOT = Path(__file__).parents[1]
PACKAGES = {"ueagent", "ueagent_native", "ueagent_hw", "ueagent_firmware", "ueagent_bench"}
FOLDERS = ("native", "hw", "firmware_bindings", "bench", "tests")  # of the repository; never importable by these names
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine, System V ABI
AARCH64 = {
    "UEAGENT_TARGET_MACHINE": "aarch64",
    "_PYTHON_HOST_PLATFORM": "linux-aarch64",
    "CC": "aarch64-linux-gnu-gcc",
    "AR": "aarch64-linux-gnu-ar",
    "LDSHARED": "aarch64-linux-gnu-gcc -shared",
}


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows or would add, as a clean clone has them."""
    folder = tmp_path_factory.mktemp("source")
    names = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build_wheel(source: Path, out: Path, env: dict[str, str] | None = None) -> Path:
    tree = out / "tree"
    shutil.copytree(source, tree)
    run(sys.executable, "-m", "build", "-n", "-w", "-o", out / "dist", tree, cwd=out, env=env)
    (wheel,) = (out / "dist").glob("*.whl")
    return wheel


def unpack(wheel: Path, into: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    return into


def in_installed_tree(tree: Path, *arguments: str) -> str:
    """Runs this Python with only `tree` in front of the libraries; not in the repository."""
    return run(sys.executable, *arguments, cwd=tree, env={"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"})


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


def file_names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_serves_every_python_from_3_11(wheel: Path) -> None:
    assert wheel.name.split("-")[2:4] == ["cp311", "abi3"]
    assert "ueagent_native/_core.abi3.so" in file_names(wheel)


def test_wheel_holds_our_import_packages_and_nothing_else(wheel: Path) -> None:
    top = {name.split("/")[0] for name in file_names(wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES


def test_wheel_holds_no_c_source_and_no_test(wheel: Path) -> None:
    wrong = [name for name in file_names(wheel) if name.endswith((".c", ".h", ".o")) or "test" in name.lower()]
    assert wrong == []


def test_wheel_holds_every_module_of_the_tree(wheel: Path, source: Path) -> None:
    folders = {"ueagent": source, "ueagent_native": source / "native", "ueagent_hw": source / "hw"}
    folders |= {"ueagent_firmware": source / "firmware_bindings", "ueagent_bench": source / "bench"}
    modules = {
        str(path.relative_to(parent)) for name, parent in folders.items() for path in (parent / name).rglob("*.py")
    }
    assert modules <= set(file_names(wheel))


def test_no_bare_folder_of_ours_is_in_site_packages() -> None:
    """The environment that runs these tests has the project installed; none of its folders landed beside it."""
    homes = {Path(home) for home in (*site.getsitepackages(), sysconfig.get_path("purelib"))}
    assert [home / name for home in homes for name in FOLDERS if (home / name).exists()] == []


def test_installed_tree_works_away_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    tree = unpack(wheel, tmp_path)
    where = in_installed_tree(tree, "-c", "import ueagent_native._core as core; print(core.__file__)")
    assert Path(where.strip()).is_relative_to(tree)
    assert "run" in in_installed_tree(tree, "-m", "ueagent", "--help")


def test_lab_can_be_left_out_and_the_daemon_still_starts(source: Path, tmp_path: Path) -> None:
    wheel = build_wheel(source, tmp_path, {"UEAGENT_WITHOUT_LAB": "1"})
    assert not [name for name in file_names(wheel) if name.startswith("ueagent/lab/")]
    tree = unpack(wheel, tmp_path / "tree-installed")
    assert "--config" in in_installed_tree(tree, "-m", "ueagent", "run", "--help")


def elf_machine(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        head = archive.read("ueagent_native/_core.abi3.so")[:20]
    assert head[:4] == b"\x7fELF"
    return int.from_bytes(head[18:20], "little")


def test_wheel_for_aarch64_is_cross_built(source: Path, tmp_path: Path) -> None:
    require("aarch64")
    wheel = build_wheel(source, tmp_path, AARCH64)
    assert wheel.name.endswith("-cp311-abi3-linux_aarch64.whl")
    assert elf_machine(wheel) == ELF_MACHINES["aarch64"]
    core = unpack(wheel, tmp_path / "tree-installed") / "ueagent_native" / "_core.abi3.so"
    symbols = run("aarch64-linux-gnu-nm", "-D", "--undefined-only", core, cwd=tmp_path).splitlines()
    # A weak one is the row of an engine that this machine does not have: NULL at run time.
    assert [symbol for symbol in symbols if "U ums_" in symbol] == []


def test_core_passes_its_known_answers_on_emulated_aarch64(source: Path, tmp_path: Path) -> None:
    """The same source files as in the wheel, in a small program: no Python for that machine is needed. SRTP-2."""
    require("aarch64")
    require("qemu")
    found = run(sys.executable, "tests/emulated/run.py", "--stage", "aarch64", cwd=source)
    assert "stage aarch64 passed" in found


def test_core_built_by_clang_passes_its_self_tests(source: Path, tmp_path: Path) -> None:
    require("clang")
    tree = unpack(build_wheel(source, tmp_path, {"CC": "clang"}), tmp_path / "tree-installed")
    code = "from ueagent_native.engines import list_engines; print([(e.name, e.self_test) for e in list_engines()])"
    engines = in_installed_tree(tree, "-c", code)
    assert "'passed'" in engines
    assert "failed" not in engines


def test_editable_install_uses_the_working_tree(source: Path, tmp_path: Path) -> None:
    """`pip install -e .` in an environment of its own, which borrows the libraries of this one but not the agent."""
    tree = tmp_path / "tree"
    shutil.copytree(source, tree)
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = Path(run(python, "-c", code, cwd=tmp_path).strip())
    for home in (path for path in sys.path if path.endswith("site-packages")):
        for entry in Path(home).iterdir():
            if "ueagent" not in entry.name and not (purelib / entry.name).exists():
                (purelib / entry.name).symlink_to(entry)
    run(python, "-m", "pip", "install", "-q", "-e", ".", "--no-build-isolation", "--no-deps", cwd=tree)
    code = "import ueagent, ueagent_native._core as core; print(ueagent.__file__, core.__file__)"
    where = run(python, "-c", code, cwd=tmp_path)
    assert [Path(path).is_relative_to(tree) for path in where.split()] == [True, True]
