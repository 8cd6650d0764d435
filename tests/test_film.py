"""Films: every frame, for as long as it was to be seen, in a GIF and in an MP4."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from viztool.errors import ImageError
from viztool.images import mark_of, read_mark, signed_by, write_film

COLOURS = [(200, 30, 30), (30, 160, 60), (40, 60, 200)]
DURATIONS = [100, 250, 1000]


@pytest.fixture
def frames():
    """Three plain colours, of sides that are odd."""
    return [np.full((33, 47, 3), colour, np.uint8) for colour in COLOURS]


def test_a_gif(frames, tmp_path):
    path = write_film(tmp_path / "x.gif", frames, DURATIONS, mark=mark_of())
    with Image.open(path) as film:
        seen = [
            (frame.info["duration"], frame.convert("RGB").getpixel((5, 5))) for frame in ImageSequence.Iterator(film)
        ]
    assert [duration for duration, _ in seen] == DURATIONS
    assert np.abs(np.subtract([colour for _, colour in seen], COLOURS)).max() <= 2
    assert read_mark(path) == mark_of()


def test_an_mp4(frames, tmp_path):
    av = pytest.importorskip("av")
    with signed_by("viztool kernels -o x.mp4", 3):
        path = write_film(tmp_path / "x.mp4", frames, DURATIONS, mark=mark_of())
    with av.open(str(path)) as film:
        seen = [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]
    assert [round(1000 * at) for at, _ in seen] == [0, 100, 350, 1350]
    for (_, picture), colour in zip(seen, [*COLOURS, COLOURS[-1]], strict=True):
        assert picture.shape == (34, 48, 3)
        assert np.abs(picture[4:28, 4:40].astype(int) - colour).max() <= 12, "but for what a video leaves of a colour"
    mark = read_mark(path)
    assert (mark.command, mark.seed) == ("viztool kernels -o x.mp4", 3)


def test_what_was_not_made_here_is_kept(frames, tmp_path):
    pytest.importorskip("av")
    (tmp_path / "x.mp4").write_bytes(b"\0\0\0\x18ftypmp42 mine")
    with pytest.raises(ImageError, match="exists; use --force"):
        write_film(tmp_path / "x.mp4", frames, force=False)
    write_film(tmp_path / "y.mp4", frames, force=False, mark=mark_of())
    write_film(tmp_path / "y.mp4", frames[:2], force=False, mark=mark_of())


def test_what_is_no_film(frames, tmp_path, monkeypatch):
    with pytest.raises(ImageError, match=r"x\.png has the suffix \.png; a picture is written as \.gif, \.mp4"):
        write_film(tmp_path / "x.png", frames)
    with pytest.raises(ImageError, match="a film is of frames of one size; these have 2"):
        write_film(tmp_path / "x.gif", [*frames, frames[0][:4]])
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(ImageError, match=r"an \.mp4 needs PyAV: pip install 'viztool\[video\]', or write a \.gif"):
        write_film(tmp_path / "x.mp4", frames)
    assert list(tmp_path.iterdir()) == []
