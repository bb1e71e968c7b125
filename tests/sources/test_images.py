"""Every kind of source lists the same on every machine, and reaches nothing but its own files."""

import io
import tarfile

import pytest

from factory.errors import UserError
from factory.job import Images
from factory.sources.images import listing, read
from factory.sources.item import Item


def put(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def tar(path, **members):
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def test_a_folder_is_listed_by_name_whatever_else_lies_there(tmp_path):
    for name in ("b.jpg", "a/c.PNG", "a/notes.txt", "a.webp"):
        put(tmp_path / name, name.encode())
    spec = Images(path=str(tmp_path))
    assert [item.name for item in listing(spec, 0)] == ["a.webp", "a/c.PNG", "b.jpg"]
    assert read(spec, "a/c.PNG") == b"a/c.PNG"


def test_a_list_keeps_its_order_and_says_what_people_do(tmp_path):
    path = put(tmp_path / "some" / "list.txt", b"# mine\nb.jpg\thigh jump\n\na/c.jpg\nb.jpg\tdiving\n")
    put(tmp_path / "some" / "a" / "c.jpg", b"c")
    spec = Images(kind="list", path=str(path))
    assert listing(spec, 0) == [Item("b.jpg", "diving"), Item("a/c.jpg")]
    assert read(spec, "a/c.jpg") == b"c"
    with pytest.raises(OSError):
        read(spec, "b.jpg")


@pytest.mark.parametrize("line", ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg"])
def test_a_list_stays_in_its_folder(tmp_path, line):
    path = put(tmp_path / "some" / "list.txt", f"ok.jpg\n{line}\n".encode())
    with pytest.raises(UserError, match="list.txt:2 leaves the folder"):
        listing(Images(kind="list", path=str(path)), 0)


def test_shards_give_their_images_and_texts(tmp_path):
    first = {"k1.jpg": b"one", "k1.txt": b"diving\n", "k1.initial.jpg": b"other", "k1.json": b"{}"}
    tar(tmp_path / "s-1.tar", **{"d/k3.png": b"three", "d/k3.txt": b"dancing"})
    tar(tmp_path / "s-0.tar", **first, **{"k2.jpg": b"two"})
    tar(tmp_path / "other.tar", **{"k9.jpg": b"nine"})
    expected = [Item("s-0.tar/k1.jpg", "diving"), Item("s-0.tar/k2.jpg"), Item("s-1.tar/d/k3.png", "dancing")]
    spec = Images(kind="webdataset", path=str(tmp_path / "s-*.tar"))
    assert listing(spec, 0) == expected
    assert [read(spec, item.name) for item in expected] == [b"one", b"two", b"three"]
    assert len(listing(Images(kind="webdataset", path=str(tmp_path)), 0)) == 4
    with pytest.raises(KeyError):
        read(spec, "s-0.tar/gone.jpg")


def test_a_damaged_shard_is_named(tmp_path):
    put(tmp_path / "s.tar", b"no tar")
    with pytest.raises(UserError, match=r"s\.tar is not an uncompressed tar"):
        listing(Images(kind="webdataset", path=str(tmp_path)), 0)


@pytest.mark.parametrize("kind", ["folder", "list", "webdataset", "skipose", "smart"])
def test_nothing_there(tmp_path, kind):
    with pytest.raises(UserError, match=r"images\.path: "):
        listing(Images(kind=kind, path=str(tmp_path / "gone")), 0)


def test_shares_are_drawn_by_seed_and_lie_in_each_other(tmp_path):
    for i in range(40):
        put(tmp_path / f"{i:02d}.jpg")

    def share(part, seed=1):
        return [item.name for item in listing(Images(path=str(tmp_path), share=part), seed)]

    small, half, whole = share(0.05), share(0.5), share(1.0)
    assert (len(small), len(half), len(whole)) == (2, 20, 40)
    assert set(small) < set(half) < set(whole) and half == sorted(half)
    assert share(0.5) == half != share(0.5, seed=2)
