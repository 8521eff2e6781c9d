"""Outcome files: units kept one by one, merged at once, and never lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.cards.catalogue import read_card
from harness.errors import DataError, IncompleteError, NotFoundError
from harness.results.encoding import KEY
from harness.results.outcomes import OutcomeFile, find, outcome_file, read_meta
from tests.metadata import metadata

SCHEMA = pa.schema([("example_id", pa.string()), ("lang", pa.string()), ("f1", pa.float32())])
ONE, TWO = "1" * 64, "2" * 64  # digests
ORDER = ("ar", "de", "en", "zh")


def rows(unit: str, count: int = 2) -> pa.Table:
    return pa.Table.from_pylist(
        [{"example_id": f"{unit}:{n}", "lang": unit, "f1": n / 4} for n in range(count)], SCHEMA
    )


def meta(unit: str, **changes: Any) -> dict[str, Any]:
    """Whole metadata, with a text in it that is not ASCII."""
    given = {"libraries": {"torch": "2"}, "remarks": [], "title": "Tatöba"}
    return metadata(read_card("tatoeba"), [unit], **given | changes)


def keep(file: OutcomeFile, *units: str, merged: bool = True) -> None:
    for unit in units:
        file.write_part(unit, rows(unit), meta(unit))
    if merged:
        file.merge(ORDER)


@pytest.fixture
def file(tmp_path: Path) -> OutcomeFile:
    return outcome_file(tmp_path, "org__name", "0123456789ab", "tatoeba", "89abcdef")


def check(file: OutcomeFile, units: Sequence[str]) -> None:
    """The merged file holds these units, in this order, and no part is left."""
    assert read_meta(file.path)["languages"] == list(units)
    assert list(file.done()) == list(units)
    assert not file.parts.exists()
    for unit in units:
        assert file.read(unit).to_pylist() == rows(unit).to_pylist()
    whole = pq.read_table(file.path)
    assert whole.column("lang").to_pylist() == [unit for unit in units for _ in range(2)]


def test_path(tmp_path: Path, file: OutcomeFile) -> None:
    assert file.path == tmp_path / "org__name/0123456789ab/tatoeba.89abcdef.parquet"
    assert file.done() == {}


def test_parts_then_merged(file: OutcomeFile) -> None:
    keep(file, "zh", "de", merged=False)
    assert not file.path.exists()
    assert set(file.done()) == {"de", "zh"}
    assert file.read("zh").to_pylist() == rows("zh").to_pylist()
    assert file.meta()["languages"] == ["de", "zh"]
    file.merge(ORDER)
    check(file, ["de", "zh"])
    assert pq.ParquetFile(file.path).num_row_groups == 2
    assert pq.read_schema(file.path).remove_metadata().equals(SCHEMA)


def test_columns_are_encoded_by_what_they_hold(file: OutcomeFile) -> None:
    schema = SCHEMA.append(pa.field("ranks", pa.list_(pa.int32())))
    kept = [sorted(range(at, 13_000, 977)) for at in range(50)]
    lines = [{"example_id": str(i), "lang": "ar", "ranks": ranks} for i, ranks in enumerate(kept)]
    file.write_part("ar", pa.Table.from_pylist(lines, schema), meta("ar"))
    file.merge(ORDER)
    assert file.read("ar").column("ranks").to_pylist() == kept
    with pq.ParquetFile(file.path) as written:
        group = written.metadata.row_group(0)
        columns = [group.column(i) for i in range(group.num_columns)]
    encodings = {column.path_in_schema: column.encodings for column in columns}
    assert "BYTE_STREAM_SPLIT" in encodings["ranks.list.element"]
    assert "RLE_DICTIONARY" in encodings["lang"]
    # A reader finds a unit's row group by these.
    assert {column.path_in_schema for column in columns if column.is_stats_set} == {"lang"}


@pytest.mark.parametrize(
    ("ids", "alike"),
    [
        ([f"question:{i:04}" for i in range(400)], True),  # each is like the one before
        ([sha256(b"%d" % i).hexdigest() for i in range(400)], False),
        ([], False),
    ],
)
def test_ids_are_encoded_as_is_smallest(file: OutcomeFile, ids: list[str], alike: bool) -> None:
    lines = [{"example_id": one, "lang": "ar"} for one in ids]
    file.write_part("ar", pa.Table.from_pylist(lines, SCHEMA), meta("ar"))
    file.merge(ORDER)
    assert file.read("ar").column("example_id").to_pylist() == ids
    with pq.ParquetFile(file.path) as written:
        column = written.metadata.row_group(0).column(0)
    assert ("DELTA_BYTE_ARRAY" in column.encodings) == alike
    assert "RLE_DICTIONARY" not in column.encodings


def test_repeated_ids_are_kept_in_the_order_of_the_pool(file: OutcomeFile) -> None:
    schema = SCHEMA.append(pa.field("top_ids", pa.list_(pa.string())))
    kept = [["de:10", "de:9", "de:0"], [], ["de:9", "de:10"], ["é"]]
    lines = [
        {"example_id": str(i), "lang": "de", "top_ids": ids}
        for i, ids in enumerate([["of", "no", "row"], *kept])
    ]
    file.write_part("de", pa.Table.from_pylist(lines, schema)[1:], meta("de"))
    file.write_part("zh", schema.empty_table(), meta("zh"))
    file.merge(ORDER)
    assert file.read("de").column("top_ids").to_pylist() == kept
    assert file.read("zh").column("top_ids").to_pylist() == []
    assert pq.read_schema(file.path).remove_metadata().equals(schema)
    with pq.ParquetFile(file.path) as written:
        assert set(written.metadata.metadata) == {KEY}  # no second copy in Arrow's schema
        column = written.read_row_group(0, ["top_ids"]).column("top_ids")
    assert column.type.equals(pa.list_(pa.string()))
    with pq.ParquetFile(file.path, read_dictionary=["top_ids.list.element"]) as written:
        names = written.read_row_group(0, ["top_ids"]).column("top_ids").chunk(0).values.dictionary
    assert names.to_pylist() == ["é", "de:0", "de:9", "de:10"]


def test_a_language_is_added_to_a_merged_file(file: OutcomeFile) -> None:
    keep(file, "zh", "de")
    keep(file, "en", merged=False)
    assert file.meta()["languages"] == ["de", "zh", "en"]
    assert file.read("en").to_pylist() == rows("en").to_pylist()
    file.merge(ORDER)
    keep(file, "ar")
    check(file, ["ar", "de", "en", "zh"])


def test_units_that_the_order_does_not_name_come_last(file: OutcomeFile) -> None:
    keep(file, "xx", "de", "aa")
    check(file, ["de", "aa", "xx"])


def test_row_groups_in_another_order_are_found_by_their_language(file: OutcomeFile) -> None:
    keep(file, "de", "zh")
    given = pq.read_schema(file.path)
    with pq.ParquetWriter(file.path, given) as writer:
        for unit in ("zh", "de"):
            writer.write_table(rows(unit).cast(given))
    assert file.meta()["languages"] == ["de", "zh"]
    assert [file.read(unit)["lang"].to_pylist() for unit in ("de", "zh")] == [
        ["de"] * 2,
        ["zh"] * 2,
    ]


def test_a_unit_without_rows(file: OutcomeFile) -> None:
    file.write_part("de", rows("de", 0), meta("de"))
    keep(file, "en", "ar")
    assert [len(file.read(unit)) for unit in ("ar", "de", "en")] == [2, 0, 2]


def test_what_is_merged_wins_over_a_part(file: OutcomeFile) -> None:
    keep(file, "de")
    file.write_part("de", rows("de", 3), meta("de"))
    assert len(file.read("de")) == 2
    file.merge(ORDER)
    check(file, ["de"])


def test_remove(file: OutcomeFile) -> None:
    keep(file, "de")
    keep(file, "en", merged=False)
    file.remove()
    assert file.done() == {}
    file.remove()
    keep(file, "en")
    check(file, ["en"])


def test_metadata_is_put_together(file: OutcomeFile) -> None:
    file.write_part("zh", rows("zh"), meta("zh", notes=["b"], degenerate=["zh"], data={"zh": ONE}))
    file.write_part("de", rows("de"), meta("de", notes=["a", "b"], data={"de": TWO}))
    file.merge(ORDER)
    expected = meta("de", notes=["a", "b"], degenerate=["zh"], data={"de": TWO, "zh": ONE})
    timing = {unit: {"seconds": 1.0} for unit in ("de", "zh")}
    assert read_meta(file.path) == expected | {"languages": ["de", "zh"], "timing": timing}
    assert file.meta() == read_meta(file.path)


@pytest.mark.parametrize(
    ("first", "second", "whole"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_data_is_complete_where_it_is_for_every_language(
    file: OutcomeFile, first: bool, second: bool, whole: bool
) -> None:
    file.write_part("de", rows("de"), meta("de", data_complete=first))
    file.write_part("en", rows("en"), meta("en", data_complete=second))
    assert file.meta()["data_complete"] is whole
    file.merge(ORDER)
    assert file.meta()["data_complete"] is whole


def test_numbers_by_language_are_put_together(file: OutcomeFile) -> None:
    for unit, tied in (("zh", 147), ("de", 0)):
        own = {"candidates": {unit: 1_000}, "indistinct": {unit: tied}}
        file.write_part(unit, rows(unit), meta(unit, **own))
    file.write_part("ar", rows("ar"), meta("ar"))  # of before
    file.merge(ORDER)
    joined = read_meta(file.path)
    assert list(joined["indistinct"].items()) == [
        (unit, {"zh": 147, "de": 0}[unit]) for unit in joined["languages"] if unit != "ar"
    ]
    assert joined["candidates"] == {"zh": 1_000, "de": 1_000}


def test_languages_measured_elsewhere_are_said(file: OutcomeFile) -> None:
    keep(file, "de")
    file.write_part("zh", rows("zh"), meta("zh", libraries={"torch": "3"}))
    file.merge(ORDER)
    keep(file, "ar")
    assert read_meta(file.path)["mixed"] == ["libraries"]


def test_resumed_is_undisturbed_but_for_the_timing(tmp_path: Path) -> None:
    undisturbed, resumed = (OutcomeFile(tmp_path / n / "t.0.parquet") for n in ("a", "b"))
    keep(undisturbed, "ar", "de", "en", "zh")
    keep(resumed, "ar", "de", merged=False)  # killed here, and started again
    keep(resumed, "en", "zh", merged=False)  # killed between the last part and merging
    resumed.merge(ORDER)
    assert pq.read_table(resumed.path).equals(pq.read_table(undisturbed.path))
    assert read_meta(resumed.path) == read_meta(undisturbed.path)


def test_a_run_killed_between_merging_and_removing_the_parts(
    file: OutcomeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)
        keep(file, "de", "en")
    assert file.parts.exists()
    assert set(file.done().values()) == {file.path}
    before = file.path.stat().st_mtime_ns
    file.merge(ORDER)
    check(file, ["de", "en"])
    assert file.path.stat().st_mtime_ns == before


def test_a_part_left_half_written_is_no_unit(file: OutcomeFile) -> None:
    keep(file, "de", merged=False)
    (file.parts / ".en.parquet.0a1b2c3d").write_bytes(b"PAR1")
    assert list(file.done()) == ["de"]
    file.merge(ORDER)
    check(file, ["de"])


def test_what_a_killed_merge_left_is_swept(file: OutcomeFile) -> None:
    keep(file, "de", merged=False)
    left = file.path.with_name(f".{file.path.name}.0a1b2c3d.tmp")
    other = file.path.with_name(f".other.{file.path.name}.0a1b2c3d.tmp")
    for path in (left, other):
        path.write_bytes(b"PAR1")
    file.merge(ORDER)
    check(file, ["de"])
    assert not left.exists()
    assert other.exists()
    left.write_bytes(b"PAR1")
    file.remove()
    assert not left.exists()


def write_and_merge(path: Path, names: Sequence[str]) -> None:
    for name in names:
        keep(OutcomeFile(path), name)


def test_two_runs_on_one_folder_lose_nothing(file: OutcomeFile) -> None:
    units = {name: [f"{name}{n:02}" for n in range(15)] for name in "ab"}
    context = multiprocessing.get_context("spawn")
    runs = [
        context.Process(target=write_and_merge, args=(file.path, names)) for names in units.values()
    ]
    for run in runs:
        run.start()
    seen = 0
    while any(run.is_alive() for run in runs):  # and whoever reads meanwhile finds whole units
        if file.path.exists():
            for unit in file.meta()["languages"]:
                assert file.read(unit).to_pylist() == rows(unit).to_pylist()
                seen += 1
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    assert seen > 0
    check(file, [*units["a"], *units["b"]])


# What breaks


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and no more PAR1"], ids=repr)
def test_a_damaged_file(file: OutcomeFile, content: bytes) -> None:
    keep(file, "de")
    file.path.write_bytes(content)
    calls: list[Callable[[], object]] = [
        file.done,
        file.meta,
        lambda: file.read("de"),
        lambda: read_meta(file.path),
    ]
    for call in calls:
        with pytest.raises(DataError, match=r"not a readable outcome file.*delete it") as raised:
            call()
        assert "\n" not in str(raised.value)


def test_a_file_cut_in_its_rows(file: OutcomeFile) -> None:
    keep(file, "de")
    content = bytearray(file.path.read_bytes())
    content[4:60] = bytes(56)
    file.path.write_bytes(content)
    with pytest.raises(DataError, match="delete it"):
        file.read("de")


def test_a_parquet_file_of_something_else(file: OutcomeFile) -> None:
    file.path.parent.mkdir(parents=True)
    pq.write_table(rows("de"), file.path)
    with pytest.raises(DataError, match="no xharness metadata"):
        file.meta()
    pq.write_table(rows("de").replace_schema_metadata({"xharness": "{"}), file.path)
    with pytest.raises(DataError, match="Expecting"):
        file.meta()


def test_a_damaged_part_stops_the_merge(file: OutcomeFile) -> None:
    keep(file, "de", "en", merged=False)
    (file.parts / "de.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"de\.parquet"):
        file.merge(ORDER)
    assert (file.parts / "en.parquet").exists()


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_full_disk_keeps_what_is_finished(
    file: OutcomeFile, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    keep(file, "ar")
    keep(file, "de", merged=False)
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        attempts: list[Callable[[], None]] = [
            lambda: file.write_part("en", rows("en"), meta("en")),
            lambda: file.merge(ORDER),
        ]
        for attempt in attempts:
            with pytest.raises(IncompleteError, match=r"the disk is full.*--out") as raised:
                attempt()
            assert "\n" not in str(raised.value)
    assert list(file.done()) == ["ar", "de"]
    hidden = [path for path in file.path.parent.rglob(".*") if path.suffix != ".lock"]
    assert hidden == []
    file.merge(ORDER)
    check(file, ["ar", "de"])


def test_a_full_disk_as_parquet_reports_it(
    file: OutcomeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(IncompleteError, match="the disk is full"):
        keep(file, "de")
    assert file.done() == {}


def test_a_folder_that_cannot_be_written(
    file: OutcomeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(file, "de")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(IncompleteError, match=r"cannot write to .*: Permission denied"):
        file.write_part("en", rows("en"), meta("en"))
    # What is finished can be read, and a run that has nothing to add has nothing to write.
    assert len(file.read("de")) == 2
    file.merge(ORDER)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(file: OutcomeFile) -> None:
    keep(file, "de")
    file.path.parent.chmod(0o555)
    try:
        with pytest.raises(IncompleteError, match="cannot write to"):
            keep(file, "en")
        check(file, ["de"])
    finally:
        file.path.parent.chmod(0o755)


def test_a_results_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    file = outcome_file(tmp_path / "results", "org__name", "0" * 12, "tatoeba", "0" * 8)
    with pytest.raises(IncompleteError, match="cannot write to"):
        keep(file, "de")


def test_what_is_not_there(file: OutcomeFile) -> None:
    with pytest.raises(NotFoundError, match="xharness eval"):
        file.meta()
    with pytest.raises(NotFoundError, match="no rows of de"):
        file.read("de")
    keep(file, "en")
    with pytest.raises(NotFoundError, match="no rows of de"):
        file.read("de")


def test_a_link_that_leads_nowhere_is_a_damaged_file(file: OutcomeFile) -> None:
    why = r"\.parquet is not .* \(it is a link that leads nowhere\)"
    file.path.parent.mkdir(parents=True)
    file.path.symlink_to("nowhere")
    with pytest.raises(DataError, match=why):
        file.meta()
    assert file.done() == {}  # A run takes its place.
    file.path.unlink()
    file.parts.mkdir()
    (file.parts / "de.parquet").symlink_to("nowhere")
    with pytest.raises(
        DataError, match=r"de\.parquet is not .* \(it is a link that leads nowhere\)"
    ):
        file.meta()


def test_find(tmp_path: Path) -> None:
    whole, partial, empty = (
        outcome_file(tmp_path, "org__na.me", "0" * 12, task, "89abcdef")
        for task in ("tatoeba", "lareqa", "xquad")
    )
    keep(whole, "de", "en")
    keep(whole, "ar", merged=False)
    keep(partial, "de", merged=False)
    empty.parts.mkdir()  # a run killed before it kept anything
    pq.write_table(rows("de"), tmp_path / "scores.parquet")
    assert find(tmp_path) == [partial, whole]
    assert find(whole.path) == [whole]
    assert find(tmp_path / "org__na.me" / ("0" * 12)) == [partial, whole]
    assert json.loads(json.dumps(whole.meta()))["languages"] == ["de", "en", "ar"]


def test_find_follows_a_checkpoint_or_revision_that_is_a_link(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "results", tmp_path / "elsewhere"
    for folder, slug in ((root, "org__own"), (elsewhere, "org__other")):
        whole, partial = (
            outcome_file(folder, slug, "0" * 12, task, "89abcdef") for task in ("tatoeba", "xquad")
        )
        keep(whole, "de")
        keep(partial, "de", merged=False)
    own = find(root)
    (root / "a_loop").symlink_to(root)
    (root / "org__again").symlink_to(root / "org__own")
    (root / "org__nothing").symlink_to(tmp_path / "nothing")
    assert find(root) == own  # each once, by its own name
    other = find(elsewhere)
    (root / "org__other").symlink_to(elsewhere / "org__other")
    there = [OutcomeFile(root / file.path.relative_to(elsewhere)) for file in other]
    assert find(root) == [*there, *own]
    assert find(root / "org__other") == there
    (root / "org__other").unlink()
    (root / "org__other").mkdir()
    (root / "org__other" / ("0" * 12)).symlink_to(elsewhere / "org__other" / ("0" * 12))
    assert find(root) == [*there, *own]


def test_a_run_from_scratch_leaves_other_languages_alone(file: OutcomeFile) -> None:
    keep(file, "de", "en", "zh")
    keep(file, "ar", merged=False)
    file.remove({"en", "ar"})
    assert set(file.done()) == {"en", "ar"}
    assert file.meta()["languages"] == ["en", "ar"]
    file.merge(ORDER)
    check(file, ["ar", "en"])
    file.remove({"ar"})
    check(file, ["ar"])
    file.remove()
    assert not file.path.exists()
    keep(file, "de", "zh", merged=False)
    file.remove({"zh"})
    assert list(file.done()) == ["zh"]
    file.remove()
    assert not file.parts.exists()


def test_what_one_part_was_trained_on_counts_for_the_file(file: OutcomeFile) -> None:
    file.write_part("de", rows("de"), meta("de"))
    file.merge(ORDER)
    file.write_part("zh", rows("zh"), meta("zh", contaminated=["tatoeba"]))
    assert file.meta()["contaminated"] == ["tatoeba"]
    file.merge(ORDER)
    assert read_meta(file.path)["contaminated"] == ["tatoeba"]


def test_parts_on_two_revisions_of_a_base_are_no_file(file: OutcomeFile) -> None:
    for unit, base in (("de", "org/base@1"), ("zh", "org/base@2")):
        file.write_part(unit, rows(unit), meta(unit, base=base))
    with pytest.raises(DataError, match="of base org/base@1 and org/base@2"):
        file.meta()
