import json

import pytest

from viztool.errors import ModelError
from viztool.models.classes import imagenet_classes, read_classes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "cat\ndog\nhot dog\n"),
        ("names.txt", "\ufeffcat\r\n dog \r\nhot dog\r\n\r\n"),
        ("names", "cat\ndog\nhot dog"),
        ("names.json", '["cat", "dog", "hot dog"]'),
        ("names.json", '{"0": "cat", "2": "hot dog", "1": "dog"}'),
        ("names.json", '{"0": ["n01", "cat"], "1": ["n02", "dog"], "2": ["n03", "hot dog"]}'),
    ],
)
def test_files_of_names(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read_classes(tmp_path / name) == read_classes(str(tmp_path / name)) == ("cat", "dog", "hot dog")


def test_sequences_of_names():
    assert read_classes(["cat", "dog"]) == read_classes(name for name in ("cat", "dog")) == ("cat", "dog")
    assert read_classes(range(3)) == ("0", "1", "2")


def test_imagenet_has_its_thousand():
    names = imagenet_classes()
    assert len(names) == 1000
    assert (names[0], names[281], names[999]) == ("tench", "tabby", "toilet tissue")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "there is no file of class names {file}"),
        ("empty.txt", b"\n\n", "{file} holds no class names: write one a line"),
        ("binary.txt", b"\xff\xfe\x00", "{file} is not a text file in UTF-8: write one class name a line"),
        ("cut.json", b'["cat"', "{file} is not valid JSON: Expecting ',' delimiter: line 1 column 7 (char 6)"),
        ("number.json", b"3", "{file} must hold a JSON list of names, or a dict from index to name"),
        (
            "gap.json",
            json.dumps({"0": "cat", "2": "dog"}).encode(),
            "{file} must map every index from 0 to 1 to a name",
        ),
    ],
)
def test_files_that_are_no_good(name, content, message, tmp_path):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelError) as error:
        read_classes(file)
    assert str(error.value) == message.format(file=file)


def test_a_folder_of_names(tmp_path):
    with pytest.raises(ModelError) as error:
        read_classes(tmp_path)
    assert str(error.value) == f"the class names in {tmp_path} cannot be read: Is a directory"
