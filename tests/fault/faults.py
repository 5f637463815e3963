"""The faults as a test drives them: the page of numbers that vfs/control.h maps,
and what a power cut makes of a directory and its shadow (vfs/durable.h)."""

import mmap
import pathlib
import random
import shutil
import struct

import harness

VFS = harness.BUILD / "fault_vfs.so"
MALLOC = harness.BUILD / "fault_malloc.so"

_SET = """write_every sync_every read_every truncate_every open_every alloc_every
malloc_every full space die_at_write die_at_sync die_after_sync
sync_delay_us""".split()
_TOLD = """writes syncs reads truncates opens allocs mallocs injected fulls vfs_in
alloc_in malloc_in""".split()
_TOLD_AT = 32
_NUMBERS = 64

SECTOR = 512
UNLIMITED = 2**63


class Control:
    """The numbers as attributes: control.write_every = 3; control.writes."""

    def __init__(self, folder):
        path = pathlib.Path(folder) / "faults"
        path.write_bytes(bytes(8 * _NUMBERS))
        with open(path, "r+b") as file:
            at = mmap.mmap(file.fileno(), 8 * _NUMBERS)
        self.__dict__.update(_path=path, _at=at)

    @staticmethod
    def _place(name):
        if name in _SET:
            return 8 * _SET.index(name)
        if name in _TOLD:
            return 8 * (_TOLD_AT + _TOLD.index(name))
        raise AttributeError(name)

    def __getattr__(self, name):
        return struct.unpack_from("Q", self._at, self._place(name))[0]

    def __setattr__(self, name, value):
        assert name in _SET, name
        struct.pack_into("Q", self._at, self._place(name), value)

    def calm(self):
        """Nothing fails from now on."""
        for name in _SET:
            setattr(self, name, 0)


class Faults:
    """What one server is started with: environment() goes to it, and stays the
    same when it is started again on the same folder."""

    def __init__(self, folder, shadow=False, malloc=False):
        self.folder = pathlib.Path(folder)
        self.control = Control(self.folder)
        self.shadow = self.folder / "shadow" if shadow else None
        self.malloc = malloc
        if shadow:
            self.shadow.mkdir()

    def environment(self):
        preload = [str(VFS)] + ([str(MALLOC)] if self.malloc else [])
        for each in preload:
            assert pathlib.Path(each).exists(), "there is no %s: run make" % each
        env = {
            "LD_PRELOAD": " ".join(preload),
            "MNEME_FAULT_CONTROL": str(self.control._path),
        }
        if self.shadow:
            env["MNEME_FAULT_SHADOW"] = str(self.shadow)
        if harness.SANITIZED:
            env["ASAN_OPTIONS"] = "verify_asan_link_order=0"
        return env

    def power_cut(self, folder, chance=None):
        """Leaves in the folder what a power cut would, after the process was
        killed. Without chance all that was not synced is lost; with it (a
        random.Random) some of it is. Returns how many sectors and names were
        lost."""
        lost = power_cut(pathlib.Path(folder), self.shadow, _Luck(chance))
        shutil.rmtree(self.shadow)
        self.shadow.mkdir()
        return lost


class _Luck:
    """What of the unsynced is kept: nothing, each sector by a coin, or of each
    file a beginning, as when it was being written out in order."""

    def __init__(self, chance):
        self.coin = random.Random(chance.random()) if chance else None
        self.odds = chance.choice([0.05, 0.5, 0.95, None]) if chance else 0
        self.until = 0

    def begin(self, size):
        """With each file."""
        self.until = self.coin.randrange(size + 1) if self.coin else 0

    def keeps(self, at=0):
        """What stands there in the file; without a place: a name, a size."""
        if self.odds is None:
            return at < self.until
        return self.coin is not None and self.coin.random() < self.odds


def power_cut(folder, shadow, luck):
    names = {
        each.name.removesuffix(".new").removesuffix(".gone")
        for each in shadow.iterdir()
    }
    lost = 0
    for name in sorted(names):
        file, old, new = folder / name, shadow / name, shadow / (name + ".new")
        luck.begin(file.stat().st_size if file.exists() else 0)
        if new.exists():  # its name was not synced, nor what it was before
            if file.exists() and luck.keeps():
                lost += _mix(file, new, luck)
                continue
            lost += 1
        elif file.exists():
            lost += _mix(file, old, luck)
            continue
        elif luck.keeps():  # it stays removed
            continue
        if old.exists():
            shutil.copyfile(old, file)
        else:
            file.unlink(missing_ok=True)
    for each in folder.glob("*-shm"):  # never synced, made anew
        each.unlink()
    return lost


def _mix(file, durable, luck):
    """Each sector that differs is as it was synced, unless it is kept."""
    is_, was = file.read_bytes(), durable.read_bytes()
    size = len(is_) if len(is_) == len(was) or luck.keeps() else len(was)
    made = bytearray(size)
    lost = int(size != len(is_))
    for at in range(0, size, SECTOR):
        new, old = is_[at : at + SECTOR], was[at : at + SECTOR]
        chosen = new
        if new != old and not luck.keeps(at):
            chosen = old
            lost += 1
        chosen = chosen[: size - at]
        made[at : at + len(chosen)] = chosen
    file.write_bytes(made)
    return lost


def flip(path, at, bit=0):
    """Flips one bit of a file."""
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def find(path, needle):
    """Every place of the bytes in a file."""
    data, found, at = pathlib.Path(path).read_bytes(), [], -1
    while (at := data.find(needle, at + 1)) >= 0:
        found.append(at)
    return found
