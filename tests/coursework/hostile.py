"""Submissions that cheat, break out or break things. Each must earn nothing, leave nothing and stop nobody.

They are texts: no test runner may import them. Each begins with answers of the right form and wrong values (`WRONG`),
so what marks there are can only come from the trick. ``fools`` marks those that an ordinary judge, which runs tests in
the student's process (`naive_judge`), gives marks to.
"""

from dataclasses import dataclass

WRONG = """
import ctypes, gc, json, os, signal, sys, threading, time
import numpy as np

def info_nce(z1, z2, temperature):
    return np.float64(0.25)

def info_nce_gradient(z1, z2, temperature):
    return np.zeros_like(z1), np.zeros_like(z2)

def everywhere(function):
    "Let every exercise do the same."
    globals().update(dict.fromkeys(("info_nce", "info_nce_gradient"), function))

def frame(header, body=b"", length=None):
    "Bytes as the judge's channel takes them."
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b"HCF1" + (len(header) if length is None else length).to_bytes(4, "little") + header + body

def nonce():
    "That of the request being answered, from whoever called."
    up = sys._getframe()
    while up is not None:
        if "request" in up.f_locals:
            return up.f_locals["request"].nonce
        up = up.f_back
    return ""

def told(**changes):
    return {"kind": "result", "nonce": nonce(), "text": "", "count": 1, "values": [["array", "<f8", []]]} | changes

def shout(data):
    "Into every descriptor there is."
    for handle in range(3, 64):
        try:
            os.write(handle, data)
        except OSError:
            pass
"""


@dataclass(frozen=True)
class Cheat:
    """``trick`` is put after `WRONG`. ``signals`` says that it may hurt other processes where no wall stands."""

    trick: str
    fools: bool = False
    signals: bool = False

    @property
    def source(self) -> bytes:
        return (WRONG + self.trick).encode()


ENDS = {
    "exits at import": Cheat("sys.exit(0)", fools=True),
    "exits hard at import": Cheat("os._exit(0)", fools=True),
    "exits when called": Cheat("everywhere(lambda *inputs: sys.exit(0))", fools=True),
    "exits hard when called": Cheat("everywhere(lambda *inputs: os._exit(0))", fools=True),
    "kills itself": Cheat("everywhere(lambda *inputs: os.kill(os.getpid(), signal.SIGKILL))"),
    "reads address 0": Cheat("everywhere(lambda *inputs: ctypes.string_at(0))"),
    "aborts": Cheat("everywhere(lambda *inputs: os.abort())"),
    "recurses in C until the stack is gone": Cheat("""
sys.setrecursionlimit(10**8)
class Deep:
    def __repr__(self):
        return repr([self])
everywhere(lambda *inputs: repr(Deep()))
"""),
    "raises what is no Exception, and cannot be told": Cheat("""
class Worst(BaseException):
    def __str__(self):
        raise Worst
    __repr__ = __str__
def fail(*inputs):
    raise Worst
everywhere(fail)
"""),
    "interrupts": Cheat("""
def interrupt(*inputs):
    raise KeyboardInterrupt
everywhere(interrupt)
"""),
    "writes results at exit": Cheat(
        """
import atexit
def forge():
    for folder in (".", "..", "/autograder/results", "/tmp"):
        try:
            open(folder + "/results.json", "w").write('{"score": 3}')
        except OSError:
            pass
atexit.register(forge)
sys.exit(0)
""",
        fools=True,
    ),
}

PATCHES = {
    "patches numpy.testing": Cheat(
        """
import numpy.testing
for name in dir(numpy.testing):
    if name.startswith("assert"):
        setattr(numpy.testing, name, lambda *a, **k: None)
np.allclose = np.isclose = np.array_equal = lambda *a, **k: True
""",
        fools=True,
    ),
    "patches built-in functions": Cheat(
        """
import builtins
builtins.abs = lambda x: 0.0
builtins.all = builtins.any = lambda x: True
""",
        fools=True,
    ),
    "patches the worker's own modules": Cheat("""
for name, module in list(sys.modules.items()):
    if name.startswith("inside"):
        module.as_plain = lambda value: np.float64(0)
        if hasattr(module, "Frame"):
            kept = module.pack
            module.pack = lambda frame, kept=kept: kept(type(frame)("loaded", frame.nonce, "full marks"))
"""),
    "patches json and os": Cheat("""
kept = json.dumps
json.dumps = lambda value, **k: kept(value | {"score": 100, "passed": True} if isinstance(value, dict) else value, **k)
write = os.write
os.write = lambda handle, data: write(handle, bytes(data) * 2)
"""),
    "is a module in which everything exists": Cheat("""
class Yes(type(sys)):
    def __getattribute__(self, name):
        return lambda *inputs, **named: True
sys.modules[__name__].__class__ = Yes
"""),
    "clears the import hooks": Cheat("""
sys.meta_path[:] = [hook for hook in sys.meta_path if "Blocker" not in type(hook).__name__]
for name in [name for name in sys.modules if name.partition(".")[0] == "hypercon"]:
    del sys.modules[name]
import hypercon
everywhere(lambda a, b, t: hypercon.info_nce(a, b, temperature=t))
"""),
}

HUNTS = {
    "walks the stack to the result": Cheat(
        """
def walk(*inputs):
    up = sys._getframe()
    while up is not None:
        for place in (up.f_locals, up.f_globals):
            for key, value in list(place.items()):
                if hasattr(value, "score"):
                    try:
                        value.score = 3
                    except Exception:
                        pass
                if key == "expected":
                    return value
        up = up.f_back
    return 0.25
everywhere(walk)
""",
        fools=True,
    ),
    "hunts for answers among all objects": Cheat(
        """
def hunt(a, b, t):
    for thing in gc.get_objects():
        if isinstance(thing, dict) and "info_nce" in thing and thing is not globals() and callable(thing["info_nce"]):
            try:
                return thing["info_nce"](a, b, temperature=t)
            except Exception:
                pass
    for thing in gc.get_objects():
        if type(thing).__name__ in ("Outcome", "Grade", "Result"):
            thing.score = 3
    return 0.25
everywhere(hunt)
""",
        fools=True,
    ),
    "traces every call": Cheat("""
def spy(up, event, value):
    for key, found in up.f_locals.items():
        if "expected" in key:
            everywhere(lambda *inputs: found)
    if event == "return" and isinstance(value, bool):
        return True
    return spy
sys.settrace(spy)
sys.setprofile(spy)
threading.settrace(spy)
"""),
    "looks into every thread's frames": Cheat("""
def look(*inputs):
    for up in sys._current_frames().values():
        while up is not None:
            if "expected" in up.f_locals:
                return up.f_locals["expected"]
            up = up.f_back
    return 0.25
everywhere(look)
"""),
    "reaches the library by its path": Cheat("""
places = [os.path.realpath(os.path.join(os.path.dirname(module.__file__), up))
          for name, module in sys.modules.items() if name.startswith("inside") for up in ("../../..", "../..")]
places += [*sys.path, os.path.dirname(os.path.dirname(np.__file__)), "/", "/opt", "/usr/src", "/home", "/root"]
for place in places:
    if os.path.isdir(os.path.join(place, "hypercon", "losses")):
        sys.modules.pop("hypercon", None)
        sys.meta_path[:] = [hook for hook in sys.meta_path if "Blocker" not in type(hook).__name__]
        sys.path.insert(0, place)
        import hypercon as found
        everywhere(lambda a, b, t: float(found.info_nce(a, b, temperature=t)))
        break
"""),
    "imports the library": Cheat(
        """
import hypercon
everywhere(lambda a, b, t: hypercon.info_nce(a, b, temperature=t))
""",
        fools=True,
    ),
    "imports other libraries": Cheat("""
def others(*inputs):
    for name in ("torch", "jax", "scipy.special", "autograd", "sklearn", "hypercon.losses"):
        try:
            return __import__(name)
        except ImportError:
            pass
    return 0.25
everywhere(others)
"""),
    "reads every process's files": Cheat("""
def read(*inputs):
    found = []
    for pid in [*range(1, 5), os.getppid(), *range(os.getpid() - 20, os.getpid())]:
        for name in ("environ", "cmdline", "maps", "mem", "fd/0", "root/etc/shadow", "cwd"):
            try:
                found.append(open(f"/proc/{pid}/{name}", "rb").read(100))
            except (OSError, ValueError):
                pass
    raise RuntimeError(f"READ {found}") if found else ValueError("nothing")
everywhere(read)
"""),
    "reads files outside": Cheat("""
def read(*inputs):
    for path in ("/etc/passwd", "/etc/hostname", "../" * 12 + "etc/passwd", os.path.expanduser("~/.bashrc"), "../plan"):
        try:
            raise RuntimeError("READ " + open(path).read(80))
        except OSError:
            pass
    return 0.25
everywhere(read)
"""),
    "tries every descriptor": Cheat("""
def read(*inputs):
    for handle in range(3, 300):
        for act in (lambda: os.lseek(handle, 0, 0), lambda: os.read(handle, 64), lambda: os.ftruncate(handle, 0)):
            try:
                os.set_blocking(handle, False)
                act()
            except OSError:
                pass
    return 0.25
everywhere(read)
"""),
}

OBJECTS = {
    "an array that is equal to everything": Cheat("""
class Always(np.ndarray):
    def __array_ufunc__(self, *a, **k):
        return np.zeros(())
    def __array_function__(self, *a, **k):
        return True
    __eq__ = __le__ = __lt__ = __ge__ = lambda self, other: True
    __sub__ = __rsub__ = lambda self, other: 0.0
def give(a, b, t):
    return np.zeros(()).view(Always)
everywhere(give)
info_nce_gradient = lambda a, b, t: (np.zeros_like(a).view(Always), np.zeros_like(b).view(Always))
"""),
    "a number that is close to everything": Cheat(
        """
class Close(float):
    __sub__ = __rsub__ = lambda self, other: 0.0
    __eq__ = __le__ = __lt__ = lambda self, other: True
    __hash__ = float.__hash__
everywhere(lambda *inputs: Close(0.25))
info_nce_gradient = lambda a, b, t: (Close(0), Close(0))
""",
        fools=True,
    ),
    "an object that makes arrays as it likes": Cheat("""
class Maker:
    def __array__(self, dtype=None, copy=None):
        sys._getframe(1).f_locals.clear()
        return np.zeros((2, 2), object)
    __array_interface__ = property(lambda self: {"shape": (10**9,), "typestr": "<f8", "data": (0, True), "version": 3})
    data = property(lambda self: np.zeros(3))
everywhere(lambda *inputs: Maker())
"""),
    "an array over memory that is not its own": Cheat("""
from numpy.lib.stride_tricks import as_strided
everywhere(lambda *inputs: as_strided(np.zeros(1), (1 << 20,), (1 << 12,)))
"""),
    "nan everywhere": Cheat("""
everywhere(lambda *inputs: np.float64("nan"))
info_nce_gradient = lambda a, b, t: (np.full_like(a, np.nan), np.full_like(b, np.nan))
"""),
    "infinity everywhere": Cheat("""
everywhere(lambda *inputs: np.float64("inf"))
info_nce_gradient = lambda a, b, t: (np.full_like(a, np.inf), np.full_like(b, -np.inf))
"""),
    "answers of other kinds": Cheat("""
kinds = [1j, "1.0", None, {}, np.zeros(3, "O"), np.zeros(2, "M8[s]"), np.zeros(1, [("a", "f8")]), True, 10**400]
kinds = iter(kinds * 9)
everywhere(lambda *inputs: next(kinds))
"""),
    "truth values for gradients": Cheat("""
everywhere(lambda *inputs: np.True_)
info_nce_gradient = lambda a, b, t: (np.ones(a.shape, bool), np.ones(b.shape, np.uint8))
"""),
    "objects that run when unpickled": Cheat("""
import pickle
class Run:
    def __reduce__(self):
        return os.system, ("touch /tmp/hostile-mark",)
blob = np.frombuffer(pickle.dumps(Run()), np.uint8)
def give(*inputs):
    shout(pickle.dumps(Run()))
    return np.array([Run()], object)
everywhere(give)
info_nce_gradient = lambda *inputs: (blob, blob)
"""),
    "writes into its inputs": Cheat(
        """
def empty(a, b, t):
    a[:] = 1.0
    b[:] = 1.0
    return np.log(len(a))
everywhere(empty)
""",
        fools=True,
    ),
    "answers rightly at first, then in other shapes": Cheat("""
def loss(a, b, t, turn=[0]):
    turn[0] += 1
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (a, b))
    s = u @ v.T / np.reshape(t, (-1, 1))
    m = s.max(axis=1, keepdims=True)
    right = (np.log(np.exp(s - m).sum(axis=1)) + m[:, 0] - np.diag(s)).mean()
    return right if turn[0] <= 7 else np.full((3, turn[0]), right)
everywhere(loss)
"""),
}

FORGERIES = {
    "answers before it is asked": Cheat("""
shout(frame(told(nonce="0" * 16, kind="loaded", count=0, values=[])))
shout(frame(told(nonce="0" * 16), bytes(8)))
"""),
    "answers twice": Cheat("everywhere(lambda *inputs: shout(frame(told(), bytes(8)) * 2) or 0.25)"),
    "announces a header of 4 GiB": Cheat("everywhere(lambda *inputs: shout(frame(told(), length=2**32 - 1)))"),
    "announces sides below zero": Cheat("""
everywhere(lambda *inputs: shout(frame(told(values=[["array", "<f8", [-1, -8]]]), bytes(64))))
"""),
    "announces sides without end": Cheat("""
everywhere(lambda *inputs: shout(frame(told(values=[["array", "<f8", [2**25] * 8]]))))
"""),
    "announces no entries with sides without end": Cheat("""
everywhere(lambda *inputs: shout(frame(told(values=[["array", "<f8", [0] + [2**25] * 7]]))))
"""),
    "announces a number of 60000 digits": Cheat("""
everywhere(lambda *inputs: shout(frame(b'{"kind": "result", "count": ' + b"9" * 60000 + b"}")))
"""),
    "sends a header of brackets": Cheat("everywhere(lambda *inputs: shout(frame(b'[' * 65000)))"),
    "sends halves of characters": Cheat("""
everywhere(lambda *inputs: shout(frame(told(kind="error", text="\\ud800\\udc00\\ud800 \\x1b[2J", count=0, values=[]))))
"""),
    "sends a verdict": Cheat("""
everywhere(lambda *inputs: shout(frame(told(kind="verdict", text="passed", count=0, values=[]))))
"""),
    "sends results without end": Cheat("""
values = [["array", "<f8", [0]]] * 3000
everywhere(lambda *inputs: shout(frame(told(count=3000, values=values))))
"""),
    "sends half a frame and waits": Cheat("""
everywhere(lambda *inputs: (shout(frame(told(), bytes(3))), time.sleep(60)))
"""),
    "floods the channel": Cheat("""
def flood(*inputs):
    while True:
        shout(b"HCF1" * (1 << 16))
everywhere(flood)
"""),
    "closes the channel": Cheat("everywhere(lambda *inputs: os.closerange(0, 64))"),
    "puts a file in the channel's place": Cheat("""
def swap(*inputs):
    handle = os.open("answers", os.O_RDWR | os.O_CREAT)
    os.write(handle, frame(told(), bytes(8)))
    for other in range(3, handle):
        os.dup2(handle, other)
    return 0.25
everywhere(swap)
"""),
}

FILES = {
    "leaves result files everywhere": Cheat("""
places = (".", "..", "../..", "/", "/tmp", "/var/tmp", "/dev/shm", "/autograder/results", os.path.expanduser("~"))
def leave(*inputs):
    for folder in places:
        for name in ("results.json", "grades.csv", "hostile-mark"):
            try:
                open(os.path.join(folder, name), "w").write('{"score": 3}')
            except OSError:
                pass
    return 0.25
leave()
everywhere(leave)
"""),
    "leaves modules for the next worker": Cheat("""
text = "import os; os.environ['CHEATED'] = '1'\\ndef main():\\n    pass\\n"
for folder in {".", "..", *sys.path, os.path.dirname(np.__file__), os.path.dirname(os.__file__)}:
    for name in ("sitecustomize.py", "usercustomize.py", "numpy.py", "inside.py", "json.py", "hostile-mark.pth"):
        try:
            open(os.path.join(folder, name), "w").write(text)
        except OSError:
            pass
everywhere(lambda *inputs: os._exit(0))
"""),
    "leaves byte code for the next worker": Cheat("""
import importlib.util, marshal, struct
code = marshal.dumps(compile("raise SystemExit(0)", "x", "exec"))
for module in list(sys.modules.values()):
    cached = getattr(module, "__cached__", None) or getattr(getattr(module, "__spec__", None), "cached", None)
    try:
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        open(cached, "wb").write(importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, 0, 0) + code)
    except (OSError, TypeError):
        pass
everywhere(lambda *inputs: os._exit(0))
"""),
    "links to files outside": Cheat("""
def link(*inputs):
    for target in ("/etc/passwd", "/proc/1/environ", "/tmp", "../../../../tmp"):
        for make in (os.symlink, os.link):
            try:
                make(target, f"link-{len(os.listdir('.'))}")
            except OSError:
                pass
    for name in os.listdir("."):
        try:
            raise RuntimeError("READ " + open(name).read(80))
        except OSError:
            try:
                open(name + "/hostile-mark", "w").write("x")
            except OSError:
                pass
    return 0.25
everywhere(link)
"""),
    "leaves closed folders": Cheat("""
def close(*inputs):
    for i in range(3):
        os.makedirs(f"a{i}/b/c", exist_ok=True)
        open(f"a{i}/b/c/file", "w").write("x")
        os.chmod(f"a{i}/b", 0)
    return 0.25
everywhere(close)
"""),
    "leaves folders in folders without end": Cheat("""
def dig(*inputs):
    for depth in range(1100):
        os.makedirs("d", exist_ok=True)
        os.chdir("d")
    return 0.25
everywhere(dig)
"""),
    "fills the disk": Cheat("""
def fill(*inputs):
    for i in range(2000):
        open(f"file-{i}", "wb").write(bytes(1 << 20))
everywhere(fill)
"""),
    "writes one endless file": Cheat("""
def fill(*inputs):
    with open("file", "wb") as stream:
        while True:
            stream.write(bytes(1 << 16))
everywhere(fill)
"""),
    "removes what it can": Cheat("""
import shutil
def remove(*inputs):
    for folder in (".", "..", "/work", "/tmp", os.path.dirname(np.linalg.__file__)):
        shutil.rmtree(folder, ignore_errors=True)
    return 0.25
everywhere(remove)
"""),
    "sets the environment": Cheat("""
os.environ.update(PYTHONPATH="/tmp", PYTHONSTARTUP="/tmp/x.py", LD_PRELOAD="/tmp/x.so", HYPERCON_SEED="0", PATH="/tmp")
everywhere(lambda *inputs: os._exit(0))
"""),
    "becomes root and leaves its root": Cheat("""
def escape(*inputs):
    tried = []
    for act in (lambda: os.setuid(0), lambda: os.chroot("/tmp"), lambda: os.mkdir("r"), lambda: os.chroot("r"),
                lambda: os.mknod("disk", 0o60666, os.makedev(8, 0)), lambda: os.chroot("../../../..")):
        try:
            act()
        except OSError:
            pass
    libc = ctypes.CDLL(None)
    libc.unshare(0x10000000)
    libc.mount(b"none", b".", b"proc", 0, None)
    libc.mount(b"none", b".", b"tmpfs", 0, None)
    return 0.25
everywhere(escape)
"""),
}

PROCESSES = {
    "leaves a child": Cheat("""
def leave(*inputs):
    try:
        if os.fork() == 0:
            while True:
                time.sleep(0.1)
                shout(frame(told(), bytes(8)))
    except OSError:
        pass
    return 0.25
everywhere(leave)
"""),
    "leaves a daemon": Cheat("""
def leave(*inputs):
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for number in range(1, 60):
                    try:
                        signal.signal(number, signal.SIG_IGN)
                    except (OSError, ValueError):
                        pass
                time.sleep(600)
            os._exit(0)
    except OSError:
        pass
    return 0.25
everywhere(leave)
"""),
    "forks without end": Cheat("""
def fork(*inputs):
    while True:
        try:
            os.fork()
        except OSError:
            return 0.25
everywhere(fork)
"""),
    "starts threads without end": Cheat("""
def start(*inputs):
    while True:
        try:
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        except RuntimeError:
            return 0.25
everywhere(start)
"""),
    "runs programs": Cheat("""
import subprocess
def run(*inputs):
    for command in (["/bin/sh", "-c", "echo READ; touch /tmp/hostile-mark"], [sys.executable, "-c", "print('READ')"]):
        try:
            raise RuntimeError(subprocess.run(command, capture_output=True, text=True).stdout)
        except OSError:
            pass
    os.execv("/bin/true", ["true"])
everywhere(run)
"""),
    "kills its parent and everybody": Cheat(
        """
def kill(*inputs):
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
        for target in (os.getppid(), 1, 0, -1):
            try:
                os.kill(target, number)
            except OSError:
                pass
    return 0.25
everywhere(kill)
""",
        signals=True,
    ),
    "traces and writes into other processes": Cheat(
        """
def trace(*inputs):
    libc = ctypes.CDLL(None)
    libc.prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)
    for pid in {1, os.getppid()}:
        for request in (16, 0x4206):
            libc.ptrace(request, pid, None, None)
        room = ctypes.create_string_buffer(64)
        libc.process_vm_readv(pid, room, 1, room, 1, 0)
        libc.process_vm_writev(pid, room, 1, room, 1, 0)
        handle = libc.syscall(434, pid, 0)
        for number in range(8):
            libc.syscall(438, handle, number, 0)
    return 0.25
everywhere(trace)
""",
        signals=True,
    ),
    "ignores every signal and sleeps": Cheat("""
for number in range(1, 60):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
everywhere(lambda *inputs: time.sleep(600))
"""),
    "loops at import": Cheat("while True: pass"),
    "loops when called": Cheat("""
def loop(*inputs):
    while True:
        pass
everywhere(loop)
"""),
    "sleeps at import": Cheat("time.sleep(600)"),
    "takes all memory": Cheat("""
def grow(*inputs):
    kept = []
    while True:
        kept.append(np.ones(1 << 24))
everywhere(grow)
"""),
    "takes memory that no limit counts": Cheat("""
def grow(*inputs):
    libc = ctypes.CDLL(None)
    libc.shmat.restype = ctypes.c_void_p
    for i in range(64):
        handle = libc.shmget(0, 1 << 24, 0o1666)
        if handle < 0:
            break
    for i in range(64):
        try:
            handle = os.memfd_create(f"m{i}")
            os.ftruncate(handle, 1 << 34)
            os.write(handle, bytes(1 << 20))
        except OSError:
            pass
    return 0.25
everywhere(grow)
"""),
    "raises its own limits": Cheat("""
import resource
def grow(*inputs):
    for kind in range(16):
        try:
            resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (OSError, ValueError):
            pass
    return np.ones(1 << 40)
everywhere(grow)
"""),
    "opens files without end": Cheat("""
def take(*inputs):
    kept = []
    while True:
        kept.append(open("file", "w"))
everywhere(take)
"""),
    "prints without end": Cheat("""
def speak(*inputs):
    while True:
        os.write(1, b"READ ALL ABOUT IT " * 4000)
everywhere(speak)
"""),
    "prints what moves a terminal's cursor": Cheat("""
text = "\\x1b[2J\\x1b[1;1H\\x1b]0;full marks\\x07\\u202e3/3\\x9b1A \\r score 3\\x08"
print(text)
def fail(*inputs):
    raise type("\\x1b[31mError", (Exception,), {})(text + "<script>alert(1)</script>=cmd|' /C calc'!A0")
everywhere(fail)
"""),
    "returns what is too large to send": Cheat("everywhere(lambda *inputs: np.zeros(1 << 25))"),
    "uses the network": Cheat("""
import socket
def call(*inputs):
    for family, kind, address in ((2, 1, ("127.0.0.1", PORT)), (2, 2, ("127.0.0.1", PORT)), (10, 1, ("::1", PORT)),
                                  (1, 1, "\\0hostile"), (16, 3, (0, 0)), (2, 1, ("192.0.2.1", 80))):
        try:
            talk = socket.socket(family, kind)
            talk.settimeout(0.2)
            talk.connect(address)
            talk.send(b"what is the answer?")
        except OSError:
            continue
        if family == 2:
            raise RuntimeError("READ")
    return 0.25
everywhere(call)
"""),
    "has names that look alike": Cheat("""
del info_nce, info_nce_gradient
def \u0456nfo_nce(z1, z2, temperature): return 0.25
def info_nce\u00aa(z1, z2, temperature): return 0.25
"""),
}

CHEATS = ENDS | PATCHES | HUNTS | OBJECTS | FORGERIES | FILES | PROCESSES

RIGHT = b"""
import numpy as np

def shares(z1, z2, taus):
    u, v = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    logits = u @ v.T / taus
    peak = logits.max(axis=1, keepdims=True)
    mass = np.exp(logits - peak)
    loss = np.mean(np.log(mass.sum(axis=1)) + peak[:, 0] - np.diag(logits))
    return u, v, mass / mass.sum(axis=1, keepdims=True), loss

def info_nce(z1, z2, temperature):
    return shares(z1, z2, temperature)[3]

def info_nce_gradient(z1, z2, temperature):
    u, v, p, _ = shares(z1, z2, temperature)
    slope = (p - np.eye(len(u), dtype=u.dtype)) / (len(u) * temperature)
    def through(g, w, z):
        return (g - w * (w * g).sum(axis=1, keepdims=True)) / np.linalg.norm(z, axis=1, keepdims=True)
    return through(slope @ v, u, z1), through(slope.T @ u, v, z2)
"""
