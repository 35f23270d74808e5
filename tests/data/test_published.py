"""Published data sets: small archives in the true formats, from a server on this machine that does what servers do."""

import gzip
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import hypercon as hc
from hypercon import cli
from hypercon.data import fetching, formats
from hypercon.data.catalogue import PUBLISHED, File
from hypercon.errors import DataError

pytest.importorskip("pooch")
RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


# --- the true formats, small


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.tobytes()


def packed(data):
    return gzip.compress(data, mtime=0)


def tar(files):
    """A .tar.gz of members by name, in this order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


GREY, GREY_TEST = pixels(30, 28, 28), pixels(12, 28, 28)
COLOUR, COLOUR_TEST = pixels(20, 32, 32, 3), pixels(6, 32, 32, 3)
LARGE, LARGE_TEST = pixels(4, 96, 96, 3), pixels(3, 96, 96, 3)
LABELS = (np.arange(30) % 10).astype(np.uint8)


def cifar_records(images, *labels):
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([*(column[: len(images), None] for column in labels), planes], axis=1).tobytes()


def four_idx_files():
    return {
        "train-images-idx3-ubyte.gz": packed(idx(GREY)),
        "train-labels-idx1-ubyte.gz": packed(idx(LABELS)),
        "t10k-images-idx3-ubyte.gz": packed(idx(GREY_TEST)),
        "t10k-labels-idx1-ubyte.gz": packed(idx(LABELS[:12])),
    }


def cifar10_archive(prefix="cifar-10-batches-bin/"):
    parts = {f"data_batch_{i + 1}.bin": cifar_records(COLOUR[4 * i : 4 * i + 4], LABELS[4 * i :]) for i in range(5)}
    parts["test_batch.bin"] = cifar_records(COLOUR_TEST, LABELS)
    return tar({prefix + "readme.html": b"<html>"} | {prefix + name: data for name, data in parts.items()})


def cifar100_archive():
    coarse = np.zeros(30, np.uint8)
    files = {"train.bin": cifar_records(COLOUR, coarse, LABELS), "test.bin": cifar_records(COLOUR_TEST, coarse, LABELS)}
    return tar({f"cifar-100-binary/{name}": data for name, data in files.items()})


def stl10_archive():
    def columns(images):
        return images.transpose(0, 3, 2, 1).tobytes()

    files = {
        "class_names.txt": b"airplane\n",
        "test_X.bin": columns(LARGE_TEST),
        "test_y.bin": bytes(LABELS[:3] + 1),
        "train_X.bin": columns(LARGE),
        "train_y.bin": bytes(LABELS[:4] + 1),
        "unlabeled_X.bin": b"many more",
    }
    return tar({f"stl10_binary/{name}": data for name, data in files.items()})


def svhn_files():
    io_of_scipy = pytest.importorskip("scipy.io")
    files = {}
    for name, images in (("train_32x32.mat", COLOUR), ("test_32x32.mat", COLOUR_TEST)):
        stream = io.BytesIO()
        labels = LABELS[: len(images), None].copy()
        labels[labels == 0] = 10
        io_of_scipy.savemat(stream, {"X": images.transpose(1, 2, 3, 0), "y": labels}, do_compression=True)
        files[name] = stream.getvalue()
    return files


SMALL = {
    "mnist": (four_idx_files, GREY[..., None], GREY_TEST[..., None]),
    "fashion-mnist": (four_idx_files, GREY[..., None], GREY_TEST[..., None]),
    "cifar10": (lambda: {"cifar-10-binary.tar.gz": cifar10_archive()}, COLOUR, COLOUR_TEST),
    "cifar100": (lambda: {"cifar-100-binary.tar.gz": cifar100_archive()}, COLOUR, COLOUR_TEST),
    "svhn": (svhn_files, COLOUR, COLOUR_TEST),
    "stl10": (lambda: {"stl10_binary.tar.gz": stl10_archive()}, LARGE, LARGE_TEST),
}


# --- a server


class Server:
    """Files by path, and what is wrong with the way they are served."""

    def __init__(self):
        self.files, self.asked, self.cuts, self.moved, self.ranges = {}, [], {}, {}, True
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        path, wanted = request.path, request.headers.get("Range")
        self.asked.append((path, wanted))
        if path in self.moved:
            request.send_response(302)
            request.send_header("Location", self.moved[path])
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if path not in self.files:
            request.send_error(404)
            return
        data, start = self.files[path], 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        cuts = self.cuts.get(path, [])
        end = cuts.pop(0) if cuts else len(data)
        request.wfile.write(data[start:end])
        if end < len(data):
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def offer(server, monkeypatch, tmp_path):
    """Offers a small data set under the name of a published one, in an empty folder for data sets."""
    monkeypatch.setenv("HYPERCON_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("HYPERCON_DATA_MIRROR", raising=False)

    def make(name, files=None, md5=False):
        files = SMALL[name][0]() if files is None else files
        entries = []
        for file, data in files.items():
            server.files[f"/{name}/{file}"] = data
            checksum = f"md5:{hashlib.md5(data).hexdigest()}" if md5 else hashlib.sha256(data).hexdigest()
            entries.append(File(file, len(data), checksum))
        small = PUBLISHED[name]._replace(places=(f"{server.address}/{name}",), files=tuple(entries))
        monkeypatch.setitem(PUBLISHED, name, small)
        return tmp_path / "data" / name

    return make


# --- from the server to arrays


@pytest.mark.parametrize("name", SMALL)
def test_what_is_published_becomes_a_data_set(name, offer, server):
    folder = offer(name, md5=name == "stl10")
    _, images, test_images = SMALL[name]
    train, test = hc.data.load_both(name)
    for part, expected in ((train, images), (test, test_images)):
        assert part.images.dtype == np.float32
        np.testing.assert_array_equal((part.images * 255).round(), expected.transpose(0, 3, 1, 2))
        assert part.labels.tolist() == LABELS[: len(expected)].tolist()
        assert (part.name, part.classes, part.flip) == (name, PUBLISHED[name].classes, PUBLISHED[name].flip)
    asked = len(server.asked)
    np.testing.assert_array_equal(hc.data.load(name, "test").images, test.images)
    assert len(server.asked) == asked, "what is here is not asked for again"
    assert not list(folder.glob("*.part"))


def test_the_table_names_every_class_once():
    for known in PUBLISHED.values():
        assert len(set(known.classes)) == len(known.classes) == (100 if known is PUBLISHED["cifar100"] else 10)
        for file in known.files:
            algorithm, _, digits = file.checksum.rpartition(":")
            assert len(digits) == {"": 64, "md5": 32}[algorithm]


# --- what servers do


def test_a_download_goes_on_where_the_connection_was_cut(offer, server, tmp_path):
    data = bytes(pixels(400_000))
    folder = offer("cifar10", {"cifar-10-binary.tar.gz": data})
    path = "/cifar10/cifar-10-binary.tar.gz"
    server.cuts[path] = [100_000, 250_000]
    assert fetching.fetch("cifar10") == folder
    assert (folder / "cifar-10-binary.tar.gz").read_bytes() == data
    (_, first), (_, second), (_, third) = server.asked
    assert first is None
    assert 0 < int(second[6:-1]) <= 100_000 < int(third[6:-1]) <= 250_000


def test_it_goes_on_in_another_run_too_and_begins_anew_where_a_server_knows_no_ranges(offer, server):
    data = bytes(pixels(400_000))
    folder = offer("cifar10", {"cifar-10-binary.tar.gz": data})
    path = "/cifar10/cifar-10-binary.tar.gz"
    server.cuts[path] = [100_000] * 3
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz could not be downloaded .* put it at /"):
        fetching.fetch("cifar10")
    have = (folder / "cifar-10-binary.tar.gz.part").stat().st_size
    assert 0 < have <= 100_000
    server.cuts.clear()
    server.ranges = False
    fetching.fetch("cifar10")
    assert (folder / "cifar-10-binary.tar.gz").read_bytes() == data
    assert server.asked[-1][1] == f"bytes={have}-"


def test_a_beginning_that_was_damaged_is_downloaded_anew(offer, server):
    data = bytes(pixels(400_000))
    folder = offer("cifar10", {"cifar-10-binary.tar.gz": data})
    folder.mkdir(parents=True)
    (folder / "cifar-10-binary.tar.gz.part").write_bytes(b"x" * 1000)
    fetching.fetch("cifar10")
    assert (folder / "cifar-10-binary.tar.gz").read_bytes() == data
    assert [wanted for _, wanted in server.asked] == ["bytes=1000-", None]


def test_a_wrong_checksum_leaves_nothing_behind(offer, server):
    folder = offer("mnist")
    good = server.files["/mnist/train-labels-idx1-ubyte.gz"]
    server.files["/mnist/train-labels-idx1-ubyte.gz"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz could not be .* another file, by its checksum"):
        fetching.fetch("mnist")
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "train-images-idx3-ubyte.gz"]
    server.files["/mnist/train-labels-idx1-ubyte.gz"] = good
    assert len(hc.data.load("mnist")) == 30


@pytest.mark.parametrize("other", [b"", b"<html>sign in here</html>", bytes(10**6)])
def test_a_file_of_another_length_is_refused(other, offer, server):
    folder = offer("mnist")
    server.files["/mnist/train-images-idx3-ubyte.gz"] = other
    with pytest.raises(DataError, match="bytes came"):
        fetching.fetch("mnist")
    assert not (folder / "train-images-idx3-ubyte.gz").exists()


def test_what_is_not_there_is_asked_for_once_and_then_elsewhere(offer, server, monkeypatch):
    offer("mnist")
    data = server.files.pop("/mnist/t10k-labels-idx1-ubyte.gz")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz could not be downloaded .*status 404"):
        fetching.fetch("mnist")
    assert [path for path, _ in server.asked].count("/mnist/t10k-labels-idx1-ubyte.gz") == 1
    server.files["/elsewhere/t10k-labels-idx1-ubyte.gz"] = data
    places = (*PUBLISHED["mnist"].places, f"{server.address}/elsewhere")
    monkeypatch.setitem(PUBLISHED, "mnist", PUBLISHED["mnist"]._replace(places=places))
    assert len(hc.data.load("mnist", "test")) == 12


def test_a_mirror_of_ones_own_is_asked_first(offer, server, monkeypatch):
    offer("mnist")
    server.files |= {f"/ours{path}": data for path, data in server.files.items()}
    monkeypatch.setenv("HYPERCON_DATA_MIRROR", f"{server.address}/ours/")
    fetching.fetch("mnist")
    assert all(path.startswith("/ours/mnist/") for path, _ in server.asked)


def test_a_redirect_is_followed(offer, server):
    offer("mnist")
    path = "/mnist/train-images-idx3-ubyte.gz"
    server.files["/moved"] = server.files.pop(path)
    server.moved[path] = "/moved"
    assert len(hc.data.load("mnist")) == 30


def test_no_answer_is_told_in_a_line(offer, monkeypatch):
    offer("mnist")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setitem(PUBLISHED, "mnist", PUBLISHED["mnist"]._replace(places=(f"http://127.0.0.1:{port}",)))
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        fetching.fetch("mnist")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


# --- the folder


def test_a_folder_with_the_files_needs_neither_network_nor_pooch(offer, server, monkeypatch):
    folder = offer("mnist")
    folder.mkdir(parents=True)
    for path, data in server.files.items():
        (folder / path.rpartition("/")[2]).write_bytes(data)
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert len(hc.data.load("mnist")) == 30
    assert server.asked == []
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"downloads need pooch: pip install .hypercon\[datasets\]., or download http"):
        hc.data.load("mnist")


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_read_only_folder(offer, server):
    folder = offer("mnist")
    fetching.fetch("mnist")
    folder.chmod(0o500)
    try:
        assert len(hc.data.load("mnist")) == 30
    finally:
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_made_is_told(offer, monkeypatch, tmp_path):
    offer("mnist")
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HYPERCON_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written to \(Not a directory\): set HYPERCON_DATA to a folder"):
        fetching.fetch("mnist")


def test_a_folder_in_which_nothing_may_be_made_is_told(offer, monkeypatch):
    """As of a read-only disk, which stops root too."""
    folder = offer("mnist")
    folder.mkdir(parents=True)
    refuse = OSError(30, "Read-only file system")
    monkeypatch.setattr(fetching, "_alone", lambda place: (_ for _ in ()).throw(refuse))
    with pytest.raises(DataError, match=r"mnist cannot be written to \(Read-only file system\)"):
        fetching.fetch("mnist")


def test_a_damaged_file_is_not_used_and_not_removed(offer):
    folder = offer("mnist")
    fetching.fetch("mnist")
    path = folder / "train-images-idx3-ubyte.gz"
    damaged = path.read_bytes()[:-1] + b"x"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: not the file that is published"):
        hc.data.load("mnist")
    assert path.read_bytes() == damaged


def test_several_threads_and_processes_bring_a_file_once(offer, server):
    """Locks are between open files, so threads show what processes do."""
    offer("mnist")
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetching.fetch("mnist"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert len(server.asked) == 4


# --- hostile archives


def test_paths_in_an_archive_lead_nowhere(offer, tmp_path):
    """Members are read, never unpacked: whatever they are called, nothing is written."""
    evil = tar({"../../outside.txt": b"evil", "/etc/evil": b"evil", "a/../../b/link": b"evil"})
    offer("cifar10", {"cifar-10-binary.tar.gz": cifar10_archive(prefix="../../../")})
    assert len(hc.data.load("cifar10")) == 20
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".lock", "cifar-10-binary.tar.gz"]
    (tmp_path / "evil.tar.gz").write_bytes(evil)
    with pytest.raises(DataError, match=r"not an .npz file"):
        hc.data.load(tmp_path / "evil.tar.gz")


def test_links_and_claims_of_size_in_an_archive_are_not_believed(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        link = tarfile.TarInfo("x/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    path = tmp_path / "link.tar.gz"
    path.write_bytes(stream.getvalue())
    with pytest.raises(DataError, match=r"no data_batch_1.bin in it"):
        formats.read_cifar10(path)
    huge = tarfile.TarInfo("data_batch_1.bin")
    huge.size = 2**40
    path.write_bytes(gzip.compress(huge.tobuf() + bytes(1024)))
    with pytest.raises(DataError, match=r"data_batch_1.bin claims 1099511627776 bytes"):
        formats.read_cifar10(path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
def test_archives_cut_anywhere_are_refused(name, tmp_path):
    data = next(iter(SMALL[name][0]().values()))
    path = tmp_path / "archive.tar.gz"
    for share in (0.0, 0.1, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError):
            getattr(formats, f"read_{name}")(path)


def test_idx_files_that_lie_are_refused(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    good = idx(GREY)
    for data, message in (
        (b"", "not an IDX file"),
        (good[:3] + b"\1" + good[4:], "not an IDX file of unsigned bytes with 3 axes"),
        (good[:2] + b"\x0d" + good[3:], "not an IDX file of unsigned bytes"),
        (good[:-1], "cut short or damaged"),
        (good[:4] + b"\xff" * 12 + good[16:], "expected 79228162458924105385300197375: cut short"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            hc.data.load(tmp_path)
    path.unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed(good)[:-9])
    with pytest.raises(DataError, match="not a gzip file, cut short or damaged"):
        hc.data.load(tmp_path)


# --- files of one's own, named directly


def written(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_idx_files_are_named_by_their_folder_or_by_one_of_them(tmp_path):
    folder = written(tmp_path, four_idx_files())
    for path in (folder, folder / "train-images-idx3-ubyte.gz"):
        train, test = hc.data.load_both(path)
        assert (len(train), len(test), train.classes[3]) == (30, 12, "3")
    plain = written(tmp_path / "plain", {"train-images.idx3-ubyte": idx(GREY)})
    train, test = hc.data.load_both(plain)
    assert (len(train), len(test), train.labels) == (27, 3, None)


def test_archives_and_their_unpacked_folders_are_named_directly(tmp_path):
    for name, archive in (
        ("a.tar.gz", cifar10_archive()),
        ("b.tgz", cifar100_archive()),
        ("c.tar.gz", stl10_archive()),
    ):
        path = tmp_path / name
        path.write_bytes(archive)
        packed_train = hc.data.load(path)
        with tarfile.open(path) as opened:
            files = {m.name.rpartition("/")[2]: opened.extractfile(m).read() for m in opened.getmembers()}
        unpacked = written(tmp_path / name.partition(".")[0], files)
        np.testing.assert_array_equal(hc.data.load(unpacked).images, packed_train.images)


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_folders_of_pictures(split, ending, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part in ("train", "test") if split else ("",):
        for number, name in enumerate(("cat", "dog")):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for i in range(10):
                image.fromarray(np.full((5, 4, 3), 100 * number + i, np.uint8)).save(place / f"{i}.{ending}")
    train, test = hc.data.load_both(tmp_path)
    assert train.classes == test.classes == ("cat", "dog")
    assert (len(train), len(test)) == ((20, 20) if split else (18, 2))
    assert train.images.shape[1:] == (3, 5, 4)
    for part in (train, test):
        assert ((part.images.mean(axis=(1, 2, 3)) > 0.2) == part.labels).all()


def test_pictures_that_do_not_go_together_are_refused(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name, size in (("a", (5, 4)), ("b", (6, 4))):
        (tmp_path / name).mkdir()
        image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"b/1.png: 4x6 pixels, but 1.png has 4x5: bring all to one size"):
        hc.data.load(tmp_path)
    (tmp_path / "b" / "1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1.png: not a picture, or damaged"):
        hc.data.load(tmp_path)
    (tmp_path / "b" / "1.png").unlink()
    image.fromarray(np.zeros((5, 4), np.uint8)).save(tmp_path / "2.png")
    with pytest.raises(DataError, match="some pictures lie in folders of classes and some do not"):
        hc.data.load(tmp_path)


def test_a_folder_without_anything_known_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"nothing in this folder is known, expected an .npz file, a folder of IDX"):
        hc.data.load(tmp_path)


# --- at the shell


def test_the_command_lists_gets_and_tells_where(offer, capsys):
    folder = offer("mnist")
    assert cli.main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in PUBLISHED)
    assert "here" in listed
    assert cli.main(["data", "path", "mnist"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert cli.main(["data", "get", "mnist"]) == 0
    assert capsys.readouterr().out == f"{folder}\n"
    assert cli.main(["data", "path"]) == 0
    assert capsys.readouterr().out == f"{folder.parent}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get"], "hypercon data: get needs the name of a data set"),
        (["get", "mnist", "imagenet"], "hypercon data: no published data set is called 'imagenet', expected one of"),
        (["path", "imagenet"], "hypercon data: no published data set is called 'imagenet'"),
    ],
)
def test_mistakes_take_one_line_and_download_nothing(arguments, message, offer, server, capsys):
    offer("mnist")
    assert cli.main(["data", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert server.asked == []


def test_an_experiment_takes_them_by_name(offer, tmp_path):
    offer("mnist")
    arguments = ["dilemma", "--data", "mnist", "--batch-size", "8", "--epochs", "1", "--temperatures", "0.5"]
    assert cli.main([*arguments, "--out", str(tmp_path / "out")]) == 0


def test_without_a_folder_named_it_is_the_users_cache():
    code = "from hypercon.data.fetching import folder; print(folder())"
    environment = {name: value for name, value in os.environ.items() if name != "HYPERCON_DATA"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip().endswith("hypercon")
