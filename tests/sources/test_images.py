"""Every kind of source lists the same on every machine, reaches nothing but its own files, and tells what it leaves
out."""

import contextlib
import io
import os
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import UserError
from factory.job import ImagesSpec
from factory.sources.images import identity, listing, read_image
from factory.sources.item import SUFFIXES
from factory.untrusted import Unreadable


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


def names(spec):
    return [item.name for item in listing(spec, 0).items]


def told(spec):
    """What the listing says beside the images."""
    found = listing(spec, 0)
    return found.left_out.lines() + found.notes


def test_a_folder_is_listed_by_name_whatever_else_lies_there(tmp_path):
    for name in ("b.jpg", "a/c.PNG", "a/notes.txt", "a.webp", "d.jfif"):
        put(tmp_path / name, name.encode())
    spec = ImagesSpec(path=str(tmp_path))
    assert names(spec) == ["a.webp", "a/c.PNG", "b.jpg", "d.jfif"]
    assert told(spec) == ["1 files that are no pictures, such as a/notes.txt"]
    assert read_image(spec, "a/c.PNG") == b"a/c.PNG"


def test_what_file_managers_leave_is_no_picture(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".thumbnails/a.jpg", "__MACOSX/x/._a.jpg", "x/@eaDir/a.jpg", ".DS_Store"):
        put(tmp_path / name)
    spec = ImagesSpec(path=str(tmp_path))
    assert names(spec) == ["a.jpg"]
    assert told(spec)[0].startswith("5 hidden files and folders, such as ")


def test_pictures_of_kinds_that_are_not_read_are_told(tmp_path):
    put(tmp_path / "a.HEIC")
    put(tmp_path / "b.heic")
    with pytest.raises(UserError, match=r"no images .*\(but 2 \.heic pictures, which are not read \(convert them"):
        listing(ImagesSpec(path=str(tmp_path)), 0)
    put(tmp_path / "c.jpg")
    assert told(ImagesSpec(path=str(tmp_path)))[0].startswith("2 .heic pictures, which are not read")


def test_linked_folders_are_followed_once(tmp_path):
    """Neither lost in silence nor, by a circle or a second way, listed twice."""
    put(tmp_path / "elsewhere" / "deep" / "b.jpg")
    put(tmp_path / "images" / "real" / "a.jpg")
    images = tmp_path / "images"
    (images / "linked").symlink_to(tmp_path / "elsewhere")
    (images / "again").symlink_to(images / "real")
    (images / "real" / "round").symlink_to(images)
    (tmp_path / "elsewhere" / "back").symlink_to(images)
    (images / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    (images / "self").symlink_to("self")
    (images / "c.jpg").symlink_to(tmp_path / "elsewhere" / "deep" / "b.jpg")
    spec = ImagesSpec(path=str(images))
    assert names(spec) == ["c.jpg", "linked/deep/b.jpg", "real/a.jpg"]
    lines = " | ".join(told(spec))
    assert "3 linked folders that are listed already" in lines and "linked folders were followed" in lines
    assert "links that lead nowhere" in lines


def test_a_name_that_is_not_utf_8_is_left_out_and_told(tmp_path):
    put(tmp_path / "a.jpg")
    os.makedirs(os.fsencode(tmp_path) + b"/caf\xe9")
    for name in (b"/caf\xe9.jpg", b"/caf\xe9/b.jpg"):
        with open(os.fsencode(tmp_path) + name, "wb"):
            pass
    spec = ImagesSpec(path=str(tmp_path))
    assert names(spec) == ["a.jpg"]
    (line,) = told(spec)
    assert line.startswith("2 files and folders whose names are not UTF-8 (rename them), such as caf\\udce9")
    assert line.isascii()


def test_a_list_keeps_its_order_and_says_what_people_do(tmp_path):
    path = put(tmp_path / "some" / "list.txt", b"# mine\nb.jpg\thigh jump\n\na/c.jpg\nb.jpg\tdiving\n")
    put(tmp_path / "some" / "a" / "c.jpg", b"c")
    spec = ImagesSpec(kind="list", path=str(path))
    assert [(item.name, item.action) for item in listing(spec, 0).items] == [("b.jpg", "diving"), ("a/c.jpg", "")]
    assert told(spec) == [
        "1 lines that name an image again (the last one counts), such as b.jpg",
        "1 of 2 images are not there, such as b.jpg",
    ]
    assert read_image(spec, "a/c.jpg") == b"c"
    with pytest.raises(OSError):
        read_image(spec, "b.jpg")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_written_on_windows(tmp_path, encoding):
    """A byte-order mark, UTF-16 as PowerShell writes it, backslashes, CR LF."""
    put(tmp_path / "a" / "ü.jpg")
    put(tmp_path / "b\\c.jpg")  # a name may also hold one
    path = put(tmp_path / "list.txt", "a\\ü.jpg\tdiving\r\nb\\c.jpg\r\n".encode(encoding))
    spec = ImagesSpec(kind="list", path=str(path))
    assert [(item.name, item.action) for item in listing(spec, 0).items] == [("a/ü.jpg", "diving"), ("b\\c.jpg", "")]
    assert told(spec) == []


@pytest.mark.parametrize(
    "line", ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "..\\secret.jpg", "../somewhere/x.jpg"]
)
def test_a_list_stays_in_its_folder(tmp_path, line):
    put(tmp_path / "some" / "ok.jpg")
    path = put(tmp_path / "some" / "list.txt", f"ok.jpg\n{line}\n".encode())
    with pytest.raises(UserError, match="list.txt:2 leaves the folder"):
        listing(ImagesSpec(kind="list", path=str(path)), 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a.jpg\ncaf\xe9.jpg\n", "list.txt:2 is not UTF-8"), (b"a\0.jpg\n", "is no text"), (b"b.jpg\n", "none of the 1")],
)
def test_a_list_that_cannot_be_used(tmp_path, content, words):
    put(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=words):
        listing(ImagesSpec(kind="list", path=str(put(tmp_path / "list.txt", content))), 0)


def test_a_list_longer_than_any_is_not_read(tmp_path):
    os.truncate(put(tmp_path / "list.txt"), 1 << 40)
    with pytest.raises(UserError, match=r"list.txt is no list \(more than the 268,435,456 bytes that are read here\)$"):
        listing(ImagesSpec(kind="list", path=str(tmp_path / "list.txt")), 0)


def test_a_list_names_no_pipe_and_no_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    put(tmp_path / "folder.jpg" / "a.jpg")
    put(tmp_path / "real.jpg")
    put(tmp_path / "list.txt", b"pipe.jpg\nfolder.jpg\nreal.jpg")
    spec = ImagesSpec(kind="list", path=str(tmp_path / "list.txt"))
    assert told(spec) == ["2 of 3 images are not there, such as pipe.jpg"]


def test_a_picture_longer_than_any_is_not_read(tmp_path):
    os.truncate(put(tmp_path / "a.jpg"), 1 << 40)
    put(tmp_path / "b.jpg")
    spec = ImagesSpec(kind="folder", path=str(tmp_path), max_pixels=100)
    assert read_image(spec, "b.jpg") == b"x"
    with pytest.raises(Unreadable, match="more than 67,110,464 bytes"):
        read_image(spec, "a.jpg")


def test_a_list_beside_the_working_directory(tmp_path, monkeypatch):
    put(tmp_path / "a.jpg")
    put(tmp_path / "list.txt", f"a.jpg\n{tmp_path}/a.jpg\n".encode())
    monkeypatch.chdir(tmp_path)
    assert names(ImagesSpec(kind="list", path="list.txt")) == ["a.jpg"]


def test_shards_give_their_images_and_texts(tmp_path):
    first = {"k1.jpg": b"one", "k1.txt": b"diving\n", "k1.initial.jpg": b"other", "k1.json": b"{}"}
    tar(tmp_path / "s-1.tar", **{"d/k3.png": b"three", "d/k3.txt": b"\xef\xbb\xbfdancing"})
    tar(tmp_path / "s-0.tar", **first, **{"k2.jpg": b"two", "._k2.jpg": b"", "./k4.JPG": b"four"})
    tar(tmp_path / "other.tar", **{"k9.jpg": b"nine"})
    tar(tmp_path / "._s-0.tar")
    expected = [("s-0.tar/k1.jpg", "diving"), ("s-0.tar/k2.jpg", ""), ("s-0.tar/./k4.JPG", ""),
                ("s-1.tar/d/k3.png", "dancing")]  # fmt: skip
    spec = ImagesSpec(kind="webdataset", path=str(tmp_path / "s-*.tar"))
    assert [(item.name, item.action) for item in listing(spec, 0).items] == expected
    assert [read_image(spec, name) for name, _ in expected] == [b"one", b"two", b"four", b"three"]
    assert told(spec) == [
        "1 pictures beside their sample's image (KEY.NAME.jpg), such as s-0.tar/k1.initial.jpg",
        "1 hidden files and folders, such as s-0.tar/._k2.jpg",
    ]
    assert len(listing(ImagesSpec(kind="webdataset", path=str(tmp_path)), 0)) == 5
    with pytest.raises(KeyError):
        read_image(spec, "s-0.tar/gone.jpg")


def test_keys_with_dots_are_told_and_not_lost_in_silence(tmp_path):
    """webdataset ends a key at its first dot, so these two are one sample without an image."""
    import webdataset

    dotted = {"a.001.jpg": b"1", "a.002.jpg": b"2"}
    tar(tmp_path / "dots.tar", **dotted)
    spec = ImagesSpec(kind="webdataset", path=str(tmp_path / "dots.tar"))
    (sample,) = webdataset.WebDataset(str(tmp_path / "dots.tar"), shardshuffle=False, empty_check=False)
    assert {"001.jpg", "002.jpg"} < sample.keys() and "jpg" not in sample
    with pytest.raises(UserError, match=r"2 pictures whose key has a dot \(a key ends at its first dot: rename them\)"):
        listing(spec, 0)
    tar(tmp_path / "dots.tar", **dotted, **{"b.jpg": b"3"})
    os.utime(tmp_path / "dots.tar")
    other = ImagesSpec(kind="webdataset", path=str(tmp_path))
    tar(tmp_path / "more.tar", **dotted, **{"b.jpg": b"3"})
    assert "more.tar/b.jpg" in names(other) and any("whose key has a dot" in line for line in told(other))


def test_braces_name_tars_as_webdataset_does(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            tar(tmp_path / folder / f"sh-{i:06d}.tar", **{"k.jpg": f"{folder}{i}".encode()})
    spec = ImagesSpec(kind="webdataset", path=str(tmp_path / "{y,x}" / "sh-{000000..000001}.tar"))
    expected = [f"{folder}/sh-{i:06d}.tar/k.jpg" for folder in "yx" for i in range(2)]
    assert names(spec) == expected
    assert [read_image(spec, name) for name in expected] == [b"y0", b"y1", b"x0", b"x1"]
    assert names(ImagesSpec(kind="webdataset", path=str(tmp_path / "x" / "sh-{000000..000001}.tar")))[1] == (
        "sh-000001.tar/k.jpg"
    )
    for pattern, words in {"sh-{000000..000009}.tar": "sh-000003.tar is not there", "sh-{0..1.tar": "braces"}.items():
        with pytest.raises(UserError, match=words):
            listing(ImagesSpec(kind="webdataset", path=str(tmp_path / "x" / pattern)), 0)
    with pytest.raises(UserError, match="more than 100,000 tars"):
        listing(ImagesSpec(kind="webdataset", path=str(tmp_path / "x" / "sh-{0..999999999}.tar")), 0)
    (tmp_path / "x" / "sh-000000.tar").rename(tmp_path / "x" / "{0..1}.tar")
    assert names(ImagesSpec(kind="webdataset", path=str(tmp_path / "x" / "{0..1}.tar"))) == ["{0..1}.tar/k.jpg"]


def test_what_a_tar_holds_beside_files_is_told(tmp_path):
    tar(tmp_path / "s.tar", **{"a.jpg": b"a"})
    with tarfile.open(tmp_path / "s.tar", "a") as file:
        for name, kind in (("b.jpg", tarfile.SYMTYPE), ("c.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg"
            file.addfile(info)
        info = tarfile.TarInfo(os.fsdecode(b"caf\xe9.jpg"))
        file.addfile(info)
    put(tmp_path / "t.tar.gz")
    spec = ImagesSpec(kind="webdataset", path=str(tmp_path))
    assert names(spec) == ["s.tar/a.jpg"]
    assert [line.split(" ", 2)[:2] for line in told(spec)] == [["1", "compressed"], ["2", "members"], ["1", "files"]]


def test_a_damaged_shard_is_named(tmp_path):
    put(tmp_path / "s.tar", b"no tar")
    with pytest.raises(UserError, match=r"s\.tar is not an uncompressed tar"):
        listing(ImagesSpec(kind="webdataset", path=str(tmp_path)), 0)


@pytest.mark.parametrize("kind", ["folder", "list", "webdataset", "skipose", "smart"])
def test_nothing_there(tmp_path, kind):
    with pytest.raises(UserError, match=r"images\.path: "):
        listing(ImagesSpec(kind=kind, path=str(tmp_path / "gone")), 0)


def test_shares_are_drawn_by_seed_and_lie_in_each_other(tmp_path):
    for i in range(40):
        put(tmp_path / f"{i:02d}.jpg")

    def share(part, seed=1):
        return [item.name for item in listing(ImagesSpec(path=str(tmp_path), share=part), seed).items]

    small, half, whole = share(0.05), share(0.5), share(1.0)
    assert (len(small), len(half), len(whole)) == (2, 20, 40)
    assert set(small) < set(half) < set(whole) and half == sorted(half)
    assert share(0.5) == half != share(0.5, seed=2)


pieces = st.text(st.sampled_from("aB.~é\\ {"), min_size=1, max_size=3).filter(lambda part: part not in (".", ".."))
trees = st.dictionaries(
    st.lists(pieces, min_size=1, max_size=3).map("/".join).flatmap(lambda p: st.sampled_from(SUFFIXES).map(p.__add__)),
    st.binary(max_size=4),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(trees, st.integers(0, 7), st.sampled_from(["change", "add", "remove", "rename"]))
def test_whatever_happens_to_a_picture_changes_what_the_images_are(tmp_path_factory, tree, place, change):
    """And a copy under another path changes nothing."""

    def identified(content):
        folder = tmp_path_factory.mktemp("copy")
        for name, data in content.items():
            with contextlib.suppress(OSError):  # a file where another name needs a folder
                put(folder / name, data)
        spec = ImagesSpec(path=f"{folder}/")
        try:
            items = listing(spec, 0).items
        except UserError:
            return None, []
        return identity(spec, items), [item.name for item in items]

    before, listed = identified(tree)
    assert identified(dict(reversed(tree.items())) if not any(n + "/" in m for n in tree for m in tree) else tree) == (
        before,
        listed,
    )
    if not listed:
        return
    name = listed[place % len(listed)]
    data = tree[name]
    other = dict(tree)
    if change == "change":
        other[name] = bytes([data[0] ^ 1]) + data[1:] if data else b"new"
    elif change == "add":
        other[f"zz{place}.png"] = data
    elif change == "remove":
        del other[name]
    else:
        other[f"zz{place}.png"] = other.pop(name)
    assert identified(other)[0] != before
