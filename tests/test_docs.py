"""The documentation: its links, its commands, and what the reference says of the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nvrar_bench.errors import EXIT_CODES

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.append(str(REPOSITORY / "ci"))

import reference  # noqa: E402 - a script of ci/

PAGES = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
NAMED = [str(page.relative_to(REPOSITORY)) for page in PAGES]
STORED = ("report", "compare", "merge")  # commands that read records, which a test can make
QUICK = (*STORED, "env", "schema", "--version", "--help")
RECORD = REPOSITORY / "docs/measurements/2026-11-27-epyc/sweep-2.json"
ROOMS = ("nvrar_bench", "kernels", "cases", "networks", "examples", "tests", "ci")
FILES = [f"/{path.name}" for path in REPOSITORY.iterdir()]
FILES += [
    f"/{path.relative_to(REPOSITORY)}" for room in ROOMS for path in (REPOSITORY / room).rglob("*")
]
OF_OTHERS = {"--map-by", "--distribution", "--allow-run-as-root", "--oversubscribe"}
FINE = (0, 5, 6)  # as a machine without a GPU, or a comparison, may end


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def unfenced(text: str) -> str:
    """Return `text` without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Return what GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", unfenced(text), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


def blocks(language: str, page: str) -> list[str]:
    """Return the blocks of code of a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)
    return [block.replace("\\\n", " ") for block in found]


def lines(page: str) -> Iterator[str]:
    """Yield the commands of a page: in blocks, and those in text that begin with ours."""
    for block in blocks("sh", page):
        yield from (line for line in block.splitlines() if "nvrar-bench " in line)
    yield from re.findall(r"(?<!`)`(nvrar-bench [a-z][^`\n]*)`", unfenced(text_of(page)))


def calls(line: str) -> list[list[str]]:
    """Return the arguments of each call of nvrar-bench in a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;()<>"):
            found.append([])
        else:
            found[-1].append(word)
    return [
        words[place + 1 :]
        for words in found
        for place, word in enumerate(words)
        if word == "nvrar-bench" or word.endswith("bin/nvrar-bench")
    ]


EVERY_LINE = [(page, line) for page in NAMED for line in dict.fromkeys(lines(page))]


@pytest.mark.parametrize("page", NAMED)
def test_links_lead_somewhere(page: str):
    here = (REPOSITORY / page).parent
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", unfenced(text_of(page))):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        there = (here / path).resolve() if path else REPOSITORY / page
        found = there.exists() and (not anchor or anchor in anchors(there.read_text("utf-8")))
        broken += [] if found else [target]
    assert broken == []


@pytest.mark.parametrize("page", NAMED)
def test_files_that_are_named_exist(page: str):
    """By the end of their path, as `cli/app.py`."""
    if page == "CHANGELOG.md" or "measurements" in page:
        pytest.skip("it names files of earlier versions")
    text = text_of(page)
    named = set(re.findall(r"(?<![\w/.-])(?:ci|tests|examples|kernels)/[\w./]*\.[a-z]+\b", text))
    named |= set(re.findall(r"`((?:\w+/)*\w+\.(?:py|cuh|hpp|sh|toml))`", text))
    assert {name for name in named if not any(path.endswith(f"/{name}") for path in FILES)} == set()


@pytest.mark.parametrize(("page", "line"), EVERY_LINE, ids=[line for _, line in EVERY_LINE])
def test_commands_are_what_the_command_line_takes(page: str, line: str):
    for words in calls(line):
        name, *arguments = words or [""]
        if name in ("--version", "--help"):
            continue
        command = reference.commands().get(name)
        assert command is not None, f"{page}: {line}"
        if arguments:
            command.make_context(name, [word.replace("...", "") for word in arguments])


def is_quick(line: str) -> bool:
    """Say whether a line of a shell starts no rank, and needs nothing but records."""
    others = re.sub(r"\|\| exit|> \w+\.\w+|>&2", "", line.partition("  #")[0])
    first = calls(others)
    return (
        len(first) == 1
        and first[0][0] in QUICK
        and others.lstrip().startswith("nvrar-bench ")
        and not re.search(r"[|;]|/var/", others)
    )


QUICK_LINES = [
    line for page in NAMED for block in blocks("sh", page) for line in block.splitlines()
]
QUICK_LINES = [line for line in dict.fromkeys(QUICK_LINES) if "nvrar-bench " in line]
QUICK_LINES = [line for line in QUICK_LINES if is_quick(line)]


@pytest.mark.parametrize("line", QUICK_LINES)
def test_quick_commands_run(line: str, tmp_path: Path):
    (words,) = calls(line.replace("|| exit", ""))
    if words[0] in STORED:
        for name in (word for word in words[1:] if word.endswith(".json")):
            record = json.loads(RECORD.read_text(encoding="utf-8"))
            record["run"]["id"] = str(uuid.uuid4())  # a run cannot be merged with itself
            (tmp_path / name).write_text(json.dumps(record))
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env={**os.environ, "PATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in FINE, done.stderr


def test_there_are_commands_to_test():
    assert len(EVERY_LINE) >= 50
    assert len(QUICK_LINES) >= 10


def test_the_reference_has_every_option_as_it_is():
    page = text_of("docs/reference.md")
    assert reference.written(page) == page, "after a change of an option: python ci/reference.py"


@pytest.mark.parametrize("command", reference.commands())
def test_every_option_is_in_the_reference(command: str):
    section = re.search(rf"^### {command}\n(.*?)(?=^##)", text_of("docs/reference.md"), re.S | re.M)
    assert section
    missing = [
        option.opts
        for option in reference.commands()[command].params
        if option.param_type_name == "option"
        and not any(f"`{name}`" in section[1] for name in reference.names_of(option))
    ]
    assert missing == []


@pytest.mark.parametrize("page", ["README.md", "docs/reference.md"])
def test_exit_codes_are_all_there(page: str):
    table = re.search(r"^\| exit code \|.*?\n\n", text_of(page), re.DOTALL | re.MULTILINE)
    assert table
    assert tuple(int(code) for code in re.findall(r"^\| (\d+) \|", table[0], re.M)) == EXIT_CODES


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_options_that_are_named_exist(page: str):
    """In text, where no command says whose an option is."""
    known = {
        name
        for command in reference.commands().values()
        for option in command.params
        for name in reference.names_of(option)
    }
    named = re.findall(r"`(--[a-z][a-z-]+)", unfenced(text_of(page)))
    assert set(named) - known - OF_OTHERS == set()


def test_the_architecture_lists_every_room():
    rooms = re.search(
        r"^\| room .*?\n\n", text_of("docs/architecture.md"), re.DOTALL | re.MULTILINE
    )
    assert rooms
    folders = {path.parent.name for path in (REPOSITORY / "nvrar_bench").glob("*/__init__.py")}
    listed = re.findall(r"^\| `(\w+)/`", rooms[0], re.MULTILINE)
    assert set(listed) == folders
    layers = re.search(r"^layers = \[.*?^\]", text_of("pyproject.toml"), re.DOTALL | re.MULTILINE)
    assert layers
    checked = re.findall(r"\w+", layers[0])
    assert [name for name in checked if name in folders] == listed


def keys_of(schema: Any) -> Iterator[str]:
    """Yield the keys of all objects that a JSON Schema describes."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from keys_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from keys_of(part)


@pytest.mark.parametrize("document", ["run", "comparison", "tuning", "env", "decode"])
def test_every_key_of_a_document_is_documented(document: str):
    command = [sys.executable, "-m", "nvrar_bench", "schema", document]
    schema = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    code = " ".join(re.findall(r"`([^`]+)`", text_of("docs/record.md")))
    assert set(keys_of(schema)) - set(re.findall(r"\w+", code)) == set()


def test_environment_variables_are_documented():
    pages = text_of("docs/reference.md") + text_of("CONTRIBUTING.md")
    read = re.compile(r"\bNVRAR_BENCH_[A-Z_]*[A-Z]\b")
    used = {
        name
        for path in (REPOSITORY / "nvrar_bench").rglob("*.py")
        for name in read.findall(path.read_text(encoding="utf-8"))
    }
    assert {name for name in used if f"`{name}`" not in pages} == set()


def test_python_of_the_readme_runs(run_ranks: Callable[..., Any], tmp_path: Path):
    (program,) = blocks("python", "README.md")
    script = tmp_path / "readme.py"
    script.write_text(f"{program}\nif MPI.COMM_WORLD.rank == 0:\n    print(recv[0], len(recv))\n")
    done = run_ranks(2, script)
    assert (done.code, done.stdout) == (0, "1.0 1000\n"), done.stderr
