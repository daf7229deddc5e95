"""docs/glossary.md names what the code has, and words that it replaces are gone from code and documentation."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
GLOSSARY = PROJECT / "docs" / "glossary.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in GLOSSARY.read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| term ")
]


@dataclass(frozen=True)
class Banned:
    """A word that has a better one."""

    word: str
    """As it was used; the pattern has to find it."""
    instead: str
    pattern: str = ""
    """Where the word itself would find too much. Matches with a group ``ok`` are allowed."""

    def occurrences(self, text: str) -> Iterator[int]:
        """Where it begins. A space stands for any white space, also at the end of a line of a comment."""
        pattern = self.pattern or re.escape(self.word).replace(r"\ ", " ")
        for match in re.finditer(pattern.replace(" ", r"[\s#]+"), text, re.IGNORECASE):
            if not match.groupdict().get("ok"):
                yield match.start()


BANNED = [
    # A quoted "letters" is a field of --json, which scripts read.
    Banned("letters topic", "dead-letter topic", r'(?P<ok>dead[\s_#-]*|")?letter'),
    Banned("office", "dead-letter publisher"),
    Banned("withdraw", "tombstone"),
    Banned("ticket", "replay token"),
    Banned("bundle", "record batch", "bundl"),
    Banned("careful", "batching consumer"),
    Banned("opener", "decryption pool"),
    Banned("opening", "decryption", r"\bopening\b"),
    Banned("self._keep(", "store", r"\b_keep\("),
    Banned(
        "the way of a record", "pipeline", r"\bway of (an? |the )?(record|batch|message|sample)|\bway\.run\("
    ),
    Banned("until_done", "retry with backoff", "until(?: |_)done"),
    Banned("leave(", "exit", r"\bleave\(|leave_soon|LEAVE_SECONDS|\bleaves? (with|within|by) "),
    Banned("silence", "watchdog"),
    Banned("patience", "grace period"),
    Banned("look_again", "poll", r"\.look\(|look(?: |_)again|LOOK_SECONDS"),
    Banned("heard_at", "last heartbeat", "heard(?: |_)at"),
    Banned("the broker is away", "unreachable", r"\b(is|are|was|were|goes|went) away\b"),
    Banned("startup fault", "ConfigurationError", "startup ?fault|StartupFault"),
    Banned("bad record", "InvalidRecordError", "bad record|BadRecord"),
    Banned("transient fault", "TransientError", "transient fault|TransientFault"),
    Banned("a fault that has no name yet", "unexpected error", "no name yet|without a name"),
    Banned("web.questions", "window queries", r"web[./]questions|questions and answers|(?-i:\bQuestions?\b)"),
    Banned("web.owners", "partition router", r"web[./]owners|(?-i:\bOwners\b)"),
    Banned("Partial", "PartialResult", r"(?-i:\bPartial\b)(?! result)"),
    Banned("web.answers", "responses", r"web[./]answers|(?-i:[a-z]Answer\b)"),
    Banned("add_pages", "routing", r"add_pages|web[./]pages"),
    Banned("plugins.faults", "errors", r"\b(plugins|packages)\.faults"),
    Banned("guard", "authentication", r"\bguard\b"),
    Banned("doctor", "health checker"),
    Banned("examine", "check"),
    Banned("changed hands", "rebalance", "chang(e|es|ed|ing) hands"),
    Banned("comes again", "redelivered", r"\b(come|comes|coming|came) again\b"),
    Banned("sent again", "duplicate"),
    Banned("mended", "repaired", r"\bmend(s|ed|ing)?\b"),
    # The field made_anew of --json stays.
    Banned("made anew", "recomputed", r"\banew\b|_make_anew"),
    Banned("bucket length", "bucket size", r"bucket length|length of (a|the) bucket|buckets' length"),
    Banned("horizon", "window retention", "horizon(?P<ok>_seconds|tal)?"),
    Banned("purpose", "associated data", r"\b_?purpose\b"),
    Banned("stored_first", "on_inserted", "stored_first"),
    Banned("Plugin.measure", "numeric value", r"\.measure\b|def measure\b|`measure[`(]"),
    Banned("joins all the parts", "composition root", "joins? all the parts|parts are joined"),
    Banned("self._tell(", "report", r"\b_?tell\("),
    Banned("Wishes", "request"),
    Banned("config_archive.words import", "messages", r"[./]words( import|\.py)|(?-i:\bWords\b)"),
    Banned("MOST_RECORDS", "MAX_", r"(?-i:\bMOST_[A-Z])|\b(most|least)(: int|=)"),
    Banned("tells the rolling averages", "serves", "tells the "),
    Banned("in capitals or not", "case-insensitive"),
    Banned("readings of a time", "time range", r"\bof a time\b(?! range)"),
    Banned("so many a minute", "per minute"),
    Banned(
        "the plugin's handler",
        "plugin",
        r"plugins?('s?)? handlers?\b|\bplugin\.handler\b|\bplugins\.handlers\b",
    ),
]
# Deprecated names of public interfaces, where they go on working.
ALLOWED: dict[str, set[str]] = {
    # The old name of a method, which works on.
    "sparkle_app/plugin_api/plugin.py": {"stored_first"},
    # The old name of an option, which works on.
    "sparkle_app/cli/verify.py": {"MOST_RECORDS"},
    "CHANGELOG.md": {"stored_first", "Plugin.measure"},
    # The heading of a column.
    "README.md": {"purpose"},
    # The name of a header.
    "sparkle_app/web/security_headers.py": {"opener"},
    # "Characters" would be less exact.
    "sparkle_app/plugin/manifest.py": {"letters topic"},
}


def _texts() -> Iterator[tuple[str, str]]:
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "sparkle_app/**/*.py",
        "sparkle_app/**/*.js",
        "plugins/**/*.py",
        "demo/*.py",
    ):
        for path in sorted(PROJECT.glob(pattern)):
            if not path.name.endswith(".ru.md") and "ru" not in path.parts:
                yield str(path.relative_to(PROJECT)), path.read_text("utf-8")


TEXTS = dict(_texts())


def _names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Classes, functions, constants and attributes that statements define, as ``Class.member``."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _names(node.body, f"{node.name}.")
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


def test_terms_are_sorted_and_stand_once() -> None:
    terms = [row[0] for row in ROWS]
    assert len(terms) > 50
    assert terms == sorted(set(terms), key=str.casefold)


def test_every_term_has_a_meaning() -> None:
    for term, meaning, *code in ROWS:
        assert meaning.endswith("."), term
        assert len(code) == 1, f"{term}: expected three cells"


def test_every_identifier_is_in_the_code() -> None:
    known = {
        name for file, text in TEXTS.items() if file.endswith(".py") for name in _names(ast.parse(text).body)
    }
    named = {name for *_, code in ROWS for name in re.findall(r"`([^`]+)`", code)}
    assert len(named) > 30
    assert not named - known, "docs/glossary.md names what sparkle_app does not define"


def test_every_pattern_finds_its_own_word() -> None:
    assert not [banned.word for banned in BANNED if not list(banned.occurrences(f"x {banned.word} "))]


@pytest.mark.parametrize("banned", BANNED, ids=lambda banned: banned.word)
def test_words_that_have_a_better_one_are_gone(banned: Banned) -> None:
    found = [
        f"{file}:{text.count(chr(10), 0, at) + 1}"
        for file, text in TEXTS.items()
        if banned.word not in ALLOWED.get(file, ())
        for at in banned.occurrences(text)
    ]
    assert not found, f"{banned.word!r}: write {banned.instead!r} instead"
