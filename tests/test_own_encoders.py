"""Encoders of one's own: what they give is checked, and an edit gives new embeddings."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clipnb import Result, RunSpec, UserError, embed_images, load_dataset, load_encoder, run
from clipnb.encoders.custom import weights_digest
from clipnb.execution.sweep import numbers_only
from clipnb.report.text import summary
from clipnb.runs import current_result, saved_or_new
from conftest import PhotoFolder, Printed, TinyEncoder, one_line, picture

SOURCE = """
import numpy as np
from PIL import Image

class Mine:
    dim, input_size = 12, 2
    {attributes}

    def prepare(self, image):
        return np.asarray(Image.fromarray(image).resize((2, 2)))

    def encode(self, batch):
        v = batch.reshape(len(batch), -1) / 255.0 - 0.5
        unit = v / np.linalg.norm(v, axis=1, keepdims=True)
        return {returned}

def build({argument}):
    {body}
    return Mine()
"""


def write(folder: Path, name: str, returned: str = "unit", attributes: str = "", argument: str = "", body: str = "") -> None:
    text = SOURCE.format(returned=returned, attributes=attributes, argument=argument, body=body)
    (folder / f"{name}.py").write_text(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("v", "the first, of b/00.png, has length"),
        ("unit * 0", "has length 0"),
        ("unit * np.where(np.arange(len(v)) == 0, np.nan, 1)[:, None]", "; the first, of b/00.png, is not finite"),
        ("unit[:, :5]", r"not an array of shape \(6, 5\)"),
        ("unit[1:]", r"not an array of shape \(5, 12\)"),
        ("unit.ravel()", r"not an array of shape \(72,\)"),
        ("{}", "not dict"),
        ("None", "should return 6 vectors of 12 numbers and length 1"),
    ],
)
def test_what_an_encoder_returns_is_checked(here: Path, photo_folder: PhotoFolder, returned: str, said: str) -> None:
    write(here, "wrong", returned, attributes="name = 'mine'")
    folder = photo_folder({"b": 3, "c": 3})
    with one_line(f"encoder 'wrong:build' .*{said}"):
        run(RunSpec(str(folder), "original", "wrong:build", k=2, duplicates=-2), workers=1, progress=False)
    with pytest.raises(UserError, match="encoder 'wrong:build' should return 1 vectors"):
        embed_images([picture(1)], load_encoder("wrong:build"))
    with one_line(r"an image is an RGB array \(height, width, 3\) of uint8, not \(32, 48, 3\) of float64"):
        embed_images([picture(1) / 255], load_encoder("wrong:build"))
    with one_line("an image is an RGB array .*, not Photo"):
        embed_images([load_dataset(folder).photos[0]], load_encoder("wrong:build"))  # type: ignore[list-item]


def test_what_is_typed_in_place_of_a_list_or_an_object_is_one_line(photo_folder: PhotoFolder) -> None:
    folder = photo_folder({"b": 3, "c": 3})
    photos = [photo.path for photo in load_dataset(folder).photos]
    assert np.array_equal(embed_images(photos, "tiny"), embed_images(photos, load_encoder("tiny")))
    for path in (folder, str(folder)):
        with one_line("images is a list, not one path: .* for a file, .photo.path for photo in .* for a folder"):
            embed_images(path, "tiny")
    spec = RunSpec(folder, "grey", "tiny", k=2)  # type: ignore[arg-type]
    for call, said in (
        (lambda: embed_images(photos, "tiny", batch_size=0), "batch_size must be a whole number from 1 up, not 0"),
        (lambda: embed_images(photos, "tinny"), "unknown encoder 'tinny'"),
        (lambda: embed_images(photos, TinyEncoder), "encoder 'tiny' is a class: an encoder is an object of it"),  # type: ignore[arg-type]
        (lambda: embed_images([picture(1)[:0]], "tiny"), "an image is an RGB array .* of uint8, not .0, 48, 3. of uint8"),
        (lambda: load_encoder(None), "unknown encoder 'None'"),  # type: ignore[arg-type]
        (lambda: run("photos"), "run takes a specification, not 'photos': clipnb.run.clipnb.RunSpec"),  # type: ignore[arg-type]
        (lambda: run(spec, encoder="tiny"), "encoder is an encoder, not a name: "),  # type: ignore[arg-type]
        (lambda: run(spec, workers=-1), "workers must be a whole number from 0 up, not -1"),
    ):
        with one_line(said):
            call()
    saved = run(spec, progress=False).save(f"{folder}-results")
    assert Result.load(str(saved)).spec == spec


def test_a_factory_that_fails_says_where(here: Path) -> None:
    write(here, "fails", body="len(3)")
    write(here, "asks", argument="size")
    (here / "broken.py").write_text("def build(:\n")
    write(here, "fixed", attributes="identity = property(lambda self: 'mine')")
    for name, said in (
        ("fails:build", r"encoder 'fails:build' failed: TypeError: object of type 'int' .*\(fails.py, line \d+\)"),
        ("fixed:build", "encoder 'fixed:build': its name, weights_sha256 and identity must be attributes that can be set: "),
        ("asks:build", "an encoder or a function without arguments: missing a required argument: 'size'"),
        ("asks.py:build", r"encoder 'asks.py:build' cannot be imported: No module named 'asks.py'"),
        ("broken:build", "encoder 'broken:build' cannot be imported: SyntaxError"),
    ):
        with pytest.raises(UserError, match=said):
            load_encoder(name)


@pytest.mark.parametrize(
    ("attribute", "value", "wanted"),
    [
        ("identity", "{'weights': 'a'}", "a text that is not empty"),
        ("identity", "b'mine'", "a text that is not empty"),
        ("identity", "' '", "a text that is not empty"),
        ("name", "None", "a text that is not empty"),
        ("weights_sha256", "7", 'a text, "" without weights'),
        ("dim", "'12'", "a whole number from 1 up"),
        ("dim", "12.0", "a whole number from 1 up"),
        ("dim", "0", "a whole number from 1 up"),
        ("dim", "True", "a whole number from 1 up"),
        ("input_size", "(2, 2)", "a whole number from 1 up"),
        ("batch_size", "'8'", "a whole number from 1 up"),
        ("batch_size", "0", "a whole number from 1 up"),
        ("sees_whole", "'no'", "True or False"),
        ("device", "0", "a text, such as 'cuda'"),
        ("prepare", "None", "a method"),
        ("encode", "np.eye(3)", "a method"),
    ],
)
def test_an_attribute_of_a_wrong_type_is_named(here: Path, attribute: str, value: str, wanted: str) -> None:
    write(here, "typed", body=f"Mine.{attribute} = {value}")
    with one_line(f"encoder 'typed:build': its {attribute} should be {wanted}, not .*") as caught:
        load_encoder("typed:build")
    assert str(caught.value).isprintable()
    write(
        here, "given", attributes="name = 'histogram'; identity = 'mine'; weights_sha256 = ''", body=f"Mine.{attribute} = {value}"
    )
    encoder = importlib.import_module("given").build()
    for use in (lambda: embed_images([picture(1)], encoder), lambda: run(RunSpec("sample-figures"), encoder=encoder)):
        with one_line(f"encoder .*: its {attribute} should be {wanted}, not "):
            use()


def test_an_encoder_that_is_given_has_all_attributes() -> None:
    class Empty:
        dim = 3

    with one_line("encoder 'Empty' is an object without input_size, prepare, encode, name, identity, weights_sha256: "):
        embed_images([], Empty())  # type: ignore[arg-type]


def test_the_numbers_of_numpy_are_numbers(here: Path, photo_folder: PhotoFolder, own_results: Path) -> None:
    write(here, "numpy_numbers", body="Mine.dim, Mine.input_size = np.int64(12), np.int64(2)")
    spec = RunSpec(str(photo_folder({"b": 3, "c": 3})), "original", "numpy_numbers:build", k=2)
    saved_or_new(spec)
    assert current_result(spec) is not None


def test_an_error_while_weights_are_hashed_is_not_told_as_one_of_attributes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here, "hashed")
    monkeypatch.setattr("clipnb.encoders.custom.weights_digest", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_encoder("hashed:build")


def test_an_encoder_that_fails_on_photographs_says_where(here: Path, photo_folder: PhotoFolder) -> None:
    folder = str(photo_folder({"b": 3, "c": 3}))
    write(here, "raises", "absent")
    with pytest.raises(UserError, match=r"encoder 'raises:build' failed: NameError: .*'absent'.* \(raises.py, line \d+\)"):
        run(RunSpec(folder, "original", "raises:build", k=2), progress=False)
    write(here, "prepares", body="Mine.prepare = lambda self, image: image.resize((2, 2))")
    write(here, "shapes", body="Mine.prepare = lambda self, image: image[: 1 + int(image.sum()) % 7]")
    with pytest.raises(UserError, match=r"encoder 'shapes:build' prepares inputs of different shapes: \(\S+, .*\) of \d"):
        run(RunSpec(folder, "original", "shapes:build", k=2), progress=False)
    said = r"none of the 6 images in .* can be used; the first: b/00.png: ValueError: .* \(prepares.py, line \d+\)"
    with pytest.raises(UserError, match=said):
        run(RunSpec(folder, "original", "prepares:build", k=2), progress=False)


def test_an_encoder_that_exits_is_one_line(here: Path, photo_folder: PhotoFolder) -> None:
    folder = str(photo_folder({"b": 3, "c": 3}))
    write(here, "leaves", "__import__('sys').exit('weights are missing')")
    write(here, "stops", body="__import__('sys').exit(3)")
    write(here, "quits", body="Mine.prepare = lambda self, image: __import__('sys').exit(3)")
    (here / "asks.py").write_text("import argparse\nargparse.ArgumentParser().parse_args(['--weights'])\n")
    for name, said in (
        ("leaves:build", r"encoder 'leaves:build' failed: SystemExit: weights are missing \(leaves.py, line \d+\)"),
        ("stops:build", r"encoder 'stops:build' failed: SystemExit: 3 \(stops.py, line \d+\)"),
        ("quits:build", r"none of the 6 images in .* can be used; the first: b/00.png: SystemExit: 3 \(quits.py, line \d+\)"),
        ("asks:build", "encoder 'asks:build' cannot be imported: SystemExit: 2"),
    ):
        with one_line(said):
            run(RunSpec(folder, "original", name, k=2), progress=False)


def test_two_encoders_of_a_module_with_one_identity_share_no_embeddings(here: Path) -> None:
    write(here, "two", attributes="identity = 'mine'")
    with (here / "two.py").open("a") as file:
        file.write("def other():\n    return Mine()\n")
        file.write("one = Mine()\n")
    assert load_encoder("two:build").identity != load_encoder("two:other").identity
    assert load_encoder("two:one").identity == load_encoder("two:one").identity  # an object, loaded again


def test_the_cache_knows_an_encoder_by_the_name_that_is_typed(here: Path, photo_folder: PhotoFolder, printed: Printed) -> None:
    spec = RunSpec(str(photo_folder({"b": 3, "c": 3})), "original", "listed:build", k=2)
    write(here, "listed", attributes="name = identity = 'mine'")
    write(here, "refused", "2 * unit")
    assert list(numbers_only([spec, replace(spec, encoder="refused:build")])) == [spec.run_id.replace("listed", "refused")]
    assert "refused:build (empty, unused)" in printed("cache")
    assert "1 part of the cache deleted" in printed("cache", "prune")
    assert "1 part of the cache deleted" in printed("cache", "prune", "listed:build")


@pytest.mark.parametrize("attributes", ["", "identity = 'mine'"])
def test_the_result_of_an_edited_encoder_is_made_again(
    here: Path, photo_folder: PhotoFolder, own_results: Path, attributes: str
) -> None:
    spec = RunSpec(str(photo_folder({"b": 3, "c": 3})), "grey", "edited:build", k=2)
    write(here, "edited", attributes=attributes)
    assert not numbers_only([spec])
    assert current_result(spec) is not None
    first = saved_or_new(spec).provenance
    assert run(spec, progress=False).provenance["embedded_now"] == 0
    write(here, "edited", "unit[:, ::-1] * np.sign(np.arange(12) - 6.5)", attributes=attributes)
    assert current_result(spec) is None
    second = saved_or_new(spec).provenance
    assert second["embedded_now"] == first["embedded_now"] > 0
    assert second["encoder"]["identity"] != first["encoder"]["identity"]


def test_the_modules_and_the_weights_of_an_encoder_are_part_of_its_identity(here: Path) -> None:
    np.save(here / "w.npy", np.ones(3))
    (here / "helper.py").write_text("FACTOR = 1\n")
    write(here, "parts", attributes="from helper import FACTOR", body=f"Mine.w = np.load({str(here / 'w.npy')!r})")
    identity = load_encoder("parts:build").identity
    assert load_encoder("parts:build").identity == identity
    (here / "helper.py").write_text("FACTOR = 20\n")
    edited = load_encoder("parts:build")
    assert edited.FACTOR == 20  # type: ignore[attr-defined]
    assert edited.identity != identity
    np.save(here / "w.npy", np.zeros(3))
    assert (reweighted := load_encoder("parts:build").identity) != edited.identity
    sys.modules["parts"].BIAS = np.ones(3)  # type: ignore[attr-defined]
    assert load_encoder("parts:build").identity != reweighted


def test_torch_weights_are_part_of_an_identity(here: Path) -> None:
    torch = pytest.importorskip("torch")
    body = "import torch; torch.manual_seed(0); Mine.net = torch.nn.Linear(2, 2, dtype=torch.bfloat16)"
    write(here, "with_torch", body=body)
    first, second = (load_encoder("with_torch:build") for _ in range(2))
    assert first.identity == second.identity
    with torch.no_grad():
        type(first).net.weight += 1  # type: ignore[attr-defined]
    assert weights_digest(first, "with_torch") not in second.identity


def test_inputs_that_are_no_8_bit_images_give_a_run_that_is_read_again(
    here: Path, photo_folder: PhotoFolder, tmp_path: Path
) -> None:
    write(here, "floats", body="Mine.prepare = lambda self, image: image[:2, :2].astype(np.float32).ravel()")
    result = run(RunSpec(str(photo_folder({"cats": 3, "dogs": 3})), "jpeg", "floats:build", 2), progress=False)
    again = Result.load(result.save(tmp_path / "results"))
    assert again.means("valid") == result.means("valid")
    assert again.rows["strength"].isna().all()
    assert "unknown, because the encoder's inputs are not 8-bit images" in summary(again)
